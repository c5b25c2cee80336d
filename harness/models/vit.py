"""The vision transformer (arXiv 2010.11929), with every axis of `ViTSpec`.

Letters of the shape comments:
    B images, C channels, r image side in pixels, p patch side in pixels, g = r / p patches per side, P = g * g patches,
    N tokens (P, and one each for a class and a distillation token), D width, H heads, d = D / H width of a head,
    K classes.

Under autocast the residual stream stays in the parameters' precision, whichever position embedding or stem is used;
linear maps and matrix products run in the lower precision. So arms differ in what they are meant to differ in, and
adding up many branches loses no digits.
"""

from collections import OrderedDict
from itertools import pairwise
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.models.attention_start import impulse, mimetic
from harness.models.family import Family, Inside, Parts
from harness.models.position import (
    LearnedPosition,
    RelativePosition,
    first_patch,
    of_patches,
    position_embedding,
    sines_and_cosines,
)
from harness.models.resnet import BasicBlock
from harness.spec import ViTSpec

EXPLICIT_TOKENS = 512
"""On a CPU attention is explicit up to this many tokens: the fused backward pass is slow there, and beyond this the
memory of the explicit N x N weights (B * H * N * N numbers per block) is the larger evil."""


class ViT(nn.Module):
    """A vision transformer: images (B, C, r, r), float and normalised, to logits (B, K)."""

    def __init__(self, spec: ViTSpec, *, image_size: int, channels: int, classes: int) -> None:
        super().__init__()
        grid = image_size // spec.patch_size
        self.stem = (PatchStem if spec.stem == "patch" else ConvolutionStem)(spec, channels)
        self.pool, self.pool_norm = spec.pool, spec.pool_norm
        self.class_token = nn.Parameter(torch.empty(1, 1, spec.width)) if spec.pool != "mean" else None
        self.distillation_token = nn.Parameter(torch.empty(1, 1, spec.width)) if spec.distillation_token else None
        self.position = position_embedding(spec, grid)
        self.dropout = _dropout(spec.dropout)
        self.blocks = nn.ModuleList(Block(spec, grid, index) for index in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width, spec.norm_eps) if spec.norm == "pre" else nn.Identity()
        self.head = _head(spec, classes)
        self.distillation_head = _head(spec, classes) if spec.distillation_token else None
        initialise(self, spec)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, r, r).

        With a distillation token, in training mode (B, 2, K): at 0 of the class head, which learns from the labels, at
        1 of the distillation head, which learns from the teacher; in evaluation mode their mean (B, K). (Section 4 of
        arXiv 2012.12877 adds the heads' softmax; its code averages the logits.)
        """
        x = self.stem(images).to(next(self.parameters()).dtype)  # (B, P, D)
        tokens = [token for token in (self.class_token, self.distillation_token) if token is not None]
        if tokens:
            x = torch.cat([*(token.expand(len(x), -1, -1) for token in tokens), x], dim=1)  # (B, N, D)
        x = self.dropout(self.position(x))
        for block in self.blocks:
            x = block(x)
        if self.distillation_head is not None:
            x = self.norm(x[:, :2])
            both = torch.stack([self.head(x[:, 0]), self.distillation_head(x[:, 1])], dim=1)  # (B, 2, K)
            return both if self.training else both.mean(dim=1)
        if self.pool == "cls":
            x = self.norm(x[:, 0])  # LayerNorm acts on each token by itself, so this one alone needs it
        elif self.pool_norm == "before":
            x = self.norm(x).mean(dim=1)
        else:
            x = self.norm(x.mean(dim=1))
        logits: Tensor = self.head(x)
        return logits


class Block(nn.Module):
    """An encoder block (equations 2 and 3; post-norm as in arXiv 1706.03762): tokens (B, N, D) to (B, N, D)."""

    def __init__(self, spec: ViTSpec, grid: int, index: int) -> None:
        super().__init__()
        self.pre_norm, self.full_residual = spec.norm == "pre", spec.residual == "full"
        hidden = max(1, round(spec.width * spec.mlp_ratio))
        self.norm1 = nn.LayerNorm(spec.width, spec.norm_eps)
        self.attention = Attention(spec, grid)
        self.branch1 = Branch(spec, index, spec.projection_dropout)
        self.norm2 = nn.LayerNorm(spec.width, spec.norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(spec.width, hidden), nn.GELU(), _dropout(spec.mlp_dropout), nn.Linear(hidden, spec.width)
        )
        self.branch2 = Branch(spec, index, spec.mlp_dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.pre_norm:
            y: Tensor = self.branch1(self.attention(self.norm1(x)))
            x = x + y
            out: Tensor = (x if self.full_residual else y) + self.branch2(self.mlp(self.norm2(x)))
        else:
            x = self.norm1(x + self.branch1(self.attention(x)))
            out = self.norm2(x + self.branch2(self.mlp(x)))
        return out


class Branch(nn.Module):
    """The end of a residual branch: dropout, layer scale (arXiv 2103.17239), stochastic depth (arXiv 1603.09382).

    Stochastic depth skips the branch for single images, with a probability that grows linearly from 0 in the first
    block to `spec.stochastic_depth` in the last; kept branches are scaled so that the expectation stays.
    """

    def __init__(self, spec: ViTSpec, index: int, dropout: float) -> None:
        super().__init__()
        self.keep = 1 - spec.stochastic_depth * index / max(1, spec.depth - 1)
        self.dropout = _dropout(dropout)
        scale = spec.layer_scale
        self.layer_scale = None if scale is None else nn.Parameter(torch.full((spec.width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x)
        if self.layer_scale is not None:
            x = x * self.layer_scale
        if self.training and self.keep < 1:
            kept = torch.rand(len(x), 1, 1, device=x.device) < self.keep
            x = x * kept / self.keep
        return x


class Attention(nn.Module):
    """Multi-head self-attention (appendix A): tokens (B, N, D) to (B, N, D), with a relative bias if the spec asks."""

    def __init__(self, spec: ViTSpec, grid: int) -> None:
        super().__init__()
        self.heads, self.dropout = spec.heads, spec.attention_dropout
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=spec.qkv_bias)
        self.relative_position = RelativePosition(spec, grid) if spec.position == "relative" else None
        self.output = nn.Linear(spec.width, spec.width, bias=spec.output_bias)

    def forward(self, x: Tensor) -> Tensor:
        B, N, D = x.shape  # noqa: N806
        q, k, v, bias = self._projected(x)
        dropout = self.dropout if self.training else 0.0
        # In outline always explicit: its products can be counted.
        if x.device.type == "meta" or (x.device.type == "cpu" and N <= EXPLICIT_TOKENS):
            y = explicit_attention(q, k, v, bias, dropout)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        out: Tensor = self.output(y.transpose(1, 2).reshape(B, N, D))
        return out

    def weights(self, x: Tensor) -> Tensor:
        """The attention weights (B, H, N, N), from query to key, that `forward` computes of x, without dropout."""
        q, k, _, bias = self._projected(x)
        scores = q * q.shape[-1] ** -0.5 @ k.mT
        weights: Tensor = (scores if bias is None else scores + bias).softmax(-1)
        return weights

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries, keys and values (B, H, N, d), and the relative bias (H, N, N), if any."""
        B, N, D = x.shape  # noqa: N806
        # Taking q, k and v apart at dim 2 lets the backward pass write their gradients in place, without one more copy.
        qkv = self.qkv(x).view(B, N, 3, self.heads, D // self.heads).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in qkv)
        return q, k, v, None if self.relative_position is None else self.relative_position().to(q.dtype)


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Attention by matrix products: q, k, v (B, H, N, d) and a bias (H, N, N) or None to (B, H, N, d)."""
    B, H, N, d = q.shape  # noqa: N806
    q, k, v = (part.reshape(B * H, N, d) for part in (q * d**-0.5, k, v))
    scores = torch.bmm(q, k.mT)  # (B * H, N, N)
    if bias is not None:
        scores = (scores.view(B, H, N, N) + bias).view(B * H, N, N)
    # The CPU's bf16 softmax takes twice the time of the float32 one, and is less exact.
    weights = scores.softmax(-1, dtype=torch.float32 if q.dtype == torch.bfloat16 else None).to(v.dtype)
    if dropout:
        weights = F.dropout(weights, dropout)
    return torch.bmm(weights, v).view(B, H, N, d)


class PatchStem(nn.Module):
    """The linear map of flattened patches (equation 1): images (B, C, r, r) to tokens (B, P, D), row by row."""

    def __init__(self, spec: ViTSpec, channels: int) -> None:
        super().__init__()
        self.patch_size = spec.patch_size
        self.projection = nn.Linear(channels * spec.patch_size**2, spec.width)

    def forward(self, images: Tensor) -> Tensor:
        B, C, r, _ = images.shape  # noqa: N806
        p, g = self.patch_size, r // self.patch_size
        patches = images.reshape(B, C, g, p, g, p).permute(0, 2, 4, 1, 3, 5)  # (B, g, g, C, p, p)
        tokens: Tensor = self.projection(patches.reshape(B, g * g, C * p * p))
        return tokens


class ConvolutionStem(nn.Module):
    """A feature map of stride p, then a 1x1 projection: images (B, C, r, r) to tokens (B, P, D).

    `conv` (arXiv 2106.14881, section 4): log2(p) convolutions 3x3 of stride 2 with BatchNorm and ReLU; channels double
    and end at D. `hybrid` (arXiv 2010.11929, section 3.1): a small ResNet of a 3x3 convolution, then log2(p) residual
    blocks of stride 2 with the same channels.
    """

    def __init__(self, spec: ViTSpec, channels: int) -> None:
        super().__init__()
        stages, is_hybrid = round(log2(spec.patch_size)), spec.stem == "hybrid"
        widths = [max(1, spec.width >> (stages - 1 - stage)) for stage in range(stages)]
        layers = _convolution(channels, widths[0], stride=1) if is_hybrid else []
        for before, after in pairwise([widths[0] if is_hybrid else channels, *widths]):
            layers += [BasicBlock(before, after, stride=2)] if is_hybrid else _convolution(before, after, stride=2)
        self.features = nn.Sequential(*layers)
        self.projection = nn.Linear(widths[-1], spec.width)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)  # (B, channels, g, g)
        tokens: Tensor = self.projection(features.flatten(2).mT)  # the 1x1 convolution
        return tokens


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _dropout(probability: float) -> nn.Module:
    return nn.Dropout(probability) if probability else nn.Identity()


def _head(spec: ViTSpec, classes: int) -> nn.Sequential:
    """One linear layer, or a hidden layer with tanh before it (section 3.1)."""
    if spec.head_hidden is None:
        return nn.Sequential(OrderedDict(linear=nn.Linear(spec.width, classes)))
    hidden, linear = nn.Linear(spec.width, spec.head_hidden), nn.Linear(spec.head_hidden, classes)
    return nn.Sequential(OrderedDict(hidden=hidden, tanh=nn.Tanh(), linear=linear))


@torch.no_grad()
def initialise(model: ViT, spec: ViTSpec) -> None:
    """Draw all parameters anew, from torch's global generator.

    Linear maps: `truncated_normal`: sd .02, cut at two sd (arXiv 2012.12877). `xavier`: uniform as in the ViT paper's
    code, queries, keys and values each by themselves. In both the stem's projection and the head's hidden layer have
    sd 1/sqrt(inputs), and biases are 0. `torch`: as torch.nn.Linear draws them. The rest is alike: position tables and
    tokens normal with the spec's deviations, convolutions Kaiming-normal, a relative bias with sd .02. What
    `attention_start` asks for is drawn last, so that it changes no other parameter.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            _initialise_linear(name, module, spec)
    for name, parameter in model.named_parameters():
        if "relative_position" in name:
            _truncated_normal(parameter, 0.02)
        elif "position" in name:
            nn.init.normal_(parameter, std=spec.position_sd)
        elif name in ("class_token", "distillation_token"):
            nn.init.normal_(parameter, std=spec.class_token_sd)
    if spec.attention_start != "drawn":
        _start_attention(model, spec)


def _start_attention(model: ViT, spec: ViTSpec) -> None:
    assert isinstance(model.position, LearnedPosition)
    table = model.position.table[0, first_patch(spec) :]  # (P, D), a view
    if table.is_meta:  # an outline has no numbers
        return
    if spec.attention_start == "mimetic":
        table.copy_(sines_and_cosines(round(len(table) ** 0.5), spec.width))
    for module in model.modules():
        if isinstance(module, Attention):
            is_mimetic = spec.attention_start == "mimetic"
            qkv, output = mimetic(spec.width, spec.heads) if is_mimetic else impulse(table, spec.heads)
            module.qkv.weight.copy_(qkv)
            module.output.weight.copy_(output)


def _initialise_linear(name: str, linear: nn.Linear, spec: ViTSpec) -> None:
    if spec.initialisation == "torch":
        linear.reset_parameters()
    elif name in ("stem.projection", "head.hidden", "distillation_head.hidden"):
        _truncated_normal(linear.weight, linear.in_features**-0.5)
    elif spec.initialisation == "xavier":
        for part in linear.weight.chunk(3) if name.endswith("qkv") else [linear.weight]:
            nn.init.xavier_uniform_(part)
    else:
        _truncated_normal(linear.weight, 0.02)
    is_zero = spec.zero_head and name in ("head.linear", "distillation_head.linear")
    if is_zero:
        nn.init.zeros_(linear.weight)
    if linear.bias is not None and (is_zero or spec.initialisation != "torch"):
        nn.init.zeros_(linear.bias)


def _truncated_normal(parameter: Tensor, sd: float) -> None:
    nn.init.trunc_normal_(parameter, std=sd, a=-2 * sd, b=2 * sd)


_TABLES = ("class_token", "distillation_token", "table", "rows", "columns")

_PARTS = Parts(stem="stem", blocks=("blocks",), head="head", tables=_TABLES)


def _inside(model: ViT, spec: ViTSpec) -> Inside:
    stem, blocks = model.stem, [block for block in model.blocks if isinstance(block, Block)]
    filters = stem.projection.weight if isinstance(stem, PatchStem) else None
    return Inside(
        blocks=tuple(blocks),
        patch_size=spec.patch_size,
        attentions=tuple((block.attention, block.attention.weights) for block in blocks),
        pooled=first_patch(spec) if spec.pool == "cls" else None,
        filters=None if filters is None else filters.view(spec.width, -1, spec.patch_size, spec.patch_size),
        positions=of_patches(model.position, spec),
    )


VIT = Family(spec=ViTSpec, build=ViT, parts=_PARTS, inside=_inside)

"""The vision transformer (arXiv 2010.11929), with every axis of `ViTSpec`.

Letters of the shape comments:
    B images, C channels, r image side in pixels, p patch side in pixels, g = r / p patches per side, P = g * g patches,
    N tokens (registers, one each for a class and a distillation token, then the P patches, fewer where patches are
    dropped), D width, H heads, d = D / H width of a head, K classes.

Under autocast the residual stream stays in the parameters' precision, whichever position embedding or stem is used;
linear maps and matrix products run in the lower precision. So arms differ in what they are meant to differ in, and
adding up many branches loses no digits.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.models.attention_start import impulse, mimetic
from harness.models.family import Family, Inside, Parts
from harness.models.position import (
    LearnedPosition,
    RelativePosition,
    RotaryPosition,
    first_patch,
    has_class_token,
    of_patches,
    position_embedding,
    sines_and_cosines,
)
from harness.models.stem import FlexibleStem, PatchStem, stem_of
from harness.spec import ViTSpec

EXPLICIT_TOKENS = 512
"""On a CPU attention is explicit up to this many tokens: the fused backward pass is slow there, and beyond this the
memory of the explicit N x N weights (B * H * N * N numbers per block) is the larger evil."""


class ViT(nn.Module):
    """A vision transformer: images (B, C, r, r), float and normalised, to logits (B, K)."""

    def __init__(self, spec: ViTSpec, *, image_size: int, channels: int, classes: int) -> None:
        super().__init__()
        grid = image_size // spec.patch_size
        self.stem = stem_of(spec, channels)
        self.pool, self.pool_norm = spec.pool, spec.pool_norm
        self.patch_dropout, self.first_patch = spec.patch_dropout, spec.registers + first_patch(spec)
        self.class_token = nn.Parameter(torch.empty(1, 1, spec.width)) if has_class_token(spec) else None
        self.distillation_token = nn.Parameter(torch.empty(1, 1, spec.width)) if spec.distillation_token else None
        self.registers = nn.Parameter(torch.empty(1, spec.registers, spec.width)) if spec.registers else None
        self.position = position_embedding(spec, grid)
        self.dropout = _dropout(spec.dropout)
        self.blocks = nn.ModuleList(Block(spec, grid, index) for index in range(spec.depth))
        self.norm = _norm(spec, spec.width) if spec.norm == "pre" else nn.Identity()
        self.attention_pool = AttentionPool(spec) if spec.pool == "map" else None
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
        x = self.position(x)
        if self.registers is not None:  # first, so that what the head reads is what follows them
            x = torch.cat([self.registers.expand(len(x), -1, -1), x], dim=1)
        x, kept = self.dropout(x), None
        if self.blocks.training and self.patch_dropout:  # not of a body that is frozen
            kept = self._kept(x)
            x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[2]))
        for block in self.blocks:
            x = block(x, kept)
        if self.registers is not None:
            x = x[:, self.registers.shape[1] :]
        if self.distillation_head is not None:
            x = self.norm(x[:, :2])
            both = torch.stack([self.head(x[:, 0]), self.distillation_head(x[:, 1])], dim=1)  # (B, 2, K)
            return both if self.training else both.mean(dim=1)
        if self.pool == "cls":
            x = self.norm(x[:, 0])  # a norm acts on each token by itself, so this one alone needs it
        elif self.pool_norm == "before":
            x = self._pooled(self.norm(x))
        else:
            x = self.norm(self._pooled(x))
        logits: Tensor = self.head(x)
        return logits

    def _pooled(self, x: Tensor) -> Tensor:
        """One vector of an image, (B, D), of what its tokens (B, N, D) have become."""
        pooled: Tensor = x.mean(dim=1) if self.attention_pool is None else self.attention_pool(x)
        return pooled

    def _kept(self, x: Tensor) -> Tensor:
        """Which tokens stay, int64 (B, fewer): a random share of each image's patches, and all that are none."""
        B, N, _ = x.shape  # noqa: N806
        first, patches = self.first_patch, N - self.first_patch
        order = torch.randn(B, patches, device=x.device).argsort(1)
        kept = order[:, : max(1, int(patches * (1 - self.patch_dropout)))] + first
        return torch.cat([torch.arange(first, device=x.device).expand(B, -1), kept], dim=1)


class Block(nn.Module):
    """An encoder block (equations 2 and 3; post-norm as in arXiv 1706.03762): tokens (B, N, D) to (B, N, D)."""

    def __init__(self, spec: ViTSpec, grid: int, index: int) -> None:
        super().__init__()
        self.pre_norm, self.residual = spec.norm == "pre", spec.residual
        self.norm1 = _norm(spec, spec.width)
        self.attention = Attention(spec, grid)
        self.branch1 = Branch(spec, index, spec.projection_dropout)
        self.norm2 = nn.Identity() if spec.residual == "parallel" else _norm(spec, spec.width)
        self.mlp = _mlp(spec)
        self.branch2 = Branch(spec, index, spec.mlp_dropout)

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` (B, N): which tokens these are, where training has dropped others."""
        out: Tensor
        if self.residual == "parallel":
            y = self.norm1(x)
            out = x + self.branch1(self.attention(y, kept)) + self.branch2(self.mlp(y))
        elif self.pre_norm:
            y = self.branch1(self.attention(self.norm1(x), kept))
            x = x + y
            out = (x if self.residual == "full" else y) + self.branch2(self.mlp(self.norm2(x)))
        else:
            x = self.norm1(x + self.branch1(self.attention(x, kept)))
            out = self.norm2(x + self.branch2(self.mlp(x)))
        return out


class SwiGLU(nn.Module):
    """An MLP with a gate (arXiv 2002.05202, equation 6): (..., D) to (..., D)."""

    def __init__(self, spec: ViTSpec, hidden: int) -> None:
        super().__init__()
        self.gate, self.value = (nn.Linear(spec.width, hidden, bias=spec.mlp_bias) for _ in range(2))
        self.dropout = _dropout(spec.mlp_dropout)
        self.output = nn.Linear(hidden, spec.width, bias=spec.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.dropout(F.silu(self.gate(x)) * self.value(x)))
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
    """Multi-head self-attention (appendix A): tokens (B, N, D) to (B, N, D), with what the spec adds to it."""

    def __init__(self, spec: ViTSpec, grid: int) -> None:
        super().__init__()
        self.heads, self.dropout = spec.heads, spec.attention_dropout
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=spec.qkv_bias)
        self.norms = nn.ModuleList(_norm(spec, spec.width // spec.heads) for _ in range(2 * spec.qk_norm))  # of q, k
        self.rotary = None if spec.rotary is None else RotaryPosition(spec, spec.rotary, grid)
        self.relative_position = RelativePosition(spec, grid) if spec.position == "relative" else None
        self.output = nn.Linear(spec.width, spec.width, bias=spec.output_bias)

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` (B, N): which tokens these are, where training has dropped others."""
        q, k, v, bias = self._projected(x, kept)
        y = _attend(q, k, v, bias, self.dropout if self.training else 0.0)
        out: Tensor = self.output(y.transpose(1, 2).reshape(x.shape))
        return out

    def weights(self, x: Tensor) -> Tensor:
        """The attention weights (B, H, N, N), from query to key, that `forward` computes of x, without dropout."""
        q, k, _, bias = self._projected(x)
        scores = q * q.shape[-1] ** -0.5 @ k.mT
        weights: Tensor = (scores if bias is None else scores + bias).softmax(-1)
        return weights

    def _projected(self, x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries, keys and values (B, H, N, d), and the relative bias (H, N, N), if any."""
        B, N, D = x.shape  # noqa: N806
        # Taking q, k and v apart at dim 2 lets the backward pass write their gradients in place, without one more copy.
        qkv = self.qkv(x).view(B, N, 3, self.heads, D // self.heads).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in qkv)
        if self.norms:  # as all norms in the precision of its parameters, whatever that of products is
            q, k = (norm(part.to(norm.weight.dtype)) for norm, part in zip(self.norms, (q, k), strict=True))
        if self.rotary is not None:
            q, k = (self.rotary(part, kept) for part in (q, k))
        bias = None if self.relative_position is None else self.relative_position().to(v.dtype)
        return q.to(v.dtype), k.to(v.dtype), v, bias


class AttentionPool(nn.Module):
    """What one learned query finds in tokens by attention, and an MLP (arXiv 2106.04560): (B, N, D) to (B, D)."""

    def __init__(self, spec: ViTSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.latent = nn.Parameter(torch.empty(1, 1, spec.width))
        self.query, self.key, self.value = (
            nn.Linear(spec.width, spec.width, bias=spec.qkv_bias) for _ in ("query", "key", "value")
        )
        self.output = nn.Linear(spec.width, spec.width, bias=spec.output_bias)
        self.norm, self.mlp = _norm(spec, spec.width), _mlp(spec)

    def forward(self, x: Tensor) -> Tensor:
        mapped = (self.query(self.latent).expand(len(x), -1, -1), self.key(x), self.value(x))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in mapped)
        y = self.output(_attend(q, k, v, None, 0.0).flatten(1)).to(self.latent.dtype)  # (B, H, 1, d) to (B, D)
        out: Tensor = y + self.mlp(self.norm(y))
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Attention of queries (B, H, M, d) to keys and values (B, H, N, d), with a bias (H, M, N): (B, H, M, d)."""
    # In outline always explicit: its products can be counted.
    if k.device.type == "meta" or (k.device.type == "cpu" and k.shape[2] <= EXPLICIT_TOKENS):
        return explicit_attention(q, k, v, bias, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Attention by matrix products: q (B, H, M, d), k, v (B, H, N, d), a bias (H, M, N) or None to (B, H, M, d)."""
    B, H, M, d = q.shape  # noqa: N806
    N = k.shape[2]  # noqa: N806
    q, k, v = (part.reshape(B * H, -1, d) for part in (q * d**-0.5, k, v))
    scores = torch.bmm(q, k.mT)  # (B * H, M, N)
    if bias is not None:
        scores = (scores.view(B, H, M, N) + bias).view(B * H, M, N)
    # The CPU's bf16 softmax takes twice the time of the float32 one, and is less exact.
    weights = scores.softmax(-1, dtype=torch.float32 if q.dtype == torch.bfloat16 else None).to(v.dtype)
    if dropout:
        weights = F.dropout(weights, dropout)
    return torch.bmm(weights, v).view(B, H, M, d)


def _norm(spec: ViTSpec, width: int) -> nn.Module:
    if spec.norm_type == "rms":
        return nn.RMSNorm(width, spec.norm_eps)
    return nn.LayerNorm(width, spec.norm_eps, bias=spec.norm_bias)


def _mlp(spec: ViTSpec) -> nn.Module:
    bias, hidden = spec.mlp_bias, spec.width * spec.mlp_ratio
    if spec.mlp == "swiglu":
        return SwiGLU(spec, max(1, round(hidden * 2 / 3)))
    hidden = max(1, round(hidden))
    first, last = nn.Linear(spec.width, hidden, bias=bias), nn.Linear(hidden, spec.width, bias=bias)
    return nn.Sequential(first, nn.GELU(), _dropout(spec.mlp_dropout), last)


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
    tokens normal with the spec's deviations, the query of pooling with sd 1/sqrt(D), convolutions Kaiming-normal, a
    relative bias with sd .02. Registers, and then what `attention_start` asks for, are drawn last, so that they change
    no other parameter.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            _initialise_linear(name, module, spec)
    deviations = dict.fromkeys(("class_token", "distillation_token"), spec.class_token_sd)
    deviations["attention_pool.latent"] = spec.width**-0.5
    for name, parameter in model.named_parameters():
        if "relative_position" in name:
            _truncated_normal(parameter, 0.02)
        elif "position" in name:
            nn.init.normal_(parameter, std=spec.position_sd)
        elif name in deviations:
            nn.init.normal_(parameter, std=deviations[name])
    if model.registers is not None:
        nn.init.normal_(model.registers, std=spec.class_token_sd)
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


_TABLES = ("class_token", "distillation_token", "registers", "latent", "table", "rows", "columns")

_PARTS = Parts(stem="stem", blocks=("blocks", "attention_pool"), head="head", tables=_TABLES)


def _inside(model: ViT, spec: ViTSpec) -> Inside:
    stem, blocks = model.stem, [block for block in model.blocks if isinstance(block, Block)]
    return Inside(
        blocks=tuple(blocks),
        patch_size=spec.patch_size,
        attentions=tuple((block.attention, block.attention.weights) for block in blocks),
        pooled=slice(spec.registers, spec.registers + first_patch(spec) if spec.pool == "cls" else None),
        filters=stem.filters() if isinstance(stem, PatchStem | FlexibleStem) else None,
        positions=of_patches(model.position, spec),
    )


VIT = Family(spec=ViTSpec, build=ViT, parts=_PARTS, inside=_inside)

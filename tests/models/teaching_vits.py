"""Small references for published teaching implementations of the ViT, each with its own way to write the same thing.

All read the sizes, and nothing else, from a `ViTSpec`. `mapped()` gives a reference's parameters under the names that
`harness.models.vit.ViT` has for them.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.spec import ViTSpec


class SeparateBlock(nn.Module):
    """Queries, keys and values by a layer each, attention head by head; both residual sums."""

    bias, eps = True, 1e-6
    attention_dropout = projection_dropout = mlp_dropout = 0.0

    def __init__(self, spec: ViTSpec):
        super().__init__()
        width, hidden = spec.width, round(spec.width * spec.mlp_ratio)
        self.heads = spec.heads
        self.before_attention = nn.LayerNorm(width, eps=self.eps)
        self.queries, self.keys, self.values, self.out = (nn.Linear(width, width, bias=self.bias) for _ in range(4))
        self.before_mlp = nn.LayerNorm(width, eps=self.eps)
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=-1)

    def attend(self, x: Tensor) -> Tensor:
        parts = (layer(x).chunk(self.heads, dim=2) for layer in (self.queries, self.keys, self.values))
        heads = []
        for query, key, value in zip(*parts, strict=True):
            weights = F.dropout(self.weights(query, key), self.attention_dropout, self.training)
            heads.append(weights @ value)
        return F.dropout(self.out(torch.cat(heads, dim=2)), self.projection_dropout, self.training)

    def mlp(self, x: Tensor) -> Tensor:
        x = F.dropout(F.gelu(self.wide(x)), self.mlp_dropout, self.training)
        return F.dropout(self.narrow(x), self.mlp_dropout, self.training)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.before_attention(x))
        return x + self.mlp(self.before_mlp(x))

    def attention(self) -> dict[str, Tensor]:
        layers = (self.queries, self.keys, self.values)
        found = {"qkv.weight": torch.cat([layer.weight for layer in layers]), "output.weight": self.out.weight}
        if self.bias:
            found |= {"qkv.bias": torch.cat([layer.bias for layer in layers]), "output.bias": self.out.bias}
        return found

    def mapped(self) -> dict[str, Tensor]:
        layers = {"norm1": self.before_attention, "norm2": self.before_mlp, "mlp.0": self.wide, "mlp.3": self.narrow}
        found = {f"attention.{name}": value for name, value in self.attention().items()}
        for name, layer in layers.items():
            found |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
        return found


class TeachingViT(nn.Module):
    """Patches by a convolution, a class token, a table of positions, blocks, LayerNorm, one linear layer."""

    block: type[SeparateBlock] = SeparateBlock
    dropout = 0.0
    extra_tokens = 1

    def __init__(self, spec: ViTSpec, *, image_size: int, channels: int, classes: int):
        super().__init__()
        self.patches = nn.Conv2d(channels, spec.width, spec.patch_size, stride=spec.patch_size)
        tokens = (image_size // spec.patch_size) ** 2 + 1
        # Bare parameters, as in the originals: they belong to no layer.
        self.token, self.positions = self.draw(1, spec.width), self.draw(tokens, spec.width)
        self.blocks = nn.Sequential(*(self.block(spec) for _ in range(spec.depth)))
        self.last_norm = nn.LayerNorm(spec.width, eps=self.block.eps)
        self.classifier = nn.Linear(spec.width, classes)

    def draw(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.zeros(shape))

    def embed(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).mT
        return torch.cat([self.token.repeat(len(images), 1, 1), patches], dim=1) + self.positions

    def pooled(self, x: Tensor) -> Tensor:
        return self.last_norm(x)[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        x = F.dropout(self.embed(images), self.dropout, self.training)
        return self.classifier(self.pooled(self.blocks(x)))

    def mapped(self) -> dict[str, Tensor]:
        found = {
            "stem.projection.weight": self.patches.weight.flatten(1),
            "stem.projection.bias": self.patches.bias,
            "norm.weight": self.last_norm.weight,
            "norm.bias": self.last_norm.bias,
            "head.linear.weight": self.classifier.weight,
            "head.linear.bias": self.classifier.bias,
        } | self.embeddings()
        for index, block in enumerate(self.blocks):
            found |= {f"blocks.{index}.{name}": value for name, value in block.mapped().items()}
        return {name: value.detach().clone() for name, value in found.items()}

    def embeddings(self) -> dict[str, Tensor]:
        return {"class_token": self.token[None], "position.table": self.positions[None]}


# --- a walk through the paper in the manner of timm: one layer for queries, keys and values, zeros to start from ---


class FusedBlock(SeparateBlock):
    def __init__(self, spec: ViTSpec):
        super().__init__(spec)
        del self.queries, self.keys, self.values
        self.all_three = nn.Linear(spec.width, 3 * spec.width)

    def attend(self, x: Tensor) -> Tensor:
        images, tokens, width = x.shape
        three = self.all_three(x).reshape(images, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = self.weights(three[0], three[1]) @ three[2]
        return self.out(mixed.transpose(1, 2).flatten(2))

    def attention(self) -> dict[str, Tensor]:
        return {
            "qkv.weight": self.all_three.weight,
            "qkv.bias": self.all_three.bias,
            "output.weight": self.out.weight,
            "output.bias": self.out.bias,
        }


class WalkThrough(TeachingViT):
    block = FusedBlock


# --- class token and positions from N(0, 1), dropout where the paper's appendix B.1 has it ---


class DroppingBlock(SeparateBlock):
    """Dropout after every layer but those of queries, keys and values."""

    projection_dropout = mlp_dropout = 0.1


class UnitEmbeddings(TeachingViT):
    block = DroppingBlock
    dropout = 0.1

    def draw(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(shape))


class SlippingBlock(DroppingBlock):
    def forward(self, x: Tensor) -> Tensor:
        y = self.attend(self.before_attention(x))
        return self.mlp(self.before_mlp(y + x)) + y


class ResidualSlip(UnitEmbeddings):
    block = SlippingBlock


# --- the mean over all tokens, then LayerNorm ---


class ScaledLateBlock(SeparateBlock):
    """Divides the attention weights by the root of the width, in place of the scores by that of a head's width.

    That is the usual attention with queries larger by the root of a head's width and values smaller by that of the
    width: the same functions, with another start.
    """

    eps = 1e-5

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return torch.einsum("bqd,bkd->bqk", query, key).softmax(-1) / math.sqrt(query.shape[-1] * self.heads)

    def attention(self) -> dict[str, Tensor]:
        width = self.out.in_features
        scale = torch.ones(3, width, dtype=self.out.weight.dtype)
        scale[0], scale[2] = math.sqrt(width // self.heads), 1 / math.sqrt(width)
        found = super().attention()
        found["qkv.weight"] = found["qkv.weight"] * scale.flatten()[:, None]
        found["qkv.bias"] = found["qkv.bias"] * scale.flatten()
        return found


class MeanOfAll(UnitEmbeddings):
    block = ScaledLateBlock
    dropout = 0.0

    def pooled(self, x: Tensor) -> Tensor:
        return self.last_norm(x.mean(dim=1))


# --- Dive into Deep Learning, section 11.8 ---


class UnbiasedBlock(SeparateBlock):
    bias, eps = False, 1e-5
    attention_dropout = mlp_dropout = 0.1


class D2L(TeachingViT):
    block = UnbiasedBlock
    dropout = 0.1

    def draw(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.zeros(shape) if shape[0] == 1 else torch.randn(shape))


# --- big_vision's plain ViT-S (arXiv 2205.01580): no class token, mean of the patches, fixed sines ---


class EinsumBlock(SeparateBlock):
    """Queries, keys and values by kernels (D, H, d), the output by one (H, d, D), Xavier-uniform."""

    def __init__(self, spec: ViTSpec):
        super().__init__(spec)
        del self.queries, self.keys, self.values, self.out
        width, split = spec.width, (spec.width, spec.heads, spec.width // spec.heads)
        kernels = [nn.init.xavier_uniform_(torch.empty(width, width)) for _ in range(4)]
        self.into = nn.ParameterList(kernel.view(split) for kernel in kernels[:3])
        self.into_bias = nn.ParameterList(torch.zeros(split[1:]) for _ in range(3))
        self.back, self.back_bias = nn.Parameter(kernels[3].view(*split[1:], width)), nn.Parameter(torch.zeros(width))
        for layer in (self.wide, self.narrow):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def attend(self, x: Tensor) -> Tensor:
        query, key, value = (
            torch.einsum("bnc,chd->bnhd", x, kernel) + bias
            for kernel, bias in zip(self.into, self.into_bias, strict=True)
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", query / math.sqrt(query.shape[-1]), key)
        mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value)
        return torch.einsum("bqhd,hdc->bqc", mixed, self.back) + self.back_bias

    def attention(self) -> dict[str, Tensor]:
        return {
            "qkv.weight": torch.cat([kernel.flatten(1).T for kernel in self.into]),
            "qkv.bias": torch.cat([bias.flatten() for bias in self.into_bias]),
            "output.weight": self.back.flatten(0, 1).T,
            "output.bias": self.back_bias,
        }


class BigVision(TeachingViT):
    """With the exact GELU for its tanh approximation, and frequencies down to, not including, 1/10000 (theirs do).

    Theirs also sorts a position's vector as column, then row; that is another order of the width's elements.
    """

    block = EinsumBlock

    def __init__(self, spec: ViTSpec, *, image_size: int, channels: int, classes: int):
        super().__init__(spec, image_size=image_size, channels=channels, classes=classes)
        del self.token, self.positions
        self.register_buffer("sines", sines(image_size // spec.patch_size, spec.width))
        nn.init.normal_(self.patches.weight, std=self.patches.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.patches.bias)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def embed(self, images: Tensor) -> Tensor:
        return self.patches(images).flatten(2).mT + self.sines

    def pooled(self, x: Tensor) -> Tensor:
        return self.last_norm(x).mean(dim=1)

    def embeddings(self) -> dict[str, Tensor]:
        return {}


def sines(grid: int, width: int) -> Tensor:
    """Element by element: sines of the row, cosines of the row, the same of the column."""
    count = width // 4
    rates = [10_000.0 ** (-i / count) for i in range(count)]
    cells = itertools.product(range(grid), repeat=2)
    return torch.tensor(
        [[f(at * rate) for at in cell for f in (math.sin, math.cos) for rate in rates] for cell in cells]
    )

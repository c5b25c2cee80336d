"""Position embeddings of the ViT (arXiv 2010.11929, appendix D.4); letters as in `harness.models.vit`."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.models.resizing import resized, resizing
from harness.spec import ViTSpec


class LearnedPosition(nn.Module):
    """One learned vector per token, not the patches' only (equation 1): adds (1, N, D) to (B, N, D)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(1, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class FlexiblePosition(LearnedPosition):
    """The same for patches of several sizes: the grid of the smallest, resized to that of the patches there are."""

    def __init__(self, spec: ViTSpec, grid: int) -> None:
        largest = grid * spec.patch_size // min(spec.flexible_patches)
        super().__init__(first_patch(spec) + largest**2, spec.width)
        self.first_patch, self.patches = first_patch(spec), grid**2  # those of `patch_size`
        for side in (grid * spec.patch_size // size for size in spec.flexible_patches):
            self.register_buffer(f"resizing_{side**2}", resizing(largest, side), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.table[:, : self.first_patch]
        return x + torch.cat([tokens, self.of_patches(x.shape[1] - self.first_patch)[None]], dim=1)

    def of_patches(self, patches: int) -> Tensor:
        """Those of a grid of so many patches, (P, D)."""
        return resized(getattr(self, f"resizing_{patches}"), self.table[0, self.first_patch :])


class LearnedPosition2D(nn.Module):
    """A learned vector of size D/2 per row and one per column, concatenated (appendix D.4); none for a class token."""

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.empty(grid, 1, width // 2))
        self.columns = nn.Parameter(torch.empty(1, grid, width - width // 2))

    def forward(self, x: Tensor) -> Tensor:
        return _add_to_patches(x, axes_table(self.rows, self.columns))


class SinCosPosition2D(nn.Module):
    """Fixed sines and cosines of row and column (arXiv 1706.03762, section 3.5, on two axes); none for a class token.

    Each axis has D/4 frequencies, geometric from 1 to 1/10000 (exclusive).
    """

    table: Tensor

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sines_and_cosines(grid, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return _add_to_patches(x, self.table)


class RelativePosition(nn.Module):
    """A learned bias of the attention scores per head and 2-D offset between patches (appendix D.4).

    `forward` gives it from query (second) to key (third): (H, N, N). Other tokens than patches get none.
    """

    index: Tensor

    def __init__(self, spec: ViTSpec, grid: int) -> None:
        super().__init__()
        self.first_patch = spec.registers + first_patch(spec)
        self.table = nn.Parameter(torch.empty(spec.heads, (2 * grid - 1) ** 2))
        offset = torch.arange(grid)[:, None] - torch.arange(grid) + grid - 1  # (g, g), from 0 to 2g - 2
        index = offset[:, None, :, None] * (2 * grid - 1) + offset[None, :, None, :]  # (g, g, g, g)
        self.register_buffer("index", index.flatten(), persistent=False)

    def forward(self) -> Tensor:
        patches = round(self.index.numel() ** 0.5)
        bias = self.table.index_select(1, self.index).view(-1, patches, patches)
        return F.pad(bias, (self.first_patch, 0, self.first_patch, 0))


class RotaryPosition(nn.Module):
    """Turns the queries or keys of patches by their row and column (axial RoPE, arXiv 2403.13298).

    Pairs of neighbouring numbers turn by the row in the first half of a head's d, by the column in the second, at d / 4
    frequencies, geometric from 1 to 1/base (exclusive). Tokens that are no patches are not turned.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, spec: ViTSpec, base: float, grid: int) -> None:
        super().__init__()
        count = spec.width // spec.heads // 4
        angles = torch.arange(grid)[:, None] * base ** (-torch.arange(count) / count)  # (g, d/4)
        others = spec.registers + first_patch(spec)
        table = F.pad(axes_table(angles[:, None], angles[None]), (0, 0, others, 0))  # (N, d/2)
        self.register_buffer("cos", table.cos(), persistent=False)
        self.register_buffer("sin", table.sin(), persistent=False)

    def forward(self, x: Tensor, kept: Tensor | None) -> Tensor:
        """(B, H, N, d) to the same; `kept` (B, N) says which tokens these are, None for all."""
        cos, sin = (self.cos, self.sin) if kept is None else (self.cos[kept][:, None], self.sin[kept][:, None])
        even, odd = x.view(*x.shape[:-1], -1, 2).unbind(-1)  # (B, H, N, d/2)
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def position_embedding(spec: ViTSpec, grid: int) -> nn.Module:
    """Tokens (B, N, D) to the same with their positions added; the identity where the spec adds none."""
    match spec.position:
        case "learned_1d" if spec.flexible_patches:
            return FlexiblePosition(spec, grid)
        case "learned_1d":
            return LearnedPosition(first_patch(spec) + grid**2, spec.width)
        case "learned_2d":
            return LearnedPosition2D(grid, spec.width)
        case "sincos_2d":
            return SinCosPosition2D(grid, spec.width)
        case "none" | "relative":  # a relative bias lives in each block's attention
            return nn.Identity()


def of_patches(position: nn.Module, spec: ViTSpec) -> Tensor | None:
    """What a position embedding adds to each patch, (P, D); None where it adds nothing."""
    match position:
        case FlexiblePosition():
            return position.of_patches(position.patches)
        case LearnedPosition():
            return position.table[0, first_patch(spec) :]
        case LearnedPosition2D():
            return axes_table(position.rows, position.columns)
        case SinCosPosition2D():
            return position.table
        case _:
            return None


def first_patch(spec: ViTSpec) -> int:
    """Number of tokens with a position before the patches: class token, distillation token; registers have none."""
    return has_class_token(spec) + spec.distillation_token


def has_class_token(spec: ViTSpec) -> bool:
    """Whether the head reads a token beside the patches."""
    return spec.pool in ("cls", "all")


def axes_table(rows: Tensor, columns: Tensor) -> Tensor:
    """The vectors of rows (g, 1, d) beside those of columns (1, g, e), for each patch: (P, d + e)."""
    g = len(rows)
    return torch.cat([rows.expand(-1, g, -1), columns.expand(g, -1, -1)], dim=2).flatten(0, 1)


def sines_and_cosines(grid: int, width: int) -> Tensor:
    """Of each patch's row and column: (P, D)."""
    frequencies = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    angles = torch.arange(grid)[:, None] * frequencies  # (g, D/4)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # (g, D/2)
    return axes_table(axis[:, None], axis[None])


def _add_to_patches(x: Tensor, table: Tensor) -> Tensor:
    """Add `table` (P, D) to the last P tokens of `x` (B, N, D): the tokens before them get zeros."""
    return x + F.pad(table, (0, 0, x.shape[1] - len(table), 0))

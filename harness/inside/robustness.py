"""Images with patches in random order, and with patches blackened (arXiv 2105.10497): what a model does without."""

import torch
from torch import Tensor

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
"""Of the patches, blackened."""
_MOST_PATCHES = 14  # per side, as in the paper
_LEAST_SIDE = 2  # of a patch that is moved, pixels
_BLACKENED = 8  # most patches per side that are blackened


def shuffling_grids(side: int) -> list[int]:
    """Patches per side of an image of `side` pixels that are put in random order, from 1, the image as it is."""
    return [k for k in range(1, _MOST_PATCHES + 1) if side % k == 0 and (k == 1 or side // k >= _LEAST_SIDE)]


def blackening_grid(side: int) -> int:
    """Patches per side of an image of `side` pixels of which some are blackened, the same for all models."""
    return max((k for k in range(2, _BLACKENED + 1) if side % k == 0), default=side)


def shuffled(images: Tensor, grid: int, generator: torch.Generator) -> Tensor:
    """Images (B, C, r, r) with their grid * grid patches in random order, each image in its own."""
    patches = _patches(images, grid)  # (B, P, C, p, p)
    order = torch.rand(patches.shape[:2], generator=generator).argsort(1)
    return _joined(patches[torch.arange(len(images))[:, None], order], grid)


def blackened(images: Tensor, grid: int, share: float, generator: torch.Generator) -> Tensor:
    """Images (B, C, r, r) in 0..255 with a share of their grid * grid patches black, others in each image."""
    patches = _patches(images, grid)
    order = torch.rand(patches.shape[:2], generator=generator).argsort(1)
    kept = order >= round(share * grid**2)
    return _joined(patches * kept[:, :, None, None, None], grid)


def _patches(images: Tensor, grid: int) -> Tensor:
    B, C, r, _ = images.shape  # noqa: N806
    p = r // grid
    return images.reshape(B, C, grid, p, grid, p).permute(0, 2, 4, 1, 3, 5).reshape(B, grid**2, C, p, p)


def _joined(patches: Tensor, grid: int) -> Tensor:
    B, _, C, p, _ = patches.shape  # noqa: N806
    return patches.reshape(B, grid, grid, C, p, p).permute(0, 3, 1, 4, 2, 5).reshape(B, C, grid * p, grid * p)

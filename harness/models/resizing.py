"""Linear maps that resize images and grids: the same on every device, and with gradients in one order of sums."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def resizing(before: int, after: int) -> Tensor:
    """The matrix (after * after, before * before) that resizes images, row by row: bilinear, with antialiasing."""
    images = torch.eye(before**2, device="cpu").view(-1, 1, before, before)
    found = F.interpolate(images, size=(after, after), mode="bilinear", antialias=True, align_corners=False)
    return found.flatten(1).T


def resized(matrix: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (..., m, D) by a matrix (n, m): (..., n, D), in full precision.

    In outline, where the products of an image are counted, the shape alone: this is done once for all images.
    """
    if vectors.is_meta:
        return vectors.new_empty(*vectors.shape[:-2], len(matrix), vectors.shape[-1])
    with torch.autocast(vectors.device.type, enabled=False):
        return matrix @ vectors

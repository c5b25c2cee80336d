"""An intervention on locality: patches of every image moved to other places, by one fixed permutation."""

from typing import TYPE_CHECKING

import numpy as np

from harness.data.seeds import derive
from harness.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor


def moved_order(image_size: int, data: DataSpec) -> "Tensor | None":
    """Where each pixel of a moved image comes from; None where nothing is moved.

    int64 (H * W,), on the CPU, for images of side `image_size` pixels: pixel i of the moved image, counted by rows, is
    pixel order[i] of the image. One seed puts the patches in one random order; the first `moved_share` of them change
    places by a cyclic shift along it. So each of them moves, and those moved at a smaller share are among those of a
    larger one. Within a patch the pixels stay where they are.

    Raises `InvalidInput` for patches that do not tile the image, and for a share of fewer than two of them.
    """
    if data.moved_share == 0:
        return None
    import torch

    data.check_moved(image_size)
    side, grid = data.moved_patch, image_size // data.moved_patch
    chosen = np.random.default_rng(derive(data.moved_seed, "moved")).permutation(grid**2)
    chosen = chosen[: round(data.moved_share * grid**2)]
    source = np.arange(grid**2)
    source[chosen] = np.roll(chosen, 1)
    pixels = np.arange(image_size**2).reshape(grid, side, grid, side).swapaxes(1, 2)  # (g, g, p, p)
    moved = pixels.reshape(grid**2, side, side)[source].reshape(grid, grid, side, side)
    return torch.from_numpy(moved.swapaxes(1, 2).reshape(-1))

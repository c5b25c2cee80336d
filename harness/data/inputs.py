"""How images become a network's input: the one preprocessing of trainings, evaluations and loaded models."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from harness.data.subsets import derive
from harness.spec import DataSpec


@dataclass(frozen=True, eq=False)
class Inputs:
    """Normalises images by channel, then moves their pixels, where the data moves any."""

    mean: Tensor
    """float32 (C,), in units of 0..1, like `std`."""
    std: Tensor
    moved: Tensor | None
    """int64 (H * W,): the pixel of the image that each pixel of the network's input is."""

    @classmethod
    def of(cls, data: DataSpec, *, side: int, mean: Tensor, std: Tensor) -> Self:
        """For images of `side` pixels, on the device of `mean`."""
        moved = moved_order(side, data)
        return cls(mean, std, None if moved is None else moved.to(mean.device))

    def __call__(self, images: Tensor) -> Tensor:
        """The network's input, float32 (B, C, H, W), from images uint8 or float in 0..255."""
        inputs = prepare(images, self.mean, self.std)
        if self.moved is None:
            return inputs
        pixels = inputs.flatten(2)  # (B, C, H * W); on a CPU gather takes half the time of index_select, or less
        return pixels.gather(2, self.moved.expand_as(pixels)).view_as(inputs)


def prepare(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """float32 (B, C, H, W), normalised per channel, from uint8 or float images in 0..255."""
    scale = (1 / (255 * std)).view(1, -1, 1, 1)
    return (images * scale).sub_((mean / std).view(1, -1, 1, 1))


def moved_order(image_size: int, data: DataSpec) -> Tensor | None:
    """Where each pixel of a moved image comes from, an intervention on locality; None where nothing is moved.

    int64 (H * W,), on the CPU, for images of side `image_size` pixels: pixel i of the moved image, counted by rows, is
    pixel order[i] of the image. One seed puts the patches in one random order; the first `moved_share` of them change
    places by a cyclic shift along it. So each of them moves, and those moved at a smaller share are among those of a
    larger one. Within a patch the pixels stay where they are.

    Raises `InvalidInput` for patches that do not tile the image, and for a share of fewer than two of them.
    """
    if data.moved_share == 0:
        return None
    data.check_moved(image_size)
    side, grid = data.moved_patch, image_size // data.moved_patch
    chosen = np.random.default_rng(derive(data.moved_seed, "moved")).permutation(grid**2)
    chosen = chosen[: round(data.moved_share * grid**2)]
    source = np.arange(grid**2)
    source[chosen] = np.roll(chosen, 1)
    pixels = np.arange(image_size**2).reshape(grid, side, grid, side).swapaxes(1, 2)  # (g, g, p, p)
    moved = pixels.reshape(grid**2, side, side)[source].reshape(grid, grid, side, side)
    return torch.from_numpy(moved.swapaxes(1, 2).reshape(-1))

"""The order in which a training sees its images, and the one preprocessing that makes them a network's input."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.splits import AnySplit
from harness.data.subsets import derive
from harness.spec import DataSpec, InvalidInput
from harness.spec.plural import counted


class Batches:
    """Shuffled passes over a training subset, without replacement, in batches of one constant size.

    Stateless: the images of update k follow from the seed and k alone, so that a resumed training needs no saved state.
    Where a pass ends within a batch, the next pass fills it up; a batch larger than the subset spans several passes.
    """

    def __init__(self, split: AnySplit, indices: Tensor, batch_size: int, *, seed: int) -> None:
        """`indices`: int64 (n,) on the CPU, the training subset as positions in `split`; `seed`: the run's own."""
        if len(indices) == 0 or batch_size < 1:
            raise InvalidInput(
                f"A batch of {batch_size} from {counted(len(indices), 'image')}; both must be at least 1."
            )
        self.split = split
        self.indices = np.array(indices.tolist(), dtype=np.int64)  # no tensor: batches are drawn in fake mode, too
        self.batch_size = batch_size
        self.seed = seed

    def batch_indices(self, update: int) -> Tensor:
        """int64 (batch_size,): the positions in the split of update number `update`, counted from 0; on the CPU."""
        n = len(self.indices)
        start, stop = update * self.batch_size, (update + 1) * self.batch_size
        parts = []
        for epoch in range(start // n, (stop - 1) // n + 1):
            low, high = max(start - epoch * n, 0), min(stop - epoch * n, n)
            parts.append(_permutation(n, derive(self.seed, "order", epoch))[low:high])
        return torch.tensor(self.indices[np.concatenate(parts)])

    def between(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the updates start..stop-1: uint8 (B, C, H, W) and labels int64 (B,), on the split's device.

        Take one iterator for the whole training: a streamed split starts its threads for each.
        """
        orders = (self.batch_indices(update) for update in range(start, stop))
        return self.split.read(orders, seed=derive(self.seed, "crop"), start=start)


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(n)


def normalisation(split: AnySplit, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, in units of 0..1, over the training subset `indices` only.

    Two float32 tensors (C,) on the split's device. A channel that never varies gets the deviation 1, so that nothing
    is divided by zero. A streamed split is sampled, `statistics_images` images evenly over the subset.
    """
    indices = indices.cpu()
    limit = split.statistics_images
    if limit is not None and len(indices) > limit:
        indices = indices[torch.linspace(0, len(indices) - 1, limit).long()]
    levels = torch.arange(256, dtype=torch.float64)
    counts: Tensor | int = 0
    for images, _ in split.read(torch.split(indices, 1000)):
        counts = counts + torch.stack([channel.flatten().int().bincount(minlength=256) for channel in images.unbind(1)])
    assert isinstance(counts, Tensor)
    share = counts.cpu().double()
    share /= share.sum(1, keepdim=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]).square()).sum(1)
    std = torch.where(variance > 0, variance.sqrt(), 255.0)
    return (mean / 255).float().to(split.device), (std / 255).float().to(split.device)


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

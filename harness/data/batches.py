"""The order in which a training sees its images, and what they are normalised by."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.splits import AnySplit
from harness.data.subsets import derive
from harness.spec import InvalidInput
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
    counts: Tensor | None = None
    for images, _ in split.read(torch.split(indices, 1000)):
        part = torch.stack([torch.bincount(channel.flatten().int(), minlength=256) for channel in images.unbind(1)])
        counts = part if counts is None else counts + part
    assert counts is not None
    share = counts.cpu().double()
    share /= share.sum(1, keepdim=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]).square()).sum(1)
    std = torch.where(variance > 0, variance.sqrt(), 255.0)
    return (mean / 255).float().to(split.device), (std / 255).float().to(split.device)

"""A part of a data set, named by its purpose, held in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one purpose, decoded, on the device that trains.

    N images, C channels, side H = W.
    """

    images: Tensor
    """uint8 (N, C, H, W)."""
    labels: Tensor
    """int64 (N,), each in 0..classes-1."""

    statistics_images: ClassVar[int | None] = None
    """Images that the normalisation is computed from; None for all."""

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.labels.shape == self.images.shape[:1], (self.labels.shape, self.images.shape)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where `read` puts its batches."""
        return self.images.device

    def read(self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """A batch per order: images uint8 (B, C, H, W) and labels (B,), on `device`.

        An order is int64 (B,), positions in this split, on the CPU. `seed` and `start` (the number of the first order)
        matter to a split that crops at random while it reads; this one does not.
        """
        del seed, start
        for order in orders:
            at = order.to(self.device, non_blocking=True)
            yield self.images.index_select(0, at), self.labels.index_select(0, at)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in their own order, at most `size` at a time: for evaluation."""
        return self.read(in_parts(torch.arange(len(self)), size))


def split(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], device: torch.device) -> Split:
    """The images and labels of one purpose, on `device`."""
    images, labels = np.require(images, requirements="W"), np.require(labels, requirements="W")
    return Split(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device))


def in_parts(indices: Tensor, size: int) -> Iterator[Tensor]:
    """(n,) as consecutive parts of at most `size`."""
    return (indices[at : at + size] for at in range(0, len(indices), size))

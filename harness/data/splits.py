"""A part of a data set, named by its purpose: held in memory, or read from the disk by threads while a model trains."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.photographs import Reading
from harness.data.subsets import Ints, derive

if TYPE_CHECKING:
    from harness.data.photograph_source import PhotographSource

IMAGES_AHEAD = 512
"""Images, in whole batches, that are decoded ahead of the one that is waited for; at least one batch."""

CROPS_MEASURED = 2_000
"""Images that the normalisation is computed from, where they are cropped at random."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Split:
    """N decoded images of C channels and side H = W, and their labels, on the device that trains."""

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
        return self.read(torch.split(torch.arange(len(self)), size))


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Images that memory does not hold, with the interface of `Split`."""

    source: "PhotographSource"
    positions: Ints
    """Of this split's images in `source.files`."""
    labels: Tensor
    """int64 (N,), on the CPU."""
    reading: Reading
    crops: bool
    """Random resized crop and random mirror (training), or resize and centre crop (evaluation)."""
    threads: int
    """Threads that read."""
    device: torch.device
    """Where `read` puts its batches."""
    pixels: Pixels | None = None
    """The images decoded, (N, C, side, side), in a file; None where each reading decodes them anew."""

    @property
    def statistics_images(self) -> int | None:
        """As of a split in memory, but where images are cropped at random."""
        return CROPS_MEASURED if self.crops else None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """As of `Split`. The crops of the n-th order follow from `seed` and `start` + n alone."""
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="decoder")
        ahead: deque[tuple[Tensor, Iterator[Pixels]]] = deque()
        try:
            for number, order in enumerate(orders, start):
                seeds = [derive(seed, number, place) if self.crops else 0 for place in range(len(order))]
                ahead.append((order, pool.map(self._image, order.tolist(), seeds)))
                if sum(len(waiting) for waiting, _ in ahead) - len(ahead[0][0]) >= IMAGES_AHEAD:
                    yield self._batch(*ahead.popleft())
            while ahead:
                yield self._batch(*ahead.popleft())
        finally:  # also where nobody asks for the rest
            pool.shutdown(cancel_futures=True)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As of `Split`."""
        return self.read(torch.split(torch.arange(len(self)), size))

    def _image(self, at: int, seed: int) -> Pixels:
        if self.pixels is not None:
            return np.asarray(self.pixels[at])
        picture = self.source.picture(int(self.positions[at]))
        if not self.crops:
            return self.reading(picture)
        image = self.reading.photograph(picture)
        box, is_mirrored = random_box(*self.reading.frame(image), seed)
        pixels = self.reading.part(image, box)
        return pixels[:, :, ::-1] if is_mirrored else pixels

    def _batch(self, order: Tensor, decoded: Iterator[Pixels]) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(np.stack(list(decoded)))
        return images.to(self.device, non_blocking=True), self.labels[order].to(self.device, non_blocking=True)


AnySplit = Split | StreamedSplit


def split(images: Pixels, labels: Ints, device: torch.device) -> Split:
    """The images and labels of one purpose, on `device`."""
    images, labels = np.require(images, requirements="W"), np.require(labels, requirements="W")
    return Split(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device))


def random_box(wide: int, high: int, seed: int) -> tuple[tuple[float, float, float, float], bool]:
    """8 to 100 % of a frame at an aspect of 3/4 to 4/3: (left, top, right, bottom), and whether to mirror it."""
    rng = np.random.default_rng(seed)
    w = h = min(wide, high)
    left, top = (wide - w) // 2, (high - h) // 2
    for _ in range(10):
        area, aspect = rng.uniform(0.08, 1) * wide * high, np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        across, down = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < across <= wide and 0 < down <= high:
            left, top = int(rng.integers(wide - across + 1)), int(rng.integers(high - down + 1))
            w, h = across, down
            break
    return (left, top, left + w, top + h), bool(rng.random() < 0.5)

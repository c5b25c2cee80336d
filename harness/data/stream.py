"""Images that memory does not hold, read while a model trains: by threads, with the same interface as `Split`."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.photograph_source import PhotographSource
from harness.data.photographs import Picture, Reading
from harness.data.seeds import derive
from harness.data.splits import Split, in_parts
from harness.data.subsets import Ints

IMAGES_AHEAD = 512
"""Images, in whole batches, that are decoded ahead of the one that is waited for; at least one batch."""


CROPS_MEASURED = 2_000
"""Images that the normalisation is computed from, where they are cropped at random."""


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Images of one purpose that stay on disk."""

    source: PhotographSource
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
    pixels: npt.NDArray[np.uint8] | None = None
    """The images decoded, (N, C, side, side), in a file; None where each reading decodes them anew."""

    @property
    def statistics_images(self) -> int | None:
        """As of a split in memory, but where images are cropped at random."""
        return CROPS_MEASURED if self.crops else None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def pictures(self) -> Sequence[Picture]:
        """What the images are decoded from."""
        return self.source.pictures(self.positions.tolist())

    def read(self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """A batch per order: images uint8 (B, C, S, S) and labels (B,), on `device`.

        An order is int64 (B,), positions in this split. The crops of the n-th order follow from `seed` and `start` + n
        alone, so that a resumed training sees the same ones.
        """
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="decoder")
        ahead: deque[_Batch] = deque()
        try:
            for number, order in enumerate(orders, start):
                ahead.append(self._begin(pool, order, seed, number))
                if sum(len(batch.labels) for batch in ahead) - len(ahead[0].labels) >= IMAGES_AHEAD:
                    yield self._finish(ahead.popleft())
            while ahead:
                yield self._finish(ahead.popleft())
        finally:  # also where nobody asks for the rest
            pool.shutdown(cancel_futures=True)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in their own order, at most `size` at a time: for evaluation."""
        return self.read(in_parts(torch.arange(len(self)), size))

    def _begin(self, pool: ThreadPoolExecutor, order: Tensor, seed: int, number: int) -> "_Batch":
        shape = len(order), self.reading.channels, self.reading.side, self.reading.side
        images = torch.empty(shape, dtype=torch.uint8)
        pixels = images.numpy()

        def decode(place: int, at: int) -> None:
            pixels[place] = self._image(at, derive(seed, number, place) if self.crops else 0)

        jobs = [pool.submit(decode, place, at) for place, at in enumerate(order.tolist())]
        return _Batch(images, self.labels[order], jobs)

    def _image(self, at: int, seed: int) -> npt.NDArray[np.uint8]:
        if self.pixels is not None:
            kept: npt.NDArray[np.uint8] = self.pixels[at]
            return kept
        (picture,) = self.source.pictures([int(self.positions[at])])
        if not self.crops:
            return self.reading(picture)
        image = self.reading.photograph(picture)
        box, is_mirrored = random_box(*self.reading.frame(image), seed)
        pixels = self.reading.part(image, box)
        return pixels[:, :, ::-1] if is_mirrored else pixels

    def _finish(self, batch: "_Batch") -> tuple[Tensor, Tensor]:
        for job in batch.jobs:
            job.result()
        return batch.images.to(self.device, non_blocking=True), batch.labels.to(self.device, non_blocking=True)


AnySplit = Split | StreamedSplit


@dataclass(frozen=True, eq=False)
class _Batch:
    """What is being decoded."""

    images: Tensor
    labels: Tensor
    jobs: list[Future[None]]
    """One per image; each fills its place."""


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

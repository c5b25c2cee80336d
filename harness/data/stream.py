"""ImageNet, read from its folder while it trains: decoded by worker processes, with the same interface as `Split`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.data.folders import opened
from harness.data.seeds import derive
from harness.data.splits import in_parts

Job = tuple[str, int, int | None]
"""A file, its label and, for training, the seed that its crop is drawn from."""


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Images of one purpose that stay on disk; each reading decodes them anew."""

    root: Path
    files: tuple[str, ...]
    """Paths relative to `root`."""
    labels: Tensor
    """int64 (N,), on the CPU."""
    image_size: int
    """Side of the crop, pixels."""
    crops: bool
    """Random resized crop and random mirror (training), or resize and centre crop (evaluation)."""
    workers: int
    """Processes that decode; 0 decodes in this one."""
    device: torch.device
    """Where `read` puts its batches."""

    statistics_images: ClassVar[int | None] = 2_000

    def __len__(self) -> int:
        return len(self.files)

    def read(self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """A batch per order: images uint8 (B, 3, S, S) and labels (B,), on `device`.

        An order is int64 (B,), positions in this split. The crops of the n-th order follow from `seed` and `start` + n
        alone, so that a resumed training sees the same ones.
        """
        decoder = _Decoder(self.root, self.image_size)
        loader = DataLoader(
            decoder,
            batch_sampler=_Jobs(self, orders, seed, start),
            num_workers=self.workers,
            collate_fn=_stack,
            generator=torch.Generator(),  # its own, so that reading does not advance the global one
        )
        for images, labels in loader:
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in their own order, at most `size` at a time: for evaluation."""
        return self.read(in_parts(torch.arange(len(self)), size))


class _Jobs:
    """Turns orders into lists of what to decode, in the process that trains."""

    def __init__(self, split: StreamedSplit, orders: Iterable[Tensor], seed: int, start: int) -> None:
        self.split, self.orders, self.seed, self.start = split, orders, seed, start

    def __iter__(self) -> Iterator[list[Job]]:
        for number, order in enumerate(self.orders, self.start):
            labels = self.split.labels[order].tolist()
            yield [
                (self.split.files[at], label, derive(self.seed, number, place) if self.split.crops else None)
                for place, (at, label) in enumerate(zip(order.tolist(), labels, strict=True))
            ]


class _Decoder(Dataset[tuple[Tensor, int]]):
    def __init__(self, root: Path, side: int) -> None:
        self.root, self.side = root, side

    def __getitem__(self, job: Job) -> tuple[Tensor, int]:
        name, label, seed = job
        with opened(self.root / name) as image:
            rgb = image.convert("RGB")
            fitted = centre_crop(rgb, self.side) if seed is None else random_crop(rgb, self.side, seed)
        return torch.from_numpy(np.asarray(fitted).transpose(2, 0, 1).copy()), label


def _stack(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


def random_crop(image: Any, side: int, seed: int) -> Any:
    """8 to 100 % of a PIL image at an aspect of 3/4 to 4/3, mirrored half the time, resized to `side` pixels."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    wide, high = image.size
    box = _centre_box(wide, high)
    for _ in range(10):
        area, aspect = rng.uniform(0.08, 1) * wide * high, np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= wide and 0 < h <= high:
            left, top = int(rng.integers(wide - w + 1)), int(rng.integers(high - h + 1))
            box = (left, top, left + w, top + h)
            break
    cropped = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cropped


def centre_crop(image: Any, side: int) -> Any:
    """The middle 7/8 of a PIL image's shorter side, as a square of `side` pixels (at 224: resize to 256, crop 224)."""
    from PIL import Image

    left, top, right, bottom = _centre_box(*image.size)
    margin = (right - left) / 16
    box = (left + margin, top + margin, right - margin, bottom - margin)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _centre_box(wide: int, high: int) -> tuple[int, int, int, int]:
    edge = min(wide, high)
    left, top = (wide - edge) // 2, (high - edge) // 2
    return left, top, left + edge, top + edge

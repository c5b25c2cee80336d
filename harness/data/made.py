"""Splits of made images: in memory, or made whenever they are read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness.data.rendering import Renderer
from harness.data.sending import sent
from harness.data.splits import AnySplit, Split

HELD_BYTES = 200_000_000
"""A part of at most so many is made once and held: a matter of the images alone, never of the machine."""

_MEASURED = 10_000

_TOGETHER = {"cpu": 2**16, "cuda": 2**22}
"""Pixels that are made at a time: on a CPU few enough for its caches, on a GPU enough to keep it busy."""


@dataclass(frozen=True, eq=False)
class HeldSplit(Split):
    """The first images of a renderer."""

    measured: ClassVar[int | None] = _MEASURED


@dataclass(frozen=True, eq=False)
class MadeSplit(AnySplit):
    """The first `size` images of a renderer, each made whenever it is read. Subsets of it are the first ones."""

    renderer: Renderer
    size: int
    measured: ClassVar[int | None] = _MEASURED
    is_counted: ClassVar[bool] = True

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.renderer.device

    @property
    def labels(self) -> Tensor:  # type: ignore[override]
        return self.renderer.labels(torch.arange(self.size, device=self.device))

    def __len__(self) -> int:
        return self.size

    def read(
        self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0, places: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `AnySplit`. Several short orders are made together, which on a GPU takes the time of one."""
        waiting: list[Tensor] = []
        for order in orders:
            waiting.append(order)
            if sum(map(len, waiting)) >= self._at_once:
                yield from self._made(waiting)
                waiting = []
        yield from self._made(waiting)

    def keys(self, most_bytes: int | None) -> None:
        """Not told: no two numbers have the same image."""

    @property
    def _at_once(self) -> int:
        pixels = self.renderer.objects.channels * self.renderer.made.side**2
        return max(1, _TOGETHER.get(self.device.type, 2**20) // pixels)

    def _made(self, orders: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        if not orders:
            return
        blocks = torch.split(sent(torch.cat(orders), self.device), self._at_once)
        images, labels = map(torch.cat, zip(*map(self.renderer.images, blocks), strict=True))
        lengths = list(map(len, orders))
        yield from zip(torch.split(images, lengths), torch.split(labels, lengths), strict=True)


def made_split(renderer: Renderer, size: int) -> AnySplit:
    """The first `size` images: held where they take at most `HELD_BYTES`, else made in each pass."""
    split = MadeSplit(renderer, size)
    if size * renderer.objects.channels * renderer.made.side**2 > HELD_BYTES:
        return split
    ((images, labels),) = split.read([torch.arange(size)])
    return HeldSplit(images, labels)

"""`classes:FIRST-LAST:SOURCE`: some classes of a set of arrays, numbered anew from 0, for a task of their own."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.array_source import ArraySource
from harness.data.source import Part
from harness.data.sources import find
from harness.spec import SourceFacts
from harness.spec.errors import InvalidInput, require

EVEN = ("fashion_mnist", "cifar10", "cifar100")
"""Named sets with as many images of each class: what is known of a part of one is known without reading it."""


class Classes(ArraySource):
    """The images of classes `first` to `last`, counted from 0, both included."""

    def __init__(self, argument: str) -> None:
        self.name = f"classes:{argument}"
        wanted, _, inner = argument.partition(":")
        first, _, last = wanted.partition("-")
        if not (first.isdecimal() and last.isdecimal() and int(first) < int(last) and inner):
            told = "it must be classes:FIRST-LAST:SOURCE with two classes or more, as classes:0-4:fashion_mnist"
            raise InvalidInput(f"data.source is {self.name!r}; {told}.")
        self.first, self.last = int(first), int(last)
        whole = find(inner)
        if not isinstance(whole, ArraySource):
            raise InvalidInput(f"data.source is {self.name!r}; classes are taken of sets of arrays: name one.")
        self.whole = whole

    def arrays(self, part: Part) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        has_part = (
            part != "validation" or self.whole.facts().own_validation
        )  # a named set has others for a part it lacks
        if not has_part or (found := self.whole.arrays(part)) is None:
            return None
        images, labels = found
        at = np.flatnonzero((labels >= self.first) & (labels <= self.last))
        return images[at], labels[at] - self.first

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        whole, number = self.whole.facts(image_size, channels), self.last - self.first + 1
        told = f"data.source is {self.name!r}; {self.whole.name} has {whole.classes} classes, 0 to {whole.classes - 1}"
        require(self.last < whole.classes, f"{told}. Take classes among these.")
        if self.whole.name not in EVEN:
            return super().facts(image_size, channels)
        sizes = ("train_images", "test_images", "validation_images")
        share = {name: getattr(whole, name) * number // whole.classes for name in sizes}
        return replace(whole, classes=number, **share)

    def content_hash(self) -> str:
        return hashlib.sha256(f"{self.first}-{self.last} {self.whole.content_hash()}".encode()).hexdigest()


def open_source(kind: str, argument: str) -> Classes:
    """See `harness.data.sources`."""
    del kind
    return Classes(argument)

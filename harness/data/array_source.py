"""Images that are arrays: named sets, files of numpy, what a function returns."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from harness.data.cache import Bytes, stored
from harness.data.source import Pair, Part, Phase, check_memory, memory_needed
from harness.data.subsets import Ints, parted
from harness.spec import NAMED_SOURCES, DataSpec, SourceFacts
from harness.spec.errors import require
from harness.spec.formats import counted

if TYPE_CHECKING:
    import torch

    from harness.data.splits import Splits

PARTS: tuple[Part, ...] = ("train", "validation", "test")


class ArraySource(ABC):
    """Arrays by part. A source gives `name` and `arrays`; what is known of them and their hash follow."""

    photographs: ClassVar[bool] = False
    is_named: ClassVar[bool] = False  # whether it is one of `NAMED_SOURCES`, known without being read
    name: str  # as a user writes it: `npz:PATH`

    @abstractmethod
    def arrays(self, part: Part) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        """Images and labels of a part, as `as_pair` takes them; None where there is no part `validation`."""

    @cached_property
    def _parts(self) -> dict[Part, Pair]:
        """All parts, checked: of images of one shape and classes that `train` has all of."""
        given = {part: pair for part in PARTS if (pair := self.arrays(part)) is not None}
        require(
            {"train", "test"} <= set(given), f"{self.name} has parts {', '.join(given)}; it must have train and test."
        )
        found = {part: as_pair(f"{part} in {self.name}", *pair) for part, pair in given.items()}
        shape, counts = found["train"][0].shape[1:], np.bincount(found["train"][1])
        require(
            len(counts) >= 2 and bool(counts.min() >= 2),
            f"{self.name} has {counted(len(counts), 'class')}, numbered from 0, and class {counts.argmin()} has "
            f"{counted(counts.min(), 'training image')}; it needs at least two of each: to train and to validate on."
            + (f" {_NUMBER_ANEW}" if len(counts) > 1 and not counts.min() else ""),
        )
        for part, (images, labels) in found.items():
            require(
                images.shape[1:] == shape and bool(labels.max() < len(counts)),
                f"{self.name}: images of {part} have the shape {images.shape[1:]} and classes up to {labels.max()}, "
                f"those of train {shape} and {len(counts) - 1}; they must be the same, and no class new.",
            )
        return found

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        """See `Source`; a tenth is held out for validation where the source has no such part."""
        if self.is_named:
            known = NAMED_SOURCES[self.name]
            return replace(known, image_size=image_size or known.image_size)
        images, labels = self._parts["train"]
        classes, own = int(labels.max()) + 1, self._parts.get("validation")
        return SourceFacts(
            image_size=image_size or images.shape[-1],
            channels=images.shape[1],
            classes=classes,
            train_images=len(labels),
            test_images=len(self._parts["test"][1]),
            validation_images=max(classes, round(len(labels) / 10)) if own is None else len(own[1]),
            own_validation=own is not None,
        )

    def content_hash(self) -> str:
        """SHA-256 over the parts' names, shapes, images and labels."""
        digest = hashlib.sha256()
        for part, (images, labels) in self._parts.items():
            digest.update(f"{part} {images.shape}\n".encode())
            digest.update(np.ascontiguousarray(images).data)
            digest.update(labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def read(self, spec: DataSpec, facts: SourceFacts, *, device: "torch.device", phase: Phase) -> "Splits":
        """See `Source`: in memory, at the size of `facts`."""
        from harness.data.splits import split

        check_memory(spec.source, facts, memory_needed(facts))
        wanted = {"train": True, "validation": facts.own_validation, "test": phase == "confirm" or spec.resplit}
        pairs = {part: self._resized(part, facts.image_size) for part in PARTS if wanted[part]}
        labels: dict[str, Ints] = {part: labels for part, (_, labels) in pairs.items()}
        chosen = parted({**labels, "test": labels.get("test", np.zeros(0, dtype=np.int64))}, spec, tested=0)
        if phase == "tune":
            del chosen["test"]
        return {part: split(*taken(list(pairs.values()), at), device) for part, at in chosen.items()}

    def is_held(self, facts: SourceFacts) -> bool:
        """Whether memory holds all images, of which each seed can then draw its own; else `read` refuses them."""
        return True

    def _resized(self, part: Part, side: int) -> Pair:
        """A part at the size asked for; what was resized is kept in the cache."""
        pair = self.arrays(part) if self.is_named else self._parts[part]  # of a named one no other part is read
        assert pair is not None
        images, labels = pair
        if images.shape[-1] == side:
            return images, labels
        key, shape = f"resized 1 {self.content_hash()} {part} {side}", (*images.shape[:2], side, side)
        return stored(key, shape, lambda: resized(images, side)), labels

    def outline(self, spec: DataSpec) -> Mapping[str, Any]:
        return {"origins": {} if self.facts().own_validation else {"validation": "held out of the training part"}}

    def names(self, spec: DataSpec) -> Mapping[str, Sequence[str]]:
        return {}


def taken(pairs: Sequence[Pair], at: Ints) -> Pair:
    """Images and labels at ascending positions, counted through all pairs one after the other; each copied once."""
    images = np.empty((len(at), *pairs[0][0].shape[1:]), dtype=np.uint8)
    start = done = 0
    for of_part, labels in pairs:
        inside = at[(start <= at) & (at < start + len(labels))] - start
        np.take(of_part, inside, axis=0, out=images[done : done + len(inside)], mode="clip")  # "raise" copies twice
        start, done = start + len(labels), done + len(inside)
    return images, np.concatenate([labels for _, labels in pairs])[at]


def resized(images: Bytes, side: int) -> Iterator[Bytes]:
    """(N, C, H, W) to blocks of (n, C, side, side), bilinear with antialiasing, a thousand images at a time."""
    import torch
    from torch.nn import functional

    for at in range(0, len(images), 1000):
        part = torch.from_numpy(images[at : at + 1000].astype(np.float32))
        fitted = functional.interpolate(part, size=(side, side), mode="bilinear", antialias=True)
        yield fitted.round_().clamp_(0, 255).byte().numpy()


def as_pair(where: str, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Pair:
    """Arrays from anywhere as images uint8 (N, C, H, H) and labels int64 (N,).

    Images are uint8, (N, H, H), (N, H, H, C) or (N, C, H, H), with 1 or 3 channels; labels are whole numbers from 0,
    (N,) or (N, 1). Raises `InvalidInput`, naming `where`, for anything else.
    """
    shape = images.shape
    if len(shape) == 3:
        images = images[:, None]
    elif len(shape) == 4 and shape[3] in (1, 3) and shape[1] == shape[2]:
        images = images.transpose(0, 3, 1, 2)
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    require(
        images.dtype == np.uint8
        and images.ndim == 4
        and images.shape[1] in (1, 3)
        and images.shape[2] == images.shape[3] > 0,
        f"The images of {where} are of type {images.dtype} and shape {shape}; they must be uint8 (levels of 0 to 255) "
        "of shape (N, H, H), (N, H, H, C) or (N, C, H, H), of squares with 1 or 3 channels."
        f"{_images_remedy(images)}",
    )
    require(
        flat.ndim == 1 and flat.dtype.kind in "iu" and len(flat) == len(images) > 0,
        f"The labels of {where} are of type {labels.dtype} and shape {labels.shape}; they must be whole numbers, one "
        f"for each of {counted(len(images), 'image')}.{_labels_remedy(labels, len(images))}",
    )
    require(
        flat.min() >= 0 and flat.max() < len(flat) + 10**6,
        f"The labels of {where} go from {flat.min()} to {flat.max()}; they must number the classes from 0 on. "
        f"{_NUMBER_ANEW}",
    )
    return np.ascontiguousarray(images), flat.astype(np.int64)


_NUMBER_ANEW = "Number them anew, those of all parts together: np.unique(labels, return_inverse=True)[1]."


def _images_remedy(images: npt.NDArray[Any]) -> str:
    """How to make images of arrays as others keep them, as a sentence with a space before it; empty where unknown."""
    kind, pixels = images.dtype.kind, images[0].size if images.ndim > 1 and len(images) else 0
    if kind == "f" and images.size and images.min() >= 0 and images.max() <= 1:
        return " Convert them: (255 * images).round().astype('uint8')."
    if kind == "b":
        return " Convert them: 255 * images.astype('uint8')."
    if images.dtype == np.uint16:
        return " Convert them: (images // 257).astype('uint8')."
    if kind in "iu" and images.size and images.min() >= 0 and images.max() <= 255 and images.dtype != np.uint8:
        return " Convert them: images.astype('uint8')."
    if images.ndim < 4 and (side := math.isqrt(pixels)) ** 2 == pixels > 0:
        return f" Shape them: images.reshape(-1, {side}, {side})."
    return ""


def _labels_remedy(labels: npt.NDArray[Any], images: int) -> str:
    """How to make labels of arrays as others keep them, as a sentence with a space before it; empty where unknown."""
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and len(labels) == images and (labels.sum(1) == 1).all():
        return " Take the class of each row: labels.argmax(1)."
    if labels.dtype.kind in "USO":
        return f" {_NUMBER_ANEW}"
    if labels.dtype.kind == "f" and labels.ndim == 1 and (labels == np.floor(labels)).all():
        return " Convert them: labels.astype(int)."
    return ""

"""inside.json: what was seen inside the best model of each arm. Reports draw from it, without the models.

Numbers have four significant digits, whole ones no point. Nested tuples are arrays, whose shapes are checked when they
are read.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.records.files import adapter, read_json, reading, write_text
from harness.spec import to_plain

NAME = "inside.json"

Numbers = tuple[float, ...]
Matrix = tuple[Numbers, ...]
Cube = tuple[Matrix, ...]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AttentionSeen:
    """How far heads attend, and where; of a vision transformer of L blocks, H heads and g * g patches."""

    distances: Matrix  # (L, H), pixels of the image: the mean over the images
    even: float  # the distance of attention that is the same everywhere, pixels
    rollout: Cube  # (n, g, g), attention rollout of some images, each of sum 1
    images: tuple[Cube, ...]  # (n, h, w, C), these images, 0 to 255, at most 64 pixels wide
    half_share: float  # of the patches, which holds half of a rollout, the mean over all images


@dataclass(frozen=True, kw_only=True)
class AttentionAtSize:
    """How far heads attend in the best model with some number of training images; L blocks of H heads."""

    train_size: int
    digest: str  # of the run whose model it is
    distances: Matrix  # (L, H), as in AttentionSeen

    @property
    def lower(self) -> Numbers:
        """The distances of the heads in the lower half of the blocks."""
        return tuple(far for row in self.distances[: max(1, len(self.distances) // 2)] for far in row)


@dataclass(frozen=True, kw_only=True)
class FiltersSeen:
    """Principal components of the linear map of patches."""

    components: tuple[Cube, ...]  # (k, C, p, p)
    shares: Numbers  # (k,), of the variance


@dataclass(frozen=True, kw_only=True)
class PositionsSeen:
    """Cosines between position embeddings."""

    maps: tuple[Cube, ...]  # (t, t, g, g): of t * t patches, evenly taken, each to all
    beside: float | None  # means over patches side by side, others of one row or column, and all others
    in_line: float | None
    elsewhere: float | None


@dataclass(frozen=True, kw_only=True)
class SimilaritySeen:
    """CKA with the blocks of another model."""

    other: str  # its arm, and the digest of its run
    digest: str
    cka: Matrix  # (L, its L)


@dataclass(frozen=True, kw_only=True)
class InsideArm:
    """What was seen in one model."""

    arm: str
    digest: str  # of the run whose model it is
    images: int  # test images that it was shown
    side: int  # of an image, pixels
    shuffled: tuple[tuple[int, float], ...]  # patches per side in random order, 1 for the image as it is, and accuracy
    blackened: tuple[tuple[float, float], ...]  # share of the patches that are black, and accuracy
    black_side: int  # of such a patch, pixels
    field: Matrix  # (h, h), effective receptive field, at most 1; at most 64 pixels wide
    middle: float  # where its middle lies on either axis, pixels of the image
    half_side: float  # of the square around it that holds half of the field, pixels of the image
    attention: AttentionSeen | None = None
    filters: FiltersSeen | None = None
    positions: PositionsSeen | None = None
    similarity: SimilaritySeen | None = None
    by_size: tuple[AttentionAtSize, ...] | None = None
    """By ascending training size, in studies of several; None of fewer than two models, or without attention."""

    def __post_init__(self) -> None:
        for part in (self, self.attention, self.filters, self.positions, self.similarity, *(self.by_size or ())):
            for item in fields(part) if part else ():
                value = getattr(part, item.name)
                if (
                    item.name != "by_size"
                    and isinstance(value, tuple)
                    and (not value or not np.array(value, dtype=np.float64).size)
                ):
                    raise ValueError(f"{item.name} is empty")


def write_insides(folder: Path, found: Iterable[InsideArm]) -> None:
    """Keep what was seen, arm by arm, in a study's results folder."""
    dense: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    arms = [json.dumps(_rounded(to_plain(arm)), **dense) for arm in found]
    write_text(folder / NAME, "[" + ",\n".join(arms) + "]\n")


def read_insides(folder: Path) -> tuple[InsideArm, ...]:
    """What was kept; nothing where there is no such file, `RecordsError` for one that is not whole."""
    path = folder / NAME
    if not os.path.lexists(path):
        return ()
    with reading(path):
        found: tuple[InsideArm, ...] = adapter(tuple[InsideArm, ...]).validate_python(read_json(path))
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        short = float(f"{value:.4g}")
        return int(short) if short.is_integer() else short
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value

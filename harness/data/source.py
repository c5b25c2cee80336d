"""What every source of images can tell and give; the files in `harness/data/sources/` have one or more each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from harness.data.subsets import Ints
from harness.spec import DataSpec, InvalidInput, SourceFacts
from harness.spec.errors import require
from harness.spec.functions import line_of

if TYPE_CHECKING:  # plans ask for facts and hashes, and must not wait for torch
    import torch

    from harness.data.splits import Splits

Part = Literal["train", "validation", "test"]
Phase = Literal["tune", "confirm"]
Pair = tuple[npt.NDArray[np.uint8], Ints]
"""Images uint8 (N, C, H, W) and labels int64 (N,)."""


class SizeNeeded(InvalidInput):
    """The images of a source have no size in common, so that one must be chosen."""


@runtime_checkable
class Source(Protocol):
    """A set of images, opened. All methods raise `InvalidInput` for data that is missing, damaged or cannot be used.

    One may have a method `is_held(facts) -> bool` besides: whether memory holds all images of these facts, so that each
    seed can draw its own (`data.resplit`); its `read` then takes the splits of `subsets.parted`.
    """

    photographs: ClassVar[bool]
    """Whether `data.fit`, `data.background` and `data.channels` say how its images are read."""

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        """Shape and sizes, of images resized to `image_size` (pixels) and read with `channels`; None for their own."""

    def content_hash(self) -> str:
        """SHA-256 identity of images and labels, 64 hexadecimal digits."""

    def read(self, spec: DataSpec, facts: SourceFacts, *, device: "torch.device", phase: Phase) -> "Splits":
        """The splits `train`, `validation` and, in phase `confirm` alone, `test`, of a resolved specification."""

    def outline(self, spec: DataSpec) -> Mapping[str, Any]:
        """Fields of `records.data_facts.DataFacts` that are known without decoding an image."""

    def names(self, spec: DataSpec) -> Mapping[str, Sequence[str]]:
        """The images of each split by name; empty where they have none."""


@contextmanager
def refused(what: str, remedy: str = "", *, file: Path | None = None) -> Iterator[None]:
    """Turn whatever is raised within into an `InvalidInput` that says `what` went wrong, and where in `file`."""
    try:
        yield
    except InvalidInput:
        raise
    except (Exception, SystemExit) as error:
        where = f" at {line}" if file and (line := line_of(error, file)) else ""
        raise InvalidInput(f"{what}{where}: {type(error).__name__}: {error}. {remedy}") from error


def memory_needed(facts: SourceFacts) -> int:
    """Bytes of all images."""
    return facts.images * facts.channels * facts.image_size**2


def memory_limit() -> int:
    """Bytes that a set may take: half of the machine's memory, as it is copied once."""
    import psutil

    return int(psutil.virtual_memory().total) // 2


def check_memory(what: str, facts: SourceFacts, needed: int) -> None:
    """Refuse `needed` bytes of images that cannot be held."""
    require(
        needed <= memory_limit(),
        f"{what} at {facts.image_size} pixels takes {needed / 1e9:.1f} GB of memory, more than half of this machine's "
        f"({memory_limit() / 1e9:.1f} GB). Lower data.image_size.",
    )

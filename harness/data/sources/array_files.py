"""Arrays of numpy: one .npz file, or a folder of .npy files.

Both hold `x_train`, `y_train`, `x_test`, `y_test` and, for a validation part of its own, `x_val`, `y_val`; or, by their
other names, `train_images`, `train_labels`, `test_images`, `test_labels`, `val_images`, `val_labels`. See
`harness.data.array_source.as_pair` for their shapes and types.
"""

import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from harness.data.array_source import ArraySource
from harness.data.source import Part, memory_limit
from harness.spec import InvalidInput
from harness.spec.errors import require

NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""Images and labels of a part, by either of two names."""

_DAMAGES = (ValueError, EOFError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def open_source(kind: str, path: str) -> "ArrayFiles":
    """The file or folder. Raises `InvalidInput` where it is not there."""
    place = Path(path).expanduser()
    if kind == "npz":
        require(place.is_file(), f"There is no file {place} (data.source=npz:{path}).")
        return Npz(f"npz:{place}", place)
    require(place.is_dir(), f"There is no folder {place} (data.source=npy:{path}).")
    return NpyFolder(f"npy:{place}", place)


@dataclass
class ArrayFiles(ArraySource):
    """Arrays by name."""

    name: str
    place: Path

    @abstractmethod
    def names(self) -> set[str]:
        """Of the arrays that are there."""

    @abstractmethod
    def array(self, name: str) -> npt.NDArray[Any]:
        """One of them."""

    def arrays(self, part: Part) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        there = self.names()
        for images, labels in NAMES[part]:
            if images in there and labels in there:
                return self.array(images), self.array(labels)
            if {images, labels} & there:
                lacking = labels if images in there else images
                raise InvalidInput(f"{self.name} lacks {lacking}; images and labels go together.")
        if part == "validation":
            return None
        ways = " or ".join(" and ".join(pair) for pair in NAMES[part])
        raise InvalidInput(f"{self.name} lacks {ways}. It has {', '.join(sorted(there)[:10]) or 'no array'}.")


class Npz(ArrayFiles):
    """One file."""

    def names(self) -> set[str]:
        with self._archive() as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}

    def array(self, name: str) -> npt.NDArray[Any]:
        with self._archive() as archive, archive.open(f"{name}.npy") as file:
            return read_array(file, archive.getinfo(f"{name}.npy").file_size, name)

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        with refused(self.place), zipfile.ZipFile(self.place) as archive:
            yield archive


class NpyFolder(ArrayFiles):
    """A file for each array."""

    def names(self) -> set[str]:
        return {path.stem for path in self.place.glob("*.npy") if path.is_file()}

    def array(self, name: str) -> npt.NDArray[Any]:
        path = self.place / f"{name}.npy"
        with refused(path), path.open("rb") as file:
            return read_array(file, path.stat().st_size, name)


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """What a damaged file raises, as `InvalidInput` with its name."""
    try:
        yield
    except InvalidInput:
        raise
    except _DAMAGES as error:
        raise InvalidInput(f"{path} cannot be read: {error}. Replace it.") from error


def read_array(file: IO[bytes], size: int, name: str) -> npt.NDArray[Any]:
    """The array in the `size` bytes of a .npy file: nothing is unpickled, nor allocated that they do not fill."""
    if size > memory_limit():
        raise ValueError(f"{name} takes {size / 1e9:.1f} GB, more than half of this machine's memory")
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, is_fortran, dtype = readers[version](file)
    except Exception as error:  # numpy parses a literal of Python, and passes on whatever its tokenizer raises
        raise ValueError(f"{name} has no header that can be read") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} is of type {dtype}; images must be uint8, labels whole numbers")
    content = file.read(size)
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name} announces the shape {shape} of {dtype}, but {len(content)} bytes follow")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")

"""Arrays of numpy: one .npz file, or a folder of .npy files.

Both hold `x_train`, `y_train`, `x_test`, `y_test` and, for a validation part of its own, `x_val`, `y_val`; or, by their
other names, `train_images`, `train_labels`, `test_images`, `test_labels`, `val_images`, `val_labels`. See
`harness.data.array_source.as_pair` for their shapes and types.
"""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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


def open_source(kind: str, path: str) -> "Arrays":
    """The file or folder. Raises `InvalidInput` where it is not there."""
    place = Path(path).expanduser()
    if kind == "npy":
        require(place.is_dir(), f"There is no folder {place} (data.source=npy:{path}).")
        return Arrays(f"npy:{place}", {path.stem: partial(_of_file, path) for path in place.glob("*.npy")})
    require(place.is_file(), f"There is no file {place} (data.source=npz:{path}).")
    with _refused(place), zipfile.ZipFile(place) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    return Arrays(f"npz:{place}", {name: partial(_of_archive, place, name) for name in names})


@dataclass
class Arrays(ArraySource):
    """Arrays, tensors, or functions that read them, by name."""

    name: str
    found: Mapping[str, Any]

    def arrays(self, part: Part) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        for pair in NAMES[part]:
            there = [name for name in pair if name in self.found]
            if there:
                lacking = [name for name in pair if name not in self.found]
                require(not lacking, f"{self.name} lacks {''.join(lacking)}; images and labels go together.")
                return self._array(pair[0]), self._array(pair[1])
        if part == "validation":
            return None
        ways = " or ".join(" and ".join(pair) for pair in NAMES[part])
        raise InvalidInput(f"{self.name} lacks {ways}. It has {', '.join(sorted(self.found)[:10]) or 'no array'}.")

    def _array(self, name: str) -> npt.NDArray[Any]:
        with _refused(f"{name} of {self.name}"):
            value = self.found[name]
            value = value() if callable(value) else value
            return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _of_file(path: Path) -> npt.NDArray[Any]:
    _check_size(path.stat().st_size)
    found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    return found


def _of_archive(place: Path, name: str) -> npt.NDArray[Any]:
    with zipfile.ZipFile(place) as archive, archive.open(f"{name}.npy") as file:
        _check_size(archive.getinfo(f"{name}.npy").file_size)
        found: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return found


def _check_size(size: int) -> None:
    if size > memory_limit():
        raise ValueError(f"it takes {size / 1e9:.1f} GB, more than half of this machine's memory")


@contextmanager
def _refused(what: object) -> Iterator[None]:
    """What a damaged file raises, as `InvalidInput` with its name."""
    try:
        yield
    except Exception as error:  # numpy parses a literal of Python, and passes on whatever that raises
        raise InvalidInput(f"{what} cannot be read: {type(error).__name__}: {error}. Replace it.") from error

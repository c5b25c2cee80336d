"""Arrays: `npz:PATH`, `npy:PATH` (a folder of .npy files), or what a function makes, `python:MODULE:FUNCTION`.

They are named as in `NAMES`; `array_source.as_pair` tells their shapes and types. `python:PATH.py:FUNCTION` is of a
file, such as a study's. The function takes no argument and returns a dict of arrays or tensors, or a `Source`.
"""

import contextlib
import hashlib
import importlib
import inspect
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.array_source import ArraySource
from harness.data.source import Part, Source, memory_limit, refused
from harness.spec import InvalidInput
from harness.spec.checks import nearest
from harness.spec.errors import require
from harness.spec.functions import at_hand, load_file, source_of

NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""Images and labels of a part, by either of two names."""


def open_source(kind: str, argument: str) -> Source:
    """The file or folder, or what the function makes, which is called once in a process. Raises `InvalidInput`."""
    if kind == "python":
        return _of_function(argument)
    place = Path(argument).expanduser()
    if kind == "npy":
        require(place.is_dir(), f"There is no folder {place} (data.source=npy:{argument}).")
        files = list(place.glob("*.npy"))
        _check_sizes(path.stat().st_size for path in files)
        return Arrays(f"npy:{place}", {path.stem: partial(np.load, path, allow_pickle=False) for path in files})
    require(place.is_file(), f"There is no file {place} (data.source=npz:{argument}).")
    with refused(f"{place} cannot be read", "Replace it."), zipfile.ZipFile(place) as archive:
        _check_sizes(info.file_size for info in archive.infolist())
        return Arrays(f"npz:{place}", np.load(place, allow_pickle=False))  # reads an array when it is asked for


@dataclass
class Arrays(ArraySource):
    """Arrays, tensors, or functions that read them, by name."""

    name: str
    found: Mapping[str, Any]
    code: str | None = None  # hash of the source of the function that made them, and of the user's code that it uses

    def arrays(self, part: Part) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        for names in NAMES[part]:
            lacking = [name for name in names if name not in self.found]
            if len(lacking) < 2:
                require(not lacking, f"{self.name} lacks {''.join(lacking)}; images and labels go together.")
                return self._array(names[0]), self._array(names[1])
        ways = " or ".join(" and ".join(names) for names in NAMES[part])
        has = ", ".join(sorted(self.found)[:10]) or "no array"
        require(part == "validation", f"{self.name} lacks {ways}. It has {has}.")
        return None

    def _array(self, name: str) -> npt.NDArray[Any]:
        with refused(f"{name} of {self.name} cannot be read", "Replace it."):
            value = self.found[name]
            value = value() if callable(value) else value
            return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)

    def content_hash(self) -> str:
        found = super().content_hash()
        return found if self.code is None else hashlib.sha256(f"{self.code}\n{found}".encode()).hexdigest()


def _check_sizes(sizes: Iterable[int]) -> None:
    most = max(sizes, default=0)
    require(most <= memory_limit(), f"An array takes {most / 1e9:.1f} GB, more than half of this machine's memory.")


def _of_function(argument: str) -> Source:
    what, (place, _, name) = f"python:{argument}", argument.rpartition(":")
    path = at_hand(Path(place).expanduser())
    with refused(
        f"{place} of {what} cannot be imported", "It must be python:MODULE:FUNCTION or python:PATH.py:FUNCTION."
    ):
        module = _file(path, path.stat().st_mtime_ns) if path.suffix == ".py" else importlib.import_module(place)
    function, file = getattr(module, name, None), Path(module.__file__ or "")
    functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
    require(callable(function), f"{place} has no function {name!r}. {nearest(name, functions)}")
    made = _made(what, function, file)
    if isinstance(made, Mapping):
        return Arrays(what, made, source_of(file, name) if file.suffix == ".py" else "")
    if isinstance(made, Source):
        return made
    raise InvalidInput(
        f"{what} returns {type(made).__name__}; it must return a dict of arrays with x_train, y_train, x_test, y_test, "
        "or a harness.data.source.Source."
    )


@cache
def _made(what: str, function: Any, file: Path) -> Any:
    with refused(f"{what} fails", file=file), contextlib.redirect_stdout(sys.stderr):  # apart from a command's output
        made = function()
        if isinstance(made, ArraySource):
            made.facts()  # reads its arrays, and keeps them
        return made


@cache
def _file(path: Path, stamp: int) -> ModuleType:
    """The module of a file as it was written at `stamp`."""
    name = f"user_study_{path.stem}"
    before = sys.modules.get(name)
    module = load_file(path)
    if before is not None:  # the study itself, whose classes are known by its module's name
        sys.modules[name] = before
    return module

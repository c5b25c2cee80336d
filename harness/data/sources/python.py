"""Arrays that a function makes: `python:MODULE:FUNCTION`, or `python:PATH.py:FUNCTION` of a file, such as a study's.

The function takes no argument. It returns a dict of arrays or tensors by the names of `array_files` (`x_train`, ...),
or a `harness.data.source.Source` of its own.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.array_source import ArraySource
from harness.data.source import Source
from harness.data.sources.array_files import ArrayFiles
from harness.spec import InvalidInput
from harness.spec.checks import nearest
from harness.spec.errors import require


def open_source(kind: str, argument: str) -> Source:
    """Call the function, once in a process. Raises `InvalidInput` where it fails or returns something else."""
    what = f"{kind}:{argument}"
    place, _, name = argument.rpartition(":")
    require(bool(place), f"data.source is {what!r}; it must be of the form python:MODULE:FUNCTION.")
    module = _file(place, _stamp(Path(place))) if place.endswith(".py") else _module(place)
    function = getattr(module, name, None)
    if not callable(function):
        functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        raise InvalidInput(f"{place} has no function {name!r}. {nearest(name, functions)}")
    made = _made(what, function)
    if isinstance(made, Mapping):
        return Made(what, Path(), made, _code(function))
    if all(hasattr(made, method) for method in ("facts", "content_hash", "read")):
        source: Source = made
        return source
    raise InvalidInput(
        f"{what} returns {type(made).__name__}; it must return a dict of arrays with x_train, y_train, x_test, y_test."
    )


@dataclass
class Made(ArrayFiles):
    """What a function returned."""

    found: Mapping[str, Any]
    code: str

    def names(self) -> set[str]:
        """See `ArrayFiles`."""
        return set(self.found)

    def array(self, name: str) -> npt.NDArray[Any]:
        """See `ArrayFiles`."""
        value = self.found[name]
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)

    def content_hash(self) -> str:
        """SHA-256 over the function's source and its arrays."""
        return hashlib.sha256(f"{self.code}\n{ArraySource.content_hash(self)}".encode()).hexdigest()


@cache
def _made(what: str, function: Callable[[], Any]) -> Any:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints must not stand among what a command prints
            return function()
    except Exception as error:
        raise InvalidInput(f"{what} fails: {type(error).__name__}: {error}") from error


def _code(function: Callable[[], Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # made without a file
        return ""


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise InvalidInput(
            f"Module {name} cannot be imported: {type(error).__name__}: {error}. For a file, give its path: "
            "python:PATH.py:FUNCTION."
        ) from error


def _stamp(path: Path) -> int:
    require(path.expanduser().is_file(), f"There is no file {path}.")
    return path.expanduser().stat().st_mtime_ns


@cache
def _file(place: str, stamp: int) -> ModuleType:
    """The module of a file as it was written at `stamp`; not the one that a study was read as, which stays its own."""
    path = Path(place).expanduser()
    name = f"data_source_{path.stem}_{hashlib.sha256(f'{path.absolute()} {stamp}'.encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    return module

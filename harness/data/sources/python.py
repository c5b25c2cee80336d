"""Arrays that a function makes: `python:MODULE:FUNCTION`, or `python:PATH.py:FUNCTION` of a file, such as a study's.

The function takes no argument. It returns a dict of arrays or tensors by the names of `array_files` (`x_train`, ...),
or a `harness.data.source.Source` of its own.
"""

import contextlib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.data.array_source import ArraySource
from harness.data.source import Source
from harness.data.sources.array_files import Arrays
from harness.spec import InvalidInput
from harness.spec.checks import nearest
from harness.spec.errors import require
from harness.spec.functions import line_of, load_file, source_of


def open_source(kind: str, argument: str) -> Source:
    """Call the function, once in a process. Raises `InvalidInput` where it fails or returns something else."""
    what = f"{kind}:{argument}"
    place, _, name = argument.rpartition(":")
    require(bool(place), f"data.source is {what!r}; it must be of the form python:MODULE:FUNCTION.")
    path = Path(place).expanduser()
    try:
        module = _file(path, path.stat().st_mtime_ns) if path.suffix == ".py" else importlib.import_module(place)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(
            f"{place} cannot be imported (data.source={what}): {type(error).__name__}: {error}. A file is named by its "
            "path: python:PATH.py:FUNCTION."
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        raise InvalidInput(f"{place} has no function {name!r}. {nearest(name, functions)}")
    file = Path(module.__file__ or "")
    made = _made(what, function, file)
    if isinstance(made, Mapping):
        return Made(what, made, source_of(file, name) if file.suffix == ".py" else "")
    if isinstance(made, Source):
        return made
    raise InvalidInput(
        f"{what} returns {type(made).__name__}; it must return a dict of arrays with x_train, y_train, x_test, y_test, "
        "or a harness.data.source.Source."
    )


@dataclass
class Made(Arrays):
    """What a function returned."""

    code: str
    """Hash of the function's source and of the user's code that it uses."""

    def content_hash(self) -> str:
        """SHA-256 over the code and the arrays."""
        return hashlib.sha256(f"{self.code}\n{super().content_hash()}".encode()).hexdigest()


@cache
def _made(what: str, function: Callable[[], Any], file: Path) -> Any:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints must not stand among what a command prints
            made = function()
            if isinstance(made, ArraySource):
                made.facts()  # reads its arrays, and keeps them
            return made
    except InvalidInput:
        raise
    except (Exception, SystemExit) as error:
        where = f" at {line}" if (line := line_of(error, file)) else ""
        raise InvalidInput(f"{what} fails{where}: {type(error).__name__}: {error}") from error


@cache
def _file(path: Path, stamp: int) -> ModuleType:
    """The module of a file as it was written at `stamp`."""
    del stamp
    name = f"user_study_{path.stem}"
    before = sys.modules.get(name)
    module = load_file(path)
    if before is not None:  # the study itself, whose classes are known by its module's name
        sys.modules[name] = before
    return module

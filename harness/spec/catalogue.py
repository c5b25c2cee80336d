"""Where studies are found: the shipped ones by name, a user's own by the path of its file."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from harness.spec.checks import nearest
from harness.spec.errors import InvalidInput, require
from harness.spec.functions import load_file
from harness.spec.study import Study

RESERVED_NAMES = ("work", "bench", "comparisons", "mlartifacts")
"""Folders beside the studies' in the folder of all results."""

_AS_TYPED: dict[str, str] = {}
"""By the name of each study that was found: what it was found by."""


def study_names() -> list[str]:
    """Names of the shipped studies, sorted."""
    return sorted(path.stem for path in _folder().glob("[!_]*.py"))


def find_study(name: str) -> tuple[str, Study]:
    """The name and definition of a shipped study, or of the study in a file `path/to/my_study.py`."""
    path = Path(name)
    found = study_name(name)
    _AS_TYPED[found] = name
    if path.suffix == ".py" and found not in study_names():
        if not path.is_file():
            raise InvalidInput(f"There is no study file {name}. Give the path of an existing .py file.")
        return found, _study_of(load_file(path), path)
    if found not in study_names():
        raise InvalidInput(f"There is no study {name!r}. {nearest(name, study_names())}")
    return found, _study_of(importlib.import_module(f"studies.{found}"), _folder() / f"{found}.py")


def found_by(name: str) -> str:
    """The path of the file that a study of this name was read from in this process; else the name itself."""
    return _AS_TYPED.get(name, name)


def study_name(name: str) -> str:
    """What a study is called, and the folder of its results, by its name or the path of its file, which is not read.

    Raises `InvalidInput` for a file whose study would share its results with others.
    """
    path = Path(name)
    if path.suffix != ".py":
        return name
    shipped = _folder() / path.name.casefold()  # one folder of results on some file systems
    is_shipped = path.is_file() and shipped.is_file() and path.samefile(shipped)
    require(
        is_shipped or path.stem.casefold() not in (*RESERVED_NAMES, *study_names()),
        f"{name} would share the folder of its results with a shipped study or other files. Rename the file, for "
        f"example {path.with_name(f'my_{path.name}')}.",
    )
    require(path.stem.isprintable(), f"The name of study file {name!r} holds unprintable characters. Rename the file.")
    return path.stem


def _folder() -> Path:
    """Where the shipped studies are."""
    return Path(importlib.import_module("studies").__path__[0])


def _study_of(module: ModuleType, path: Path) -> Study:
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InvalidInput(f"{path} defines no STUDY; it must hold `STUDY = Study(...)`.")
    for scale in study.scales:
        try:
            study.resolve(path.stem, scale)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: scale {scale!r}: {error}") from error
    return study

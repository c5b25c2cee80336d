"""Where studies are found: the shipped ones by name, a user's own by the path of its file."""

import importlib
from pathlib import Path

from harness.spec.checks import nearest
from harness.spec.errors import InvalidInput, require
from harness.spec.functions import load_file
from harness.spec.study import Study

RESERVED_NAMES = ("work", "bench", "comparisons", "mlartifacts")
"""Folders beside the studies' in the folder of all results."""

FOUND_BY: dict[str, str] = {}
"""By the name of each study that this process has found: what it was found by, a name or the path of a file."""
_RESOLVED: dict[str, Study] = {}
"""Those that resolve at each of their scales, which need not be tried again."""


def study_names() -> list[str]:
    """Names of the shipped studies, sorted."""
    return sorted(path.stem for path in _folder().glob("[!_]*.py"))


def find_study(name: str) -> tuple[str, Study]:
    """The name and definition of a shipped study, or of the study in a file `path/to/my_study.py`."""
    path, found = Path(name), study_name(name)
    FOUND_BY[found] = name
    if found in study_names():
        path, module = _folder() / f"{found}.py", importlib.import_module(f"studies.{found}")
    else:
        require(path.suffix == ".py", f"There is no study {name!r}. {nearest(name, study_names())}")
        require(path.is_file(), f"There is no study file {name}. Give the path of an existing .py file.")
        module = load_file(path)
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InvalidInput(f"{path} defines no STUDY; it must hold `STUDY = Study(...)`.")
    if _RESOLVED.get(found) is not study:
        for scale in study.scales:
            try:
                study.resolve(path.stem, scale)
            except InvalidInput as error:
                raise InvalidInput(f"{path}: scale {scale!r}: {error}") from error
        _RESOLVED[found] = study
    return found, study


def study_name(name: str) -> str:
    """What a study is called, by its name or its file's path; `InvalidInput` for one that shares others' results."""
    path = Path(name)
    if path.suffix != ".py":
        return name
    shipped = _folder() / path.name.casefold()  # one folder of results on some file systems
    is_shipped = path.is_file() and shipped.is_file() and path.samefile(shipped)
    if not is_shipped and path.stem.casefold() in (*RESERVED_NAMES, *study_names()):
        told = f"Rename the file, for example {path.with_name(f'my_{path.name}')}."
        raise InvalidInput(f"{name} would share its results' folder with a shipped study or other files. {told}")
    require(path.stem.isprintable(), f"The name of study file {name!r} holds unprintable characters. Rename the file.")
    return path.stem


def _folder() -> Path:
    """Where the shipped studies are."""
    return Path(importlib.import_module("studies").__path__[0])

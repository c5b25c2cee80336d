"""Where studies are found: the shipped ones by name, a user's own by the path of its file."""

import ast
import importlib
import importlib.util
import re
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
    package = importlib.import_module("studies")
    files = (path for folder in package.__path__ for path in Path(folder).glob("*.py"))
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def find_study(name: str) -> tuple[str, Study]:
    """The name and definition of a shipped study, or of the study in a file `path/to/my_study.py`."""
    path = Path(name)
    found = study_name(name)
    _AS_TYPED[found] = name
    if path.suffix == ".py" and _shipped(found) is None:
        if not path.is_file():
            raise InvalidInput(f"There is no study file {name}. Give the path of an existing .py file.")
        return found, _study_of(load_file(path), path)
    if found not in study_names():
        raise InvalidInput(f"There is no study {name!r}. {nearest(name, study_names())}")
    module = importlib.import_module(f"studies.{found}")
    assert module.__file__ is not None
    return found, _study_of(module, Path(module.__file__))


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
    shipped = _shipped(path.stem.casefold())
    require(
        shipped is None or (path.is_file() and path.samefile(shipped)),
        f"{name} would share its results with the shipped study {path.stem.casefold()!r}. Rename the file, for example "
        f"{path.with_name(f'my_{path.name}')}.",
    )
    require(
        path.stem.casefold() not in RESERVED_NAMES,
        f"{name} would have its results in the folder {path.stem!r}, which holds other files. Rename the file.",
    )
    require(path.stem.isprintable(), f"The name of study file {name!r} holds unprintable characters. Rename the file.")
    return path.stem


def _shipped(name: str) -> Path | None:
    """The file of a shipped study."""
    if name not in study_names():
        return None
    spec = importlib.util.find_spec(f"studies.{name}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _study_of(module: ModuleType, path: Path) -> Study:
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InvalidInput(f"{path} defines no STUDY; it must hold `STUDY = Study(...)`.")
    for scale in study.scales:
        try:
            study.resolve(path.stem, scale)
        except InvalidInput as error:
            raise InvalidInput(f"{path}:{_line_of(str(error), path)}: scale {scale!r}: {error}") from error
    return study


def _line_of(message: str, path: Path) -> int:
    """The line of a study file that a message is about: where its first quoted word stands, else that of `STUDY`."""
    tree = list(ast.walk(ast.parse(path.read_bytes())))  # bytes: in whatever encoding it declares
    words = {node.value: node.lineno for node in reversed(tree) if isinstance(node, ast.Constant)}
    found = [words[word] for word in re.findall(r"'([^']+)'", message) if word in words]
    targets = [node for node in tree if isinstance(node, ast.Name) and node.id == "STUDY"]
    return found[0] if found else targets[0].lineno if targets else 1

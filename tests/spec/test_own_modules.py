"""What a study file imports from beside it: what is hashed is what is run, whatever this process has loaded before."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api import load_study
from harness.spec.functions import Function

STUDY = """
from harness.spec import Arm, DataSpec, Module, Recipe, ResNetSpec, Scale, Search, Study
from {module} import Net

STUDY = Study(
    question="Does it train?",
    source="a test",
    factor="model",
    scales={{"smoke": Scale(
        data=DataSpec(source="digits"),
        recipe=Recipe(updates=2),
        baseline=Arm("ResNet", ResNetSpec(width=4)),
        arms=(Arm("own", Module(build=Net)),),
        search=Search(trials=0),
    )}},
)
"""
NET = "class Net:\n    {what}\n    marker = {marker!r}\n"


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, marker: str, *, module: str = "own_layers") -> Path:
    """A study file `net_of_<folder>.py` whose arm is a class of a module beside it."""
    place = folder.joinpath(*module.split(".")).with_suffix(".py")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.parent != folder:
        (place.parent / "__init__.py").touch()
    place.write_text(NET.format(what="...", marker=marker))
    later = place.stat().st_mtime + 5  # than this process has begun
    os.utime(place, (later, later))
    file = folder / f"net_of_{folder.name}.py"
    file.write_text(STUDY.format(module=module))
    return file


def built(file: Path) -> Function:
    model = load_study(str(file), scale="smoke").arm("own").model
    function = model.build  # type: ignore[union-attr]
    assert isinstance(function, Function)
    return function


@pytest.mark.parametrize("module", ["own_layers", "own_package.layers"])
def test_a_module_that_was_edited_is_run_anew(tmp_path: Path, module: str) -> None:
    one = built(write(tmp_path, "one", module=module))
    two = built(write(tmp_path, "another", module=module))
    assert one.source != two.source
    assert (one.find().marker, two.find().marker) == ("one", "another")  # type: ignore[attr-defined]
    again = built(write(tmp_path, "another", module=module))
    assert again == two
    assert again.find() is two.find(), "nothing was run anew"


def test_studies_in_two_folders_have_each_its_own_modules(tmp_path: Path) -> None:
    markers = {}
    for name in ("first", "second", "first"):
        found = built(write(tmp_path / name, name))
        markers[found.source] = found.find().marker  # type: ignore[attr-defined]
    assert list(markers.values()) == ["first", "second"]


def test_a_class_of_a_module_beside_a_study_is_found_again_in_another_process(tmp_path: Path) -> None:
    """In which nobody has loaded the study, as in the one that loads a kept model."""
    file = write(tmp_path, "one")
    file.write_text(
        file.read_text().replace(
            "from own_layers import Net", "import own_layers\n\n\nclass Net(own_layers.Net):\n    pass\n"
        )
    )
    (tmp_path / "function.pkl").write_bytes(pickle.dumps(built(file)))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).find().marker)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "function.pkl")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "one\n", done.stderr

"""Models of a study file, of timm and of torchvision as specifications: what identifies them, and what is refused."""

import functools
import importlib
import json
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness.spec import (
    DataSpec,
    InvalidInput,
    ModelSpec,
    Module,
    Recipe,
    RunConfig,
    Timm,
    Torchvision,
    find_study,
    to_plain,
)
from harness.spec import functions as functions_module
from harness.spec.functions import Function

STUDY = '''
"""Does it learn?"""
from harness.spec import Arm, DataSpec, Module, Recipe, ResNetSpec, Scale, Study
import layers

RATIO = 2
NAMES = []
NAMES.append("a")

def hidden(width):
    """Of the block."""
    return RATIO * width  # wide

def model(image_size, channels, classes, width=8):
    """A model."""
    return layers.block(hidden(width), NAMES)

def other():
    return 1

SMOKE = Scale(
    data=DataSpec(source="digits"), recipe=Recipe(updates=10), baseline=Arm("ResNet-8", ResNetSpec()),
    arms=(Arm("own", Module(build=model, arguments={"width": 4})),),
)
STUDY = Study(question="Does it learn?", source="my own", factor="model", scales={"smoke": SMOKE})
'''
LAYERS = "from inner import deep\ndef block(width, names):\n    return deep(width)\n"
INNER = "def deep(width):\n    return width\n"
FILES = {"own.py": STUDY, "layers.py": LAYERS, "inner.py": INNER}


@pytest.fixture(autouse=True)
def forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins like a process that has seen no user's function."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(functions_module, "_FOUND", {})
    for name in ("layers", "inner", "user_study_own", "package", "package.mixers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()


def own_model(folder: Path, **changed: tuple[str, str]) -> Module:
    """The model of the study in a folder, of whose files some are changed: by name without ending, what by what."""
    folder.mkdir(exist_ok=True)
    for name, text in FILES.items():
        before, now = changed.get(name.removesuffix(".py"), ("", ""))
        assert before in text
        (folder / name).write_text(text.replace(before, now) if before else text)
    model = find_study(str(folder / "own.py"))[1].scales["smoke"].arms[0].model
    assert isinstance(model, Module)
    return model


def digest_of(model: ModelSpec) -> str:
    data = DataSpec(source="digits", image_size=8, train_size=100, validation_size=60)
    fixed: dict[str, Any] = {"phase": "tune", "seed": 0, "data_hash": "0", "channels": 1, "classes": 10}
    return RunConfig(model=model, recipe=Recipe(updates=1), data=data, **fixed).digest


@pytest.mark.parametrize(
    "changed",
    [
        {"own": ("  # wide", "")},
        {"own": ('"""Of the block."""', '"""Of the first block."""\n    # and of the others')},
        {"own": ("return 1", "return 2")},
        {"own": ('question="Does it learn?"', 'question="Does it learn well?"')},
        {"own": ("updates=10", "updates=20")},
        {"own": ("def other():", "\n\n\ndef other() :")},
        {"layers": ("def block", "# a block\ndef block")},
    ],
)
def test_what_decides_nothing_leaves_the_digest(tmp_path: Path, changed: dict[str, tuple[str, str]]) -> None:
    digest = digest_of(own_model(tmp_path / "before"))
    forget_modules()
    assert digest_of(own_model(tmp_path / "after", **changed)) == digest


@pytest.mark.parametrize(
    "changed",
    [
        {"own": ("width=8", "width=16")},
        {"own": ("RATIO = 2", "RATIO = 4")},
        {"own": ("RATIO * width", "RATIO + width")},
        {"own": ('NAMES.append("a")', 'NAMES.append("b")')},
        {"own": ('{"width": 4}', '{"width": 4.0}')},
        {"own": ('{"width": 4}', "{}")},
        {"layers": ("deep(width)", "deep(2 * width)")},
        {"inner": ("return width", "return 3 * width")},
    ],
)
def test_what_decides_the_model_changes_the_digest(tmp_path: Path, changed: dict[str, tuple[str, str]]) -> None:
    digest = digest_of(own_model(tmp_path / "before"))
    forget_modules()
    assert digest_of(own_model(tmp_path / "after", **changed)) != digest


def forget_modules() -> None:
    for name in ("layers", "inner"):
        sys.modules.pop(name, None)
    sys.path[:] = [place for place in sys.path if not place.endswith("before")]
    importlib.invalidate_caches()


@pytest.mark.parametrize("spec", [Timm("vit_tiny", arguments={"depth": 2}), Torchvision("resnet18")])
def test_models_by_name_are_kept_as_json_and_are_equal_again(spec: ModelSpec) -> None:
    again = TypeAdapter(ModelSpec).validate_python(to_plain(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_function_is_found_again_by_a_process_that_has_not_seen_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = own_model(tmp_path)
    sent = pickle.loads(pickle.dumps(model))
    monkeypatch.setattr(functions_module, "_FOUND", {})
    assert sent.function.find()(image_size=8, channels=1, classes=10, **sent.arguments) == 8
    kept = TypeAdapter(ModelSpec).validate_python(to_plain(model)).found_at(model.place)
    assert kept == model
    monkeypatch.setattr(functions_module, "_FOUND", {})
    assert kept.function.find()(8, 1, 10) == 16


def test_a_function_of_a_package_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sizes.py").write_text("SIZE = 3\n")
    (package / "mixers.py").write_text("from .sizes import SIZE\ndef mixer(**shape):\n    return SIZE\n")
    sys.path.append(str(tmp_path))
    function = Function.of(importlib.import_module("package.mixers").mixer)
    assert function.place == str(package / "mixers.py")
    for name in ("package", "package.mixers", "package.sizes"):
        del sys.modules[name]
    sys.path.remove(str(tmp_path))
    monkeypatch.setattr(functions_module, "_FOUND", {})
    assert function.find()() == 3
    (package / "sizes.py").write_text("SIZE = 4\n")
    assert Function.of(importlib.import_module("package.mixers").mixer) != function


def test_a_function_of_an_installed_package_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    function = Function.of(json.decoder.JSONDecoder)
    monkeypatch.setattr(functions_module, "_FOUND", {})
    assert function.find() is json.decoder.JSONDecoder


def test_a_file_that_is_moved_or_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = own_model(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.setattr(functions_module, "_FOUND", {})
    with pytest.raises(InvalidInput, match=r"model in .*here/own\.py, or code that it uses, is gone or not what it"):
        model.function.find()
    forget_modules()
    find_study(str(tmp_path / "there/own.py"))
    assert model.function.find()(8, 1, 10) == 16
    monkeypatch.setattr(functions_module, "_FOUND", {})
    own_model(tmp_path / "here", own=("width=8", "width=9"))
    with pytest.raises(InvalidInput, match=r"model in .*own\.py, or code that it uses, is gone or not what it was"):
        model.function.find()
    with pytest.raises(InvalidInput, match=r"own\.py:\d+: ZeroDivisionError"):
        own_model(tmp_path / "here", own=("RATIO = 2", "RATIO = 2\n1 / 0"))
    with pytest.raises(InvalidInput, match=r"own\.py:\d+: ZeroDivisionError"):
        model.function.find()
    monkeypatch.chdir(tmp_path / "here")
    for place in ("", "own.py"):
        with pytest.raises(InvalidInput, match="is gone or not what it was"):
            model.found_at(place).function.find()


def test_nothing_of_a_file_is_run_before_its_source_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = own_model(tmp_path)
    monkeypatch.setattr(functions_module, "_FOUND", {})
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\ndef model(): pass\n")
    with pytest.raises(InvalidInput, match="is gone or not what it was"):
        model.function.find()
    assert not (tmp_path / "run").exists()


def nested() -> Any:
    def inside(**shape: Any) -> None: ...

    return inside


@pytest.mark.parametrize(
    "build", [lambda **shape: None, nested(), functools.partial(nested), len, math.sqrt, "model", Path("a").exists]
)
def test_what_another_process_cannot_find_is_refused(build: Any) -> None:
    with pytest.raises(InvalidInput, match=r"is not a function that another process can find by its name\. Define it"):
        Module(build=build)


@pytest.mark.parametrize("value", [math.nan, {1: 2}, {3}, object(), [1, (Path(),)], 1j, b"x"])
def test_arguments_that_json_does_not_hold_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"The arguments of a model hold .*; it must be a finite number"):
        Timm("vit_tiny", arguments={"width": value})
    with pytest.raises(InvalidInput, match=r"The arguments of a model hold \{3: 4\}; it must be"):
        Timm("vit_tiny", arguments={3: 4})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda given: Module(build=nested, arguments=given), "image_size"),
        (lambda given: Timm("vit_tiny", arguments=given), "pretrained"),
        (lambda given: Torchvision("resnet18", arguments=given), "weights"),
    ],
)
def test_arguments_that_are_not_the_users_are_refused(make: Any, name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"arguments has {name}; image size, channels and classes come with the"):
        make({name: None})

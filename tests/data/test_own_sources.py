"""Sources that a user writes: a function that makes arrays, in a module, a file or a study."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from harness.data import content_hash, load, resolve, sources
from harness.spec import SOURCES, DataSpec, InvalidInput

BODY = '''
import numpy as np
import torch

from harness.data.array_source import ArraySource

def stripes():
    """Images of 4 x 4 px: of class 1 where the columns differ."""
    print("making stripes")
    images = np.zeros((20, 4, 4), dtype=np.uint8)
    images[1::2, :, ::2] = 200
    images[:, 0, 0] = np.arange(20)
    labels = np.arange(20) % 2
    train, test = torch.from_numpy(images[:16]), images[16:]
    return {"x_train": train, "y_train": labels[:16], "x_test": test, "y_test": labels[16:]}

class Camera(ArraySource):
    name = "camera"

    def arrays(self, part):
        return self.lens.take(part)

def nothing(): return None
def leaving(): raise SystemExit(3)
def broken(): raise OSError("no such sensor")
def lacking(): return {"x_train": np.zeros((4, 2, 2), dtype=np.uint8), "y_train": [0, 1, 0, 1]}
'''


@pytest.fixture
def file(tmp_path):
    (tmp_path / "stripes.py").write_text(BODY)
    return tmp_path / "stripes.py"


def spec(file, name="stripes"):
    return DataSpec(source=f"python:{file}:{name}")


def test_a_function_of_a_file_is_read(file, capsys):
    known, facts = resolve(spec(file))
    assert (known.image_size, facts.channels, facts.classes, facts.train_images, facts.test_images) == (4, 1, 2, 16, 4)
    data = load(spec(file), phase="confirm")
    assert data.test.images[:, 0, 0, 0].tolist() == [16, 17, 18, 19]
    assert data.test.images[:, 0, 1, 0].tolist() == [0, 200, 0, 200]
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert capsys.readouterr().out == ""


def test_it_is_called_once_in_a_process(file, capsys):
    for _ in range(3):
        load(spec(file))
    assert capsys.readouterr().err.count("making stripes") == 1


def test_a_function_of_a_module_is_read(file, monkeypatch):
    monkeypatch.syspath_prepend(file.parent)
    found = load(DataSpec(source="python:stripes:stripes"), phase="confirm")
    assert found.hash == content_hash(spec(file))
    sys.modules.pop("stripes")


def test_the_identity_is_of_its_source_and_its_arrays(file):
    one = content_hash(spec(file))
    file.write_text(BODY.replace("where the columns differ", "where columns differ"))
    assert content_hash(spec(file)) == one
    file.write_text(BODY.replace("200", "201"))
    two = content_hash(spec(file))
    file.write_text(BODY.replace("np.arange(20) % 2", "1 * (np.arange(20) % 2)"))
    assert len({one, two, content_hash(spec(file))}) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("strips", r"has no function 'strips'\. Did you mean 'stripes'"),
        ("np", "has no function 'np'"),
        ("nothing", "returns NoneType; it must return a dict of arrays with x_train"),
        ("broken", "python:.*:broken fails at .*/stripes.py:\\d+: OSError: no such sensor"),
        ("leaving", "fails at .*: SystemExit: 3"),
        ("Camera", "python:.*:Camera fails at .*/stripes.py:\\d+: AttributeError: 'Camera' object has no attribute"),
        ("lacking", "lacks x_test and y_test"),
    ],
)
def test_what_is_no_such_function_is_refused(file, name, message):
    with pytest.raises(InvalidInput, match=message):
        load(spec(file, name))


def test_files_and_modules_that_cannot_be_read_are_refused(file, tmp_path):
    with pytest.raises(InvalidInput, match=r"/no\.py.* cannot be imported: .* No such file"):
        load(spec(tmp_path / "no.py"))
    file.write_text("def stripes(:")
    with pytest.raises(InvalidInput, match=r"stripes\.py:1: SyntaxError"):
        load(spec(file))
    with pytest.raises(InvalidInput, match=r"no_such_module of .* cannot be imported: ModuleNotFound"):
        load(DataSpec(source="python:no_such_module:images"))
    with pytest.raises(InvalidInput, match=r"It must be python:MODULE:FUNCTION"):
        load(DataSpec(source="python:images"))


@pytest.fixture
def examples(tmp_path):
    """The two files that CONTRIBUTING shows."""
    text = Path("CONTRIBUTING.md").read_text()
    for name in ("shapes.py", "noise.py"):
        content = text.partition(f"`{name}`:\n\n```python\n")[2].partition("```")[0]
        assert 10 < len(content.splitlines()) <= 20
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_example_of_a_source_in_a_study(examples):
    study = runpy.run_path(str(examples / "shapes.py"))
    data = load(study["DATA"], phase="confirm")
    assert (data.facts.image_size, len(data.train), len(data.validation), len(data.test)) == (8, 450, 50, 100)
    square, cross = (data.test.images[data.test.labels == label].amax(0)[0] > 0 for label in (0, 1))
    assert (int(square.sum()), int(cross.sum())) == (16, 28)


def test_the_example_of_a_source_in_a_file_of_its_own(examples, monkeypatch):
    """By its path, and as one of the package's."""
    alone = load(DataSpec(source=f"python:{examples / 'noise.py'}:Noise"), phase="confirm")
    assert (alone.facts.image_size, len(alone.train), len(alone.test)) == (16, 900, 1000)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(examples)])
    monkeypatch.setitem(SOURCES, "noise", "")
    inside = load(DataSpec(source="noise"), phase="confirm")
    assert inside.hash == alone.hash
    assert torch.equal(inside.train.images, alone.train.images)
    sys.modules.pop("harness.data.sources.noise")

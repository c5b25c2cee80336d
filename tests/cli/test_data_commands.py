"""`data check`, `data get` and `plan` on a folder of photographs of different sizes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Here = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    rng, root = np.random.default_rng(0), tmp_path / "photographs"
    for name, images in (("cat", 40), ("dog", 4)):
        (root / name).mkdir(parents=True)
        for number in range(images):
            pixels = rng.integers(0, 256, (10 + number, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.jfif", format="JPEG")
    (root / "cat" / "x.heic").touch()
    return root


def test_check_tells_what_a_folder_holds(photographs: Path, here: Here) -> None:
    done = here(photographs, "data", "check", f"imagefolder:{photographs}")
    assert done.returncode == 0, done.stderr
    for line in (
        "Training images: 31",
        "Validation images: 4, held out",
        "Test images: 9, held out",
        "Modes: RGB",
        "Skipped: other endings: 1 (cat/x.heic)",
        "Duplicates: none (compared: pixels at 64 px)",
    ):
        assert line in done.stdout.splitlines()
    assert "cat          29           3     8" in done.stdout
    assert "note: Classes of" in done.stdout
    assert "To train on it: Images of" in done.stdout


def test_check_and_get_take_the_overrides_of_run(photographs: Path, here: Here) -> None:
    source = f"imagefolder:{photographs}"
    done = here(photographs, "data", "check", source, "data.image_size=16", "data.validation_size=2")
    assert "Validation images: 2, held out" in done.stdout
    assert "To train on it" not in done.stdout
    assert here(photographs, "data", "get", source).returncode == 2
    done = here(photographs, "data", "get", source, "data.image_size=16")
    assert (
        "is ready: 31 training images, 4 validation images, 9 test images, 16 px, 3 channels, 2 classes" in done.stdout
    )
    for pair in ("image_size=16", "recipe.updates=3", "data.imagesize=16"):
        done = here(photographs, "data", "check", source, pair)
        assert done.returncode == 2
        assert "image_size'" in done.stderr or "Valid: data.source" in done.stderr


def test_plan_tells_facts_and_cautions(photographs: Path, tmp_path: Path, here: Here) -> None:
    source = f"data.source=imagefolder:{photographs}"
    overrides = [source, "data.image_size=8", "data.train_size=30", "data.validation_size=4"]
    arguments = ["plan", "patch_size", "--scale", "smoke", "--device", "cpu", *overrides]
    done = here(tmp_path / "results", *arguments)
    assert "validation images 4, held out; test images 9, held out" in done.stdout.replace("\n", " ")
    assert "has only 9 test images" in done.stdout
    (facts,) = json.loads(here(tmp_path / "results", *arguments, "--json").stdout)["data"]
    assert (facts["train"], facts["skipped"][0]["files"], len(facts["cautions"])) == (31, 1, 2)

"""The study that CONTRIBUTING shows with a model of its own, and ConvNeXt, by the real command."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from harness.data import load
from harness.records.runs import RunFolder

pytestmark = pytest.mark.usefixtures("main_figure_only")
Here = Callable[..., "subprocess.CompletedProcess[str]"]

CONTRIBUTING = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
(SHOWN,) = re.findall(r"`my_model\.py`:\n\n```python\n(.*?)^```", CONTRIBUTING, flags=re.MULTILINE | re.DOTALL)

CONVNEXT = """
from harness.spec import Arm, DataSpec, Recipe, ResNetSpec, Scale, Search, Study, Torchvision, Uniform

CONVNEXT = Torchvision("convnext_tiny", arguments={"stochastic_depth_prob": 0.0})
SMOKE = Scale(
    data=DataSpec(source="digits", image_size=32, train_size=40, validation_size=40),
    recipe=Recipe(updates=2, batch_size=4, evaluations=1, precision="fp32", optimizer="adamw"),
    baseline=Arm("ResNet-8", ResNetSpec(width=4)),
    arms=(Arm("ConvNeXt", CONVNEXT),),
    search=Search(by_family={
        "torchvision": {"model.arguments.stochastic_depth_prob": Uniform(low=0.0, high=0.5)},
        "resnet": {"weight_decay": Uniform(low=0.0, high=0.1)},
    }, trials=2),
    seeds=(0,),
)
STUDY = Study(question="Does it train?", source="a test", factor="model", scales={"smoke": SMOKE})
"""


def ran(here: Here, results: Path, file: Path, *options: str) -> Path:
    done = here(results, "run", str(file), "--scale", "smoke", "--quiet", *options)
    assert done.returncode == 0, done.stderr
    return results / file.stem / "smoke"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_kept_models_answer_as_their_runs_did(folder: Path) -> set[str]:
    """Returns the arms of the models."""
    arms = set()
    for described in folder.glob("work/models/*/model.json"):
        content = json.loads(described.read_text())
        model, found = harness.load(content["digest"], results=folder.parents[1])
        test = load(found.facts.config.data, phase="confirm").test
        with torch.inference_mode():
            answers = torch.cat([model(found.inputs(images)).argmax(1) for images, _ in test.chunks(100)])
        predicted = RunFolder(folder / "work/runs" / content["digest"]).answers()[0][1]
        np.testing.assert_array_equal(answers.numpy(), predicted)
        arms.add(content["arm"])
    return arms


def test_the_example_is_short() -> None:
    assert len(SHOWN.splitlines()) <= 22


@pytest.mark.slow
def test_the_example_by_processes(tmp_path: Path, with_database: Path, here: Here) -> None:
    """Planned, trained, reported again and shown without its file; nothing but training loads torch."""
    file = tmp_path / "my_model.py"
    file.write_text(SHOWN)
    planned = here(with_database, "plan", str(file), "--scale", "smoke")
    assert planned.returncode == 0, planned.stderr
    assert "4 convolutions" in planned.stdout
    folder = ran(here, with_database, file, "recipe.updates=20", "recipe.precision=fp32", "seeds=0")
    table = {row["arm"]: row for row in rows(folder / "runs.csv")}
    assert {row["status"] for row in table.values()} == {"completed"}
    assert int(table["4 convolutions"]["params"]) > int(table["2 convolutions"]["params"]) > 0
    assert int(table["ViT-Ti"]["macs_per_image"]) > 0
    assert table["ViT-Ti"]["attention_macs_per_image"] == ""
    arms = assert_kept_models_answer_as_their_runs_did(folder)
    assert arms == {"ResNet-8", "2 convolutions", "4 convolutions", "ViT-Ti"}
    status = here(with_database, "status", str(file), "--scale", "smoke")
    assert "4 completed" in status.stdout
    pages = (folder / "report.html").read_bytes()
    file.unlink()
    code = (
        "import sys; from harness.__main__ import main; "
        "import atexit; atexit.register(lambda: print('loaded:', sorted({'torch', 'timm'} & sys.modules.keys()))); "
        f"sys.argv = ['patchbench', '--results', {str(with_database)!r}, 'report', 'my_model', '--scale', 'smoke']; "
        "main()"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded: []" in again.stdout
    assert (folder / "report.html").read_bytes() == pages


@pytest.mark.slow
def test_convnext_is_tuned_trained_and_loaded(tmp_path: Path, with_database: Path, here: Here) -> None:
    file = tmp_path / "convnext.py"
    file.write_text(CONVNEXT)
    folder = ran(here, with_database, file, "--engine", "inline")
    (row,) = (row for row in rows(folder / "runs.csv") if row["arm"] == "ConvNeXt")
    assert row["status"] == "completed"
    assert 27_000_000 < int(row["params"]) < 28_000_000
    assert assert_kept_models_answer_as_their_runs_did(folder) == {"ResNet-8", "ConvNeXt"}
    tried = {row["p.model.arguments.stochastic_depth_prob"] for row in rows(folder / "trials.csv")}
    assert len(tried - {""}) == 2

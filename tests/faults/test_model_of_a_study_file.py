"""A model that a study file defines: through the command, by both engines, killed, loaded again."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import FaultStudy
from test_processes import reaches, wait_until
from what_is_kept import differences

import harness
from harness.data import load
from harness.records.runs import RunFolder

Fresh = Callable[[], FaultStudy]

TEXT = '''
"""Does an MLP-Mixer (arXiv 2105.01601) learn digits?"""
from torch import nn
from harness.spec import Arm, DataSpec, Module, Recipe, ResNetSpec, Scale, Study

class Mix(nn.Module):
    """Along tokens, then along channels."""
    def __init__(self, tokens, width):
        super().__init__()
        sizes = (tokens, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in sizes)
        self.mlps = nn.ModuleList(nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n)) for n in sizes)

    def forward(self, x):
        x = x + self.mlps[0](self.norms[0](x).mT).mT
        return x + self.mlps[1](self.norms[1](x))

class Mixer(nn.Module):
    def __init__(self, image_size, channels, classes, patch, width, depth=1):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, patch, patch)
        self.blocks = nn.Sequential(*(Mix((image_size // patch) ** 2, width) for _ in range(depth)))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        return self.head(self.dropout(self.blocks(self.stem(images).flatten(2).mT).mean(1)))

SMOKE = Scale(
    data=DataSpec(source="digits", train_size=60, validation_size=40),
    recipe=Recipe(updates=20, batch_size=8, evaluations=2, precision="fp32"),
    baseline=Arm("ResNet-8", ResNetSpec(width=4)),
    arms=(Arm("Mixer", Module(build=Mixer, arguments={"patch": 4, "width": 8})),),
    seeds=(0, 1),
)
STUDY = Study(question="Does it learn?", source="none", factor="model", scales={"smoke": SMOKE})
'''


@pytest.fixture(scope="module")
def mixers(fresh: Fresh) -> Fresh:
    def make() -> FaultStudy:
        study = fresh()
        study.file.write_text(TEXT)
        return study

    return make


@pytest.fixture(scope="module")
def undisturbed_mixer(mixers: Fresh) -> FaultStudy:
    study = mixers()
    study.finish()
    return study


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_results(mixers: Fresh, undisturbed_mixer: FaultStudy) -> None:
    """Killed in the midst of the second training, which is the first of the user's model."""
    study = mixers()
    assert study.start(failpoint="renamed:checkpoint.pt#8").wait() == -signal.SIGKILL
    study.finish()
    resumed = [path.read_text() for path in study.place.glob("work/runs/*/log.txt")]
    assert any("Mixer" in text and "Resumed after update" in text for text in resumed)
    assert differences(undisturbed_mixer.kept(), study.kept()) == []


@pytest.mark.slow
def test_workers_and_coordinator_are_killed_and_the_model_is_found_again(
    mixers: Fresh, undisturbed_mixer: FaultStudy, tmp_path: Path
) -> None:
    study, log = mixers(), tmp_path / "log"
    place = "renamed:checkpoint.json"
    asked = f"{place}#3,{place}#14=sleep"
    launch = study.start(engine="processes", failpoint=asked, failpoint_log=str(log))
    wait_until(lambda: reaches(log, place) and log.read_text().count(place) >= 14)
    launch.kill()
    launch.wait()
    study.finish(engine="processes", new_server="1")
    assert differences(undisturbed_mixer.kept(), study.kept()) == []


def test_the_kept_model_answers_as_its_run_did(undisturbed_mixer: FaultStudy) -> None:
    (described,) = undisturbed_mixer.place.glob("work/models/mixer/model.json")
    content = json.loads(described.read_text())
    assert content["model_code"] == str(undisturbed_mixer.file)
    model, found = harness.load(content["digest"], results=undisturbed_mixer.results)
    test = load(found.facts.config.data, phase="confirm").test
    with torch.inference_mode():
        answers = torch.cat([model(found.inputs(images)).argmax(1) for images, _ in test.chunks(1000)])
    folder = RunFolder(undisturbed_mixer.place / "work/runs" / content["digest"])
    np.testing.assert_array_equal(answers.numpy(), folder.answers()[0][1])
    assert json.loads(folder.config_path.read_text())["model_code"] == str(undisturbed_mixer.file)


@pytest.mark.slow
def test_another_source_is_another_training_and_a_comment_is_none(mixers: Fresh, undisturbed_mixer: FaultStudy) -> None:
    study = mixers()
    shutil.copytree(undisturbed_mixer.results, study.results, dirs_exist_ok=True)
    runs = {path.name for path in study.place.glob("work/runs/*")}
    study.file.write_text(TEXT.replace('"""Along tokens, then along channels."""', "# Along tokens, then channels."))
    study.finish()
    assert {path.name for path in study.place.glob("work/runs/*")} == runs
    study.file.write_text(TEXT.replace("nn.GELU()", "nn.ReLU()"))
    study.finish()
    assert len({path.name for path in study.place.glob("work/runs/*")} - runs) == 2


BAD = [
    ("self.head = nn.Linear(width, classes)", "self.head = nn.Linear(width, 11)", "Mixer made (2, 11) of images of"),
    ("self.dropout = nn.Dropout(0.1)", "self.dropout = nn.Dropout(7)", "ValueError: dropout probability"),
    ('"width": 8', '"widht": 8', "TypeError: Mixer.__init__() got an unexpected keyword argument 'widht'"),
    ("self.head(self.dropout(", "print(self.dropout(", "Mixer made NoneType of images of shape"),
]


@pytest.mark.parametrize(
    ("engine", "before", "now", "message"), [*(("inline", *bad) for bad in BAD), ("processes", *BAD[1])]
)
def test_a_model_that_fails_is_refused_before_any_training(
    mixers: Fresh, engine: str, before: str, now: str, message: str
) -> None:
    study = mixers()
    assert before in TEXT
    study.file.write_text(TEXT.replace(before, now))
    launch = study.start(engine=engine)
    assert launch.wait() == 2, launch.said()
    assert "Arm 'Mixer'" in launch.said()
    assert message in launch.said()
    assert "widths.py" in launch.said() or "Mixer" in message
    assert not list(study.place.rglob("journal.jsonl"))

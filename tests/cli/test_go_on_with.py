"""What a report, `status` and a refusal tell a person to type is whole: it can be pasted, and it does what is meant."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness import api
from harness.commands.studies import as_typed
from harness.execution.overrides import resolve_study
from harness.records.layout import command_line, default_results
from harness.records.status import _command
from harness.spec import InvalidInput

pytestmark = pytest.mark.usefixtures("main_figure_only")
Here = Callable[..., "subprocess.CompletedProcess[str]"]

STUDY = """from harness.spec import *
STUDY = Study(
    question="Does it?", source="-", factor="depth",
    scales={"smoke": Scale(
        data=DataSpec(source="digits", train_size=60),
        recipe=Recipe(updates=4, batch_size=16, evaluations=1, precision="fp32"),
        baseline=Arm("ResNet-8", ResNetSpec(width=4)),
        arms=(Arm("ViT", ViTSpec(width=8, depth=1, heads=1)),),
        seeds=(0, 1),
    )},
)
"""


@pytest.fixture
def desk(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name needs quotes, with a study file whose name does, and a folder of results likewise."""
    place = tmp_path / "my desk"
    (place / "its results").mkdir(parents=True)
    shutil.copy(empty_database, place / "its results")
    (place / "my study.py").write_text(STUDY)
    monkeypatch.chdir(place)
    return place


def reproduce(folder: Path) -> str:
    """What the report says under Reproduce, and study.json."""
    command = str(json.loads((folder / "study.json").read_text())["provenance"]["command"])
    assert command in (folder / "REPORT.md").read_text()
    return command


@pytest.mark.slow
def test_the_very_command_goes_on_with_a_study(desk: Path, here: Here) -> None:
    results = desk / "its results"
    words = ["run", "my study.py", "--scale", "smoke", "--engine", "inline", "recipe.updates=5"]
    assert here(results, *words).returncode == 0
    folder = results / "my study" / "smoke"
    command = reproduce(folder)
    assert shlex.split(command) == ["patchbench", "--results", str(results), *words]

    asked = ("status", "my study.py", "--scale", "smoke")
    assert "Complete: every run has a result." in here(results, *asked).stdout
    next((folder / "work" / "runs").glob("*/result.json")).unlink()
    told = here(results, *asked)
    assert f"4 runs planned; 3 completed.\nNothing is running; go on with: {command}\n" in told.stdout
    said = json.loads(here(results, *asked, "--json").stdout)
    assert (said["command"], said["complete"]) == (command, False)
    assert here(results, *shlex.split(said["command"])[3:]).returncode == 0
    assert json.loads(here(results, *asked, "--json").stdout)["complete"]

    moved = desk / "moved"
    results.rename(moved)
    assert json.loads(here(moved, *asked, "--json").stdout)["command"] == shlex.join(
        ["patchbench", "--results", str(moved), *words]
    )


def test_the_folder_of_results_is_told_wherever_it_was_named(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBENCH_RESULTS", "its results")
    results = default_results()
    assert results == desk / "its results"
    words = ["run", "my study.py", "--seeds", "1"]
    for place, typed in ((["--results", str(results)], []), (["--results=x y"], ["--results=x y"])):
        monkeypatch.setattr(sys, "argv", ["patchbench", *typed, *words])
        assert shlex.split(as_typed(results)) == ["patchbench", *place, *words]
    assert shlex.split(command_line(desk / "results", *words)) == ["patchbench", *words]


def test_a_study_without_results_is_told_the_whole_command(desk: Path, here: Here) -> None:
    for verb in ("report", "status", "verify", "sync"):
        told = here(desk / "its results", verb, "my study.py", "--scale", "smoke")
        assert told.returncode == 2
        expected = ["patchbench", "--results", str(desk / "its results"), "run", "my study.py", "--scale", "smoke"]
        assert f"Run it first: {shlex.join(expected)}" in " ".join(told.stderr.replace("│", "").split())


@pytest.mark.slow
def test_the_call_from_python_names_this_study(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file and its folder of results; carried out again, nothing is left to train. How far it is, it says."""
    monkeypatch.setenv("PATCHBENCH_RESULTS", "its results")
    monkeypatch.setattr(api, "default_scale", lambda: "smoke")
    study = harness.load_study("my study.py", scale="smoke")
    report = harness.run(study, device="cpu")
    assert report.folder == desk / "its results" / "my study" / "smoke"
    told = capsys.readouterr()
    assert "my study at scale smoke: 4 runs, 256 images to train on" in told.err
    assert not told.out
    call = reproduce(report.folder)
    assert "harness.load_study('my study.py', scale='smoke')" in call
    trained = {path: path.stat().st_mtime_ns for path in report.folder.glob("work/runs/*/result.json")}
    again = eval(call.replace("harness.run(", "harness.run(quiet=True, study="), {"harness": harness})
    assert not capsys.readouterr().err
    assert trained == {path: path.stat().st_mtime_ns for path in again.folder.glob("work/runs/*/result.json")}
    assert list(harness.results("my study.py").runs["digest"]) == list(report.runs["digest"])  # the command's defaults


def test_a_study_made_in_python_is_said_to_be_one() -> None:
    study = harness.load_study("depth", scale="smoke")
    assert api._call(study, Path("results").absolute()) == "harness.run(harness.load_study('depth', scale='smoke'))"
    shorter = study.__class__(**{**vars(study), "arms": study.arms[:1], "claims": ()})
    assert "a study made in Python" in api._call(shorter, Path("results").absolute())


def test_a_study_without_a_scale_says_what_to_give() -> None:
    _, study = harness.spec.find_study("depth")
    with pytest.raises(InvalidInput, match=r"run STUDY\.resolve\(NAME, SCALE\), where SCALE is of smoke, laptop, gpu"):
        harness.run(study)


@pytest.mark.parametrize(
    ("scale", "overrides", "is_told"),
    [
        ("laptop", [], True),
        ("laptop", ["seeds=0,1,2,3,4,5"], True),  # the same study on more seeds
        ("laptop", ["recipe.updates=500"], False),
        ("laptop", ["data.source=imagefolder:/my/own"], False),
        ("laptop", ["trials=1"], False),
        ("smoke", [], False),
        ("gpu", [], False),
    ],
)
def test_a_history_is_that_of_the_scale_and_data_at_hand(scale: str, overrides: list[str], is_told: bool) -> None:
    assert bool(resolve_study("patch_size", scale, overrides).changes_after_first_look) == is_told


def test_the_command_names_a_study_file_as_it_is_called_here() -> None:
    study, folder = harness.load_study("depth", scale="smoke"), Path("results/mine/smoke").absolute()
    told = "patchbench --results /of/old run mine.py --scale smoke recipe.updates=5"
    expected = "patchbench run ../x/mine.py --scale smoke"
    assert _command(told, folder, study, "../x/mine.py") == f"{expected} recipe.updates=5"
    assert _command(None, folder, study, "../x/mine.py") == expected

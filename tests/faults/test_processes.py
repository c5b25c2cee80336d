"""Processes that die, hang or are left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from small_study import FaultStudy
from stage import Launch
from what_is_kept import differences

from harness.data.sources.named_files import PUBLISHED

SHORT = ("--trials", 0, "--seeds", 1)
"""Of the study two runs."""


def wait_until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def session(launch: "Launch | subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The processes that a launch has started, itself included, as long as they live, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == launch.pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def reaches(log: Path, name: str) -> bool:
    return log.exists() and name in log.read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["check of data", "start of worker", "half a line of evaluated:journal.jsonl", "begin:runs.csv"]
)
def test_no_process_outlives_a_killed_coordinator(study: FaultStudy, tmp_path: Path, place: str) -> None:
    log = tmp_path / "log"
    environment = {"failpoint": f"{place}=sleep", "failpoint_log": str(log), "report_apart": "1"}
    launch = study.start(*SHORT, "--workers", 2, engine="processes", **environment)
    wait_until(lambda: reaches(log, place))
    assert len(session(launch)) > 2
    launch.kill()
    assert launch.wait() == -signal.SIGKILL
    wait_until(lambda: not session(launch), 30)


@pytest.mark.slow
def test_no_server_of_workers_outlives_a_coordinator_that_is_killed_at_its_start(study: FaultStudy) -> None:
    launch = study.start(engine="processes", new_server="1")
    wait_until(lambda: len(session(launch)) > 2)
    launch.kill()
    wait_until(lambda: not session(launch), 30)


@pytest.mark.slow
def test_a_training_that_hangs_is_ended_with_its_stacks_and_tried_again(
    study: FaultStudy, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    place, log = "half a line of evaluated:journal.jsonl#3", tmp_path / "log"
    study.finish("--patience", 2, engine="processes", failpoint=f"{place}=sleep", failpoint_log=str(log))
    logs = [path.read_text() for path in study.place.glob("work/runs/*/log.txt")]
    (hung,) = [text for text in logs if "most recent call first" in text]
    assert "in append" in hung
    assert "in run_updates" not in hung.partition("most recent call first")[0]
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
def test_a_training_that_always_hangs_is_given_up(study: FaultStudy) -> None:
    launch = study.start(
        *(*SHORT, "--patience", 1, "--workers", 2),
        engine="processes",
        failpoint="half a line of evaluated:journal.jsonl=sleep",
    )
    assert launch.wait() == 3
    results = [path.read_text() for path in study.place.glob("work/runs/*/result.json")]
    assert len(results) == 2
    assert all("3 attempts failed, the last with: No progress for 1 s" in text for text in results)


@pytest.mark.slow
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_quits_at_once(study: FaultStudy, tmp_path: Path, second: signal.Signals) -> None:
    place, log = "half a line of evaluated:journal.jsonl", tmp_path / "log"
    launch = study.start(engine="processes", failpoint=f"{place}=sleep", failpoint_log=str(log))
    wait_until(lambda: reaches(log, place))
    launch.kill(signal.SIGINT)
    time.sleep(1)
    assert len(session(launch)) > 1, "the first signal waits for the trainings"
    launch.kill(second)
    assert launch.wait(15) == -second, "the first signal alone waits for half a minute"
    wait_until(lambda: not session(launch), 30)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["start of report", "written:report.html"])
def test_a_process_that_dies_over_the_report_costs_nothing_else(study: FaultStudy, place: str) -> None:
    launch = study.start(*SHORT, engine="processes", failpoint=place, report_apart="1")
    assert launch.wait() == 2
    assert "ended with signal SIGKILL" in launch.said()
    trained = {path: path.stat().st_mtime_ns for path in study.place.glob("work/runs/*/result.json")}
    study.finish(*SHORT, engine="processes", report_apart="1")
    assert {path: path.stat().st_mtime_ns for path in study.place.glob("work/runs/*/result.json")} == trained
    assert len(trained) == 2
    assert (study.place / "report.html").stat().st_size > 0


@pytest.mark.slow
def test_a_signal_while_the_report_is_written(study: FaultStudy, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {"failpoint": "begin:runs.csv=sleep", "failpoint_log": str(log), "report_apart": "1"}
    launch = study.start(*SHORT, engine="processes", **environment)
    wait_until(lambda: reaches(log, "begin:runs.csv"))
    launch.kill(signal.SIGINT)
    assert launch.wait() == 75
    wait_until(lambda: not session(launch), 30)
    study.finish(*SHORT)


@pytest.mark.slow
def test_what_a_report_needs_is_loaded_by_its_process_alone(study: FaultStudy) -> None:
    """The coordinator of a large study is to stay small; what it prints at the end is what it has loaded."""
    code = (
        "import atexit, sys; from harness.__main__ import main\n"
        "atexit.register(lambda: print('loaded:', {'mlflow', 'seaborn'} & sys.modules.keys()))\n"
        "if __name__ == '__main__': main()"
    )
    short = ["recipe.updates=1", "recipe.evaluations=1", "trials=0", "seeds=0"]
    command = [sys.executable, "-c", code, *map(str, study.command), "--engine", "processes", *short]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert "loaded: {'mlflow'}" in done.stdout
    assert list(study.place.glob("figures/*.png")), "which are drawn with seaborn"


def photographs(folder: Path, test: str) -> Path:
    """Two classes of photographs, 24 to 32 pixels wide: 60 in train/ and 10 in the folder named by `test`, of each."""
    rng = np.random.default_rng(0)
    for part, images in (("train", 60), (test, 10)):
        for label, name in enumerate(("cat", "dog")):
            (folder / part / name).mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 156, (24, 24 + number % 9, 3)) + 100 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{number:02}.jpg")
    return folder


SOURCES = {
    "fashion_mnist": lambda folder: ("data.source=fashion_mnist",),
    "imagefolder": lambda folder: (f"data.source=imagefolder:{photographs(folder, 'test')}", "data.image_size=8"),
    "imagenet": lambda folder: (f"data.source=imagenet:{photographs(folder, 'val')}", "data.image_size=8"),
}
"""Of digits are all the other studies here."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "engine"), [("fashion_mnist", "processes"), ("imagefolder", "inline"), ("imagenet", "processes")]
)
def test_every_source_runs_through_an_engine_killed_and_resumed_too(
    fresh: Callable[[], FaultStudy], tmp_path: Path, source: str, engine: str
) -> None:
    if source == "fashion_mnist" and not PUBLISHED["fashion_mnist"].system.is_dir():
        pytest.skip(f"{PUBLISHED['fashion_mnist'].system} is not there")
    options = (*SOURCES[source](tmp_path / "photographs"), "trials=0", "seeds=0")
    study, place = fresh(), "half a line of evaluated:journal.jsonl"  # in the middle of the first training
    study.finish(*options)
    expected = study.kept()
    study, log = fresh(), tmp_path / "log"
    launch = study.start(*options, engine=engine, failpoint=f"{place}=sleep", failpoint_log=str(log))
    wait_until(lambda: reaches(log, place))
    launch.kill()
    assert launch.wait() == -signal.SIGKILL
    wait_until(lambda: not session(launch), 30)
    again = study.start(*options, engine=engine)
    assert again.wait() == 0, again.said()
    wait_until(lambda: not session(again), 30)
    assert differences(expected, study.kept()) == []

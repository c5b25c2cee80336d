"""SIGINT, SIGTERM, SIGHUP, SIGUSR1 at any stage of a study: exit code 75, how to go on is said, nothing is lost."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_study import FaultStudy
from test_processes import reaches, session, wait_until
from what_is_kept import differences, mirrored

from harness.api import load_study, run
from harness.report import content


def assert_tells_how_to_go_on(study: FaultStudy, code: int, said: str, place: str, how: str) -> None:
    assert code == 75, f"{how} at {place}: {said}"
    assert "Go on with: " in said, f"{how} at {place}"
    assert f"run {study.file}" in said, f"{how} at {place}"


STAGES = [
    ("signed:lock", "INT"),
    ("written:config.json#3", "TERM"),
    ("begin:checkpoint.pt#3", "INT"),
    ("begin:checkpoint.pt#4", "USR1"),
    ("renamed:predictions.npz", "TERM"),
    ("begin:runs.csv", "HUP"),
    ("written:trials.csv", "INT"),
    ("written:trials.csv", "TERM"),
    ("begin:report.html", "INT"),
    ("begin:report.html", "TERM"),
    ("mlflow:end of launch", "INT"),
    ("mlflow:end of launch", "TERM"),
]
"""In the order in which a study comes to them; numbers count from the launch that goes on."""


@pytest.mark.slow
def test_a_signal_at_every_stage_of_a_study(study: FaultStudy, undisturbed: dict[str, Any]) -> None:
    """One study, which goes on from each to the next."""
    for place, how in STAGES:
        launch = study.start(failpoint=f"{place}={how}")
        assert_tells_how_to_go_on(study, launch.wait(), launch.said(), place, how)
        assert mirrored(study.results, study.name).get("mlflow: running", 0) == 0, (place, how)
    study.finish()
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
def test_a_signal_to_all_processes_before_a_training_begins(
    study: FaultStudy, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """As a terminal, or a job system, sends it; again and again to one study."""
    for place in ("check of data", "start of worker"):
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            log = tmp_path / f"log {place} {how}"
            launch = study.start(engine="processes", failpoint=f"{place}=STOP", failpoint_log=str(log))
            wait_until(lambda log=log, place=place: reaches(log, place))
            for number in (how, signal.SIGCONT):
                for process in session(launch):
                    with contextlib.suppress(psutil.NoSuchProcess):  # the first of them may end the others
                        process.send_signal(number)
            assert_tells_how_to_go_on(study, launch.wait(), launch.said(), place, how.name)
            wait_until(lambda launch=launch: not session(launch), 30)
    study.finish()
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
def test_a_terminal_that_goes_is_as_a_signal(study: FaultStudy, undisturbed: dict[str, Any]) -> None:
    """The kernel signals the terminal's processes, and nothing can be written to it any more."""
    terminal, inside = os.openpty()
    log = study.folder / "log"
    environment = {
        "PATCHBENCH_TERMINAL": os.ttyname(inside),
        "PATCHBENCH_FAILPOINT": "start of worker=STOP",
        "PATCHBENCH_FAILPOINT_LOG": str(log),
    }
    loud = study.command[:-1]
    launch = study.stage.launch(*loud, "--engine", "processes", environment=environment)
    wait_until(lambda: stopped(session(launch)))
    os.close(inside)
    os.close(terminal)
    for process in session(launch):
        process.resume()
    assert launch.wait() == 75
    study.finish()
    assert differences(undisturbed, study.kept()) == []


def test_a_signal_that_was_to_be_ignored_is_ignored() -> None:
    """As `nohup` asks for."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code += "from harness.execution.stopping import interruptible, told_to_stop\n"
    code += "with interruptible(), told_to_stop(lambda: print('told')):\n signal.raise_signal(signal.SIGHUP)\n"
    code += "signal.raise_signal(signal.SIGHUP)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.slow
def test_a_study_that_is_stopped_and_continued_has_lost_nothing(
    study: FaultStudy, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """As Ctrl-Z and `fg` do it, in the middle of a training and for longer than it may stand still."""
    place, log = "half a line of evaluated:journal.jsonl#3", tmp_path / "log"
    launch = study.start("--patience", 2, engine="processes", failpoint=f"{place}=STOP", failpoint_log=str(log))
    wait_until(lambda: reaches(log, place.partition("#")[0]) and stopped(session(launch)))
    for process in session(launch):
        process.suspend()
    time.sleep(3)
    for process in session(launch):
        process.resume()
    assert launch.wait() == 0, launch.said()
    assert log.read_text().splitlines().count("start of worker") == len(list(study.place.glob("work/runs/*")))
    assert differences(undisturbed, study.kept()) == []


def stopped(processes: list[psutil.Process]) -> bool:
    return any(process.status() == psutil.STATUS_STOPPED for process in processes)


@pytest.mark.slow
def test_a_study_runs_in_any_thread_and_leaves_signals_alone(
    study: FaultStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    asked = load_study(str(study.file), scale="smoke")
    asked = dataclasses.replace(asked, search=dataclasses.replace(asked.search, trials=0), seeds=(0,))
    monkeypatch.setattr(content, "drawn", lambda view: [])  # which takes most of the time
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(run(asked, results=study.results)))
    thread.start()
    thread.join(60)
    assert len(found[0].runs) == 2
    run(asked, results=study.results)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

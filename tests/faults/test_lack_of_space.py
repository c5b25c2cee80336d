"""A disk that is full, for real: from some write on no file can grow. And a device without memory."""

import resource
import signal
from typing import Any

import psutil
import pytest
from small_study import FaultStudy
from test_processes import session, wait_until
from what_is_kept import differences


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("signed:lock", "study.json"),
        ("begin:config.json#4", "config.json"),
        ("half a line of evaluated:journal.jsonl#7", "journal.jsonl"),
        ("begin:checkpoint.pt#9", "checkpoint-"),
        ("begin:predictions.npz", "predictions.npz"),
        ("half a line of finished:journal.jsonl#2", "journal.jsonl"),
        ("begin:result.json#6", "result.json"),
        ("begin:runs.csv", "runs.csv"),
        ("begin:report.html", "report.html"),
    ],
)
def test_a_full_disk_is_named_and_the_study_goes_on_afterwards(
    study: FaultStudy, undisturbed: dict[str, Any], place: str, file: str
) -> None:
    launch = study.start(failpoint=f"{place}=full")
    code, said = launch.wait(), " ".join(launch.said().split())
    assert code == 2, said
    assert "File too large" in said
    assert "bytes are free there" in said
    assert file in said
    assert "Traceback" not in said
    study.finish()
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_a_log_that_cannot_be_written_says_so(study: FaultStudy, undisturbed: dict[str, Any], engine: str) -> None:
    """No file of the processes that train can grow."""
    assert study.start(failpoint="begin:checkpoint.pt").wait() == -signal.SIGKILL
    launch = study.start(engine=engine, failpoint="renamed:study.json=STOP")
    wait_until(lambda: psutil.Process(launch.pid).status() == psutil.STATUS_STOPPED)
    for process in session(launch):
        if (process.pid == launch.pid) == (engine == "inline"):
            process.rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    launch.kill(signal.SIGCONT)
    code, said = launch.wait(), " ".join(launch.said().split())
    assert code == 2, said
    assert "File too large" in said
    assert "bytes are free there" in said
    assert "Traceback" not in said
    study.finish()
    assert differences(undisturbed, study.kept()) == []


def test_a_lack_of_memory_is_kept_and_tried_again_when_asked(study: FaultStudy, undisturbed: dict[str, Any]) -> None:
    """The seventh checkpoint belongs to a confirm run."""
    launch = study.start(failpoint="begin:checkpoint.pt#7=memory")
    assert launch.wait() == 3, launch.said()
    table = study.place / "runs.csv"
    assert table.read_text().count(",out_of_memory,") == 1
    assert table.read_text().count(",completed,") == 5
    before = {path: path.read_bytes() for path in study.place.glob("work/runs/*/result.json")}
    assert study.start().wait() == 3
    assert {path: path.read_bytes() for path in study.place.glob("work/runs/*/result.json")} == before
    study.finish("--retry-out-of-memory")
    assert differences(undisturbed, study.kept()) == []

"""A disk that is full, for real: from some write on no file can grow. And a device without memory."""

import json
import re
import resource
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest
from small_study import FaultStudy
from test_processes import session, wait_until
from what_is_kept import differences

STAGES = [
    ("signed:lock", "looks.jsonl"),
    ("begin:config.json#2", "config.json"),
    ("half a line of evaluated:journal.jsonl#3", "journal.jsonl"),
    ("begin:checkpoint.pt#3", "checkpoint-"),
    ("begin:predictions.npz", "predictions.npz"),
    ("half a line of finished:journal.jsonl", "journal.jsonl"),
    ("begin:result.json", "result.json"),
    ("begin:runs.csv", "runs.csv"),
    ("begin:report.html", "report.html"),
]
"""Where the disk is full and the file that cannot be written, in the order in which a study comes to them."""


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_study_goes_on_afterwards(study: FaultStudy, undisturbed: dict[str, Any]) -> None:
    for place, file in STAGES:
        launch = study.start(failpoint=f"{place}=full")
        code, said = launch.wait(), " ".join(launch.said().split())
        assert code == 2, f"{place}: {said}"
        for part in ("File too large", "bytes are free there", file):
            assert part in said, f"{place}: {said}"
        assert "Traceback" not in said, f"{place}: {said}"
    study.finish()
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_lack_of_memory_is_kept_and_tried_again_when_asked(study: FaultStudy, undisturbed: dict[str, Any]) -> None:
    """The seventh checkpoint belongs to a confirm run."""
    launch = study.start(failpoint="begin:checkpoint.pt#7=memory")
    assert launch.wait() == 3, launch.said()
    table = study.place / "runs.csv"
    assert table.read_text().count(",out_of_memory,") == 1
    assert table.read_text().count(",completed,") == 3
    before = {path: path.read_bytes() for path in study.place.glob("work/runs/*/result.json")}
    assert study.start().wait() == 3
    assert {path: path.read_bytes() for path in study.place.glob("work/runs/*/result.json")} == before
    study.finish("--retry-out-of-memory")
    kept = study.kept()
    assert len(kept.pop("looks")) == 1 + len(undisturbed["looks"])  # results with a gap were looked at, too
    assert differences({key: value for key, value in undisturbed.items() if key != "looks"}, kept) == []


@pytest.mark.slow
def test_a_worker_that_is_killed_for_memory_says_what_is_known(study: FaultStudy) -> None:
    assert study.start(engine="processes", failpoint="begin:model.safetensors").wait() == 3
    reasons = [
        json.loads(path.read_bytes())["result"]["reason"] for path in study.place.glob("work/runs/*/result.json")
    ]
    assert reasons.count("") == 4, "the trials have none"
    known = r".*signal SIGKILL \(of [\d.]+ GiB .*\)\. Fewer .*"
    assert all(re.fullmatch(known, reason) for reason in reasons if reason), reasons


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_too_few_addresses_for_torch_are_told_of(study: FaultStudy, engine: str) -> None:
    command = [sys.executable, "-m", "harness", *map(str, study.command), "--engine", engine]
    limit = 3 * 2**29
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert "Memory is short" in done.stderr
    assert "each process may have 1.5 GiB of addresses (ulimit -v)" in done.stderr
    assert "Traceback" not in done.stderr

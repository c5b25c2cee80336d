"""`patchbench run-all`: which studies, in which order, what ends it, and what a signal does."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands import studies
from harness.spec import find_study, study_names

Here = Callable[..., "subprocess.CompletedProcess[str]"]

DATA = [name for name in study_names() if find_study(name)[1].group == "data and bias"]


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The exit code of each study's run, 0 where none is given; `ran` has what was run."""
    given: dict[str, int] = {}

    def carried_out(results: Path, *words: str) -> int:
        ran.append([str(results), *words])
        return given.get(words[1], 0)

    ran: list[list[str]] = []
    given["ran"] = ran  # type: ignore[assignment]
    monkeypatch.setattr(studies, "_in_a_process", carried_out)
    return given


def test_a_group_is_run_in_order_with_what_was_given(codes: dict[str, int], tmp_path: Path, here: Here) -> None:
    done = here(tmp_path, "run-all", "data", "--scale", "laptop", "--workers", "2")
    assert done.returncode == 0, done.stderr
    for words, name in zip(codes["ran"], DATA, strict=True):  # type: ignore[call-overload]
        assert words == [str(tmp_path), "run", name, "--scale", "laptop", "--workers", "2"]
    minutes = find_study(DATA[-1])[1].scales["laptop"].minutes
    assert f"Study {len(DATA)} of {len(DATA)}: {DATA[-1]} (expected: {minutes:g} min 00 s" in done.stdout


@pytest.mark.usefixtures("codes")
def test_a_time_that_nobody_has_taken_is_called_an_estimate(tmp_path: Path, here: Here) -> None:
    done = here(tmp_path, "run-all", "data", "--scale", "gpu")
    assert f"Study 1 of {len(DATA)}: {DATA[0]} (estimate: " in done.stdout


@pytest.mark.parametrize(("code", "made", "ends"), [(3, len(study_names()), 3), (2, 1, 2), (75, 1, 75), (1, 1, 1)])
def test_gaps_let_the_others_run_and_nothing_else_does(
    codes: dict[str, int], tmp_path: Path, here: Here, code: int, made: int, ends: int
) -> None:
    codes[study_names()[0]] = code
    done = here(tmp_path, "run-all", "--scale", "smoke")
    assert (done.returncode, len(codes["ran"])) == (ends, made)  # type: ignore[arg-type]


def test_a_group_that_is_not_there_is_refused(tmp_path: Path, here: Here) -> None:
    done = here(tmp_path, "run-all", "date")
    assert done.returncode == 2
    assert "'date' is not one of 'data', 'architecture', 'inside', 'training'" in done.stderr


def test_a_signal_stops_the_study_once(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ntrap 'echo stopped >> {tmp_path}/log; exit 75' TERM\n: > {tmp_path}/up\n"
                       "while :; do sleep 0.05; done\n")  # fmt: skip
    program.chmod(0o755)
    code = (
        "import sys; from harness.commands import studies; from harness.execution.stopping import interruptible\n"
        f"sys.executable = {str(program)!r}\n"
        "with interruptible(): sys.exit(studies._in_a_process('.', 'run'))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 75
    assert (tmp_path / "log").read_text() == "stopped\n"


def test_a_study_is_told_of_the_folder_without_naming_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the command that is kept with results in the usual folder has no path of this machine."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho "$PATCHBENCH_RESULTS $*" > {tmp_path}/called\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert studies._in_a_process(tmp_path / "results", "run", "depth") == 0
    assert (tmp_path / "called").read_text() == f"{tmp_path / 'results'} -m harness run depth\n"

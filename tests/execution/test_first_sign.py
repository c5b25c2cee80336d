"""A process that gives no sign of life is not waited for without limit."""

import os
import signal
from multiprocessing import forkserver
from typing import Any

import pytest

from harness.execution import process
from harness.execution.engines import processes
from harness.spec import InvalidInput


@pytest.fixture
def stopped_server() -> int:
    """The server that workers are forked from, stopped: it answers nobody."""
    process.warm_up()
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGSTOP)
    return int(pid)


def test_a_server_that_does_not_answer_is_given_up(stopped_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FIRST_SIGN_SECONDS", 0.2)  # too short to load torch, too
    with pytest.raises(InvalidInput, match=r"gave no sign within 0 s, or died.* Run the same command again"):
        processes.prepare([], [], "cpu", "fp32")


@pytest.mark.slow  # torch is loaded
def test_another_server_takes_the_place_of_one_that_does_not_answer(
    stopped_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, limits = process._start, [120.0, 1.0]

    def attempts(*arguments: Any) -> Any:
        monkeypatch.setattr(process, "FIRST_SIGN_SECONDS", limits.pop())
        return attempt(*arguments)

    monkeypatch.setattr(process, "_start", attempts)
    assert processes.prepare([], [], "cpu", "fp32").device == "cpu"
    assert limits == []
    with pytest.raises(ProcessLookupError):
        os.kill(stopped_server, 0)

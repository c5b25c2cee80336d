"""Calls of MLflow and of databases, which may never return, for a bounded time."""

import threading
import time
from collections.abc import Callable
from typing import Any


class OutOfTimeError(Exception):
    """What was given time was not done in it."""


def within(seconds: float, work: Callable[[], object]) -> None:
    """Do `work` in a thread of its own, and raise what it raises; `OutOfTimeError` where it goes on for longer.

    The thread is left behind then, and ends with the process.
    """
    ended, raised = threading.Event(), list[BaseException]()

    def carry_out() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)
        finally:
            ended.set()

    threading.Thread(target=carry_out, name="bounded", daemon=True).start()
    if not ended.wait(seconds):
        raise OutOfTimeError("it does not answer")
    if raised:
        raise raised[0]


class TimedClient:
    """A client that is not called any more once its time is over: `OutOfTimeError`."""

    def __init__(self, client: Any, ends: Callable[[], float]) -> None:
        """`ends` gives the time, as `time.monotonic` does; it may change."""
        self._client, self._ends = client, ends

    def __getattr__(self, name: str) -> Any:
        if time.monotonic() > self._ends():
            raise OutOfTimeError("it answers too slowly")
        return getattr(self._client, name)

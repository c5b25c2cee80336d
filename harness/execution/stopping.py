"""SIGINT, SIGTERM, SIGHUP, SIGUSR1: the first one stops a study in good order, the second one quits at once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class StudyInterrupted(Exception):
    """The study was asked to stop; everything is kept and the same command goes on."""


_stops: list[Callable[[], object]] = []  # what the first signal calls, instead of raising anything


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A signal raises `KeyboardInterrupt`. Within another such block, or outside the main thread, nothing changes."""
    if not _is_main() or signal.getsignal(signal.SIGTERM) is _answer:
        yield
        return
    before = {number: signal.signal(number, _answer) for number in _answered()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextlib.contextmanager
def told_to_stop(stop: Callable[[], object]) -> Iterator[None]:
    """Within an `interruptible` block: the first signal calls `stop` instead; in the main thread only."""
    stops = _stops if _is_main() else []
    stops.append(stop)
    try:
        yield
    finally:
        stops.pop()


def _answer(number: int, frame: FrameType | None) -> None:
    for each in _answered():
        signal.signal(each, signal.SIG_DFL)
    if not _stops:
        raise KeyboardInterrupt
    _stops[-1]()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _answered() -> list[signal.Signals]:
    """All of them (job systems send SIGUSR1), but for a SIGHUP that was to be ignored from the start: `nohup`."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, *([] if is_ignored else [signal.SIGHUP])]

"""SIGINT, SIGTERM, SIGHUP: the first one stops a study in good order, the second one quits at once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A signal raises `KeyboardInterrupt`. Within another such block, or outside the main thread, nothing changes.

    Python calls handlers in the main thread only; in any other one a study runs without them.
    """
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        yield
        return
    with _handled(_interrupt):
        yield


@contextlib.contextmanager
def told_to_stop(stop: Callable[[], object]) -> Iterator[None]:
    """The first signal calls `stop` instead of raising anything."""

    def ask(number: int, frame: FrameType | None) -> None:
        _let_the_next_quit()
        stop()

    with _handled(ask):
        yield


@contextlib.contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _answered()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            # After a first signal the next one quits, whatever block has been left in between.
            if signal.getsignal(number) is handler or earlier is not _interrupt:
                signal.signal(number, earlier)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _let_the_next_quit()
    raise KeyboardInterrupt


def _let_the_next_quit() -> None:
    for number in _answered():
        signal.signal(number, signal.SIG_DFL)


def _answered() -> list[signal.Signals]:
    """All of them, but for a SIGHUP that was to be ignored from the start: `nohup`."""
    return [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]

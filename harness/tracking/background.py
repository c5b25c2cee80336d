"""A mirror's thread: it follows the records while a study runs, and never holds up the training."""

import threading
import time
from abc import ABC, abstractmethod

from harness.records.study_file import without_passwords
from harness.spec import InvalidInput
from harness.tracking.store import Say

_INTERVAL = 1.0  # least time between two passes, seconds: many changes become one batch
_LONGEST_WAIT = 30.0  # most time between two attempts while the other side is away, seconds
_GRACE_SECONDS = 3.0  # how long it may go on after its closing was interrupted
_PATIENCE_SECONDS = 10.0  # how long a closing mirror tries again when the other side is locked or away


class OutOfTimeError(Exception):
    """What was given time was not done in it."""


class Background(ABC):
    """Passes over what has changed, in a thread of its own, again after an error.

    Nothing here raises or waits, but `close`, for a bounded time. `say` is called from its thread too.
    """

    def __init__(self, what: str, place: str, say: Say, *, is_launch: bool) -> None:
        """`what` is mirrored into and at which `place`, for a person; what is no launch does nothing before `close`."""
        self._what, self._place, self._say, self._is_launch = what, place, say, is_launch
        self._wake, self._closing, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._deadline = self._give_up = float("inf")
        self._is_open = self._is_whole = self._is_closed = False
        self._trouble = ""

    @abstractmethod
    def _pass(self, *, closing: bool) -> None:
        """Bring over what has changed, and all of it unless `_is_open`; sets that. May raise anything."""

    def _begin(self) -> None:
        threading.Thread(target=self._work, name=f"{self._what} mirror".lower(), daemon=True).start()

    def finish(self, timeout: float) -> None:
        """Begin to bring over what is left, in `timeout` seconds, for which `close` then waits."""
        self._deadline = time.monotonic() + timeout
        self._give_up = time.monotonic() + min(timeout, _PATIENCE_SECONDS)
        self._closing.set()
        self._wake.set()

    def close(self, timeout: float = 30.0) -> None:
        """Bring over what is left, in `timeout` seconds, and say so when the mirror is not complete then.

        A call after an interrupted one waits a little more.
        """
        if self._is_closed:
            self._ended.wait(_GRACE_SECONDS)
            return
        self._is_closed = True
        if not self._closing.is_set():
            self.finish(timeout)
        # A `join` that a signal interrupts would take the thread for ended.
        self._ended.wait(max(0.0, self._deadline - time.monotonic()))
        if not self._is_whole:
            reason = self._trouble or f"it took more than {timeout:g} s"
            self._say(
                f"{self._what} lacks part of the records: {reason}. "
                "The next run, report or `patchbench sync` makes it up."
            )

    def _work(self) -> None:
        try:
            wait = _INTERVAL
            while time.monotonic() < self._deadline:
                closing, anew = self._closing.is_set(), not self._is_open
                try:
                    if closing or self._is_launch:
                        self._wake.clear()
                        self._pass(closing=closing)
                    if closing:
                        self._is_whole = True
                        return
                    wait = _INTERVAL
                except OutOfTimeError:  # `close` says so
                    return
                except Exception as error:  # whatever a library raises must not reach the training
                    if not self._trouble and self._is_launch:
                        self._say(
                            f"{self._what} ({self._place}) cannot be written: {_reason(error)}. The study goes on; "
                            "what it lacks is made up as soon as it can be written."
                        )
                    self._is_open, self._trouble = False, _reason(error)
                    if closing and ((anew and _stays(error)) or time.monotonic() > self._give_up):
                        return
                    self._wake.set()
                    wait = min(2 * wait, _LONGEST_WAIT)
                    time.sleep(0.2 if closing else 0)
                self._closing.wait(wait)
                if not self._closing.is_set():
                    self._wake.wait()
        finally:
            self._ended.set()


def _stays(error: Exception) -> bool:
    """Whether the next attempt would end as this one: what is refused, not what is locked, away or overloaded."""
    status = getattr(error, "get_http_status_code", lambda: 500)()
    refused = status < 500 and status not in (408, 429)  # which pass
    return refused or isinstance(error, InvalidInput | ImportError)


def _reason(error: Exception) -> str:
    """The error in one line that fits a terminal, without passwords; whole where it says what to do."""
    if isinstance(error, InvalidInput):
        return str(error).rstrip(".")
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {without_passwords(line)[:200]}".rstrip(".: ")

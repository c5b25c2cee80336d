"""Call a function in a process of its own, and hear its events: how runs, the check before them and reports are made.

Each process is forked from a server that has loaded torch and the training code but started no threads.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from harness.execution.engines.endings import ending, is_short_of_memory, memory_here, shortage
from harness.spec import InvalidInput

ENGINES = "harness.execution.engines"

FIRST_SIGN_SECONDS = 120.0
"""How long the first sign of a process is waited for: torch may have to be loaded first, on a busy machine."""

END_SECONDS = 10.0
"""How long the end of a process that has been killed is waited for."""

HERE, DONE, INVALID, ERROR = ("here",), ("done",), "invalid", "error"
"""The first sign, the last word, and the first part of the last word of a call that raises."""

DUMP_SIGNAL = signal.SIGUSR1
"""Makes the process of a run write the stacks of its threads to the run's log."""


class CallFailedError(RuntimeError):
    """A call raised what is no `InvalidInput`; the text is its traceback."""


class CallEndedError(Exception):
    """The process of a call has ended without a last word; the text says how."""


class Call:
    """A call of a function of `engines.worker` that is carried out in a process of its own."""

    def __init__(self, function: str, *arguments: Any, name: str | None = None) -> None:
        """Begin it. Raises `InvalidInput` where no process gives a sign, at the second attempt either."""
        started = _start(function, arguments, name) or _start(function, arguments, name)
        if started is None:
            raise InvalidInput(
                f"A process for the work gave no sign within {FIRST_SIGN_SECONDS:.0f} s, or died, and so did another "
                f"({memory_here()}). The machine may have too much to do or too little memory. Run the same command "
                "again; nothing is lost."
            )
        self.process, self.pipe = started

    def say(self, message: object) -> None:
        """Send something to the function. Raises `CallEndedError` where its process has ended."""
        try:
            self.pipe.send(message)
        except OSError:
            raise CallEndedError(self.ending()) from None

    def hear(self) -> tuple[Any, ...]:
        """Wait for its next event, of which DONE is the last.

        Raises `InvalidInput` where the function did, `CallFailedError` or `CallEndedError`.
        """
        try:
            event: tuple[Any, ...] = self.pipe.recv()
        except (EOFError, OSError):
            raise CallEndedError(self.ending()) from None
        match event:
            case (kind, str(text)) if kind == INVALID:
                raise InvalidInput(text)
            case (kind, str(text)) if kind == ERROR:
                raise CallFailedError(text)
        return event

    def ending(self, peak: int = 0) -> str:
        """Wait for its process to end: how it did, and what is known of memory; `peak`: bytes it was seen to take."""
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.kill()
        return ending(self.process, peak)

    def dump_stacks(self) -> None:
        """Have the process of a run write the stacks of its threads to the run's log."""
        if self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, DUMP_SIGNAL)

    def kill(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.join(END_SECONDS)

    def close(self) -> None:
        """End the process now, and let go of its pipe."""
        self.kill()
        self.pipe.close()


def warm_up() -> None:
    """Start loading torch in the server that processes are forked from; returns at once."""
    _context()
    forkserver.ensure_running()


def _start(function: str, arguments: tuple[Any, ...], name: str | None) -> tuple[ForkServerProcess, Connection] | None:
    """A process and this end of its pipe; None where no sign came."""
    context = _context()
    here, there = context.Pipe()
    process = context.Process(target=_enter, args=(function, there, arguments), daemon=True, name=name)
    # The start itself waits for the server, without a limit; once that is killed there is nothing to wait for.
    limit = threading.Timer(FIRST_SIGN_SECONDS, _end_server)
    limit.daemon = True
    is_there = False
    try:
        limit.start()
        process.start()
        limit.cancel()
        there.close()
        is_there = here.poll(FIRST_SIGN_SECONDS) and here.recv() == HERE
    except (EOFError, OSError):  # it has ended, or the server has
        pass
    finally:
        limit.cancel()
        if limit.is_alive():
            limit.join()
        if not is_there:
            for end in (here, there):
                end.close()
            if process.pid is not None:
                process.kill()
                process.join(END_SECONDS)
    return (process, here) if is_there else None


def _end_server() -> None:
    """Kill the server, and wait until it is dead: the next attempt would take it for alive."""
    pid = getattr(forkserver, "_forkserver")._forkserver_pid  # noqa: B009 (nothing public tells it)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            if hasattr(os, "waitid"):  # not on macOS; unlike `waitpid` it can leave its end to be seen by the next
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    is_main = threading.current_thread() is threading.main_thread()
    modules = ("server", "bound_server", "worker") if is_main else ("server", "worker")
    context.set_forkserver_preload([f"{ENGINES}.{name}" for name in modules])
    return context


def _enter(function: str, pipe: Connection, arguments: tuple[Any, ...]) -> None:
    """First step in the process: a sign, then the work. Its code is imported here, where a failure can be told."""
    pipe.send(HERE)
    try:
        from harness.execution.engines import worker
    except Exception as error:
        if not is_short_of_memory(error):
            raise
        pipe.send((INVALID, shortage(error)))
        return
    entry: Callable[..., None] = getattr(worker, function)
    worker.carry_out(entry, pipe, *arguments)

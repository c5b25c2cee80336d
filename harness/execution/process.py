"""Call a function in a process of its own, forked from a server that has loaded torch, and hear its events."""

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
import traceback
from multiprocessing import forkserver, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from harness.spec import InvalidInput

END_SECONDS = 10.0  # how long the end of a process is waited for
DUMP_SIGNAL = signal.SIGUSR2  # makes the process of a run write the stacks of its threads to the run's log

asked_to_stop = threading.Event()  # in the process of a call: set by SIGTERM


class CallFailedError(RuntimeError):
    """A call raised what is no `InvalidInput`; the text is its traceback."""


class CallEndedError(Exception):
    """The process of a call has ended without a last word; the text says how."""


class Call:
    """A call of a function of `engines.worker` that is carried out in a process of its own."""

    def __init__(self, function: str, *arguments: Any) -> None:
        """Begin it. Raises `InvalidInput` where no process can be started."""
        cause: Exception = EOFError()
        for _ in range(2):  # a server that has died is replaced at the second attempt
            try:
                context = _context()
                self.pipe, there = context.Pipe()
                self.process = context.Process(target=_carry_out, args=(function, there, arguments), daemon=True)
                with there:
                    self.process.start()
                    return
            except (EOFError, OSError) as error:
                cause = error
        why = f"{cause}; {memory_here()}" if str(cause) else memory_here()
        raise InvalidInput(
            f"No process can be started for the work ({why}). Close other programs or lift the limit (ulimit -a), "
            "then run the same command again."
        ) from cause

    def hear(self) -> Any:
        """Wait for its next event, of which None is the last. Raises what the function did, or `CallEndedError`."""
        try:
            event = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(END_SECONDS)
            code = self.process.exitcode
            how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
            raise CallEndedError(f"{how} ({memory_here()})") from None
        if isinstance(event, Exception):
            raise event
        return event

    def close(self) -> None:
        """End the process now, and let go of its pipe."""
        self.process.kill()
        self.process.join(END_SECONDS)
        self.pipe.close()


def warm_up() -> None:
    """Start loading torch in the server that processes are forked from; returns at once."""
    _context()
    forkserver.ensure_running()


def server_context(*modules: str) -> ForkServerContext:
    """Processes forked from a server that ends with this process, and has loaded `modules`."""
    context = multiprocessing.get_context("forkserver")
    # `server` ends it with the thread that has started it, which is to be the process's own.
    os.environ["PATCHBENCH_COORDINATOR"] = str(os.getpid())
    is_main = threading.current_thread() is threading.main_thread()
    context.set_forkserver_preload([*(["harness.execution.engines.server"] if is_main else []), *modules])
    return context


def _context() -> ForkServerContext:
    return server_context("harness.execution.engines.worker")


def _carry_out(function: str, pipe: Connection, arguments: tuple[Any, ...]) -> None:
    """What a process does: call `function(pipe, *arguments)`, which sends events of its own, and send how it ended."""
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_stop.set())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):  # the coordinator's affair
        signal.signal(number, signal.SIG_IGN)
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        from harness.execution.engines import worker  # the server has loaded it, if it could
    except Exception as error:
        told = shortage(error)
        pipe.send(InvalidInput(told) if told else CallFailedError(traceback.format_exc()))
        return
    try:
        getattr(worker, function)(pipe, *arguments)
    except InvalidInput as error:
        pipe.send(InvalidInput(str(error)))
    except BaseException:
        pipe.send(CallFailedError(traceback.format_exc()))
    else:
        pipe.send(None)


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def shortage(error: BaseException) -> str | None:
    """What to tell of an error that says that there is too little memory for this program itself; None of others."""
    reason = str(error) or type(error).__name__
    known = ("cannot allocate memory", "failed to map segment", "can't start new thread", "bad_alloc")
    if not isinstance(error, MemoryError) and not any(text in reason.lower() for text in known):
        return None
    return f"Memory is short ({reason}): {memory_here()}. Close other programs, or lift the limit; then run it again."


def memory_here() -> str:
    """The memory of this machine, and the limits that are set: `of 15.6 GiB of memory here, 2.1 GiB are free`."""
    import psutil

    memory, (limit, _) = psutil.virtual_memory(), resource.getrlimit(resource.RLIMIT_AS)
    text = f"of {_size(memory.total)} of memory here, {_size(memory.available)} are free"
    if limit != resource.RLIM_INFINITY:
        text += f", each process may have {_size(limit)} of addresses (ulimit -v)"
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        text += f", this container may have {_size(int(Path('/sys/fs/cgroup/memory.max').read_text()))}"
    return text


def _size(amount: int) -> str:
    return f"{amount / 2**30:.1f} GiB"

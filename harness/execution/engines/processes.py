"""Runs side by side, each in a fresh process forked from a server that has torch loaded."""

import contextlib
import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from harness.execution.engines import Beat, Outcome, Prepared, Rehearsal
from harness.execution.engines.endings import ending, is_short_of_memory, memory_here, shortage
from harness.records.runs import RunFolder
from harness.spec import DataSpec, InvalidInput, Run
from harness.training.settings import WorkerSettings

ENGINES = "harness.execution.engines"

MOST_WAITED = 1.0
"""Seconds between two calls of `wait` that count as waited: after more, the coordinator itself stood still (Ctrl-Z)."""

FIRST_SIGN_SECONDS = 120.0
"""How long the first sign of a process is waited for: torch may have to be loaded first, on a busy machine."""

END_SECONDS = 10.0
"""How long the end of a process that has been killed is waited for."""

_HERE = ("here",)
"""The first sign."""

LONGEST_REHEARSALS = 120.0
"""Seconds that the models' first updates may take together, before the trainings start without."""

DUMP_SIGNAL = signal.SIGUSR1
"""Makes a worker write the stacks of its threads to the run's log."""


@dataclass
class _Worker:
    run: Run
    folder: RunFolder
    process: ForkServerProcess
    pipe: Connection
    beat_at: float
    """On the engine's clock."""
    peak: int = 0
    """Bytes of memory that it has taken, as far as it has said."""
    outcome: Outcome | None = None


class ProcessEngine:
    """An engine with room for `workers` runs. A worker's death ends its own run only."""

    def __init__(self, settings: WorkerSettings, *, workers: int, patience_seconds: float = 600.0) -> None:
        """`workers` runs at a time; one without progress for `patience_seconds` is ended, with a stack dump."""
        self._settings = settings
        self._patience_seconds = patience_seconds
        self._workers: dict[str, _Worker] = {}
        self._waited = 0.0
        """Seconds of waiting: a clock that stands still when this process does, as the workers then may, too."""
        self._waited_at = time.monotonic()
        self.capacity = workers

    @property
    def active(self) -> int:
        return len(self._workers)

    def start(self, run: Run, folder: RunFolder) -> None:
        process, here = start("carry_out", run, folder, self._settings, name=run.digest[:12])
        self._workers[run.digest] = _Worker(run=run, folder=folder, process=process, pipe=here, beat_at=self._waited)

    def wait(self, seconds: float) -> list[Beat | Outcome]:
        self._count_time()
        happened: list[Beat | Outcome] = []
        pipes = {worker.pipe: worker for worker in self._workers.values()}
        for ready in multiprocessing.connection.wait(list(pipes), timeout=seconds):
            assert isinstance(ready, Connection)
            event = self._receive(pipes[ready])
            if event is not None:
                happened.append(event)
        happened += self._end_stalled()
        return happened

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.process.terminate()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.process.kill()
            worker.process.join(END_SECONDS)
        self._workers.clear()

    def _receive(self, worker: _Worker) -> Beat | Outcome | None:
        """One message of a worker; the end of its pipe is the end of its run."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            return self._end(worker)
        match message:
            case ("beat", int(update), int(peak)):
                worker.beat_at, worker.peak = self._waited, peak
                return Beat(digest=worker.run.digest, update=update)
            case ("interrupted",):
                worker.outcome = Outcome(run=worker.run, result=None, interrupted=True)
            case ("invalid", str(text)):
                raise InvalidInput(text)
            case ("error", str(text)):
                worker.outcome = Outcome(run=worker.run, result=None, error=text)
        return None

    def _end(self, worker: _Worker) -> Outcome:
        """The worker's process is over (or is now ended): read what it left."""
        worker.process.join(END_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(END_SECONDS)
        worker.pipe.close()
        del self._workers[worker.run.digest]
        if worker.outcome is not None:
            return worker.outcome
        result = worker.folder.result()
        if result is not None:
            worker.folder.tidy()
            return Outcome(run=worker.run, result=result)
        return Outcome(run=worker.run, result=None, error=_unexplained(worker))

    def _count_time(self) -> None:
        now = time.monotonic()
        self._waited += min(now - self._waited_at, MOST_WAITED)
        self._waited_at = now

    def _end_stalled(self) -> list[Outcome]:
        """End the workers that have shown no progress for too long, after they have written their stacks."""
        self._count_time()
        now = self._waited
        stalled = [worker for worker in self._workers.values() if now - worker.beat_at > self._patience_seconds]
        for worker in stalled:
            with contextlib.suppress(ProcessLookupError):
                assert worker.process.pid is not None
                os.kill(worker.process.pid, DUMP_SIGNAL)
            time.sleep(0.5)
            worker.process.kill()
            worker.outcome = Outcome(
                run=worker.run,
                result=None,
                error=f"No progress for {self._patience_seconds:.0f} s; the stacks are in {worker.folder.log_path}.",
            )
        return [self._end(worker) for worker in stalled]


def _unexplained(worker: _Worker) -> str:
    return f"The worker process ended with {ending(worker.process, worker.peak)}. Fewer --workers need less memory."


def warm_up() -> None:
    """Start loading torch in the server that workers are forked from; returns at once."""
    _context()
    forkserver.ensure_running()


def prepare(
    data: Iterable[DataSpec],
    surveyed: Iterable[DataSpec],
    device: str,
    precision: str,
    rehearsals: Iterable[Rehearsal] = (),
    *,
    deterministic: bool = False,
) -> Prepared:
    """Check data and device in a process of its own and try every model there.

    See `engines.preparation.prepare` and `rehearsal.rehearse`. A process that ends during the rehearsals (the system
    may take its memory) or takes too long for them refuses nothing: the runs themselves will tell.
    """
    asked = list(data), list(surveyed), device, precision, list(rehearsals), deterministic
    process, here = start("carry_out_preparation", *asked)
    try:
        prepared: Prepared = _answer(here)
        if here.poll(LONGEST_REHEARSALS):
            with contextlib.suppress(EOFError):
                _answer(here)
    except EOFError:
        process.join(END_SECONDS)
        raise InvalidInput(f"The process that checks the data ended with {ending(process)}.") from None
    finally:  # it has nothing more to say; and after a signal nobody listens
        process.kill()
        process.join(END_SECONDS)
    return prepared


def _answer(pipe: Connection) -> Any:
    kind, *content = pipe.recv()
    if kind == "invalid":
        raise InvalidInput(*content)
    if kind == "error":
        raise RuntimeError(*content)
    return content[0] if content else None


def start(
    target: str, *arguments: Any, duplex: bool = False, name: str | None = None
) -> tuple[ForkServerProcess, Connection]:
    """Carry out `worker.<target>` in a process of its own; returns it with this end of its pipe, once it is there.

    Raises `InvalidInput` where none gives a sign, at the second attempt either.
    """
    started = _start(target, arguments, duplex, name) or _start(target, arguments, duplex, name)
    if started is None:
        raise InvalidInput(
            f"A process for the work gave no sign within {FIRST_SIGN_SECONDS:.0f} s, or died, and so did another "
            f"({memory_here()}). The machine may have too much to do or too little memory. Run the same command again; "
            "nothing is lost."
        )
    return started


def _start(
    target: str, arguments: tuple[Any, ...], duplex: bool, name: str | None
) -> tuple[ForkServerProcess, Connection] | None:
    """One attempt; None where no sign came."""
    context = _context()
    here, there = context.Pipe(duplex=duplex)
    process = context.Process(target=_enter, args=(target, there, *arguments), daemon=True, name=name)
    # The start itself waits for the server, without a limit; once that is killed there is nothing to wait for.
    limit = threading.Timer(FIRST_SIGN_SECONDS, _end_server)
    limit.daemon = True
    is_there = False
    try:
        limit.start()
        process.start()
        limit.cancel()
        there.close()
        is_there = here.poll(FIRST_SIGN_SECONDS) and here.recv() == _HERE
    except (EOFError, OSError):  # it has ended, or the server has
        pass
    finally:
        limit.cancel()
        if not is_there:
            for end in (here, there):
                end.close()
            if process.pid is not None:
                process.kill()
                process.join(END_SECONDS)
    return (process, here) if is_there else None


def _end_server() -> None:
    pid = getattr(forkserver, "_forkserver")._forkserver_pid  # noqa: B009 (nothing public tells it)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _context() -> ForkServerContext:
    """Processes forked from a server that has loaded torch and the training code, but started no threads."""
    context = multiprocessing.get_context("forkserver")
    is_main = threading.current_thread() is threading.main_thread()
    modules = ("server", "bound_server", "worker") if is_main else ("server", "worker")
    context.set_forkserver_preload([f"{ENGINES}.{name}" for name in modules])
    return context


def _enter(target: str, pipe: Connection, *arguments: Any) -> None:
    """First step inside a worker: a sign, stacks to the log on request, then the work."""
    pipe.send(_HERE)
    try:
        from harness.execution.engines import worker
    except Exception as error:
        if not is_short_of_memory(error):
            raise
        pipe.send(("invalid", shortage(error)))
        return
    if target == "carry_out":
        folder: RunFolder = arguments[1]
        # The file stays open for as long as the worker lives: the handler writes to its descriptor.
        with contextlib.suppress(OSError, InvalidInput):  # told of by the run itself, which opens it, too
            faulthandler.register(DUMP_SIGNAL, file=folder.open_log(), all_threads=True)
    entry: Callable[..., None] = getattr(worker, target)
    entry(pipe, *arguments)

"""Runs side by side, each in a fresh process."""

import contextlib
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from harness.execution.engines import Beat, Outcome, Prepared
from harness.execution.process import DUMP_SIGNAL, Call, CallEndedError, CallFailedError
from harness.records.runs import RunFolder
from harness.spec import InvalidInput, Run
from harness.training import WorkerSettings

LONGEST_REHEARSALS = 120.0  # seconds that the models' first updates may take together, else trainings start without


@dataclass
class _Worker:
    run: Run
    folder: RunFolder
    call: Call
    quiet: float = 0.0  # seconds since it was last heard of, as far as somebody listened
    error: str = ""
    interrupted: bool = False


class ProcessEngine:
    """Room for `workers` runs; one without progress for `patience_seconds` is ended, one that dies ends no other."""

    def __init__(self, settings: WorkerSettings, *, workers: int, patience_seconds: float = 600.0) -> None:
        self._settings, self._patience_seconds, self.capacity = settings, patience_seconds, workers
        self._workers: dict[str, _Worker] = {}

    @property
    def active(self) -> int:
        return len(self._workers)

    def start(self, run: Run, folder: RunFolder) -> None:
        self._workers[run.digest] = _Worker(run, folder, Call("train", run, folder, self._settings))

    def wait(self, seconds: float) -> list[Beat | Outcome]:
        pipes: dict[Any, _Worker] = {worker.call.pipe: worker for worker in self._workers.values()}
        began = time.monotonic()
        ready = wait(list(pipes), timeout=seconds)
        waited = min(time.monotonic() - began, seconds)  # no longer: Ctrl-Z stops this process with its workers
        for worker in pipes.values():
            worker.quiet += waited
        happened = [event for pipe in ready if (event := self._receive(pipes[pipe])) is not None]
        stalled = [worker for worker in self._workers.values() if worker.quiet > self._patience_seconds]
        return [*happened, *map(self._end_stalled, stalled)]

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.call.process.terminate()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.call.close()
        self._workers.clear()

    def _receive(self, worker: _Worker) -> Beat | Outcome | None:
        """One event of a worker; the end of its process is the end of its run."""
        try:
            match worker.call.hear():
                case int(update):
                    worker.quiet = 0.0
                    return Beat(digest=worker.run.digest, update=update)
                case "interrupted":
                    worker.interrupted = True
        except CallFailedError as error:
            worker.error = str(error)
        except CallEndedError as error:
            worker.error = worker.error or f"The worker process ended with {error}. Fewer --workers need less memory."
            return self._end(worker)
        return None

    def _end(self, worker: _Worker) -> Outcome:
        """Read what a worker has left."""
        worker.call.close()
        del self._workers[worker.run.digest]
        result = None if worker.interrupted else worker.folder.result()
        if result is not None:
            worker.folder.tidy()
        return Outcome(run=worker.run, result=result, error=worker.error, interrupted=worker.interrupted)

    def _end_stalled(self, worker: _Worker) -> Outcome:
        """End a worker that has shown no progress for too long, after it has written its stacks."""
        worker.error = f"No progress for {self._patience_seconds:.0f} s; the stacks are in {worker.folder.log_path}."
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.call.process.pid or 0, DUMP_SIGNAL)
        time.sleep(0.5)
        return self._end(worker)


def prepare(*asked: Any) -> Prepared:
    """Do `rehearsal.check` in a process of its own; one that ends over the rehearsals or is slow refuses nothing."""
    with contextlib.closing(Call("check", *asked)) as call:
        try:
            prepared: Prepared = call.hear()
        except CallEndedError as error:
            raise InvalidInput(f"The process that checks the data ended with {error}.") from None
        if call.pipe.poll(LONGEST_REHEARSALS):
            with contextlib.suppress(CallEndedError):
                call.hear()
        return prepared

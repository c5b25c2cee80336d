"""Runs side by side, each in a fresh process."""

import contextlib
import multiprocessing.connection
import time
from collections.abc import Iterable
from dataclasses import dataclass

from harness.execution.engines import Beat, Outcome, Prepared, Rehearsal
from harness.execution.process import Call, CallEndedError, CallFailedError
from harness.records.runs import RunFolder
from harness.spec import DataSpec, InvalidInput, Run
from harness.training.settings import WorkerSettings

MOST_WAITED = 1.0
"""Seconds between two calls of `wait` that count as waited: after more, the coordinator itself stood still (Ctrl-Z)."""

LONGEST_REHEARSALS = 120.0
"""Seconds that the models' first updates may take together, before the trainings start without."""


@dataclass
class _Worker:
    run: Run
    folder: RunFolder
    call: Call
    beat_at: float
    """On the engine's clock."""
    peak: int = 0
    """Bytes of memory that it has taken, as far as it has said."""
    outcome: Outcome | None = None

    def has_ended(self, error: str) -> None:
        self.outcome = Outcome(run=self.run, result=None, error=error)


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
        call = Call("train", run, folder, self._settings, name=run.digest[:12])
        self._workers[run.digest] = _Worker(run=run, folder=folder, call=call, beat_at=self._waited)

    def wait(self, seconds: float) -> list[Beat | Outcome]:
        self._count_time()
        happened: list[Beat | Outcome] = []
        pipes = {worker.call.pipe: worker for worker in self._workers.values()}
        for ready in multiprocessing.connection.wait(list(pipes), timeout=seconds):
            event = self._receive(pipes[ready])  # type: ignore[index]
            if event is not None:
                happened.append(event)
        happened += self._end_stalled()
        return happened

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.call.process.terminate()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.call.kill()
        self._workers.clear()

    def _receive(self, worker: _Worker) -> Beat | Outcome | None:
        """One event of a worker; the end of its process is the end of its run."""
        try:
            event = worker.call.hear()
        except CallEndedError:
            return self._end(worker)
        except CallFailedError as error:
            worker.has_ended(str(error))
            return None
        match event:
            case ("beat", int(update), int(peak)):
                worker.beat_at, worker.peak = self._waited, peak
                return Beat(digest=worker.run.digest, update=update)
            case ("interrupted",):
                worker.outcome = Outcome(run=worker.run, result=None, interrupted=True)
        return None

    def _end(self, worker: _Worker) -> Outcome:
        """The worker's process is over (or is now ended): read what it left."""
        ending = worker.call.ending(worker.peak)
        worker.call.close()
        del self._workers[worker.run.digest]
        if worker.outcome is not None:
            return worker.outcome
        result = worker.folder.result()
        if result is not None:
            worker.folder.tidy()
            return Outcome(run=worker.run, result=result)
        error = f"The worker process ended with {ending}. Fewer --workers need less memory."
        return Outcome(run=worker.run, result=None, error=error)

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
            worker.call.dump_stacks()
            time.sleep(0.5)
            worker.call.kill()
            worker.has_ended(
                f"No progress for {self._patience_seconds:.0f} s; the stacks are in {worker.folder.log_path}."
            )
        return [self._end(worker) for worker in stalled]


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

    See `rehearsal.prepare` and `rehearsal.rehearse`. A process that ends during the rehearsals (the system
    may take its memory) or takes too long for them refuses nothing: the runs themselves will tell.
    """
    call = Call("check", list(data), list(surveyed), device, precision, list(rehearsals), deterministic)
    try:
        prepared: Prepared = call.hear()[1]
        if call.pipe.poll(LONGEST_REHEARSALS):
            with contextlib.suppress(CallEndedError):
                call.hear()
    except CallEndedError as error:
        raise InvalidInput(f"The process that checks the data ended with {error}.") from None
    finally:  # it has nothing more to say; and after a signal nobody listens
        call.close()
    return prepared

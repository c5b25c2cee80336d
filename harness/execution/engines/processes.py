"""Runs side by side, each in a fresh process."""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any

from harness.execution.engines import Beat, Fault, Happening, Outcome, Prepared
from harness.execution.engines.slots import Room, Slot, assign
from harness.execution.engines.watch import Watch
from harness.execution.process import DUMP_SIGNAL, Call, CallEndedError, CallFailedError
from harness.records.runs import RunFolder
from harness.spec import InvalidInput, Run
from harness.training import WorkerSettings

LONGEST_REHEARSALS = 120.0  # seconds that the models' first updates may take together, else trainings start without


@dataclass
class _Worker:
    run: Run
    folder: RunFolder
    slot: Slot
    call: Call
    quiet: float = 0.0  # seconds since it was last heard of, as far as somebody listened
    error: str = ""
    fault: Fault | None = None
    interrupted: bool = False


class ProcessEngine:
    """Runs in a `room`; one without progress for `patience_seconds` is ended, one that dies ends no other."""

    def __init__(self, settings: WorkerSettings, room: Room, *, patience_seconds: float = 600.0) -> None:
        self._settings, self._room, self._patience_seconds = settings, room, patience_seconds
        self._workers, self._watch = dict[str, _Worker](), Watch()

    @property
    def capacity(self) -> int:
        return self._room.capacity(self._watch.aside)

    @property
    def active(self) -> int:
        return len(self._workers)

    def takes(self, run: Run) -> bool:
        return bool(self._slot_for(run))

    def start(self, run: Run, folder: RunFolder) -> None:
        slot = self._slot_for(run)
        untried = set(self._room.devices) - self._watch.aside.keys() - self._watch.failed_on[run.digest] - set(slot)
        settings = replace(
            self._settings,
            cards=tuple(device for device in slot if ":" in device),
            may_move=self._room.per_device == 1 and len(untried) >= self._room.per_run,
        )
        self._workers[run.digest] = _Worker(run, folder, slot, Call("train", run, folder, settings))

    def _slot_for(self, run: Run) -> Slot:
        """The devices that a run would get now; none where there is no room for it."""
        busy = (worker.slot for worker in self._workers.values())
        pending = {run.digest: self._watch.failed_on[run.digest]}
        return assign(self._room, busy, self._watch.aside, pending).get(run.digest, ())

    def wait(self, seconds: float) -> Sequence[Happening]:
        pipes: dict[Any, _Worker] = {worker.call.pipe: worker for worker in self._workers.values()}
        began = time.monotonic()
        ready = wait(list(pipes), timeout=seconds)
        waited = min(time.monotonic() - began, seconds)  # no longer: Ctrl-Z stops this process with its workers
        for worker in pipes.values():
            worker.quiet += waited
        happened = [event for pipe in ready for event in self._receive(pipes[pipe])]
        stalled = [worker for worker in self._workers.values() if worker.quiet > self._patience_seconds]
        return [*happened, *(event for worker in stalled for event in self._end_stalled(worker))]

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.call.process.terminate()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.call.close()
        self._workers.clear()

    def _receive(self, worker: _Worker) -> Sequence[Happening]:
        """What follows from one event of a worker; the end of its process is the end of its run."""
        try:
            match worker.call.hear():
                case int(update):
                    worker.quiet = 0.0
                    return [Beat(digest=worker.run.digest, update=update, slot=worker.slot)]
                case Fault() as fault:
                    worker.fault = fault
                case "interrupted":
                    worker.interrupted = True
        except CallFailedError as error:
            worker.error = str(error)
        except CallEndedError as error:
            worker.error = worker.error or f"The worker process ended with {error}. Fewer --workers need less memory."
            return self._end(worker)
        return ()

    def _end(self, worker: _Worker) -> Sequence[Happening]:
        """Read what a worker has left."""
        worker.call.close()
        del self._workers[worker.run.digest]
        result = None if worker.interrupted else worker.folder.result()
        if result is not None:
            worker.folder.tidy()
        outcome = Outcome(
            run=worker.run,
            result=result,
            error=worker.error,
            interrupted=worker.interrupted,
            slot=worker.slot,
            is_excused=worker.fault is not None,
        )
        return [outcome, *self._watch.ended(outcome, worker.fault)]

    def _end_stalled(self, worker: _Worker) -> Sequence[Happening]:
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

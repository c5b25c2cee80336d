"""Runs side by side, each in a fresh process, or in one for each of its cards."""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.execution.engines import Beat, Fault, Happening, Outcome, OutOfMemory, Prepared
from harness.execution.engines.slots import Room, Slot, assign
from harness.execution.engines.watch import DEVICES_REMEDY, Watch, in_words
from harness.execution.process import DUMP_SIGNAL, Call, CallEndedError, CallFailedError
from harness.records.provenance import code_fingerprint
from harness.records.runs import RunFolder, RunResult
from harness.spec import InvalidInput, Run
from harness.spec.errors import require
from harness.training import Member, WorkerSettings
from harness.training.numerics import NUMERICS

LONGEST_REHEARSALS = 120.0  # seconds that the models' first updates may take together, else trainings start without


BEFORE_FIRST = 3  # times the usual patience, before the first update: data, kernels and compilation may take minutes


@dataclass
class _Worker:
    run: Run
    folder: RunFolder
    slot: Slot
    calls: list[Call]  # by rank; the first one leads, and speaks for the run
    meeting: TemporaryDirectory[str] | None  # where they find each other; None for one alone
    quiet: float = 0.0  # seconds since it was last heard of, as far as somebody listened
    has_begun: bool = False  # whether it has been heard of
    error: str = ""
    fault: Fault | None = None
    lack: OutOfMemory | None = None
    interrupted: bool = False
    is_alone: bool = False  # whether nothing else is to be trained on its devices

    def close(self) -> None:
        """End its processes."""
        for call in self.calls:
            call.close()
        self.calls.clear()
        if self.meeting is not None:
            self.meeting.cleanup()


class ProcessEngine:
    """Runs in a `room`; one without progress for `patience_seconds` is ended, one that dies ends no other.

    Before its first update a run may take BEFORE_FIRST times as long. A run over several cards has `ranks` processes;
    where one of them dies or fails, all end, as the others would wait. A run that lacks memory beside others of this
    study on a card has a card for itself next, as soon as one is idle.
    """

    def __init__(
        self, settings: WorkerSettings, room: Room, *, ranks: int = 1, patience_seconds: float = 600.0
    ) -> None:
        self._settings, self._room, self._patience_seconds = settings, room, patience_seconds
        self._ranks = ranks
        self._workers, self._watch = dict[str, _Worker](), Watch()
        self._crowded = set[str]()  # digests of runs that lacked memory beside others

    @property
    def capacity(self) -> int:
        return self._room.capacity(self._watch.aside)

    @property
    def active(self) -> int:
        return len(self._workers)

    def takes(self, run: Run) -> bool:
        return bool(self._slot_for(run))

    def start(self, run: Run, folder: RunFolder) -> None:
        slot, is_alone = self._slot_for(run), run.digest in self._crowded
        untried = set(self._room.devices) - self._watch.aside.keys() - self._watch.failed_on[run.digest] - set(slot)
        settings = replace(
            self._settings,
            cards=tuple(device for device in slot if ":" in device),
            may_move=self._settings.may_move  # to where this engine knows nothing of
            or (self._room.per_device > 1 and not is_alone)
            or len(untried) >= self._room.per_run,
        )
        meeting = None
        if self._ranks > 1:
            meeting = TemporaryDirectory(prefix="patchbench-", ignore_cleanup_errors=True)
        given = [settings] if meeting is None else _by_rank(settings, self._ranks, Path(meeting.name))
        calls = [Call("train", run, folder, each) for each in given]
        self._workers[run.digest] = _Worker(run, folder, slot, calls, meeting, is_alone=is_alone)

    def _slot_for(self, run: Run) -> Slot:
        """The devices that a run would get now; none where there is no room for it."""
        room, workers = self._room, self._workers.values()
        if room.most is not None and len(workers) >= room.most:
            return ()
        busy = [worker.slot for worker in workers for _ in range(room.per_device if worker.is_alone else 1)]
        room = replace(room, per_device=1 if run.digest in self._crowded else room.per_device, most=None)
        pending = {run.digest: self._watch.failed_on[run.digest]}
        return assign(room, busy, self._watch.aside, pending).get(run.digest, ())

    def wait(self, seconds: float) -> Sequence[Happening]:
        # The first one last: it fails, too, when another does, and the other's word says why.
        pipes: dict[Any, tuple[_Worker, Call]] = {
            call.pipe: (worker, call) for worker in self._workers.values() for call in reversed(worker.calls)
        }
        began = time.monotonic()
        ready = wait(list(pipes), timeout=seconds)
        waited = min(time.monotonic() - began, seconds)  # no longer: Ctrl-Z stops this process with its workers
        for worker in self._workers.values():
            worker.quiet += waited
        heard = [found for pipe, found in pipes.items() if pipe in ready]
        happened = [event for worker, call in heard if call in worker.calls for event in self._receive(worker, call)]
        stalled = [worker for worker in self._workers.values() if worker.quiet > self._allowed(worker)]
        return [*happened, *(event for worker in stalled for event in self._end_stalled(worker))]

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.calls[0].process.terminate()  # which tells the others

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def _receive(self, worker: _Worker, call: Call) -> Sequence[Happening]:
        """What follows from one event of a worker; the end of a process is the end of its run, but for one in peace."""
        leads = call is worker.calls[0]
        try:
            match call.hear():
                case int(update):
                    worker.quiet, worker.has_begun = 0.0, True
                    return [Beat(digest=worker.run.digest, update=update, slot=worker.slot)]
                case Fault() as fault:
                    worker.fault = worker.fault or fault  # others fail after the first, as it no longer answers
                case OutOfMemory() as lack:
                    worker.lack = lack
                    return self._end(worker)
                case "interrupted":
                    worker.interrupted = True
                case None if not leads:  # it has done its part of the last update
                    worker.calls.remove(call)
                    call.close()
        except CallFailedError as error:
            worker.error = worker.error or str(error)
            return () if leads else self._end(worker)
        except CallEndedError as error:
            worker.error = worker.error or f"The worker process ended with {error}. Fewer --workers need less memory."
            return self._end(worker)
        return ()

    def _end(self, worker: _Worker) -> Sequence[Happening]:
        """Read what a worker has left."""
        worker.close()
        del self._workers[worker.run.digest]
        result = None if worker.interrupted else worker.folder.result()
        if result is None and worker.lack is not None:
            digest, reason, code = worker.run.digest, worker.lack.reason, code_fingerprint()
            result = RunResult(
                digest=digest, status="out_of_memory", reason=reason, code_fingerprint=code, numerics=NUMERICS
            )
            worker.folder.write_result(result)
        if result is not None:
            worker.folder.tidy()
        outcome = Outcome(
            run=worker.run,
            result=result,
            error=worker.error,
            interrupted=worker.interrupted,
            slot=worker.slot,
            fault=worker.fault,
        )
        shared = self._room.per_device > 1 and not worker.is_alone
        if result is None and shared and worker.fault is not None and not worker.fault.is_sure:
            self._crowded.add(worker.run.digest)  # beside other runs: nothing that its devices are to blame for
            return [replace(outcome, is_crowded=True)]
        return [outcome, *self._watch.ended(outcome, worker.fault)]

    def _allowed(self, worker: _Worker) -> float:
        """Seconds that it may be quiet."""
        return self._patience_seconds * (1 if worker.has_begun else BEFORE_FIRST)

    def _end_stalled(self, worker: _Worker) -> Sequence[Happening]:
        """End a worker that has shown no progress for too long, after it has written its stacks."""
        allowed = f"{self._allowed(worker):.0f} s, longer than --patience allows"
        worker.error = f"No progress for {allowed}; the stacks are in {worker.folder.log_path}."
        for call in worker.calls:
            with contextlib.suppress(ProcessLookupError):
                os.kill(call.process.pid or 0, DUMP_SIGNAL)
        time.sleep(0.5)
        return self._end(worker)


def _by_rank(settings: WorkerSettings, ranks: int, place: Path) -> list[WorkerSettings]:
    """What each process of a run is given; they meet in a folder of their own, `place`."""
    members = [Member(rank=rank, size=ranks, meeting=place / "meeting") for rank in range(ranks)]
    devices = [f"cuda:{rank}" if settings.device == "cuda" else settings.device for rank in range(ranks)]
    return [replace(settings, member=it, device=device) for it, device in zip(members, devices, strict=True)]


def prepare(*asked: Any) -> Prepared:
    """Do `rehearsal.check` in a process of its own; one that ends over the rehearsals or is slow refuses nothing.

    Where a card does not work, models are tried on the next one, in a fresh process that sees that one alone. Raises
    `InvalidInput` where none works.
    """
    prepared, fault = _check((), asked)
    broken = dict[str, str]()
    for card, following in pairwise((*prepared.devices, "")):
        if fault is None:
            break
        broken[card] = fault.reason
        if following:
            _, fault = _check((following,), ((), (), "cuda", *asked[3:]))
    require(len(broken) < len(prepared.devices), f"No device works: {in_words(broken)}. {DEVICES_REMEDY}")
    return prepared


def _check(shown: Slot, asked: tuple[Any, ...]) -> tuple[Prepared, Fault | None]:
    """What a process finds that sees the cards `shown`, or all, and what is wrong with the one it tries models on."""
    with contextlib.closing(Call("check", shown, *asked)) as call:
        try:
            prepared: Prepared = call.hear()
        except CallEndedError as error:
            raise InvalidInput(f"The process that checks the data ended with {error}.") from None
        fault: Fault | None = None
        if call.pipe.poll(LONGEST_REHEARSALS):
            with contextlib.suppress(CallEndedError):
                fault = call.hear()
        return prepared, fault

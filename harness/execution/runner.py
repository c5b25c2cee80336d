"""The one loop that drives a study: plan, search, confirm, resume, collect, report."""

import contextlib
import os
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.execution.engines import Beat, Engine, Happening, Notice, Outcome, Prepared, SetAside
from harness.execution.engines.slots import Slot
from harness.execution.engines.watch import DEVICES_REMEDY, in_words, last_line
from harness.execution.launch import prepare, provenance_of, register, to_train_again, why_again
from harness.execution.model_export import export_models, keep_best, looked_sizes
from harness.execution.options import Options
from harness.execution.plan import Plan, make_plan
from harness.execution.pooling import pooled
from harness.execution.process import Call, CallEndedError
from harness.execution.progress import CellProgress, Finished, open_cells, rehearsals
from harness.execution.search_mirror import CLOSE_SECONDS, SearchMirror
from harness.execution.stopping import StudyInterrupted, interruptible, told_to_stop
from harness.records.files import RecordsError, remove_unfinished, write_json
from harness.records.layout import StudyFolder, study_folder
from harness.records.looks import require_ledger
from harness.records.provenance import code_fingerprint
from harness.records.runs import RunResult
from harness.records.study_file import without_passwords, write_study
from harness.records.write_lock import StudyLock, caution, write_lock
from harness.spec import InvalidInput, ResolvedStudy, Run
from harness.tracking import Mirror
from harness.tracking.databases import require_usable
from harness.tracking.store import load_shared_libraries
from harness.training.numerics import NUMERICS

__all__ = ["Observer", "Options", "Runner", "run_study"]

ATTEMPTS = 3  # how often a run is tried before it is recorded as failed
STATUS_SECONDS = 2.0  # how often work/status.json is renewed, for `patchbench status` in another terminal
DRAIN_SECONDS = 30.0  # how long a study that is told to stop waits for its trainings to keep their state


class Observer(Protocol):
    """Is told what happens, to show it to a person."""

    def planned(self, plan: Plan, done: Sequence[Run]) -> None: ...
    def started(self, run: Run) -> None: ...
    def beat(self, run: Run, update: int, slot: Slot) -> None: ...
    def evaluated(self, run: Run, accuracy: float) -> None: ...  # on validation, latest
    def set_aside(self, device: str, reason: str) -> None: ...
    def ended(self, run: Run, result: RunResult | None) -> None: ...
    def note(self, text: str) -> None: ...


def run_study(study: ResolvedStudy, options: Options, observer: Observer) -> Path:
    """Train what is missing of a study, then write its tables and its report; returns its results folder.

    Seeds that have results there are pooled with those that the study declares.
    Raises `InvalidInput` for what the user can mend: before anything is written where it can be known then, else, as
    when the last card fails, with all that was trained kept. `StudyInterrupted` after SIGINT, SIGTERM, SIGHUP or
    SIGUSR1. Outside the main thread it leaves signals alone.
    """
    try:
        with interruptible():
            require_usable()
            folder = study_folder(study, options.results)
            require_ledger(folder)
            study, note = pooled(study, folder)
            if note:
                observer.note(note)
            return Runner(make_plan(study), options, observer).run()
    except KeyboardInterrupt:
        raise StudyInterrupted from None


@dataclass
class _Active:
    run: Run
    progress: CellProgress
    update: int = 0
    slot: Slot = ()  # its devices, as soon as they are known
    journal: int = 0  # bytes of its journal when that was last read


class Runner:
    """Carries out a plan: trains what has no result, then writes tables and report; see `run_study`."""

    _mirror: Mirror
    _searches: SearchMirror

    def __init__(self, plan: Plan, options: Options, observer: Observer) -> None:
        self._plan, self._options, self._observer = plan, options, observer
        self._folder = study_folder(plan.study, options.results)
        self._places = StudyFolder(self._folder)
        self._cells: list[CellProgress] = []
        self._engine: Engine | None = None  # where something is left to train
        self._active = dict[str, _Active]()
        self._failures = defaultdict[str, list[Slot]](list)  # by digest of the run: on which devices attempts failed
        self._aside: dict[str, str] = {}  # devices that get no more runs, and why
        self._stopping, self._status_at = False, 0.0

    def run(self) -> Path:
        """Do so; returns the study's results folder."""
        study = self._plan.study
        self._places.require_inside(self._options.results)
        lock = StudyLock(self._places.lock)
        lock.require_free()
        self._cells = open_cells(self._plan, self._folder)
        again = to_train_again(self._finished(), self._folder, self._options)
        load_shared_libraries()  # meanwhile torch loads where the runs are to be looked at
        prepared = self._look_ahead(again)
        with lock:
            began, provenance = time.monotonic(), provenance_of(self._plan, self._folder, self._options, prepared)
            provenance["preregistered"] = register(study, self._folder)
            write_study(self._places.work, study, provenance)
            self._tidy(again)
            command, note = without_passwords(self._options.command), self._observer.note
            results = self._options.results
            with (
                SearchMirror(self._cells, results=results, say=note) as self._searches,
                Mirror(study, self._folder, results=results, command=command, say=note) as self._mirror,
            ):
                try:
                    self._train()
                finally:
                    self._searches.finish(CLOSE_SECONDS)  # while the report is written
                    self._places.status.unlink(missing_ok=True)
                    if self._aside:
                        provenance["set_aside"] = in_words(self._aside)
                    provenance["wall_seconds"] = round(provenance["wall_seconds"] + time.monotonic() - began, 1)
                    with contextlib.suppress(RecordsError):  # a full disk is told of by whatever has found it first
                        write_study(self._places.work, study, provenance)
                export_models(study, self._finished(), self._folder)
                self._write_report()
                self._mirror.close(artifacts=self._places.report_files())
        return self._folder

    def _look_ahead(self, again: Sequence[Finished]) -> Prepared | None:
        """Check what trainings need, where any are left, and choose their engine."""
        if not again and not any(cell.remaining for cell in self._cells):
            return None
        prepared, self._engine = prepare(self._plan, rehearsals(self._cells, again), self._options, self._handle)
        if found := caution(self._options.results):
            self._observer.note(
                f"note: {found}: run the study on one machine at a time (`patchbench doctor` says more)."
            )
        for facts in prepared.data:
            for line in (*facts.in_words(), *(f"note: {text}" for text in facts.cautions())):
                self._observer.note(line)
        return prepared

    def _tidy(self, again: Sequence[Finished]) -> None:
        """Set aside what is trained `again`, and remove what a launch that was killed has left."""
        known = self._results()
        for item in again:
            item.folder.clear(self._places.aside)
            del known[item.run.digest]
        # Another launch may have ended in between; and what is found later, when it is due, was not yet asked about.
        self._cells = open_cells(self._plan, self._folder, known, lambda found: why_again(found, self._options))
        with write_lock(self._places.write_lock):
            for place in (self._places.path, self._places.figures, self._places.inside, self._places.work):
                remove_unfinished(place)
        for item in self._finished():
            item.folder.tidy()

    def _finished(self) -> list[Finished]:
        """Every run of the study that has a result."""
        return [item for cell in self._cells for item in cell.finished()]

    def _results(self) -> dict[str, RunResult]:
        return {item.run.digest: item.result for item in self._finished()}

    def _train(self) -> None:
        """Train everything that has no result. Raises `StudyInterrupted` after a signal."""
        self._observer.planned(self._plan, [item.run for item in self._finished()])
        if self._engine is None:
            return
        try:
            with told_to_stop(self._stop):
                while not self._stopping:
                    self._fill(self._engine)
                    if not self._active:
                        self._require_devices()
                        break
                    self._handle(self._heard(self._engine))
                if self._stopping:
                    self._drain(self._engine)
                    raise StudyInterrupted
        finally:
            self._engine.close()

    def _fill(self, engine: Engine) -> None:
        """Start runs while there is room, those of the cell with the most work left first."""
        waiting = set[str]()  # for devices on which they have not failed
        while engine.active < engine.capacity:
            for cell in sorted(self._cells, key=lambda cell: -cell.remaining):
                run = cell.next_run(self._active.keys() | waiting)
                if run is not None:
                    if engine.takes(run):
                        self._start(engine, run, cell)
                    else:
                        waiting.add(run.digest)
                    break
            else:
                return

    def _start(self, engine: Engine, run: Run, cell: CellProgress) -> None:
        folder = cell.folder_of(run)
        if run.digest in cell.damaged:
            folder.clear(self._places.aside)
            self._observer.note(
                f"{cell.damaged.pop(run.digest)} The run is trained again; what was there is in {self._places.aside}."
            )
        folder.write_config(run)
        self._active[run.digest] = _Active(run=run, progress=cell)
        engine.start(run, folder)
        self._observer.started(run)

    def _handle(self, events: Sequence[Happening]) -> None:
        for event in events:
            match event:
                case Beat(digest=digest, update=update, slot=slot):
                    active = self._active[digest]
                    active.update, active.slot = update, slot
                    self._observer.beat(active.run, update, slot)
                    self._tell_accuracy(active)
                    self._mirror.changed(digest)
                case SetAside(device=device, reason=reason):
                    self._aside[device] = reason
                    self._observer.set_aside(device, reason)
                case Notice(text=text):
                    self._observer.note(text)
                case Outcome(run=run):
                    progress = self._active.pop(run.digest).progress
                    result = event.result or self._after_failure(event, progress)
                    self._observer.ended(run, result)
                    self._mirror.changed(run.digest)
                    if result is not None:
                        progress.ended(run, result)
                        self._searches.changed(progress)
                        of_arm = (cell for cell in self._cells if cell.cell.arm.name == run.arm)
                        keep_best((item for cell in of_arm for item in cell.finished()), looked_sizes(self._plan.study))
        self._write_status()

    def _tell_accuracy(self, active: _Active) -> None:
        """Tell of a run's last evaluation, where its journal has grown; what cannot be read is told another time."""
        folder = active.progress.folder_of(active.run)
        with contextlib.suppress(OSError, InvalidInput):
            if (size := folder.journal_path.stat().st_size) != active.journal:
                active.journal = size
                found = [event["validation_accuracy"] for event in folder.journal() if event["event"] == "evaluated"]
                for accuracy in found[-1:]:
                    self._observer.evaluated(active.run, accuracy)

    def _after_failure(self, outcome: Outcome, progress: CellProgress) -> RunResult | None:
        """Leave the run to be tried again, or record it as failed after the last attempt."""
        run, folder = outcome.run, progress.folder_of(outcome.run)
        if outcome.interrupted:
            return None
        cause = last_line(outcome.error)
        where = "".join(f" on {device}" for device in outcome.slot if ":" in device)
        if outcome.is_excused or not self._aside.keys().isdisjoint(outcome.slot):
            then = "waits for a card that it has for itself" if outcome.is_crowded else "goes elsewhere"
            self._observer.note(f"{run.label} {then}: it failed{where}: {cause}")
            return None
        failures = self._failures[run.digest]
        failures.append(outcome.slot)
        attempts = sum(self._aside.keys().isdisjoint(slot) for slot in failures)
        if attempts < ATTEMPTS:
            self._observer.note(f"{run.label}: attempt {attempts} of {ATTEMPTS} failed{where}: {cause}")
            return None
        reason = f"{ATTEMPTS} attempts failed, the last with: {cause}"
        code = code_fingerprint()
        result = RunResult(digest=run.digest, status="failed", reason=reason, code_fingerprint=code, numerics=NUMERICS)
        folder.write_result(result)
        self._observer.note(f"{run.label}: {reason} (log: {folder.log_path})")
        return result

    def _require_devices(self) -> None:
        """Raise `InvalidInput` where runs are left and all devices, or too many, are set aside."""
        if self._aside and any(cell.next_run(()) for cell in self._cells):
            told = f"No device is left for the runs: {in_words(self._aside)}. What is trained is kept."
            raise InvalidInput(f"{told} {DEVICES_REMEDY}")

    def _drain(self, engine: Engine) -> None:
        """Let the workers keep their state; at most DRAIN_SECONDS."""
        self._observer.note("Stopping: the trainings keep their state. A second signal quits at once.")
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._active and engine.active and time.monotonic() < deadline:
            engine.stop()  # again: a worker that was just being started when the signal came has not heard of it
            self._handle(self._heard(engine))

    def _heard(self, engine: Engine) -> Sequence[Happening]:
        """What has happened; one that is lost after a signal ends the study as the signal does."""
        try:
            return engine.wait(0.5)
        except InvalidInput as error:
            if not self._stopping:
                raise
            self._observer.note(str(error))
            raise StudyInterrupted from error

    def _stop(self) -> None:
        self._stopping = True
        if self._engine is not None:
            self._engine.stop()

    def _write_status(self) -> None:
        """Renew work/status.json, for `patchbench status`."""
        if time.monotonic() - self._status_at < STATUS_SECONDS:
            return
        self._status_at = time.monotonic()
        done = Counter(item.result.status for item in self._finished())
        running = [
            {
                "run": item.run.label,
                "update": item.update,
                "updates": item.run.config.recipe.updates,
                "device": ",".join(item.slot),
            }
            for item in self._active.values()
        ]
        planned = sum(cell.planned for cell in self._cells)
        said = {"process": os.getpid(), "host": platform.node(), "planned": planned, "done": dict(done)}
        write_json(self._places.status, said | {"running": running, "set_aside": self._aside})

    def _write_report(self) -> None:
        """Write the tables and the report; the results that are known are not read again."""
        if not is_reported_apart(self._plan.study, self._options):
            from harness.execution.publish import publish

            publish(self._folder, self._observer.note, self._results(), self._plan.study)
            return
        with contextlib.closing(Call("report", self._folder, self._results())) as call:
            try:
                while (note := call.hear()) is not None:
                    self._observer.note(note)
            except CallEndedError as error:
                raise InvalidInput(
                    f"The process that writes the report ended with {error}. "
                    "Every training is kept: the same command writes the report."
                ) from None


def is_reported_apart(study: ResolvedStudy, options: Options) -> bool:
    """Whether a process of its own writes the report; one that does knows no claims and figures of a study file."""
    return not (options.is_inline or study.has_own_code)

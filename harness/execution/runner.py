"""The one loop that drives a study: plan, search, confirm, resume, collect, report."""

import contextlib
import dataclasses
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.execution import StudyInterrupted
from harness.execution.engines import Beat, Engine, Outcome, Prepared, Rehearsal
from harness.execution.model_export import export_models, keep_best
from harness.execution.plan import Plan, make_plan
from harness.execution.progress import CellProgress, Finished, open_cells, rehearsals
from harness.execution.reporting import Reporter, ReportHere, ReportProcess
from harness.execution.search_mirror import SearchMirror
from harness.execution.stopping import interruptible, told_to_stop
from harness.records import data_facts
from harness.records import provenance as origin
from harness.records.data_facts import DataFacts
from harness.records.databases import load_shared_libraries
from harness.records.files import RecordsError, remove_unfinished, write_json
from harness.records.layout import StudyFolder, study_folder
from harness.records.runs import RunResult
from harness.records.study_file import read_study, without_passwords, write_study
from harness.records.write_lock import StudyLock, write_lock
from harness.spec import InvalidInput, ResolvedStudy, Run, changed_fields, to_plain
from harness.spec.plural import counted
from harness.tracking import Mirror
from harness.training.numerics import HISTORY, NUMERICS
from harness.training.settings import WorkerSettings

ATTEMPTS = 3
"""How often a run is tried before it is recorded as failed."""

STATUS_SECONDS = 2.0
"""How often work/status.json is renewed, for `patchbench status` in another terminal."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is carried out; nothing here changes what it asks."""

    results: Path
    engine: str = "processes"
    workers: int | None = None
    """Runs at the same time; None for one per processor core on a CPU (small models leave a second thread half idle, so
    two trainings with a thread each get more done than one with two), one on a GPU."""
    device: str = "auto"
    deterministic: bool = False
    accept_code_change: bool = False
    """Keep results of other training code beside new ones; the report says so."""
    set_aside: bool = False
    """Move results of other training code out of the way and train those runs again."""
    checkpoint_seconds: float = 30.0
    patience_seconds: float = 600.0
    """A training without progress for so long is ended and tried again; in processes of their own only."""
    retry_out_of_memory: bool = False
    """Train again what ran out of memory: there may be more of it now. A failed run is always tried again."""
    profile: bool = False
    """Leave a table of the costliest operations and a trace with every run that is trained."""
    command: str = ""


class Observer(Protocol):
    """Is told what happens, to show it to a person."""

    def planned(self, plan: Plan, done: Sequence[Run]) -> None: ...
    def started(self, run: Run) -> None: ...
    def beat(self, run: Run, update: int) -> None: ...
    def ended(self, run: Run, result: RunResult | None) -> None: ...
    def note(self, text: str) -> None: ...


class Silent:
    """An observer that shows nothing."""

    def planned(self, plan: Plan, done: Sequence[Run]) -> None: ...
    def started(self, run: Run) -> None: ...
    def beat(self, run: Run, update: int) -> None: ...
    def ended(self, run: Run, result: RunResult | None) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class _Active:
    run: Run
    progress: CellProgress
    update: int = 0


@dataclass
class Runner:
    """Carries out one study from its plan to its tables; see `run_study`."""

    study: ResolvedStudy
    options: Options
    observer: Observer
    engine: Engine | None
    """None where nothing is left to train."""
    mirror: Mirror
    searches: SearchMirror
    reporter: Reporter
    plan: Plan
    folder: Path
    cells: list[CellProgress]
    active: dict[str, _Active] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    stopping: bool = False
    _status_at: float = 0.0

    def carry_out(self) -> None:
        """Train everything that has no result. Raises `StudyInterrupted` after a signal."""
        finished = self.finished()
        self.observer.planned(self.plan, [item.run for item in finished])
        others = sum(1 for _ in StudyFolder(self.folder).runs.glob("*/result.json")) - len(finished)
        if others > 0:
            self.observer.note(
                f"{counted(others, 'finished run')} of other settings {'is' if others == 1 else 'are'} kept in "
                f"{self.folder} and not used here."
            )
        if self.engine is None:
            return
        try:
            with told_to_stop(self._stop):
                while not self.stopping:
                    self._fill(self.engine)
                    if not self.active:
                        break
                    self._handle(self.engine.wait(0.5))
                if self.stopping:
                    self._drain(self.engine)
                    raise StudyInterrupted
        finally:
            self.engine.close()

    def finished(self) -> list[Finished]:
        """Every run of the study that has a result."""
        return [item for cell in self.cells for item in cell.finished()]

    def _fill(self, engine: Engine) -> None:
        """Start runs while there is room, those of the cell with the most work left first."""
        while engine.active < engine.capacity:
            for cell in sorted(self.cells, key=lambda cell: -cell.remaining):
                run = cell.next_run(self.active)
                if run is not None:
                    self._start(engine, run, cell)
                    break
            else:
                if all(cell.is_tuned for cell in self.cells):
                    self.reporter.begin()  # the last runs are under way
                return

    def _start(self, engine: Engine, run: Run, cell: CellProgress) -> None:
        folder = cell.folder_of(run)
        if run.digest in cell.damaged:
            aside = StudyFolder(self.folder).aside
            folder.clear(aside)
            self.observer.note(
                f"{cell.damaged.pop(run.digest)} The run is trained again; what was there is in {aside}."
            )
        folder.write_config(run)
        self.active[run.digest] = _Active(run=run, progress=cell)
        engine.start(run, folder)
        self.observer.started(run)

    def _handle(self, events: Sequence[Beat | Outcome]) -> None:
        for event in events:
            match event:
                case Beat(digest=digest, update=update):
                    self.active[digest].update = update
                    self.observer.beat(self.active[digest].run, update)
                    self.mirror.changed(digest)
                case Outcome(run=run):
                    active = self.active.pop(run.digest)
                    result = event.result or self._after_failure(event, active)
                    self.observer.ended(run, result)
                    self.mirror.changed(run.digest)
                    active.progress.ended(run)
                    if run.trial is None:
                        of_arm = (cell for cell in self.cells if cell.cell.arm.name == run.arm)
                        keep_best(item for cell in of_arm for item in cell.finished())
                    elif active.progress.is_tuned:
                        self.searches.keep(active.progress)
        self._write_status()

    def _after_failure(self, outcome: Outcome, active: _Active) -> RunResult | None:
        """Leave the run to be tried again, or record it as failed after the last attempt."""
        run, folder = outcome.run, active.progress.folder_of(outcome.run)
        if outcome.interrupted:
            return None
        self.attempts[run.digest] = self.attempts.get(run.digest, 0) + 1
        cause = outcome.error.strip().splitlines()[-1] if outcome.error.strip() else "no reason was given"
        if self.attempts[run.digest] < ATTEMPTS:
            self.observer.note(f"{run.label}: attempt {self.attempts[run.digest]} of {ATTEMPTS} failed: {cause}")
            return None
        reason = f"{ATTEMPTS} attempts failed, the last with: {cause}"
        result = RunResult(
            digest=run.digest,
            status="failed",
            reason=reason,
            code_fingerprint=origin.code_fingerprint(),
            numerics=NUMERICS,
        )
        folder.write_result(result)
        self.observer.note(f"{run.label}: {reason} (log: {folder.log_path})")
        return result

    def _drain(self, engine: Engine) -> None:
        """Let the workers keep their state; at most half a minute."""
        self.observer.note("Stopping: the trainings keep their state. A second signal quits at once.")
        deadline = time.monotonic() + 30
        while self.active and engine.active and time.monotonic() < deadline:
            engine.stop()  # again: a worker that was just being started when the signal came has not heard of it
            self._handle(engine.wait(0.5))

    def _stop(self) -> None:
        self.stopping = True
        if self.engine is not None:
            self.engine.stop()

    def _write_status(self) -> None:
        """Renew work/status.json, for `patchbench status`."""
        now = time.monotonic()
        if now - self._status_at < STATUS_SECONDS:
            return
        self._status_at = now
        running = [
            {"run": item.run.label, "update": item.update, "updates": item.run.config.recipe.updates}
            for item in self.active.values()
        ]
        status = {
            "process": os.getpid(),
            "host": platform.node(),
            "time": time.time(),
            "planned": self.plan.runs,
            "done": dict(Counter(item.result.status for item in self.finished())),
            "running": running,
        }
        write_json(StudyFolder(self.folder).status, status)


def run_study(study: ResolvedStudy, options: Options, observer: Observer) -> Path:
    """Train what is missing of a study, then write its tables and its report; returns its results folder.

    Raises `InvalidInput` before anything is written for what the user can mend, `StudyInterrupted` after SIGINT,
    SIGTERM or SIGHUP. Outside the main thread it leaves signals alone.
    """
    try:
        with interruptible():
            return _run_study(study, options, observer)
    except KeyboardInterrupt:
        raise StudyInterrupted from None


def _run_study(study: ResolvedStudy, options: Options, observer: Observer) -> Path:
    plan = make_plan(study)
    folder = study_folder(study, options.results)
    places = StudyFolder(folder)
    places.require_inside(options.results)
    lock = StudyLock(places.lock)
    lock.require_free()
    cells = open_cells(study, plan, folder)
    again = _to_train_again(cells, folder, options)
    is_anything_left = bool(again) or any(cell.ready() for cell in cells)
    prepared = _prepared(plan, rehearsals(cells, again), options) if is_anything_left else None
    engine = None if prepared is None else _engine(plan, options, prepared)
    if prepared is not None:
        _tell_of_data(prepared.data, observer.note)
        repeated = {item.run.digest for item in again}
        kept = [item for cell in cells for item in cell.finished() if item.run.digest not in repeated]
        _tell_of_libraries(kept, observer.note)
    with lock:
        began, provenance = time.monotonic(), _provenance(study, folder, options)
        data = prepared.data if prepared is not None else _known_data(plan, folder)
        provenance |= {data_facts.KEY: to_plain(data)} if data else {}
        write_study(places.work, study, provenance)
        for item in again:
            item.folder.clear(places.aside)
        if again:
            cells = open_cells(study, plan, folder)
        for cell in cells:
            cell.ready()  # another launch may have ended since they were opened
        _tidy(places, [item for cell in cells for item in cell.finished()])
        command = without_passwords(options.command)
        load_shared_libraries()
        with (
            Mirror(study, folder, results=options.results, command=command, say=observer.note) as mirror,
            contextlib.closing(_reporter(study, options, folder)) as reporter,
        ):
            searches = SearchMirror(places.searches, say=observer.note)
            runner = Runner(study, options, observer, engine, mirror, searches, reporter, plan, folder, cells)
            try:
                runner.carry_out()
            finally:
                places.status.unlink(missing_ok=True)
                searches.make_up(runner.cells, all_of_them=engine is not None)
                searches.close()
                provenance["wall_seconds"] = round(provenance["wall_seconds"] + time.monotonic() - began, 1)
                with contextlib.suppress(RecordsError):  # a full disk is told of by whatever has found it first
                    write_study(places.work, study, provenance)
            reporter.write(observer.note)
            export_models(study, runner.finished(), folder)
            mirror.close(artifacts=places.report_files())
    return folder


def _tidy(places: StudyFolder, finished: list[Finished]) -> None:
    """Remove what a launch that was killed has left; to be called under the study's lock."""
    with write_lock(places.write_lock):
        for place in (places.path, places.figures, places.work, places.searches):
            remove_unfinished(place)
    for item in finished:
        item.folder.tidy()


def _to_train_again(cells: list[CellProgress], folder: Path, options: Options) -> list[Finished]:
    """Runs that failed earlier; those out of memory and those of other numerics only where the user says so."""
    finished = [item for cell in cells for item in cell.finished()]
    retried = ("failed", "out_of_memory") if options.retry_out_of_memory else ("failed",)
    failed = [item for item in finished if item.result.status in retried]
    other = [item for item in finished if item.result.status not in retried and item.result.numerics != NUMERICS]
    if not other or options.accept_code_change:
        return failed
    if not options.set_aside:
        before = sorted({item.result.numerics for item in other})
        changes = "; ".join(text for number, text in HISTORY.items() if number > before[0])
        raise InvalidInput(
            f"{counted(len(other), 'finished run')} in {folder} {'has' if len(other) == 1 else 'have'} numerics "
            f"{', '.join(map(str, before))}, and this code has {NUMERICS}: the same training gives other numbers "
            f"now{f' ({changes})' if changes else ''}. "
            "Give --set-aside to keep them apart and train those runs again, or --accept-code-change to mix them "
            "(the report will say so)."
        )
    return failed + other


def _tell_of_libraries(items: list[Finished], say: Callable[[str], object]) -> None:
    """Say so where finished runs were made with another torch than what is still to be trained."""
    now = origin.versions()["torch"]
    made = Counter(
        str(item.result.environment["torch"]) for item in items if item.result.environment.get("torch", now) != now
    )
    for version, number in sorted(made.items()):
        say(
            f"{counted(number, 'finished run')} {'was' if number == 1 else 'were'} made with torch {version}; the "
            f"others will be with {now}, whose numbers may differ in their last digits. The report's provenance "
            "names both."
        )


def _prepared(plan: Plan, tried: list[Rehearsal], options: Options) -> Prepared:
    """Data, device and models, checked where the trainings will run."""
    asked = plan.data, plan.surveyed, options.device, plan.study.recipe.precision
    if options.engine == "inline":
        from harness.execution.engines.preparation import prepare
        from harness.execution.rehearsal import rehearse

        prepared = prepare(*asked)
        rehearse(tried, options.device, deterministic=options.deterministic)
        return prepared
    from harness.execution.engines import processes

    return processes.prepare(*asked, tried, deterministic=options.deterministic)


def _tell_of_data(data: Sequence[DataFacts], say: Callable[[str], object]) -> None:
    for facts in data:
        for line in (*facts.in_words(), *(f"note: {caution}" for caution in facts.cautions())):
            say(line)


def _known_data(plan: Plan, folder: Path) -> tuple[DataFacts, ...]:
    """What an earlier launch has found out about the data of a plan; nothing where it is of other data."""
    hashes = {cell.data.source: cell.data_hash for cell in plan.cells}
    asked = [(spec.source, hashes[spec.source], spec.validation_size) for spec in plan.surveyed]
    for place in (StudyFolder(folder).work, folder):
        with contextlib.suppress(InvalidInput):
            facts = data_facts.of_provenance(read_study(place)[1])
            if [(found.source, found.data_hash, found.validation) for found in facts] == asked:
                return facts
    return ()


def _engine(plan: Plan, options: Options, prepared: Prepared) -> Engine:
    """The engine asked for."""
    cores = origin.available_cores()
    if options.engine == "inline":
        from harness.execution.engines.inline import InlineEngine

        settings = _settings(options, options.device, threads=cores)
        return InlineEngine(dataclasses.replace(settings, own_process=False))
    from harness.execution.engines import processes

    default = cores if prepared.device == "cpu" else 1
    workers = min(options.workers or default, plan.runs)
    settings = _settings(options, prepared.device, threads=max(1, cores // workers))
    return processes.ProcessEngine(settings, workers=workers, patience_seconds=options.patience_seconds)


def _reporter(study: ResolvedStudy, options: Options, folder: Path) -> Reporter:
    here = options.engine == "inline" or study.has_own_code
    return ReportHere(folder, study) if here else ReportProcess(folder)


def _settings(options: Options, device: str, *, threads: int) -> WorkerSettings:
    return WorkerSettings(
        device=device,
        threads=threads,
        deterministic=options.deterministic,
        checkpoint_seconds=options.checkpoint_seconds,
        profile=options.profile,
    )


def _provenance(study: ResolvedStudy, folder: Path, options: Options) -> dict[str, Any]:
    """Where the results come from; carries on what earlier launches of the same study have left here."""
    earlier: dict[str, Any] = {}
    with contextlib.suppress(InvalidInput):
        before, found = read_study(StudyFolder(folder).work)
        same = {field.partition(".")[0] for field in changed_fields(before, study)} <= {"seeds", "search"}
        earlier = found if same else {}
    return {
        "created": earlier.get("created", time.strftime("%Y-%m-%d %H:%M:%S %z")),
        "command": options.command,
        "wall_seconds": earlier.get("wall_seconds", 0.0),
        "patchbench_version": origin.versions()["patchbench"],
        "code_change_accepted": options.accept_code_change or earlier.get("code_change_accepted", False),
        "deterministic": options.deterministic,
    }

"""Keeps MLflow up to date while a study runs, from a thread of its own, and makes up afterwards what it lacks."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.records.files import RecordsError
from harness.records.kept_models import ModelFolder, models_in
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder
from harness.spec import InvalidInput, ResolvedStudy
from harness.tracking.bounded import OutOfTimeError, within
from harness.tracking.entries import Entry, read_entry
from harness.tracking.experiment import Experiment, Unfinished
from harness.tracking.store import Store

Say = Callable[[str], object]

_INTERVAL = 1.0
"""Least time between two passes, seconds: many changes become one batch."""
_LONGEST_WAIT = 30.0
"""Most time between two attempts while MLflow is away, seconds."""
_FAILED_SECONDS = 10.0
"""How long the mirror of a launch that failed may take to close: MLflow may have failed for the same reason."""
_GRACE_SECONDS = 3.0
"""How long it may go on after its closing was interrupted."""
_SYNC_SECONDS = 10.0
"""How long `sync` tries again when MLflow is locked or away."""
_PASSING_STATUSES = (408, 429)
"""Of HTTP, besides those from 500 on: what may be gone at the next attempt."""


class Mirror:
    """The mirror of one launch of a study; used by the coordinator only.

    Nothing here raises into the caller or waits for MLflow, except `close`, which waits for a bounded time.
    `say` is called from the mirror's thread too.
    """

    def __init__(self, study: ResolvedStudy, folder: Path, *, results: Path, command: str, say: Say) -> None:
        """`folder` is `results/<study>/<scale>`."""
        self._records = _Records(study, folder, say)
        self._store = Store.of(results)
        self._command, self._say = command, say
        self._key, self._began = uuid.uuid4().hex, time.time_ns() // 1_000_000
        self._guard = threading.Lock()
        self._pending: set[str] = set()
        self._live: set[str] = set()
        self._wake, self._closing, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._deadline = float("inf")
        self._artifacts: Sequence[Path] = ()
        self._failed_launch = False
        self._whole = False
        self._trouble = ""
        self._experiment: Experiment | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow mirror", daemon=True)
        self._thread.start()

    def changed(self, digest: str) -> None:
        """This run has new journal lines or a result; returns at once."""
        with self._guard:
            self._pending.add(digest)
            self._live.add(digest)
        self._wake.set()

    def close(self, *, artifacts: Sequence[Path] = (), timeout: float = 30.0) -> None:
        """Mirror what is left, log `artifacts` (files or folders) to the launch's run and end it.

        Waits for at most `timeout` seconds and says so when the mirror is not complete then. After a call that was
        interrupted, another one gives the mirror a little more time.
        """
        if self._closing.is_set():
            self._ended.wait(_GRACE_SECONDS)
            return
        self._artifacts = artifacts
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        self._wake.set()
        self._ended.wait(timeout)  # a `join` that a signal interrupts would take the thread for ended
        if not self._whole:
            reason = self._trouble or f"it took more than {timeout:g} s"
            self._say(f"MLflow lacks part of this launch: {reason}. The next run or report makes it up.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed_launch = kind is not None
        if self._failed_launch:
            self.close(timeout=_FAILED_SECONDS)
        else:
            self.close()

    def _work(self) -> None:
        try:
            self._follow()
        finally:
            self._ended.set()

    def _follow(self) -> None:
        wait = _INTERVAL
        while time.monotonic() < self._deadline:
            closing, anew = self._closing.is_set(), self._experiment is None
            try:
                experiment = self._pass()
                if closing:
                    self._finish(experiment)
                    self._whole = True
                    return
                wait = _INTERVAL
            except OutOfTimeError:  # `close` says so
                return
            except Exception as error:  # whatever MLflow raises must not reach the training
                self._experiment = None
                self._note(error)
                if closing and anew and _stays(error):
                    return
                self._wake.set()
                wait = min(2 * wait, _LONGEST_WAIT)
                time.sleep(0.2 if closing else 0)
            self._closing.wait(wait)
            if not self._closing.is_set():
                self._wake.wait()

    def _pass(self) -> Experiment:
        """Mirror every run that changed; all runs after MLflow was opened (again)."""
        self._wake.clear()
        experiment = self._experiment
        if experiment is None or experiment.replaced:
            study = self._records.study
            experiment = Experiment(self._store, study.name, study.scale, ends=lambda: self._deadline)
            self._experiment = experiment
            _tell_of_damage(experiment, self._say)
            experiment.end_dead_launches()
            digests = self._records.digests()
        else:
            with self._guard:
                digests = sorted(self._pending)
        with self._guard:
            self._pending.clear()
        parent = experiment.launch(self._key, start=self._began, command=self._command)
        for entry in self._records.read(digests):
            unfinished: Unfinished = "RUNNING" if entry.digest in self._live else "KILLED"
            if not experiment.is_current(entry, unfinished=unfinished):
                experiment.update(entry, parent=parent, unfinished=unfinished)
        return experiment

    def _finish(self, experiment: Experiment) -> None:
        """End what this launch began: its trainings without a result wait to be resumed."""
        parent = experiment.launch(self._key, start=self._began, command=self._command)
        waiting = [entry for entry in self._records.read(sorted(self._live)) if entry.status is None]
        for entry in waiting:
            experiment.update(entry, parent=parent, unfinished="KILLED")
        _attach_all(experiment, parent, self._artifacts, self._records)
        experiment.end_launch(parent, "KILLED" if waiting or self._failed_launch else "FINISHED")

    def _note(self, error: Exception) -> None:
        first, self._trouble = not self._trouble, _reason(error)
        if first:
            self._say(
                f"MLflow ({self._store.place}) cannot be written: {self._trouble}. "
                "The study goes on; what MLflow lacks is made up as soon as it can be written."
            )


def sync(
    study: ResolvedStudy,
    folder: Path,
    *,
    results: Path,
    say: Say,
    artifacts: Sequence[Path] = (),
    limit: float = 600.0,
) -> int:
    """Make up from the records everything that MLflow lacks; returns how many runs were brought up to date.

    `artifacts` are logged to the newest launch. Never raises on MLflow's account: it says so where MLflow is away for
    some seconds or is not done after `limit` seconds. The next call goes on where this one stopped.
    """
    records = _Records(study, folder, say)
    if not records.digests():
        return 0
    done: set[str] = set()
    try:
        within(limit + _GRACE_SECONDS, lambda: _try_to_make_up(records, Store.of(results), artifacts, done, limit))
    except Exception as error:  # as in the mirror: MLflow is no reason to fail
        slow = isinstance(error, OutOfTimeError)
        reason = f"{limit:g} s were not enough" if slow else _reason(error)
        say(f"MLflow lacks part of the records: {reason}. The next run, report or `patchbench sync` makes it up.")
    return len(done)


def _try_to_make_up(records: "_Records", store: Store, artifacts: Sequence[Path], done: set[str], limit: float) -> None:
    began = time.monotonic()
    while True:
        try:
            return _make_up(records, store, artifacts, done, ends=began + limit)
        except Exception as error:
            if _stays(error) or time.monotonic() > began + min(_SYNC_SECONDS, limit):
                raise
            time.sleep(0.5)


def _stays(error: Exception) -> bool:
    """Whether the next attempt would end as this one: what is refused, not what is locked, away or overloaded."""
    status = getattr(error, "get_http_status_code", lambda: 500)()
    refused = status < 500 and status not in _PASSING_STATUSES
    return refused or isinstance(error, InvalidInput | ImportError | OutOfTimeError)


def _tell_of_damage(experiment: Experiment, say: Say) -> None:
    if experiment.damaged is not None:
        say(
            f"MLflow's database was damaged; it is kept as {experiment.damaged}, and a new one is made up from the "
            "records. Of other studies, by their next run, report or `patchbench sync`."
        )


def _make_up(records: "_Records", store: Store, artifacts: Sequence[Path], done: set[str], *, ends: float) -> None:
    experiment = Experiment(store, records.study.name, records.study.scale, ends=lambda: ends)
    _tell_of_damage(experiment, records.say)
    experiment.end_dead_launches()
    live = experiment.has_live_launch  # it mirrors its unfinished trainings itself
    parent = experiment.newest_launch
    for entry in records.read(records.digests()):
        if entry.status is None and live:
            continue
        if parent is None:
            parent = experiment.launch(uuid.uuid4().hex, start=entry.start, command="made up from the records")
            experiment.end_launch(parent, "FINISHED")
        if not experiment.is_current(entry, unfinished="KILLED"):
            experiment.update(entry, parent=parent, unfinished="KILLED")
            done.add(entry.digest)
    if parent is None:
        return
    _attach_all(experiment, parent, artifacts, records)


def _attach_all(experiment: Experiment, parent: str, artifacts: Sequence[Path], records: "_Records") -> None:
    """Log the artifacts of a launch that are there, and the kept models."""
    experiment.attach(parent, [path for path in artifacts if path.exists()])
    for model in records.models():
        experiment.attach_model(model)


class _Records:
    """The runs of a study at one scale, as entries for the mirror."""

    def __init__(self, study: ResolvedStudy, folder: Path, say: Say) -> None:
        self.study = study
        self._folder, self._runs = folder, StudyFolder(folder).runs
        self.say = say
        self._unreadable: set[str] = set()

    def digests(self) -> list[str]:
        """All runs that have a folder."""
        return sorted(path.name for path in self._runs.glob("?" * 64))

    def models(self) -> list[ModelFolder]:
        """The kept models, of the best run of each arm."""
        return models_in(self._folder)

    def read(self, digests: Iterable[str]) -> Iterator[Entry]:
        """Their entries, one at a time, in the order in which they began; a damaged run is named once and left out."""
        for digest in sorted(digests, key=self._began):
            try:
                entry = read_entry(RunFolder(self._runs / digest), self.study.name, self.study.scale)
            except RecordsError as error:
                if digest not in self._unreadable:
                    self._unreadable.add(digest)
                    self.say(f"MLflow does not get run {digest[:12]}: {error}")
                continue
            if entry is not None:
                yield entry

    def _began(self, digest: str) -> tuple[int, str]:
        try:
            return RunFolder(self._runs / digest).config_path.stat().st_mtime_ns, digest
        except OSError:
            return 0, digest


def _reason(error: Exception) -> str:
    """The error in one line that fits a terminal; whole where it says what to do."""
    if isinstance(error, InvalidInput):
        return str(error).rstrip(".")
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:200]}".rstrip(".: ")

"""Keeps MLflow up to date while a study runs, from a thread of its own, and makes up afterwards what it lacks."""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from harness.records.files import RecordsError
from harness.records.kept_models import models_in
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder
from harness.spec import ResolvedStudy
from harness.spec.palette import colours
from harness.tracking.background import Background
from harness.tracking.entries import Entry, read_entry
from harness.tracking.experiment import Experiment, Unfinished
from harness.tracking.store import Say, Store
from harness.tracking.usage import Usage


class Mirror(Background):
    """The mirror of one launch of a study; used by the coordinator only."""

    def __init__(self, study: ResolvedStudy, folder: Path, *, results: Path, command: str | None, say: Say) -> None:
        """`folder` is `results/<study>/<scale>`; without a `command` it is no launch, and what it lacks is made up."""
        self._study, self._folder, self._store = study, folder, Store.of(results)
        super().__init__("MLflow", self._store.place, say, is_launch=command is not None)
        self._command, self._colours = command, colours(study)
        self._key, self._began = uuid.uuid4().hex, time.time_ns() // 1_000_000
        self._live: set[str] = set()  # runs of this launch that MLflow does not show as finished
        self._unreadable: set[str] = set()
        self._usage = Usage()
        self.updated: set[str] = set()  # digests of the runs that were brought up to date
        self._artifacts: Sequence[Path] = ()
        self._failed_launch = False
        self._experiment: Experiment | None = None
        self._begin()

    def changed(self, digest: str) -> None:
        """This run has new journal lines or a result; returns at once."""
        self._live.add(digest)
        self._wake.set()

    def close(self, timeout: float = 30.0, *, artifacts: Sequence[Path] = ()) -> None:
        """As any mirror; `artifacts` (files or folders) are logged to the launch's run, which is ended."""
        if not self._is_closed:
            self._artifacts = artifacts
        super().close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._failed_launch = kind is not None
        self.close()

    def _pass(self, *, closing: bool) -> None:
        """Mirror every run that changed; all runs after MLflow was opened (again). In the end close the launch."""
        experiment, digests = self._experiment, set(self._live)
        if experiment is None or not self._is_open or experiment.replaced:
            name, scale = self._study.name, self._study.scale
            experiment = Experiment(self._store, name, scale, say=self._say, ends=lambda: self._deadline)
            self._experiment, self._is_open = experiment, True
            experiment.end_dead_launches()
            digests = run_digests(self._folder)
        # A launch that is at work mirrors its unfinished trainings itself.
        finished_only = self._command is None and experiment.has_live_launch
        parent, waiting = self._parent(experiment), False
        if self._command is not None:
            experiment.note_usage(parent, self._usage.measured())
        for entry in self._read(digests):
            is_live = entry.status is None and entry.digest in self._live
            waiting |= is_live
            unfinished: Unfinished = "RUNNING" if is_live and not closing else "KILLED"
            is_asked = entry.status is not None or not finished_only
            if is_asked and not experiment.is_current(entry, unfinished=unfinished):
                experiment.update(entry, parent=parent, unfinished=unfinished)
                self.updated.add(entry.digest)
            if entry.status is not None:
                self._live.discard(entry.digest)
        if closing:
            experiment.attach(parent, [path for path in self._artifacts if path.exists()])
            for model in models_in(self._folder):
                experiment.attach_model(model)
            if self._command is not None:  # without a result a training waits to be resumed
                experiment.end_launch(parent, "KILLED" if waiting or self._failed_launch else "FINISHED")

    def _parent(self, experiment: Experiment) -> str:
        """The run of this launch; of what is made up, that of the newest."""
        if self._command is None and experiment.newest_launch is not None:
            return experiment.newest_launch
        parent = experiment.launch(self._key, start=self._began, command=self._command or "made up from the records")
        if self._command is None:
            experiment.end_launch(parent, "FINISHED")
        return parent

    def _read(self, digests: Iterable[str]) -> Iterator[Entry]:
        """Entries of runs, one at a time, as they began; a damaged run is named once and left out."""
        folders = [RunFolder(StudyFolder(self._folder).runs / digest) for digest in digests]
        there = [folder for folder in folders if folder.config_path.exists()]
        for folder in sorted(there, key=lambda folder: (folder.config_path.stat().st_mtime_ns, folder.path.name)):
            try:
                yield read_entry(folder, self._study.name, self._study.scale, self._colours)
            except RecordsError as error:
                if folder.path.name not in self._unreadable:
                    self._unreadable.add(folder.path.name)
                    self._say(f"MLflow does not get run {folder.path.name[:12]}: {error}")


def run_digests(folder: Path) -> set[str]:
    """All runs of a study that have a folder."""
    return {path.name for path in StudyFolder(folder).runs.glob("?" * 64)}


def sync(
    study: ResolvedStudy, folder: Path, *, results: Path, say: Say, artifacts: Sequence[Path] = (), limit: float = 600.0
) -> int:
    """Make up from the records what MLflow lacks, `artifacts` for the newest launch; how many runs were brought up.

    Never raises on MLflow's account: it says so where MLflow is away, or not done after `limit` seconds.
    """
    if not run_digests(folder):
        return 0
    mirror = Mirror(study, folder, results=results, command=None, say=say)
    mirror.close(artifacts=artifacts, timeout=limit)
    return len(mirror.updated)

"""One study's experiment in MLflow: finds what is there, writes what it lacks, and never the same thing twice."""

import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.records.failpoints import reached
from harness.records.files import sha256
from harness.records.kept_models import ModelFolder
from harness.tracking.bounded import TimedClient
from harness.tracking.entries import Entry, Point
from harness.tracking.store import Store

Unfinished = Literal["RUNNING", "KILLED"]
"""How MLflow shows a training without a result: at work, or waiting to be resumed."""

MIRRORED = "mirrored"
"""Tag of a child run: fingerprint of the entry that it shows in full."""
LAUNCH = "launch"
"""Tag of a parent run: the launch's own key."""
MODEL = "model_sha256"
"""Tag of a child run that is or was the best of its arm: SHA-256 of the weights that it has as an artifact."""
ATTACHED = "attached"
"""Tag of a parent run: what a server has got of its artifacts; a mark of name and content each."""
PROCESS = "process"
"""Tag of a parent run: host and process that write it."""

_PAGE = 50
"""Runs that are asked for at once: MLflow makes some 150 kB of objects of each."""
_BATCH_POINTS = 1000
_BATCH_PARAMS = 100
_MARK, _MOST_MARKS, _FEW = 10, 400, 5
"""Digits of a mark, how many a tag holds (5,000 signs), and after how many files they are noted."""
_MEASURED_TIMES = ("seconds",)
"""Metrics that differ when a resumed training does an evaluation again."""

History = dict[tuple[str, int], float]


@dataclass(kw_only=True)
class Child:
    """What MLflow holds about one training."""

    run_id: str
    parent: str
    status: str
    tags: dict[str, str]
    params: set[str] = field(default_factory=set)
    has_data: bool = False
    metrics: Iterable[str] = ()
    history: History | None = None
    """Metric values by key and step; None until asked for."""
    is_whole: bool = True
    """Whether all that MLflow holds is here, not only what tells whether the training is mirrored."""

    def brief(self) -> "Child":
        """What is kept of a training that is not being written: a study may have tens of thousands."""
        tags = {key: self.tags[key] for key in (MIRRORED, MODEL) if key in self.tags}
        return Child(run_id=self.run_id, parent=self.parent, status=sys.intern(self.status), tags=tags, is_whole=False)


class Experiment:
    """The experiment `study/scale`. After any exception it is to be thrown away and opened anew."""

    def __init__(self, store: Store, study: str, scale: str, *, ends: Callable[[], float] = lambda: math.inf) -> None:
        """`ends`: until when MLflow is called, by `time.monotonic`; then everything raises `OutOfTimeError`."""
        self._store = store
        self._study, self._scale = study, scale
        with store.locked():
            self.damaged = store.set_damaged_aside()
            """Where the database that stood here was moved, if it was none that SQLite could read."""
            self._client = TimedClient(store.connect(), ends)
            self._file = store.identity()
            self._id = self._find_or_create(f"{study}/{scale}")
        self._children: dict[str, Child] = {}
        self._launches: list[Any] = []
        self._read()

    @property
    def replaced(self) -> bool:
        """Whether the database was deleted or exchanged since it was opened."""
        return self._store.identity() != self._file

    @property
    def newest_launch(self) -> str | None:
        """The parent run of the latest launch."""
        newest = max(self._launches, key=lambda run: run.info.start_time, default=None)
        return None if newest is None else str(newest.info.run_id)

    @property
    def has_live_launch(self) -> bool:
        """Whether a process that may still be at work writes here."""
        return any(run.info.status == "RUNNING" and not _is_dead(run) for run in self._launches)

    def launch(self, key: str, *, start: int, command: str) -> str:
        """The parent run of a launch, found by its key or created; `start` in ms since 1970."""
        for run in self._launches:
            if run.data.tags[LAUNCH] == key:
                return str(run.info.run_id)
        tags = {
            "study": self._study,
            "scale": self._scale,
            "command": command,
            LAUNCH: key,
            PROCESS: f"{platform.node()}:{os.getpid()}",
        }
        name = time.strftime("launch %Y-%m-%d %H:%M", time.localtime(start / 1000))
        with self._store.locked():
            reached("mlflow:launch")
            run = self._client.create_run(self._id, start_time=start, tags=tags, run_name=name)
        self._launches.append(run)
        return str(run.info.run_id)

    def end_launch(self, run_id: str, status: str) -> None:
        """Close a launch's parent run."""
        reached("mlflow:end of launch")
        with self._store.locked():
            self._client.set_terminated(run_id, status)

    def end_dead_launches(self) -> None:
        """Nothing stays 'running' for ever: close the parent runs of processes that were killed."""
        for run in self._launches:
            if run.info.status == "RUNNING" and _is_dead(run):
                self.end_launch(run.info.run_id, "KILLED")

    def attach(self, run_id: str, paths: Sequence[Path]) -> None:
        """Log files and whole folders as artifacts of a parent run.

        A server gets what it has not got yet, so that a slow one has everything after some attempts.
        """
        (run,) = (run for run in self._launches if run.info.run_id == run_id)
        there = run.data.tags.get(ATTACHED, "").split() if self._store.database is None else []
        for path, place in _files(paths):
            mark = sha256(f"{place}/{path.name}".encode() + path.read_bytes())[:_MARK]
            if mark not in there:
                reached("mlflow:artifact", path)
                self._client.log_artifact(run_id, str(path), place)
                there.append(mark)
                if len(there) % _FEW == 0:
                    self._note_attached(run, there)
        self._note_attached(run, there)

    def _note_attached(self, run: Any, there: list[str]) -> None:
        value = " ".join(there[-_MOST_MARKS:])
        if self._store.database is None and run.data.tags.get(ATTACHED, "") != value:
            self._client.set_tag(run.info.run_id, ATTACHED, value)
            run.data.tags[ATTACHED] = value

    @property
    def client(self) -> Any:
        """The `MlflowClient` of its store."""
        return self._client

    def attach_model(self, model: ModelFolder) -> str | None:
        """Log a kept model as the artifact `model` of its training's run, unless these weights are there already.

        Returns the run's id; None where MLflow does not know the training, or the weights are no plain file.
        """
        child = self._children.get(model.facts.digest)
        if child is None or not model.weights_path.is_file():
            return None
        if child.tags.get(MODEL) == model.facts.sha256:
            return child.run_id
        for path in (model.weights_path, model.facts_path):
            reached("mlflow:artifact", path)
            self._client.log_artifact(child.run_id, str(path), "model")
        reached("mlflow:model")
        with self._store.locked():
            self._client.set_tag(child.run_id, MODEL, model.facts.sha256)
        child.tags[MODEL] = model.facts.sha256
        return child.run_id

    def is_current(self, entry: Entry, *, unfinished: Unfinished) -> bool:
        """Whether the mirror shows this entry already."""
        child = self._children.get(entry.digest)
        return (
            child is not None
            and child.tags.get(MIRRORED) == entry.fingerprint
            and child.status == (entry.status or unfinished)
        )

    def update(self, entry: Entry, *, parent: str, unfinished: Unfinished) -> None:
        """Bring the child run of a training up to date; `parent` is where a new one goes."""
        with self._store.locked():
            child = self._whole(entry) or self._find_or_create_child(entry, parent)
            points = _missing(entry, self._history(child))
            if points is None:  # a metric cannot be taken back, so the training's numbers get a run of their own
                self._client.delete_run(child.run_id)
                child = self._create_child(entry, child.parent)
                points = list(entry.points)
            self._children[entry.digest] = child
            self._write(child, entry, points)
            self._set_status(child, entry, entry.status or unfinished)
            if entry.status is not None:
                self._children[entry.digest] = child.brief()

    def _find_or_create(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return str(self._client.create_experiment(name, artifact_location=self._store.artifact_location(name)))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _read(self) -> None:
        twice = []
        for run in self._search("", order_by=["attributes.start_time ASC"]):
            digest = run.data.tags.get("digest")
            if LAUNCH in run.data.tags:
                self._launches.append(run)
            elif digest is not None:
                first = self._children.setdefault(digest, _child(run).brief())
                if first.run_id != run.info.run_id:  # a server's answer was lost and the request sent again
                    twice.append(run.info.run_id)
        for run_id in twice:  # not before: a page is found by how many runs come before it
            self._client.delete_run(run_id)

    def _search(self, condition: str, *, order_by: list[str] | None = None) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._id], condition, max_results=_PAGE, order_by=order_by, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _whole(self, entry: Entry) -> Child | None:
        """All that MLflow holds of a training that is known to be there."""
        child = self._children.get(entry.digest)
        return child if child is None or child.is_whole else _child(self._client.get_run(child.run_id))

    def _find_or_create_child(self, entry: Entry, parent: str) -> Child:
        found = next(self._search(f"tags.digest = '{entry.digest}'"), None)
        return self._create_child(entry, parent) if found is None else _child(found)

    def _create_child(self, entry: Entry, parent: str) -> Child:
        tags = dict(entry.tags) | {"mlflow.parentRunId": parent}
        reached("mlflow:run")
        run = self._client.create_run(self._id, start_time=entry.start, tags=tags, run_name=entry.name)
        return _child(run)

    def _history(self, child: Child) -> History:
        if child.history is None:
            child.history = {
                (key, metric.step): metric.value
                for key in child.metrics
                for metric in self._client.get_metric_history(child.run_id, key)
            }
        return child.history

    def _write(self, child: Child, entry: Entry, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if not child.has_data:
            self._log_data(child, entry)
        wanted = dict(entry.tags) | {MIRRORED: entry.fingerprint}
        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        params = [Param(key, value) for key, value in entry.params.items() if key not in child.params]
        tags = [RunTag(key, value) for key, value in wanted.items() if child.tags.get(key) != value]
        # MLflow writes a batch's tags last; the tag `mirrored` must not come before all the rest is there.
        if len(metrics) > _BATCH_POINTS or len(params) > _BATCH_PARAMS:
            self._client.log_batch(child.run_id, metrics=metrics, params=params)
            reached("mlflow:half a batch")
            metrics, params = [], []
        reached("mlflow:batch")
        self._client.log_batch(child.run_id, metrics=metrics, params=params, tags=tags)
        child.tags |= wanted
        child.params |= set(entry.params)
        child.history = self._history(child) | {(point.key, point.step): point.value for point in points}

    def _log_data(self, child: Child, entry: Entry) -> None:
        """The data set with our hash: MLflow's own covers the first 10,000 elements only."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        reached("mlflow:data")
        dataset = Dataset(
            name=entry.source[:500],
            digest=entry.data_hash[:36],
            source_type="patchbench",
            source=json.dumps({"source": entry.source, "sha256": entry.data_hash}),
        )
        self._client.log_inputs(child.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        child.has_data = True

    def _set_status(self, child: Child, entry: Entry, status: str) -> None:
        reached("mlflow:status")
        if entry.status is not None:
            self._client.set_terminated(child.run_id, status, entry.end)
        elif child.status != status:
            self._client.update_run(child.run_id, status=status)
        child.status = status


def _missing(entry: Entry, history: History) -> list[Point] | None:
    """The points that the mirror lacks; None when it holds other values than the records.

    A resumed training repeats evaluations after its last checkpoint, with other times: these are not logged again.
    """
    wanted = {(point.key, point.step): point.value for point in entry.points}
    for at, value in history.items():
        if at not in wanted and entry.status is not None:
            return None
        if at[0] not in _MEASURED_TIMES and wanted.get(at, value) != value:
            return None
    return [point for point in entry.points if (point.key, point.step) not in history]


def _child(run: Any) -> Child:
    return Child(
        run_id=run.info.run_id,
        parent=run.data.tags.get("mlflow.parentRunId", ""),
        status=run.info.status,
        tags=dict(run.data.tags),
        params=set(run.data.params),
        has_data=bool(run.inputs and run.inputs.dataset_inputs),
        metrics=tuple(run.data.metrics),
    )


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, str | None]]:
    """Each file, of folders too, with the folder of the artifacts that it goes to."""
    for path in paths:
        if path.is_dir():
            yield from ((file, path.name) for file in sorted(path.iterdir()) if file.is_file())
        elif path.is_file():  # a copy of a pipe would never end
            yield path, None


def _is_dead(run: Any) -> bool:
    """Whether a launch's process is known to be gone; of another host's nothing is known."""
    host, _, process = run.data.tags.get(PROCESS, "").rpartition(":")
    if host != platform.node():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False

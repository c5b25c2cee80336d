"""One study's experiment in MLflow: finds what is there, writes what it lacks, and never the same thing twice."""

import contextlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from harness.records.failpoints import reached
from harness.records.files import read_json, sha256
from harness.records.kept_models import ModelFolder
from harness.records.layout import REPORT_FILE
from harness.spec import InvalidInput, canonical_json
from harness.tracking.background import OutOfTimeError
from harness.tracking.databases import key_of
from harness.tracking.entries import SEEN, Entry
from harness.tracking.store import Say, Store

Unfinished = Literal["RUNNING", "KILLED"]  # without a result: at work, or waiting to be resumed

MIRRORED, MODEL = "mirrored", "model_sha256"  # tags of a child run: the mark of the points that it shows, its weights
LAUNCH, PROCESS = "launch", "process"  # tags of a parent run: the launch's own key; host and process that write it
MEANS = "means"  # tag of a parent run: a hash of the arms' means that it shows
OWNER = "results"  # tag of every run where several users may share MLflow: the key of the folder of results

Ends = Callable[[], float]  # until when MLflow is called, by `time.monotonic`; then everything raises `OutOfTimeError`

_PAGE = 50  # runs that are asked for at once: MLflow makes some 150 kB of objects of each
_BATCH_POINTS, _BATCH_PARAMS = 1000, 100
_NO_METRIC = re.compile(r"[^\w.\- ]")  # what MLflow does not take in a metric's name on every system, and the slash


class TimedClient:
    """A client that is not called any more once its time is over: `OutOfTimeError`."""

    def __init__(self, client: Any, ends: Ends) -> None:
        self._client, self._ends = client, ends

    def __getattr__(self, name: str) -> Any:
        if time.monotonic() > self._ends():
            raise OutOfTimeError("it answers too slowly")
        return getattr(self._client, name)


@dataclass(kw_only=True, slots=True)
class Child:
    """What is kept of MLflow's run of a training: little, as a study may have tens of thousands."""

    run_id: str
    parent: str
    status: str
    mirrored: str  # the tag MIRRORED
    model: str  # the tag MODEL
    is_begun: bool = False  # whether this process has written it, so that it holds what `mirrored` says and no more

    @property
    def points(self) -> int:
        """How many points it shows; 0 for a mark of version 0.1."""
        number, _, digest = self.mirrored.partition(" ")
        return int(number) if digest else 0


class Experiment:
    """The experiment `study/scale`. After any exception it is to be thrown away and opened anew."""

    def __init__(
        self, store: Store, study: str, scale: str, *, say: Say = lambda line: None, ends: Ends = lambda: math.inf
    ) -> None:
        self._store, self._study, self._scale = store, study, scale
        self._owner = {} if store.named is None else {OWNER: key_of(store.results)}
        with store.opening():
            self.client: Any = TimedClient(store.connect(say), ends)
            self._file = store.identity()
            self._id, place = self._find_or_create(f"{study}/{scale}")
        self._takes_artifacts = store.server is None or place == store.artifact_location(f"{study}/{scale}")
        if not self._takes_artifacts:
            say(
                f"MLflow keeps the artifacts of {study}/{scale} in {place}, which is another user's: it gets none here."
            )
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
        tags = {"study": self._study, "scale": self._scale, "command": command, LAUNCH: key}
        tags |= {PROCESS: f"{platform.node()}:{os.getpid()}"} | self._owner
        name = time.strftime("launch %Y-%m-%d %H:%M", time.localtime(start / 1000))
        with self._store.locked():
            reached("mlflow:launch")
            run = self.client.create_run(self._id, start_time=start, tags=tags, run_name=name)
        self._launches.append(run)
        return str(run.info.run_id)

    def note_usage(self, run_id: str, found: Mapping[str, float]) -> None:
        """How busy the machine is, of a parent run; shown by MLflow over time."""
        from mlflow.entities import Metric

        if found:
            now = time.time_ns() // 1_000_000
            step = (now - next(run.info.start_time for run in self._launches if run.info.run_id == run_id)) // 1000
            with self._store.locked():
                self.client.log_batch(run_id, metrics=[Metric(*point, now, step) for point in found.items()])

    def end_launch(self, run_id: str, status: str) -> None:
        """Close a launch's parent run."""
        reached("mlflow:end of launch")
        with self._store.locked():
            self.client.set_terminated(run_id, status)

    def end_dead_launches(self) -> None:
        """Nothing stays 'running' for ever: close the parent runs of processes that were killed."""
        for run in self._launches:
            if run.info.status == "RUNNING" and _is_dead(run):
                self.end_launch(run.info.run_id, "KILLED")

    def attach(self, run_id: str, paths: Sequence[Path]) -> None:
        """Log files, and those in folders, as artifacts of a parent run."""
        for path in paths if self._takes_artifacts else ():
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                if file.is_file():  # a copy of a pipe would never end
                    reached("mlflow:artifact", file)
                    self.client.log_artifact(run_id, str(file), None if file == path else path.name)
            if path.name == REPORT_FILE:
                self._describe(run_id, path)

    def _describe(self, run_id: str, report: Path) -> None:
        """Of a report.json: question, answer and numbers as what MLflow shows first of a run, and the arms' means.

        A mean is at the step of its training images: one chart shows all arms over them.
        """
        from mlflow.entities import Metric, RunTag

        with contextlib.suppress(InvalidInput, KeyError):
            said = read_json(report)
            note = f"**{said['question']}**\n\n{said['answer']}\n\n{said['numbers']}"
            means = [
                (f"{group}/accuracy/{_NO_METRIC.sub(' ', arm['arm'])}", arm[name], int(arm["train_size"]))
                for arm in said["arms"]
                for group, name in (("test", "mean"), ("validation", "validation_accuracy"))
                if arm[name] is not None
            ]
            mark = sha256(canonical_json(means).encode())[:16]
            with self._store.locked():
                if self.client.get_run(run_id).data.tags.get(MEANS) == mark:  # a point cannot be taken back
                    means = []
                now = time.time_ns() // 1_000_000
                metrics = [Metric(key, value, now, size) for key, value, size in means]
                tags = [RunTag("mlflow.note.content", note), RunTag(MEANS, mark)]
                self.client.log_batch(run_id, metrics=metrics, tags=tags)

    def attach_model(self, model: ModelFolder) -> str | None:
        """Log a kept model as the artifact `model` of its training's run, once; its id, None without a run or file."""
        child = self._children.get(model.facts.digest)
        if child is None or not model.weights_path.is_file():
            return None
        if self._takes_artifacts and child.model != model.facts.sha256:
            for path in (model.weights_path, model.facts_path):
                reached("mlflow:artifact", path)
                self.client.log_artifact(child.run_id, str(path), "model")
            with self._store.locked():
                self.client.set_tag(child.run_id, MODEL, model.facts.sha256)
            child.model = model.facts.sha256
        return child.run_id

    def is_current(self, entry: Entry, *, unfinished: Unfinished) -> bool:
        """Whether the mirror shows this entry already."""
        child = self._children.get(entry.digest)
        return child is not None and (child.mirrored, child.status) == (entry.mark(), entry.status or unfinished)

    def update(self, entry: Entry, *, parent: str, unfinished: Unfinished) -> None:
        """Bring the child run of a training up to date; `parent` is where a new one goes."""
        with self._store.locked():
            child = self._children.get(entry.digest)
            if child is None:
                found = next(filter(self._is_ours, self._search(f"tags.digest = '{entry.digest}'")), None)
                child = self._create_child(entry, parent) if found is None else _child(found)
            if not self._begins(child, entry):
                # A point cannot be taken back, so what the records say now gets a run of its own.
                self.client.delete_run(child.run_id)
                child = self._create_child(entry, child.parent)
            self._children[entry.digest] = child
            self._write(child, entry)
            self._set_status(child, entry, entry.status or unfinished)

    def _find_or_create(self, name: str) -> tuple[str, str | None]:
        """The experiment's id, and where its artifacts lie."""
        found, place = self.client.get_experiment_by_name(name), self._store.artifact_location(name)
        if found is None:
            return str(self.client.create_experiment(name, artifact_location=place)), place
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id), found.artifact_location

    def _read(self) -> None:
        twice = []
        for run in filter(self._is_ours, self._search("", ["attributes.start_time ASC"])):
            digest = run.data.tags.get("digest")
            if LAUNCH in run.data.tags:
                self._launches.append(run)
            elif digest is not None:
                first = self._children.setdefault(digest, _child(run))
                if first.run_id != run.info.run_id:  # a server's answer was lost and the request sent again
                    twice.append(run.info.run_id)
        for run_id in twice:  # not before: a page is found by how many runs come before it
            self.client.delete_run(run_id)

    def _is_ours(self, run: Any) -> bool:
        return not self._owner or run.data.tags.get(OWNER) in (None, self._owner[OWNER])

    def _search(self, condition: str, order: list[str] | None = None) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([self._id], condition, max_results=_PAGE, order_by=order, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def _create_child(self, entry: Entry, parent: str) -> Child:
        tags = dict(entry.tags) | {"mlflow.parentRunId": parent} | self._owner
        reached("mlflow:run")
        child = _child(self.client.create_run(self._id, start_time=entry.start, tags=tags, run_name=entry.name))
        self._begin(child, entry)
        return child

    def _begin(self, child: Child, entry: Entry) -> None:
        """Log the data set, with our hash: MLflow's own covers the first 10,000 elements only."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"source": entry.source, "sha256": entry.data_hash})
        data = Dataset(entry.source[:500], entry.data_hash[:36], source_type="patchbench", source=source)
        reached("mlflow:data")
        self.client.log_inputs(child.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        child.is_begun = True

    def _begins(self, child: Child, entry: Entry) -> bool:
        """Whether the points that MLflow has of a training are the first of the entry's."""
        if child.mirrored and child.mirrored != entry.mark(child.points):
            return False
        if not child.is_begun:
            # Another process may have been killed before it noted what it had logged.
            key = entry.points[0].key if entry.points else SEEN
            known = {point[1:] for point in entry.points if point.key == key}
            there = self.client.get_metric_history(child.run_id, key)
            if not {(metric.value, metric.timestamp, metric.step) for metric in there} <= known:
                return False
            self._begin(child, entry)
        return True

    def _write(self, child: Child, entry: Entry) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if child.mirrored == entry.mark():
            return
        metrics = [Metric(*point) for point in entry.points[child.points :]]
        params = [] if child.mirrored else [Param(key, value) for key, value in entry.params.items()]
        tags = [RunTag(key, value) for key, value in (*entry.tags.items(), (MIRRORED, entry.mark()))]
        # MLflow writes a batch's tags last; the tag `mirrored` must not come before all the rest is there.
        if len(metrics) > _BATCH_POINTS or len(params) > _BATCH_PARAMS:
            self.client.log_batch(child.run_id, metrics=metrics, params=params)
            reached("mlflow:half a batch")
            metrics, params = [], []
        reached("mlflow:batch")
        self.client.log_batch(child.run_id, metrics=metrics, params=params, tags=tags)
        child.mirrored = entry.mark()

    def _set_status(self, child: Child, entry: Entry, status: str) -> None:
        reached("mlflow:status")
        if entry.status is not None:
            self.client.set_terminated(child.run_id, status, entry.end)
        elif child.status != status:
            self.client.update_run(child.run_id, status=status)
        child.status = status


def _child(run: Any) -> Child:
    tags = run.data.tags
    return Child(
        run_id=run.info.run_id,
        parent=tags.get("mlflow.parentRunId", ""),
        status=run.info.status,
        mirrored=tags.get(MIRRORED, ""),
        model=tags.get(MODEL, ""),
    )


def _is_dead(run: Any) -> bool:
    """Whether a launch's process is known to be gone; of another host's nothing is known."""
    host, _, process = run.data.tags.get(PROCESS, "").rpartition(":")
    return host == platform.node() and not psutil.pid_exists(int(process))

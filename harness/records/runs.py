"""The folder of one training: `work/runs/<digest>/` with its configuration, journal, log, result and predictions."""

import contextlib
import dataclasses
import io
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

import numpy as np

from harness.records import failpoints, files
from harness.records.correctness import Classes, Correct, Labels, read_arrays, write_arrays
from harness.records.failpoints import reached
from harness.spec import Run, RunConfig, canonical_json, to_plain
from harness.spec.checks import check_types, later

Status = Literal["completed", "diverged", "out_of_memory", "failed"]
STATUSES: tuple[str, ...] = get_args(Status)
FILES = ("predictions.npz", "journal.jsonl")  # what a result may name as belonging to it
STATE_FILES = ("checkpoint-*", "teacher.*")  # kept beside the journal until there is a result
Event = dict[str, Any]  # `event` (started, evaluated, ...), `time` (ms since 1970) and the event's own fields


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The test split moved by `pixels` to each of four sides, what moves in being black; means over the four."""

    pixels: int
    accuracy: float
    agreement: float  # share of images whose predicted class stays that of the unmoved image

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class Shots:
    """Accuracy on another task that was learned from `shots` images of each class: the mean over all draws of them."""

    shots: int
    accuracy: float

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class PatchTest:
    """The test with patches of one of the sizes that a model is for (`ViTSpec.flexible_patches`)."""

    patch_size: int  # side, pixels
    accuracy: float
    macs_per_image: int

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a training ended with. Numbers that a run did not reach are None, never a stand-in."""

    digest: str
    status: Status
    reason: str = ""  # why there is no completed result, in a sentence
    test_accuracy: float | None = None
    test_loss: float | None = None
    balanced_accuracy: float | None = later(None)  # on the test split: the mean of the accuracies on each class
    top5_accuracy: float | None = later(None)  # on the test split; None with five classes or fewer
    shifts: tuple[Shift, ...] = ()  # test of moved images, by ascending shift; empty where none was asked for
    patches: tuple[PatchTest, ...] = later(())  # at each size of patches, ascending; empty of models for one size
    few_shots: tuple[Shots, ...] = later(())  # of another task, by ascending shots; empty where none was asked for
    validation_accuracy: float | None = None  # at the last evaluation that was made
    validation_loss: float | None = None
    train_loss: float | None = None  # mean over the updates since the evaluation before the last
    updates: int = 0
    images_seen: int = 0
    params: int | None = None
    macs_per_image: int | None = None
    attention_macs_per_image: int | None = None  # of these, those of attention's two products
    train_seconds: float | None = None  # time in training steps alone, without evaluation
    train_images_per_second: float | None = None
    eval_images_per_second: float | None = None
    peak_memory_bytes: int | None = None  # CUDA: peak allocated; CPU: the process's peak resident set
    eval_peak_memory_bytes: int | None = None  # in the last evaluation on validation; None where not to be told apart
    device: str = ""
    precision: str = ""
    code_fingerprint: str = ""
    numerics: int = later(1)  # `harness.training.numerics.NUMERICS` of the code that trained; 1 before it was counted
    environment: Mapping[str, Any] = field(default_factory=dict)  # versions, threads and hardware
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of the other files that belong to the result

    def __post_init__(self) -> None:
        check_types(self)

    @property
    def shift_curve(self) -> tuple[Shift, ...]:
        """The plain test, as a shift of 0, and the tests of shifted images; empty where none was asked for."""
        if not self.shifts or self.test_accuracy is None:
            return ()
        return Shift(pixels=0, accuracy=self.test_accuracy, agreement=1.0), *self.shifts


class Journal:
    """Appends events to a file; a torn last line, left by a kill, is cut off when the journal is opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = files.open_to_append(path)
        self.rewind(len(whole_lines(files.read_bytes(path))))

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event with the present time; returns it."""
        entry: Event = {"event": event, "time": time.time_ns() // 1_000_000, **fields}
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        before = self.length
        half = len(line) // 2 if failpoints.active() else len(line)
        with files.writing(self.path):
            try:
                self._write(line[:half])
                reached(f"half a line of {event}", self.path)
                self._write(line[half:])
            except OSError:
                self._file.truncate(before)
                raise
        reached(f"a line of {event}", self.path)
        return entry

    def _write(self, rest: bytes) -> None:
        while rest:  # a full disk takes a part of a line before it refuses
            rest = rest[self._file.write(rest) :]

    @property
    def length(self) -> int:
        """Bytes written so far; a checkpoint keeps it, and `rewind` goes back to it."""
        return os.fstat(self._file.fileno()).st_size

    def rewind(self, length: int) -> None:
        """Forget what was written after a checkpoint was taken at `length` bytes."""
        self._file.truncate(length)

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> list[Event]:
    """All whole events of a journal; an unreadable line in the middle is a `RecordsError`."""
    events = [_event(line) for line in whole_lines(files.read_bytes(path)).splitlines()] if path.exists() else []
    if None in events:
        raise files.RecordsError(f"{path}, line {events.index(None) + 1} is not an event.")
    return [event for event in events if event is not None]


def whole_lines(content: bytes) -> bytes:
    """`content` without a torn last line: one with no newline, or one that is empty or not an event."""
    whole = content[: content.rfind(b"\n") + 1]
    last = whole[:-1].rpartition(b"\n")[2]
    return whole if not whole or _event(last) is not None else whole[: -len(last) - 1]


def _event(line: bytes) -> Event | None:
    try:
        event = files.parse_json(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


class RunFolder:
    """Reads and writes one run's folder; anything damaged in it is noticed by its hash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path, self.journal_path = path / "config.json", path / "journal.jsonl"
        self.result_path, self.predictions_path = path / "result.json", path / "predictions.npz"
        self.log_path = path / "log.txt"

    def open_log(self) -> TextIO:
        """The log, to append lines to; a link there is refused, as a folder may come from anybody."""
        reached("begin", self.log_path)
        return io.TextIOWrapper(files.open_to_append(self.log_path), encoding="utf-8", write_through=True)

    def write_config(self, run: Run) -> None:
        """Keep what the run is; written before it starts."""
        content = {
            "digest": run.digest,
            "arm": run.arm,
            "trial": run.trial,
            "values": to_plain(run.values),
            "config": to_plain(run.config),
        } | place_of(run.config)
        content |= {} if run.search is None else {"search": run.search}
        with contextlib.suppress(files.RecordsError):
            if self.config() == content:
                return
        files.write_json(self.config_path, content)

    def config(self) -> dict[str, Any]:
        """`{"digest", "arm", "trial", "values", "config"}` as written; `RecordsError` when it is not whole."""
        with files.reading(self.config_path):
            content: dict[str, Any] = files.read_json(self.config_path)
            if not content["digest"] == files.sha256(canonical_json(content["config"]).encode()) == self.path.name:
                raise ValueError("it does not match the digest in its folder's name; it was changed")
        return content

    def journal(self) -> list[Event]:
        return read_journal(self.journal_path)

    def result(self) -> RunResult | None:
        """The run's result; None while there is none. `RecordsError` when it, or a file of it, is damaged."""
        if not self.result_path.exists():
            return None
        with files.reading(self.result_path):
            content = files.read_json(self.result_path)
            body = canonical_json(content["result"])
            result: RunResult = files.adapter(RunResult).validate_json(body, strict=True)
            if files.sha256(body.encode()) != content["sha256"] or result.digest != self.path.name:
                raise ValueError("its hash does not match its content")
            if not set(result.files) <= set(FILES):
                raise ValueError(f"it names the files {', '.join(result.files)}; it may name {' and '.join(FILES)}")
        for path in map(self.path.joinpath, result.files):
            if not path.exists() or files.sha256(files.read_bytes(path)) != result.files[path.name]:
                raise files.RecordsError(f"{path} is missing or damaged: its hash does not match the result's.")
        # One object for the runs of one environment, which would else fill most of a large study's memory.
        shared = _environments.setdefault(json.dumps(result.environment, sort_keys=True), result.environment)
        return dataclasses.replace(result, environment=shared)

    def write_result(self, result: RunResult) -> None:
        """Keep the result, atomically; from here on the run is finished."""
        body = to_plain(result)
        files.write_json(self.result_path, {"result": body, "sha256": files.sha256(canonical_json(body).encode())})

    def write_predictions(
        self, labels: Labels, predicted: Labels, top5: Correct | None = None, patches: Mapping[int, Labels] = {}
    ) -> dict[str, str]:
        """Keep the test split's labels and predicted classes (N,), in the split's order; gives a result's `files`.

        `top5`: whether the label is among the five likeliest classes, where there are more. `patches`: the predicted
        classes with patches of each of several sizes, by their side.
        """
        more: dict[str, Any] = {} if top5 is None else {"top5": top5.astype(np.uint8)}
        if patches:
            more["patch_sizes"] = np.array([*patches], dtype=np.uint16)
            more["patch_predicted"] = np.concatenate([*patches.values()])
        content = write_arrays(self.predictions_path, labels=labels, predicted=predicted, **more)
        return {self.predictions_path.name: files.sha256(content)}

    def answers(self) -> tuple[Classes, Correct | None]:
        """Labels and predicted classes (N,) of the test split, and whether the label is among the five likeliest (N,).

        The latter is None where it is not kept.
        """
        kept = read_arrays(self.predictions_path, {"labels": "u", "predicted": "u"}, {"top5": "u"})
        if len({len(array) for array in kept.values()}) != 1:
            raise files.RecordsError(f"{self.predictions_path} has unequal numbers of labels and predictions.")
        return Classes(kept["labels"], kept["predicted"]), kept["top5"].astype(np.bool_) if "top5" in kept else None

    def tidy(self) -> None:
        """Remove what a process that was killed after it had written the result could not remove any more."""
        for pattern in STATE_FILES:
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)
        files.remove_unfinished(self.path)

    def clear(self, aside: Path) -> None:
        """Set the folder aside, so that the run starts anew."""
        if self.path.exists():
            files.set_aside(self.path, aside)

    def correct_at_patches(self) -> dict[int, Correct]:
        """Whether the predicted class was right (N,) with patches of each size, by side; empty of models for one."""
        kinds = dict.fromkeys(("patch_sizes", "patch_predicted"), "u")
        kept = read_arrays(self.predictions_path, {"labels": "u"}, kinds)
        if "patch_sizes" not in kept:
            return {}
        labels, sizes = kept["labels"], kept["patch_sizes"].tolist()
        if len(kept["patch_predicted"]) != len(labels) * len(sizes):
            raise files.RecordsError(f"{self.predictions_path} has unequal numbers of predictions at sizes of patches.")
        rows = kept["patch_predicted"].reshape(len(sizes), len(labels))
        return dict(zip(sizes, np.equal(rows, labels), strict=True))


_environments: dict[str, Mapping[str, Any]] = {}

PLACE = "model_code"  # key of where the user's code of a model lies: no part of the configuration


def place_of(config: RunConfig) -> dict[str, str]:
    """What is kept of where the code of a run's model lies: nothing for models without code of the user's."""
    return {} if config.model.place is None else {PLACE: config.model.place}


def with_place(config: RunConfig, content: Mapping[str, Any]) -> RunConfig:
    """A configuration that was read from `content`, its model's code where that says."""
    return dataclasses.replace(config, model=config.model.found_at(content[PLACE])) if PLACE in content else config

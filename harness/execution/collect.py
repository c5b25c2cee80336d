"""From the folders of the runs to the tidy frames of a study."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from harness.analysis import at_edge
from harness.execution.progress import Finished
from harness.records.correctness import Correct
from harness.records.files import RecordsError
from harness.records.run_table import (
    CURVE_COLUMNS,
    RUN_COLUMNS,
    SHIFT_COLUMNS,
    TRIAL_COLUMNS,
    StudyRecords,
    in_batches,
    with_columns,
)
from harness.records.runs import RunFolder, RunResult
from harness.spec import ResolvedStudy

ADDED_ORIGINS = ("classes", "largest_class_share")
"""Of the test part; what study.json of version 0.1 lacks."""

_OF_RESULT = [item.name for item in fields(RunResult) if item.name in RUN_COLUMNS]


def collect(study: ResolvedStudy, finished: Sequence[Finished], provenance: dict[str, Any]) -> StudyRecords:
    """The frames of everything that has a result, in the order of the plan."""
    confirmed = [item for item in finished if item.run.config.phase == "confirm"]
    trials = [item for item in finished if item.run.config.phase == "tune"]
    return StudyRecords(
        study=study,
        provenance=provenance | results_provenance(finished) | _test_classes(confirmed),
        runs=with_columns([_run_row(study, item) for item in confirmed], RUN_COLUMNS),
        trials=with_columns([_trial_row(study, item) for item in trials], TRIAL_COLUMNS),
        curves=in_batches((row for item in confirmed for row in _curve_rows(item)), CURVE_COLUMNS),
        shifts=in_batches((row for item in confirmed for row in _shift_rows(item)), SHIFT_COLUMNS),
        correct={item.run.digest: _correct(item.folder) for item in confirmed if item.result.status == "completed"},
    )


def results_provenance(finished: Iterable[Finished]) -> dict[str, Any]:
    """What the runs themselves say of where they came from; several values are joined by a comma."""
    environments = [dict(item.result.environment) for item in finished]
    found: dict[str, Any] = {}
    for environment in environments:
        for key, value in environment.items():
            found.setdefault(key, set()).add(str(value))
    for key in ("device", "precision", "code_fingerprint", "numerics"):
        found[key] = {str(getattr(item.result, key)) for item in finished}
    found["data_hash"] = {item.run.config.data_hash for item in finished}
    found["data_source"] = {item.run.config.data.source for item in finished}
    joined: dict[str, Any] = {key: ", ".join(sorted(values)) for key, values in found.items()}
    changed = {environment.get("git_dirty") for environment in environments}
    return joined | {"git_dirty": True if True in changed else None if None in changed else False}


def _test_classes(confirmed: Sequence[Finished]) -> dict[str, Any]:
    """Number of classes, and the share of the commonest one in the test part, where all arms have the same data."""
    completed = [item for item in confirmed if item.result.status == "completed"]
    if len({item.run.config.data_hash for item in completed}) != 1:
        return {}
    labels, _ = completed[0].folder.predictions()
    return dict(
        zip(
            ADDED_ORIGINS,
            (completed[0].run.config.classes, round(np.bincount(labels).max() / len(labels), 6)),
            strict=True,
        )
    )


def _place(study: ResolvedStudy, item: Finished) -> dict[str, Any]:
    return {
        "study": study.name,
        "scale": study.scale,
        "arm": item.cell.arm.name,
        "train_size": item.run.config.data.train_size,
        "digest": item.run.digest,
    }


def _parameters(item: Finished) -> dict[str, Any]:
    return {f"p.{name}": value for name, value in item.run.values.items()}


def _run_row(study: ResolvedStudy, item: Finished) -> dict[str, Any]:
    result = {name: getattr(item.result, name) for name in _OF_RESULT}
    if item.result.shifts:
        largest = item.result.shifts[-1]
        result |= {"shifted_accuracy": largest.accuracy, "shift_agreement": largest.agreement}
    own = {
        "is_baseline": item.cell.arm.name == study.baseline.name,
        "level": item.cell.arm.level,
        "series": item.cell.arm.series or "",
        "seed": item.run.config.seed,
    }
    return result | _place(study, item) | own | _parameters(item)


def _trial_row(study: ResolvedStudy, item: Finished) -> dict[str, Any]:
    space = study.search.space_of(item.cell.arm)
    edges = at_edge(space, item.run.values) if item.chosen else ()
    own = {
        "trial": item.run.trial,
        "status": item.result.status,
        "validation_accuracy": item.result.validation_accuracy if item.result.status == "completed" else None,
        "images_seen": item.result.images_seen,
        "device": item.result.device,
        "precision": item.result.precision,
        "code_fingerprint": item.result.code_fingerprint,
        "chosen": item.chosen,
        "at_edge": ", ".join(edges),
    }
    return _place(study, item) | own | _parameters(item)


def _curve_rows(item: Finished) -> list[dict[str, Any]]:
    own = _training(item)
    try:
        events = item.folder.journal()
    except RecordsError:  # the result is whole; only its curve is lost
        return []
    return [own | {key: event.get(key) for key in CURVE_COLUMNS if key in event} for event in events if _scored(event)]


def _shift_rows(item: Finished) -> list[dict[str, Any]]:
    return [
        _training(item) | {"shift": shift.pixels, "test_accuracy": shift.accuracy, "agreement": shift.agreement}
        for shift in item.result.shift_curve
    ]


def _training(item: Finished) -> dict[str, Any]:
    return {
        "arm": item.cell.arm.name,
        "train_size": item.run.config.data.train_size,
        "seed": item.run.config.seed,
        "digest": item.run.digest,
    }


def _scored(event: dict[str, Any]) -> bool:
    return bool(event["event"] == "evaluated")


def _correct(folder: RunFolder) -> Correct:
    labels, predicted = folder.predictions()
    correct: Correct = np.equal(labels, predicted)
    return correct

"""The tidy frames of a study: one row per training, per trial, per evaluation. All reports start from these."""

import io
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.records import csv_text
from harness.records.correctness import Correct, Correctness
from harness.records.files import RecordsError, atomic_writer, read_bytes
from harness.records.runs import STATUSES
from harness.records.study_file import read_study, write_study
from harness.spec import ResolvedStudy

_MOST_COLUMNS = 1000

RUN_COLUMNS: dict[str, str] = {
    "study": "str",
    "scale": "str",
    "arm": "str",
    "is_baseline": "bool",
    "level": "object",
    "series": "str",
    "train_size": "Int64",
    "seed": "Int64",
    "status": "str",
    "test_accuracy": "float64",
    "test_loss": "float64",
    "shifted_accuracy": "float64",
    "shift_agreement": "float64",
    "validation_accuracy": "float64",
    "train_loss": "float64",
    "updates": "Int64",
    "images_seen": "Int64",
    "params": "Int64",
    "macs_per_image": "Int64",
    "attention_macs_per_image": "Int64",
    "train_seconds": "float64",
    "train_images_per_second": "float64",
    "eval_images_per_second": "float64",
    "peak_memory_bytes": "Int64",
    "eval_peak_memory_bytes": "Int64",
    "device": "str",
    "precision": "str",
    "digest": "str",
    "code_fingerprint": "str",
}
"""Columns of runs.csv in order, then a column `p.<name>` per nuisance parameter."""

ADDED_COLUMNS = (
    "series",
    "shifted_accuracy",
    "shift_agreement",
    "attention_macs_per_image",
    "eval_peak_memory_bytes",
)
"""Columns that tables of version 0.1 lack; they are read as empty."""

TRIAL_COLUMNS: dict[str, str] = {
    "study": "str",
    "scale": "str",
    "arm": "str",
    "train_size": "Int64",
    "trial": "Int64",
    "status": "str",
    "validation_accuracy": "float64",
    "images_seen": "Int64",
    "chosen": "bool",
    "at_edge": "str",
    "device": "str",
    "precision": "str",
    "digest": "str",
    "code_fingerprint": "str",
}
"""Columns of trials.csv in order, then a column `p.<name>` per nuisance parameter."""

CURVE_COLUMNS: dict[str, str] = {
    "arm": "str",
    "train_size": "Int64",
    "seed": "Int64",
    "update": "Int64",
    "images_seen": "Int64",
    "train_loss": "float64",
    "validation_loss": "float64",
    "validation_accuracy": "float64",
    "learning_rate": "float64",
    "digest": "str",
}
"""Columns of curves.csv: a row per evaluation of a confirm run."""

SHIFT_COLUMNS: dict[str, str] = {
    "arm": "str",
    "train_size": "Int64",
    "seed": "Int64",
    "shift": "Int64",
    "test_accuracy": "float64",
    "agreement": "float64",
    "digest": "str",
}
"""Columns of shifts.csv: a row per confirm run and shift (pixels) of the test images, the plain test being shift 0."""

_FRACTIONS = ("test_accuracy", "shifted_accuracy", "shift_agreement", "validation_accuracy", "agreement")

_PLACES = ("train_size", "seed", "trial", "update", "shift")
"""Columns that say which run, trial, evaluation or test a row is of: never empty."""

_BATCH = 5000
"""Rows that `in_batches` holds as dicts."""


@dataclass(frozen=True, kw_only=True)
class StudyRecords:
    """What a finished (or partial) study leaves: everything that analysis and report read."""

    study: ResolvedStudy
    provenance: dict[str, Any]
    """Versions, hardware, git revision, data hash, command; see `study.json`."""
    runs: pd.DataFrame
    """A row per planned confirm run that has a result; RUN_COLUMNS and `p.<name>`."""
    trials: pd.DataFrame
    """A row per tuning trial that has a result; TRIAL_COLUMNS and `p.<name>`."""
    curves: pd.DataFrame
    """A row per evaluation; CURVE_COLUMNS."""
    shifts: pd.DataFrame = field(default_factory=lambda: with_columns([], SHIFT_COLUMNS))
    """A row per shift of the test images, where the study has test_shifts; SHIFT_COLUMNS."""
    correct: Mapping[str, Correct] = field(default_factory=Correctness)
    """For each completed confirm run's digest: per test image, in the test split's order, whether it was right."""
    folder: Path | None = None
    """Where the study's results lie."""


def in_batches(rows: Iterable[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """A frame with exactly `columns`, of rows too many to be all held as dicts."""
    batches, rest = [], iter(rows)
    while batch := list(islice(rest, _BATCH)):
        batches.append(with_columns(batch, columns))
    return pd.concat(batches, ignore_index=True) if batches else with_columns([], columns)


def with_columns(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """A frame with exactly `columns` (in order, with their types) and then any `p.<name>` columns, sorted by name."""
    extra = sorted({key for row in rows for key in row if key.startswith("p.")})
    frame = pd.DataFrame(rows, columns=[*columns, *extra])
    return frame.astype(columns)


def write_tables(folder: Path, records: StudyRecords) -> None:
    """Keep study.json, runs.csv, trials.csv, curves.csv and predictions.npz in a study's results folder.

    And shifts.csv, where the study has test_shifts.
    """
    _write_csv(folder / "runs.csv", records.runs)
    _write_csv(folder / "trials.csv", records.trials)
    _write_csv(folder / "curves.csv", records.curves)
    if records.study.test_shifts:
        _write_csv(folder / "shifts.csv", records.shifts)
    Correctness(records.correct.items()).write(folder / "predictions.npz")
    write_study(folder, records.study, records.provenance)


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with atomic_writer(path) as file:
        for part in csv_text.parts(frame):
            file.write(part.encode())


def load_records(folder: Path) -> StudyRecords:
    """Read back what `write_tables` kept: needs nothing but the results folder."""
    study, provenance = read_study(folder)
    runs = load_runs(folder)
    # A CSV cannot tell the level "4" from the level 4; the study can.
    levels = {arm.name: arm.level for arm in study.all_arms}
    runs["level"] = runs["arm"].map(levels).astype("object")
    shifts = _read_csv(folder / "shifts.csv", SHIFT_COLUMNS) if study.test_shifts else with_columns([], SHIFT_COLUMNS)
    return StudyRecords(
        study=study,
        provenance=provenance,
        runs=runs,
        trials=_read_csv(folder / "trials.csv", TRIAL_COLUMNS),
        curves=_read_csv(folder / "curves.csv", CURVE_COLUMNS),
        shifts=shifts,
        correct=Correctness.read(folder / "predictions.npz"),
        folder=folder,
    )


def load_runs(folder: Path) -> pd.DataFrame:
    """runs.csv alone; the levels of the factor as text."""
    return _read_csv(folder / "runs.csv", RUN_COLUMNS)


def _read_csv(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """A frame as it was written: text such as NA or None stays text, and only an empty number is missing."""
    try:
        texts = {name: kind for name, kind in columns.items() if kind == "str"}
        content = io.BytesIO(read_bytes(path))
        if (signs := content.readline().count(b",")) > _MOST_COLUMNS:
            raise RecordsError(
                f"Could not read {path}: its heading has {signs:,} commas; no table has as many columns."
            )
        content.seek(0)
        missing_as = {name: [""] for name in pd.read_csv(content, nrows=0).columns if name not in texts}
        content.seek(0)
        with warnings.catch_warnings():  # pandas cuts a row that is longer than the heading, and only warns of it
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(content, dtype=texts, keep_default_na=False, na_values=missing_as, index_col=False)
        for name in set(ADDED_COLUMNS) & columns.keys() - set(frame.columns):
            frame[name] = "" if name in texts else math.nan
        frame = frame.astype({name: kind for name, kind in columns.items() if name in frame})
    except (ValueError, TypeError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise RecordsError(error if isinstance(error, RecordsError) else f"Could not read {path}: {error}") from error
    missing = [name for name in columns if name not in frame]
    if missing:
        raise RecordsError(f"{path} lacks the columns {', '.join(missing)}.")
    for name in frame.columns:
        if frame[name].dtype == object or isinstance(frame[name].dtype, pd.StringDtype):
            frame[name] = csv_text.column_as_written(frame[name])
    _check_values(path, frame)
    return frame


def _check_values(path: Path, frame: pd.DataFrame) -> None:
    """Refuse what no run can have left, naming row, column and rule: a table may come from anywhere."""
    for name in frame.columns:
        column = frame[name]
        if name == "status":
            wrong, rule = ~column.isin(STATUSES), f"one of {', '.join(STATUSES)}"
        elif name in _FRACTIONS:
            wrong, rule = ~(column.between(0, 1) | column.isna()), "a fraction from 0 to 1, or empty"
        elif name in _PLACES and column.isna().any():
            wrong, rule = column.isna(), "a number"
        elif pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
            values = column.astype("float64")
            least = -math.inf if name.startswith("p.") else 0
            wrong, rule = ~((values.ge(least) & np.isfinite(values)) | values.isna()), "a finite number, 0 or more"
        else:
            continue
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise RecordsError(
                f"{path}, row {row + 2}: {name} is {column.iloc[row]!r}; it must be {rule}. Restore the file, or make "
                "it again with `patchbench report` where the work folder is."
            )

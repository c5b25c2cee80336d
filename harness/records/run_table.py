"""The tidy frames of a study: one row per training, per trial, per evaluation. All reports start from these."""

import io
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.records import csv_text
from harness.records.correctness import Answers, Classes, Correct, read_answers, write_answers
from harness.records.files import RecordsError, read_bytes, reading, sha256, write_text
from harness.records.insides import InsideArm, read_insides
from harness.records.looks import Ledger, read_ledger
from harness.records.runs import STATUSES
from harness.records.samples import NAME as SAMPLES
from harness.records.samples import Sample, read_samples
from harness.records.study_file import read_study, write_study
from harness.spec import ResolvedStudy, ViTSpec, canonical_json

_MOST_COLUMNS = 1000

_KINDS = {  # columns by the type that they have in every table; the others are float64
    "str": "study scale arm series status at_edge device precision digest code_fingerprint",
    "bool": "is_baseline chosen",
    "object": "level",
    "Int64": "train_size seed trial search update shift patch_size shots updates images_seen params macs_per_image "
    "attention_macs_per_image peak_memory_bytes eval_peak_memory_bytes loss_spikes",
}
_KIND = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def _columns(names: str) -> dict[str, str]:
    return {name: _KIND.get(name, "float64") for name in names.split()}


RUN_COLUMNS = _columns(  # columns of runs.csv in order, then a column `p.<name>` per nuisance parameter
    "study scale arm is_baseline level series train_size seed status test_accuracy test_loss "
    "shifted_accuracy shift_agreement validation_accuracy train_loss updates images_seen params macs_per_image "
    "attention_macs_per_image train_seconds train_images_per_second eval_images_per_second peak_memory_bytes "
    "eval_peak_memory_bytes few_shot_accuracy balanced_accuracy top5_accuracy search device precision digest "
    "code_fingerprint"
)

ADDED_COLUMNS = (
    *("series", "shifted_accuracy", "shift_agreement", "attention_macs_per_image", "eval_peak_memory_bytes"),
    *("search", "few_shot_accuracy", "balanced_accuracy", "top5_accuracy"),
    *("gradient_norm", "largest_gradient_norm", "update_norm", "attention_entropy", "loss_spikes"),
)
"""Columns that tables of before `search.repeats`, `few_shot`, predicted classes or a look at stability lack: empty."""

TRIAL_COLUMNS = _columns(  # columns of trials.csv in order, then a column `p.<name>` per nuisance parameter
    "study scale arm train_size trial status validation_accuracy images_seen chosen at_edge search device precision "
    "digest code_fingerprint"
)

CURVE_COLUMNS = _columns(  # columns of curves.csv: a row per evaluation of a confirm run
    "arm train_size seed update images_seen train_loss validation_loss validation_accuracy learning_rate digest "
    "gradient_norm largest_gradient_norm update_norm attention_entropy loss_spikes"
)

SHIFT_COLUMNS = _columns("arm train_size seed shift test_accuracy agreement digest")
"""Columns of shifts.csv: a row per confirm run and shift (pixels) of the test images, the plain test being shift 0."""

PATCH_COLUMNS = _columns("arm train_size seed patch_size test_accuracy macs_per_image digest")
"""Columns of patches.csv: a row per confirm run of a model for patches of several sizes and side of these (pixels)."""

FEW_SHOT_COLUMNS = _columns("arm train_size seed shots few_shot_accuracy digest")
"""Columns of few_shots.csv: a row per confirm run and number of images of each class that its features were given."""

_FRACTIONS = (
    "test_accuracy",
    "shifted_accuracy",
    "shift_agreement",
    "few_shot_accuracy",
    "balanced_accuracy",
    "top5_accuracy",
    "validation_accuracy",
    "agreement",
)

_PLACES = ("train_size", "seed", "trial", "update", "shift", "patch_size", "shots")
"""Never empty: they say what a row is of."""


@dataclass(frozen=True, kw_only=True)
class StudyRecords:
    """What a finished (or partial) study leaves: everything that analysis and report read."""

    study: ResolvedStudy
    provenance: dict[str, Any]  # versions, hardware, git revision, data hash, command; see `study.json`
    runs: pd.DataFrame  # a row per planned confirm run that has a result; RUN_COLUMNS and `p.<name>`
    trials: pd.DataFrame  # a row per tuning trial that has a result; TRIAL_COLUMNS and `p.<name>`
    curves: pd.DataFrame  # a row per evaluation; CURVE_COLUMNS
    shifts: pd.DataFrame = field(default_factory=lambda: with_columns([], SHIFT_COLUMNS))  # with test_shifts
    patches: pd.DataFrame = field(default_factory=lambda: with_columns([], PATCH_COLUMNS))  # of flexible patches
    few_shots: pd.DataFrame = field(default_factory=lambda: with_columns([], FEW_SHOT_COLUMNS))  # with few_shot
    correct: Mapping[str, Correct] = field(default_factory=dict)  # by digest of a confirm run, in the split's order
    classes: Mapping[str, Classes] = field(default_factory=dict)  # the same; of results of before these were kept, none
    top5: Mapping[str, Correct] = field(default_factory=dict)
    """By digest, whether the label was among the five likeliest classes; of runs on more than five classes."""
    at_patches: Mapping[tuple[str, int], Correct] = field(default_factory=dict)
    """By digest and side of the patches (pixels), of models for patches of several sizes."""
    folder: Path | None = None  # where the study's results lie
    looks: Ledger = field(
        default_factory=Ledger
    )  # what was announced and seen; empty for results of before these were kept
    insides: tuple[InsideArm, ...] = ()  # what was seen inside the best models, where they were looked into
    samples: Mapping[str, Sample] = field(default_factory=dict)
    """An image as it is and as each intervention changes it, by what is done to it; empty where there is none."""


def runs_of(records: StudyRecords) -> str:
    """SHA-256 of which confirm runs there are and how they ended: whether something was made from these."""
    return sha256(canonical_json(sorted(zip(records.runs["digest"], records.runs["status"], strict=True))).encode())


def with_columns(rows: Iterable[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """A frame with exactly `columns` (in order, with their types) and then any `p.<name>` columns, sorted by name."""
    rows = list(rows)
    extra = sorted({key for row in rows for key in row if key.startswith("p.")})
    return pd.DataFrame(rows, columns=[*columns, *extra]).astype(columns)


def write_tables(folder: Path, records: StudyRecords) -> None:
    """Keep study.json, the tables and predictions.npz in a study's results folder."""
    for name in _tables(records.study):
        write_text(folder / f"{name}.csv", csv_text.from_frame(getattr(records, name)))
    names = [item.name for item in fields(Answers)]
    write_answers(folder / "predictions.npz", Answers(**{name: getattr(records, name) for name in names}))
    write_study(folder, records.study, records.provenance)


def load_records(folder: Path) -> StudyRecords:
    """Read back what `write_tables` kept: needs nothing but the results folder."""
    study, provenance = read_study(folder)
    tables = _tables(study)
    if not (folder / "few_shots.csv").exists():  # as in results of before it was kept; a manifest would tell its loss
        tables.pop("few_shots", None)
    frames = {name: _read_csv(folder / f"{name}.csv", columns) for name, columns in tables.items()}
    # A CSV cannot tell the level "4" from the level 4; the study can.
    levels = {arm.name: arm.level for arm in study.all_arms}
    frames["runs"]["level"] = frames["runs"]["arm"].map(levels).astype("object")
    answers, looks, insides = read_answers(folder / "predictions.npz"), read_ledger(folder), read_insides(folder)
    kept: dict[str, Any] = {**vars(answers), **frames, "samples": read_samples(folder / SAMPLES)}
    return StudyRecords(study=study, provenance=provenance, folder=folder, looks=looks, insides=insides, **kept)


def _tables(study: ResolvedStudy) -> dict[str, dict[str, str]]:
    """The columns of each of a study's tables, by its name."""
    tables = {"runs": RUN_COLUMNS, "trials": TRIAL_COLUMNS, "curves": CURVE_COLUMNS}
    is_flexible = any(isinstance(arm.model, ViTSpec) and arm.model.flexible_patches for arm in study.all_arms)
    tables |= {"shifts": SHIFT_COLUMNS} if study.test_shifts else {}
    tables |= {"few_shots": FEW_SHOT_COLUMNS} if study.few_shot is not None else {}
    return tables | ({"patches": PATCH_COLUMNS} if is_flexible else {})


def load_runs(folder: Path) -> pd.DataFrame:
    """runs.csv alone; the levels of the factor as text."""
    return _read_csv(folder / "runs.csv", RUN_COLUMNS)


def _read_csv(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """A frame as it was written: text such as NA or None stays text, and only an empty number is missing."""
    texts = {name: kind for name, kind in columns.items() if kind == "str"}
    with reading(path), warnings.catch_warnings():
        # pandas cuts a row that is longer than the heading, and only warns of it
        warnings.simplefilter("error", pd.errors.ParserWarning)
        content = read_bytes(path)
        if content.partition(b"\n")[0].count(b",") > _MOST_COLUMNS:
            raise ValueError(f"its heading has more than {_MOST_COLUMNS:,} commas; no table has as many columns")
        missing_as = {name: [""] for name in pd.read_csv(io.BytesIO(content), nrows=0).columns if name not in texts}
        frame = pd.read_csv(
            io.BytesIO(content), dtype=texts, keep_default_na=False, na_values=missing_as, index_col=False
        )
        for name in set(ADDED_COLUMNS) & columns.keys() - set(frame.columns):
            frame[name] = "" if name in texts else math.nan
        if missing := [name for name in columns if name not in frame]:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        frame = frame.astype(columns)
        for label, column in frame.items():
            if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
                frame[label] = column.map(csv_text.as_written, na_action="ignore").astype(column.dtype)
    _check_values(path, frame)
    return frame


def _check_values(path: Path, frame: pd.DataFrame) -> None:
    """Refuse what no run can have left, naming row, column and rule: a table may come from anywhere."""
    for name, column in frame.items():
        if name == "status":
            right, rule = column.isin(STATUSES), f"one of {', '.join(STATUSES)}"
        elif name in _FRACTIONS:
            right, rule = column.between(0, 1) | column.isna(), "a fraction from 0 to 1, or empty"
        elif name in _PLACES and column.isna().any():
            right, rule = column.notna(), "a number"
        elif pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
            values, least = column.astype("float64"), -math.inf if str(name).startswith("p.") else 0
            right, rule = (values.ge(least) & np.isfinite(values)) | values.isna(), "a finite number, 0 or more"
        else:
            continue
        if not right.all():
            row = int(np.flatnonzero(~right)[0])
            raise RecordsError(
                f"{path}, row {row + 2}: {name} is {column.iloc[row]!r}; it must be {rule}. Restore the file, or make "
                "it again with `patchbench report` where the work folder is."
            )

"""The tidy frames of a study: one row per training, per trial, per evaluation. All reports start from these."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.spec import ResolvedStudy

STATUSES = ("completed", "diverged", "out_of_memory", "failed")

RUN_COLUMNS: dict[str, str] = {
    "study": "str",
    "scale": "str",
    "arm": "str",
    "is_baseline": "bool",
    "level": "object",
    "train_size": "Int64",
    "seed": "Int64",
    "status": "str",
    "test_accuracy": "float64",
    "test_loss": "float64",
    "validation_accuracy": "float64",
    "train_loss": "float64",
    "updates": "Int64",
    "images_seen": "Int64",
    "params": "Int64",
    "macs_per_image": "Int64",
    "train_seconds": "float64",
    "train_images_per_second": "float64",
    "eval_images_per_second": "float64",
    "peak_memory_bytes": "Int64",
    "device": "str",
    "precision": "str",
    "digest": "str",
    "code_fingerprint": "str",
}
"""Columns of runs.csv in order, then a column `p.<name>` per nuisance parameter."""

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
    "digest": "str",
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

Correct = npt.NDArray[np.bool_]


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
    correct: dict[str, Correct] = field(default_factory=dict)
    """For each completed confirm run's digest: per test image, in the test split's order, whether it was right."""
    folder: Path | None = None
    """Where the study's results lie."""


def with_columns(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """A frame with exactly `columns` (in order, with their types) and then any `p.<name>` columns, sorted by name."""
    extra = sorted({key for row in rows for key in row if key.startswith("p.")})
    frame = pd.DataFrame(rows, columns=[*columns, *extra])
    return frame.astype(columns)

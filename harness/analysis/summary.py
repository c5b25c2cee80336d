"""The table of arms, and what is missing in it."""

import math
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from harness.analysis.cells import MISSING, Cell, Cells, Floats, finite, frame, mean_of, number
from harness.analysis.estimate import FEWEST_SEEDS, LEVEL
from harness.analysis.wording import listed, place
from harness.records.runs import STATUSES
from harness.spec.plural import counted, plural

_MODEL_COSTS = ("params", "macs_per_image")
_MEASURED = (
    "validation_accuracy",
    "train_images_per_second",
    "eval_images_per_second",
    "peak_memory_bytes",
    "train_seconds",
)

ARM_COLUMNS: dict[str, str] = {
    "arm": "str",
    "is_baseline": "bool",
    "level": "object",
    "train_size": "Int64",
    "planned": "Int64",
    "n": "Int64",
    "mean": "float64",
    "sd": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "validation_accuracy": "float64",
    "params": "float64",
    "macs_per_image": "float64",
    "train_images_per_second": "float64",
    "eval_images_per_second": "float64",
    "peak_memory_bytes": "float64",
    "train_seconds": "float64",
    "diverged": "Int64",
    "out_of_memory": "Int64",
    "failed": "Int64",
    "missing": "Int64",
    "caution": "str",
}
"""Columns of `Findings.arms`."""


def arms_table(cells: Cells, cautions: Mapping[Cell, Sequence[str]] = MappingProxyType({})) -> pd.DataFrame:
    """ARM_COLUMNS, a row per cell of the study; interval: Student's t over seeds, NaN below three of them.

    Times and throughputs are medians over completed runs (an unfinished run's would mislead); `params` and
    `macs_per_image` over every run that has them; `caution` says why an arm seems not to have learned.
    """
    places = [(arm.name, size) for arm, size in cells.study.cells]
    rows = [_row(cells, cell) | {"caution": "; ".join(cautions.get(cell, ()))} for cell in places]
    return frame(rows, ARM_COLUMNS)


def mean_interval(values: Floats) -> tuple[float, float]:
    """95% interval of the mean of (n,) values over seeds, Student's t; NaN below three values."""
    if len(values) < FEWEST_SEEDS:
        return math.nan, math.nan
    middle, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    low, high = (float(special.stdtrit(len(values) - 1, share)) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return middle + low * error, middle + high * error


def gaps(cells: Cells) -> tuple[str, ...]:
    """A sentence for every cell in which a planned run did not complete."""
    sentences = []
    for cell in cells.rows:
        troubles = unfinished(cells, cell)
        if troubles:
            done, planned = len(cells.completed(cell)), len(cells.study.seeds)
            what = "; ".join(f"{listed(seeds)} {status}" for status, seeds in troubles.items())
            noun = "seed" if sum(map(len, troubles.values())) == 1 else plural("seed")
            sentences.append(f"{place(cell)}: {done} of {counted(planned, 'seed')} completed; {noun} {what}.")
    return tuple(sentences)


def unfinished(cells: Cells, cell: Cell) -> dict[str, list[int]]:
    """The planned seeds of a cell that did not complete, by status (`missing` where there is no result at all)."""
    troubles: dict[str, list[int]] = {}
    for status in (*STATUSES[1:], MISSING):
        seeds = [seed for seed in sorted(cells.study.seeds) if cells.state(cell, seed) == status]
        if seeds:
            troubles[status.replace("_", " ")] = seeds
    return troubles


def _row(cells: Cells, cell: Cell) -> dict[str, Any]:
    arm = cells.study.arm(cell[0])
    values = finite(cells.values(cell, "test_accuracy"))
    low, high = mean_interval(values)
    states = [cells.state(cell, seed) for seed in cells.study.seeds]
    return {
        "arm": arm.name,
        "is_baseline": arm.name == cells.study.baseline.name,
        "level": arm.level,
        "train_size": cells.train_size(cell),
        "planned": len(cells.study.seeds),
        "n": states.count("completed"),
        "mean": mean_of(values),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        "ci_low": low,
        "ci_high": high,
        **{name: _median(cells.values(cell, name)) for name in _MEASURED},
        **{name: cost_of_model(cells.rows[cell], name) for name in _MODEL_COSTS},
        **{status: states.count(status) for status in (*STATUSES[1:], MISSING)},
    }


def cost_of_model(rows: Mapping[int, Mapping[str, Any]], metric: str) -> float:
    """A cost that the model alone decides, from whichever runs have it (also ones that diverged); NaN without any."""
    return _median(np.array([number(row[metric]) for _, row in sorted(rows.items())]))


def _median(values: Floats) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing, the median is NaN: that is what is meant
        return float(np.nanmedian(values)) if len(values) else math.nan

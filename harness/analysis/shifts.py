"""Tests on moved images: means over the seeds, by shift."""

import numpy as np
import pandas as pd

from harness.analysis.cells import Cell, Cells
from harness.analysis.findings import SHIFT_COLUMNS
from harness.analysis.summary import mean_interval

METRICS = ("test_accuracy", "agreement")
"""What is measured on moved images: accuracy, and the share of predictions that are those for the unmoved image."""


def shifts_table(cells: Cells, shifts: pd.DataFrame) -> pd.DataFrame:
    """SHIFT_COLUMNS from `StudyRecords.shifts`: the completed planned runs; interval: Student's t over seeds."""
    rows = []
    measured = {str(digest): group for digest, group in shifts.groupby("digest")} if len(shifts) else {}
    for cell in cells.rows:
        runs = [measured[digest] for digest in _digests(cells, cell) if digest in measured]
        of_cell = pd.concat(runs) if runs else shifts.iloc[:0]
        for shift, group in of_cell.groupby("shift"):
            for metric in METRICS:
                values = group[metric].to_numpy(dtype=np.float64, na_value=np.nan)
                values = values[np.isfinite(values)]
                mean = float(values.mean()) if len(values) else np.nan
                low, high = mean_interval(values)
                rows.append((cell[0], cells.train_size(cell), shift, metric, len(values), mean, low, high))
    return pd.DataFrame(rows, columns=list(SHIFT_COLUMNS)).astype(SHIFT_COLUMNS)


def _digests(cells: Cells, cell: Cell) -> list[str]:
    """Of the cell's completed runs, by seed."""
    return [str(cells.rows[cell][seed]["digest"]) for seed in cells.completed(cell)]

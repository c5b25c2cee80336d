"""Tests on moved images: means over the seeds, by shift."""

import numpy as np
import pandas as pd

from harness.analysis.cells import Cells, finite, frame, mean_of
from harness.analysis.findings import SHIFT_COLUMNS
from harness.analysis.summary import mean_interval

METRICS = ("test_accuracy", "agreement")
"""What is measured on moved images: accuracy, and the share of predictions that are those for the unmoved image."""


def shifts_table(cells: Cells, shifts: pd.DataFrame) -> pd.DataFrame:
    """SHIFT_COLUMNS from `StudyRecords.shifts`: the completed planned runs; interval: Student's t over seeds."""
    rows = []
    measured = {str(digest): group for digest, group in shifts.groupby("digest")} if len(shifts) else {}
    for cell in cells.rows:
        runs = [measured[digest] for digest in cells.digests(cell) if digest in measured]
        of_cell = pd.concat(runs) if runs else shifts.iloc[:0]
        for shift, group in of_cell.groupby("shift"):
            for metric in METRICS:
                values = finite(group[metric].to_numpy(dtype=np.float64, na_value=np.nan))
                numbers = (len(values), mean_of(values), *mean_interval(values))
                rows.append((cell[0], cells.train_size(cell), shift, metric, *numbers))
    return frame(rows, SHIFT_COLUMNS)

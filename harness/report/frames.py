"""Rows of the frames as drawing and tables need them."""

from typing import Any

import pandas as pd

from harness.analysis.findings import Findings
from harness.records.tables import StudyRecords
from harness.report.formats import count, number

Row = dict[str, Any]


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The rows as dicts, in the frame's order."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def sizes_of(findings: Findings) -> tuple[int, ...]:
    """Training sizes of a two-factor study; empty for a study of one size."""
    return findings.main_factor_sizes


def largest_size(findings: Findings) -> int | None:
    """The size whose arms stand in figures of one size; None where there is only one."""
    sizes = sizes_of(findings)
    return sizes[-1] if sizes else None


def at_size(frame: pd.DataFrame, size: int | None) -> pd.DataFrame:
    """The rows of one training size; all rows where `size` is None."""
    return frame if size is None or frame.empty else frame[frame["train_size"] == size]


def arms_with_results(findings: Findings, size: int | None = None) -> list[Row]:
    """Rows of `findings.arms` that have a mean accuracy, baseline first."""
    return [row for row in rows_of(at_size(findings.arms, size)) if number(row["mean"]) is not None]


def comparisons_with_results(findings: Findings, size: int | None = None) -> list[Row]:
    """Rows of `findings.comparisons` that have a difference."""
    return [row for row in rows_of(at_size(findings.comparisons, size)) if number(row["difference"]) is not None]


def completed_runs(records: StudyRecords, size: int | None = None) -> dict[str, pd.DataFrame]:
    """Completed confirm runs by arm, in order of training size and seed."""
    runs = at_size(records.runs, size)
    runs = runs[runs["status"] == "completed"].sort_values(["train_size", "seed"], kind="stable")
    return {str(arm): group for arm, group in runs.groupby("arm", sort=False)}


def cell_name(row: Row, findings: Findings) -> str:
    """The arm, in a two-factor study with its training size."""
    return f"{row['arm']}, {count(row['train_size'])} images" if sizes_of(findings) else str(row["arm"])

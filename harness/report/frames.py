"""Rows of the frames as drawing and tables need them."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.spec import ResolvedStudy
from harness.spec.formats import MINUS, count, number
from harness.spec.plural import counted

Row = dict[str, Any]
Size = int | None
"""A number of training images; None in a study of one."""

UNLEARNED = "†"
"""Stands after an arm that apparently did not learn."""


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The rows as dicts, in the frame's order."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def sizes_of(findings: Findings) -> tuple[int, ...]:
    """Training sizes of a two-factor study; empty for a study of one size."""
    return findings.main_factor_sizes


def size_of(row: Row) -> Size:
    """The training size of a row; None where it has none."""
    size = number(row.get("train_size"))
    return None if size is None else int(size)


def spread_sizes(findings: Findings, rows: list[Row], most: int) -> tuple[Size, ...]:
    """At most `most` of the training sizes that `rows` have, with both ends; (None,) in a study of one size."""
    if not sizes_of(findings):
        return (None,)
    sizes = tuple(size for size in sizes_of(findings) if any(row["train_size"] == size for row in rows))
    if len(sizes) <= most:
        return sizes
    return tuple(sizes[round(i * (len(sizes) - 1) / (most - 1))] for i in range(most))


def largest_size(findings: Findings) -> Size:
    """The size whose arms stand in figures of one size; None where there is only one."""
    sizes = sizes_of(findings)
    return sizes[-1] if sizes else None


def at_largest(findings: Findings, text: str) -> str:
    """A text with the largest training size, such as `At 55,000 training images. `; empty in a study of one size."""
    size = largest_size(findings)
    return "" if size is None else text.format(f"{count(size)} training images")


def at_size(frame: pd.DataFrame, size: Size) -> pd.DataFrame:
    """The rows of one training size; all rows where `size` is None."""
    return frame if size is None or frame.empty else frame[frame["train_size"] == size]


def arms_with_results(findings: Findings, size: Size = None) -> list[Row]:
    """Rows of `findings.arms` that have a mean accuracy, baseline first."""
    return [row for row in rows_of(at_size(findings.arms, size)) if number(row["mean"]) is not None]


def comparisons_with_results(findings: Findings, size: Size = None) -> list[Row]:
    """Rows of `findings.comparisons` that have a difference."""
    return [row for row in rows_of(at_size(findings.comparisons, size)) if number(row["difference"]) is not None]


def shift_rows(findings: Findings) -> list[Row]:
    """Rows of `findings.shifts` that have a mean."""
    return [row for row in rows_of(findings.shifts) if number(row["mean"]) is not None]


def by_arm(rows: list[Row], study: ResolvedStudy) -> dict[str, list[Row]]:
    """The rows of each arm that has some, in the order of the study."""
    found = {arm.name: [row for row in rows if row["arm"] == arm.name] for arm in study.all_arms}
    return {name: of_arm for name, of_arm in found.items() if of_arm}


def completed_runs(records: StudyRecords, size: Size = None) -> dict[str, pd.DataFrame]:
    """Completed confirm runs by arm, in order of training size and seed."""
    runs = at_size(records.runs, size)
    runs = runs[runs["status"] == "completed"].sort_values(["train_size", "seed"], kind="stable")
    return {str(arm): group for arm, group in runs.groupby("arm", sort=False)}


def seeds_of(records: StudyRecords, size: Size = None) -> dict[str, list[float]]:
    """Test accuracy of every completed run in percent, by arm."""
    runs = completed_runs(records, size)
    return defaultdict(list) | {
        arm: [100 * float(value) for value in of_arm["test_accuracy"].dropna()] for arm, of_arm in runs.items()
    }


def cell_name(row: Row, findings: Findings) -> str:
    """The arm, in a two-factor study with its training size."""
    return f"{row['arm']}, {counted(row['train_size'], 'image')}" if sizes_of(findings) else str(row["arm"])


@dataclass(frozen=True, eq=False)
class Gap:
    """A series of arms against the arms that they are compared with: another series, or the baseline."""

    series: str
    other: str
    rows: tuple[Row, ...]
    """Of `findings.comparisons`, each with its `level`, by training size and increasing level."""
    crossings: tuple[Row, ...] = ()
    """Of `findings.crossovers` along the factor, one per training size."""

    @property
    def name(self) -> str:
        return f"{self.series} {MINUS} {self.other}"

    def at(self, size: Size) -> list[Row]:
        """The rows of one training size; all rows where `size` is None."""
        return [row for row in self.rows if size is None or row["train_size"] == size]

    def crossings_at(self, size: Size) -> list[Row]:
        """The crossings of one training size; all of them where `size` is None."""
        return [row for row in self.crossings if size is None or row["train_size"] == size]


def gaps_of_series(records: StudyRecords, findings: Findings) -> list[Gap]:
    """Each series against another one, or against an arm outside it, where they are compared at two levels or more."""
    study = records.study
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in comparisons_with_results(findings):
        arm, other = study.arm(row["arm"]), study.arm(row["baseline"])
        if arm.series is not None and arm.series != other.series:
            found[arm.series, other.series or other.name].append({**row, "level": arm.level})
    crossed = along_factor(findings.crossovers)
    gaps = []
    for (series, partner), rows in found.items():
        if len({row["level"] for row in rows}) > 1:
            ordered = sorted(rows, key=lambda row: (row["train_size"], row["level"]))
            crossings = [row for row in crossed if (row["arm"], row["baseline"]) == (series, partner)]
            gaps.append(Gap(series, partner, tuple(ordered), tuple(crossings)))
    return gaps


def along_factor(frame: pd.DataFrame) -> list[Row]:
    """Rows of `findings.crossovers` or `findings.slopes` that compare series over the factor's levels."""
    return [row for row in rows_of(frame) if row.get("along", "train_size") != "train_size"]


def along_size(frame: pd.DataFrame) -> list[Row]:
    """Rows of `findings.crossovers` or `findings.slopes` that compare arms over the training sizes."""
    return [row for row in rows_of(frame) if row.get("along", "train_size") == "train_size"]


def compared(row: Row, study: ResolvedStudy) -> str:
    """The arm that a row of comparisons is about, with the one that it is compared with unless that is the baseline."""
    return str(row["arm"]) if row["baseline"] == study.baseline.name else f"{row['arm']} {MINUS} {row['baseline']}"


def grouped(rows: list[Row], study: ResolvedStudy) -> list[Row]:
    """The rows of each training size with the arms of a series together by increasing level, the baseline first."""
    if not study.series:
        return rows
    order = [study.baseline.name, *(arm.name for arms in study.series.values() for arm in arms)]
    order += [arm.name for arm in study.arms]
    sizes = [row["train_size"] for row in rows]
    return sorted(rows, key=lambda row: (sizes.index(row["train_size"]), order.index(row["arm"])))


def has_partners(study: ResolvedStudy) -> bool:
    """Whether an arm is compared with another one than the baseline."""
    return any(study.against(arm) is not study.baseline for arm in study.arms)

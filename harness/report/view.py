"""What tables and figures ask of a study's results: rows of the frames, looks, and what an arm is compared with."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.answer import marked_answers
from harness.analysis.findings import Findings
from harness.analysis.looks import level_for
from harness.records.insides import InsideArm
from harness.records.run_table import StudyRecords
from harness.report.style import PALE, Mark, marks
from harness.spec.formats import MINUS, confidence, count, number, percent_interval, points_interval, words

MOST_COLOURED = 6  # of more arms in one panel, one stands out and the others are grey

Row = dict[str, Any]
Size = int | None
"""A number of training images; None in a study of one."""


def rows_of(frame: pd.DataFrame, known: str = "") -> list[Row]:
    """The rows as dicts, in the frame's order; those with a number in the column `known`, if one is named."""
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    return [row for row in rows if number(row[known]) is not None] if known else rows


def size_of(row: Row) -> Size:
    """The training size of a row; None where it has none."""
    size = number(row.get("train_size"))
    return None if size is None else int(size)


def at_size(frame: pd.DataFrame, size: Size) -> pd.DataFrame:
    """The rows of one training size; all rows where `size` is None."""
    return frame if size is None or frame.empty else frame[frame["train_size"] == size]


def interval_of(row: Row) -> tuple[float, float] | None:
    """The interval of a row; None where it has none."""
    low, high = number(row["ci_low"]), number(row["ci_high"])
    return None if low is None or high is None else (low, high)


def accuracy(row: Row) -> str:
    """A mean accuracy with its interval: `91.27% [90.81, 91.69]`."""
    return percent_interval(row["mean"], row["ci_low"], row["ci_high"])


def difference(row: Row) -> str:
    """A difference with its interval in points: `+1.23 [+0.40, +2.06]`."""
    return points_interval(row["difference"], row["ci_low"], row["ci_high"])


class View:
    """A study's results as its report shows them."""

    def __init__(self, records: StudyRecords, findings: Findings) -> None:
        self.records, self.findings, self.study = records, findings, records.study
        self.level = confidence(level_for(records))
        """Of every interval."""
        searched = records.study.search.repeats > 1
        self.varied = f"{'searches, ' * searched}seeds and test images"
        """What the intervals are over."""
        self.runs_varied = f"{'searches and ' * searched}seeds, for fixed test images"
        """What those of tests on shifted images are over."""
        self.factor = words(self.study.factor)
        self.levels = f"{self.factor} ({findings.unit})" if findings.unit else self.factor
        """The label of the axis that the factor's levels are on."""
        looks = marks(self.study)
        self.looks = {series: looks[arms[0].name] for series, arms in self.study.series.items()} | looks
        """Of arms and, as its first arm's, of series."""
        self.finding = ""
        """What the title of the main figure says; empty for all other figures."""
        self.sizes = findings.main_factor_sizes
        """Training sizes of a two-factor study; empty for a study of one size."""
        self.largest: Size = self.sizes[-1] if self.sizes else None
        """The size whose arms stand in figures of one size; None where there is only one."""
        self.at_largest = self.at(self.largest)
        """For titles of such figures."""
        known = set(records.runs[records.runs["status"] == "completed"]["digest"])
        found = {seen.arm: seen for seen in records.insides if seen.digest in known}
        self.insides = [_of_known(found[arm.name], known) for arm in self.study.all_arms if arm.name in found]
        """What was seen inside models, of runs that the report has, in the order of the study."""
        self.has_partners = any(self.study.against(arm) is not self.study.baseline for arm in self.study.arms)
        """Whether an arm is compared with another one than the baseline."""
        self.reference = "the reference arm" if self.has_partners else self.study.baseline.name
        """What differences are to."""

    @cached_property
    def asked(self) -> Size:
        """The training size that the answer is about; the largest where it is about none."""
        size: Any = next((getattr(claim, "train_size", None) for claim in marked_answers(self.study)[1]), None)
        if size == "smallest" and self.sizes:
            return self.sizes[0]
        return size if size in self.sizes else self.largest

    def at(self, size: Size) -> str:
        """`, at 1,000 training images`, for a title; nothing in a study of one size."""
        return f", at {count(size)} training images" if self.sizes else ""

    @cached_property
    def highlighted(self) -> str:
        """The arm that stands out where all cannot: the one that the answer speaks of, else the best."""
        known = {row["arm"]: row["mean"] for row in self.arms(self.largest)}
        asked = [arm for arm in self.findings.answer_arms if arm in known]
        others = [arm for arm in known if arm != self.study.baseline.name]
        return next(iter([*asked, *sorted(others, key=lambda arm: -known[arm])]), "")

    def looks_among(self, arms: Iterable[str]) -> dict[str, Mark]:
        """The looks of arms in one panel: their own, or grey but for the one that stands out where they are many."""
        looks = {arm: self.looks[arm] for arm in arms}
        if len(looks) <= MOST_COLOURED:
            return looks
        return {arm: look if arm == self.highlighted else replace(look, colour=PALE) for arm, look in looks.items()}

    def named(self, arm: str) -> str:
        """An arm's name, the baseline marked."""
        return f"{arm} (baseline)" if arm == self.study.baseline.name else arm

    def compared(self, row: Row) -> str:
        """The arm of a row of comparisons, with its reference arm unless that is the baseline of all."""
        return f"{row['arm']} {MINUS} {row['baseline']}" if self.has_partners else str(row["arm"])

    def arms(self, size: Size = None) -> list[Row]:
        """Rows of `findings.arms` that have a mean accuracy, baseline first."""
        return rows_of(at_size(self.findings.arms, size), known="mean")

    def comparisons(self, size: Size = None) -> list[Row]:
        """Rows of `findings.comparisons` that have a difference."""
        return rows_of(at_size(self.findings.comparisons, size), known="difference")

    def runs(self, size: Size = None) -> dict[str, list[Row]]:
        """Completed confirm runs of every arm, in order of training size and seed."""
        runs = at_size(self.records.runs, size).sort_values(["train_size", "seed"], kind="stable")
        return defaultdict(list) | self.by_arm(rows_of(runs[runs["status"] == "completed"]))

    def seed_differences(self, row: Row) -> list[float]:
        """Of a row of comparisons, the difference in test accuracy of each seed that both arms have completed."""
        runs = self._completed[size_of(row) if self.sizes else None]
        of_arm, of_other = (
            {run["seed"]: run["test_accuracy"] for run in runs[row[key]]} for key in ("arm", "baseline")
        )
        return [of_arm[seed] - of_other[seed] for seed in of_arm if seed in of_other]

    @cached_property
    def _completed(self) -> dict[Size, dict[str, list[Row]]]:
        return {size: self.runs(size) for size in (None, *self.sizes)}

    def classes(self, most: int) -> list[Row]:
        """The main arm's accuracy on each class, with the row of the arm that it is compared with as `against`.

        The greatest lead of the one that leads in all comes first; of more than `most` classes those with most images
        between the two.
        """
        main, *other = self.findings.by_class.arms or ("",)
        rows = rows_of(self.findings.by_class.table)
        against = {row["label"]: row for row in rows if row["arm"] in other}
        known = (row for row in rows if row["arm"] == main and number(row["difference"]) is not None)
        found = [row | {"against": against[row["label"]]} for row in known]
        found.sort(key=lambda row: -abs(row["images"] * row["difference"]))
        sign = 1 if sum(row["images"] * row["difference"] for row in found) > 0 else -1
        return sorted(found[:most], key=lambda row: (-sign * row["difference"], row["label"]))

    def by_arm(self, rows: list[Row]) -> dict[str, list[Row]]:
        """The rows of each arm that has some, in the order of the study."""
        found = {arm.name: [row for row in rows if row["arm"] == arm.name] for arm in self.study.all_arms}
        return {name: of_arm for name, of_arm in found.items() if of_arm}

    def spread_sizes(self, rows: list[Row], most: int) -> tuple[Size, ...]:
        """At most `most` of the training sizes that `rows` have, with both ends; (None,) in a study of one size."""
        sizes = [size for size in self.sizes if any(row["train_size"] == size for row in rows)]
        places = sorted({round(place) for place in np.linspace(0, len(sizes) - 1, most)})
        return tuple(sizes[place] for place in places) if sizes else (None,)

    def grouped(self, rows: list[Row]) -> list[Row]:
        """The rows of each training size with the arms of a series together by increasing level, the baseline first."""
        study, sizes = self.study, [row.get("train_size") for row in rows]
        if not study.series:
            return rows
        in_series = [arm.name for arms in study.series.values() for arm in arms]
        order = [study.baseline.name, *in_series, *(arm.name for arm in study.arms)]
        return sorted(rows, key=lambda row: (sizes.index(row.get("train_size")), order.index(row["arm"])))

    def along(self, frame: pd.DataFrame, *, factor: bool) -> list[Row]:
        """Rows of `findings.crossovers` or `findings.slopes` along the factor's levels, or along the training sizes."""
        return [row for row in rows_of(frame) if (row.get("along", "train_size") != "train_size") is factor]


def _of_known(seen: InsideArm, known: Collection[str]) -> InsideArm:
    """What was seen in a model, by training size as far as it is of known runs."""
    return replace(seen, by_size=tuple(at for at in seen.by_size or () if at.digest in known) or None)

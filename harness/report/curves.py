"""Figures over the course of training and tuning: learning curves, tuning budget, runs without a result."""

from typing import Any

import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.analysis.learning import mean_curve
from harness.records.run_table import StudyRecords
from harness.report.drawing import column_height, key_column, labels_of, set_linear
from harness.report.frames import Row, at_size, cell_name, largest_size, rows_of
from harness.report.sheet import LINE_HEIGHT, Label, Sheet, fix_ticks, lines_in, short_names
from harness.report.style import Mark, marks
from harness.spec.formats import count

UNFINISHED = {
    "diverged": Mark("#d55e00", "v", ""),
    "out_of_memory": Mark("#0173b2", "s", ""),
    "failed": Mark("#8250df", "X", ""),
    "missing": Mark("#57606a", "o", ""),
}
"""Ways in which a planned run has no result (columns of `findings.arms`), and their looks."""


def learning_curves(records: StudyRecords, findings: Findings) -> Figure:
    """Validation accuracy by update: a thin line per seed, the mean over it."""
    study, size = records.study, largest_size(findings)
    curves = learning_rows(records, findings)
    looks = marks(study)
    present = [arm.name for arm in study.all_arms if (curves["arm"] == arm.name).any()]
    names = labels_of(study, present)
    where = f"At {count(size)} training images. " if size is not None else ""
    sheet = Sheet(
        "Learning curves",
        f"{where}Thin lines: seeds. Thick lines: their mean.",
        height=column_height(names.values()),
    )
    axes, ends = sheet.axes, {}
    for name in present:
        of_arm = curves[curves["arm"] == name]
        lines = [
            list(zip(group["update"].astype(float), 100 * group["validation_accuracy"], strict=True))
            for _, group in of_arm.groupby("seed")
        ]
        axes.add_collection(LineCollection(lines, colors=looks[name].colour, linewidths=0.6, alpha=0.4))
        means = 100 * mean_curve(of_arm, "validation_accuracy")
        alone = looks[name].marker if len(means) == 1 else ""  # one evaluation makes no line
        axes.plot(means.index.astype(float), means, marker=alone, color=looks[name].colour, linestyle=looks[name].dash)
        ends[name] = float(means.iloc[-1])
    set_linear(axes.xaxis, [0.0, float(curves["update"].max())])
    axes.set_xlim(left=0)
    set_linear(axes.yaxis, [100 * curves["validation_accuracy"].min(), 100 * curves["validation_accuracy"].max()])
    sheet.column(key_column(names, looks, ends))
    axes.set_xlabel("updates")
    axes.set_ylabel("validation accuracy (%)")
    return sheet.finish()


def learning_rows(records: StudyRecords, findings: Findings) -> pd.DataFrame:
    """Evaluations that the learning curves show."""
    curves = at_size(records.curves, largest_size(findings))
    return curves.dropna(subset=["update", "validation_accuracy"]).sort_values(["seed", "update"], kind="stable")


def budget_curves(records: StudyRecords, findings: Findings) -> Figure:
    """Expected validation accuracy of the best of k trials, per arm: whether more tuning would change the order."""
    study, size = records.study, largest_size(findings)
    budget = budget_rows(findings)
    looks = marks(study)
    present = [arm.name for arm in study.all_arms if (budget["arm"] == arm.name).any()]
    names = labels_of(study, present)
    where = f", at {count(size)} training images" if size is not None else ""
    sheet = Sheet(
        "Accuracy by tuning budget",
        f"Expected validation accuracy of the best of k trials{where}. Curves still rising call for more.",
        height=column_height(names.values()),
    )
    axes, ends = sheet.axes, {}
    for name in present:
        rows = budget[budget["arm"] == name].sort_values("trials")
        axes.plot(
            rows["trials"].astype(float),
            100 * rows["expected_best"],
            color=looks[name].colour,
            linestyle=looks[name].dash,
            marker=looks[name].marker,
            markersize=4,
            markevery=max(1, len(rows) // 8),
        )
        ends[name] = 100 * float(rows["expected_best"].iloc[-1])
    set_linear(axes.xaxis, [float(value) for value in budget["trials"]], whole=True)
    set_linear(axes.yaxis, [100 * float(value) for value in budget["expected_best"]])
    sheet.column(key_column(names, looks, ends))
    axes.set_xlabel("trials of the search (k)")
    axes.set_ylabel("validation accuracy (%)")
    return sheet.finish()


def budget_rows(findings: Findings) -> pd.DataFrame:
    """Points of the budget curves, at the largest training size."""
    budget = at_size(findings.budget, largest_size(findings))
    return budget if budget.empty else budget.dropna(subset=["trials", "expected_best"])


def unfinished_runs(records: StudyRecords, findings: Findings) -> Figure:
    """Per arm, a mark for each planned run that has no result, by the way it ended."""
    rows = unfinished_rows(findings)
    display = short_names([cell_name(row, findings) for row in rows], 1.9, lines=2)
    tall = max(0.28, max(lines_in([text]) for text in display.values()) * LINE_HEIGHT * 1.06 + 0.1)
    present = [status for status in UNFINISHED if any(_runs(row, status) for row in rows)]
    sheet = Sheet("Confirm runs without a result", "One mark per run.", height=max(1.6, tall * len(rows) + 0.75))
    axes = sheet.axes
    for place, row in enumerate(rows):
        start = 0
        for status in present:
            look, runs = UNFINISHED[status], _runs(row, status)
            axes.plot(
                [start + i + 1 for i in range(runs)],
                [place] * runs,
                color=look.colour,
                marker=look.marker,
                linestyle="",
            )
            start += runs
    axes.set_yticks(range(len(rows)), [display[cell_name(row, findings)] for row in rows], linespacing=1.05)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    most = max(sum(_runs(row, status) for status in present) for row in rows)
    set_linear(axes.xaxis, [0.0, float(most)], whole=True)
    axes.set_xlim(0.4, most + 0.6)
    if most == 1:
        fix_ticks(axes.xaxis, [1.0], lambda value: f"{value:.0f}")
    sheet.column(Label(status.replace("_", " "), UNFINISHED[status]) for status in present)
    axes.set_xlabel("runs")
    return sheet.finish()


def unfinished_rows(findings: Findings) -> list[Row]:
    """Rows of `findings.arms` with a planned run that has no result."""
    return [row for row in rows_of(findings.arms) if any(_runs(row, status) for status in UNFINISHED)]


def _runs(row: Row, status: str) -> int:
    value: Any = row[status]
    return 0 if pd.isna(value) else int(value)

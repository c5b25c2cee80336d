"""Figures of a study of two factors: accuracy and gap by the number of training images."""

import numpy as np
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.analysis.laws import law_error, law_formula
from harness.records.run_table import StudyRecords
from harness.report.drawing import (
    INTERVAL_NOTE,
    column_height,
    draw_mean,
    draw_seeds,
    key_column,
    labels_of,
    percent_of,
    set_linear,
    set_log_x,
)
from harness.report.frames import (
    Row,
    along_size,
    arms_with_results,
    compared,
    comparisons_with_results,
    completed_runs,
    rows_of,
    sizes_of,
)
from harness.report.sheet import Sheet, fix_ticks, short_names
from harness.report.style import INK, Mark, marks
from harness.spec.formats import count, number

_DODGE = 1.035
"""Arms stand side by side at a size: each is moved by this ratio against the one before."""


def accuracy_by_size(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy by training images, with fitted laws and the intervals of crossovers."""
    study, looks = records.study, marks(records.study)
    rows = arms_with_results(findings)
    by_arm = {arm.name: [row for row in rows if row["arm"] == arm.name] for arm in study.all_arms}
    by_arm = {name: cells for name, cells in by_arm.items() if cells}
    names = labels_of(study, by_arm)
    laws = {row["arm"]: row for row in rows_of(findings.laws) if number(row["a"]) is not None}
    sheet = Sheet(
        "Test accuracy by training images",
        _size_note(findings, list(laws.values())),
        height=column_height(names.values(), 3.8),
    )
    axes, runs = sheet.axes, completed_runs(records)
    _shade_crossovers(sheet, findings, looks)
    drawn: list[float | None] = []
    ends: dict[str, float] = {}
    for (name, cells), dodge in zip(by_arm.items(), _dodges(len(by_arm)), strict=True):
        line = _law_line(laws[name], cells) if name in laws else _polyline(cells, "mean")
        axes.plot(*line, color=looks[name].colour, linestyle=looks[name].dash, linewidth=1.2)
        ends[name] = float(line[1][-1])
        for row in cells:
            x, interval = float(row["train_size"]) * dodge, (percent_of(row["ci_low"]), percent_of(row["ci_high"]))
            of_size = runs[name][runs[name]["train_size"] == row["train_size"]] if name in runs else None
            seeds = [] if of_size is None else [100 * float(value) for value in of_size["test_accuracy"].dropna()]
            draw_seeds(axes, [x] * len(seeds), seeds, looks[name], aside=(-5, 0))
            draw_mean(axes, (x, 100 * row["mean"]), interval, looks[name])
            drawn += [*seeds, 100 * row["mean"], *interval]
    _size_axis(sheet, findings)
    set_linear(axes.yaxis, drawn)
    sheet.column(key_column(names, looks, _within(ends, axes.get_ylim())))
    axes.set_ylabel("test accuracy (%)")
    return sheet.finish()


def gap_by_size(records: StudyRecords, findings: Findings) -> Figure:
    """Difference in test accuracy to the baseline by training images, with intervals and the zero line."""
    study, looks = records.study, marks(records.study)
    rows = comparisons_with_results(findings)
    by_arm = {arm.name: [row for row in rows if row["arm"] == arm.name] for arm in study.arms}
    by_arm = {name: cells for name, cells in by_arm.items() if cells}
    texts = {name: compared(cells[0], records) for name, cells in by_arm.items()}
    own = any(text != name for name, text in texts.items())  # an arm is compared with another than the baseline
    short = short_names(list(texts.values()), 1.35, lines=3)
    names = {name: short[text] for name, text in texts.items()} if own else labels_of(study, by_arm)
    sheet = Sheet(
        "Gaps by training images" if own else f"Gap to {study.baseline.name} by training images",
        "Mean difference over paired seeds with its 95% interval; above zero is better than "
        + (f"what stands behind the minus, else than {study.baseline.name}." if own else "the baseline."),
        height=column_height(names.values()),
    )
    axes = sheet.axes
    axes.axhline(0, color=INK, linewidth=1)
    drawn: list[float | None] = [0.0]
    ends: dict[str, float] = {}
    for (name, cells), dodge in zip(by_arm.items(), _dodges(len(by_arm)), strict=True):
        xs, ys = _polyline(cells, "difference")
        axes.plot([x * dodge for x in xs], ys, color=looks[name].colour, linestyle=looks[name].dash, linewidth=1)
        ends[name] = ys[-1]
        for x, y, row in zip(xs, ys, cells, strict=True):
            interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
            draw_mean(axes, (x * dodge, y), interval, looks[name])
            drawn += [y, *interval]
    _size_axis(sheet, findings)
    set_linear(axes.yaxis, drawn)
    sheet.column(key_column(names, looks, ends))
    axes.set_ylabel("difference (points)")
    return sheet.finish()


def _size_axis(sheet: Sheet, findings: Findings) -> None:
    sizes = [float(size) for size in sizes_of(findings)]
    set_log_x(sheet.axes, sizes, sizes)
    fix_ticks(sheet.axes.xaxis, sizes, count)
    sheet.axes.set_xlabel("training images")


def _size_note(findings: Findings, laws: list[Row]) -> str:
    lines = f" Lines: fitted laws, {law_formula(law['d'] for law in laws)}." if laws else ""
    crossed = any(number(row["ci_low"]) is not None for row in along_size(findings.crossovers))
    return INTERVAL_NOTE + lines + (f" Shaded: 95% interval of a crossover{_with(findings)}." if crossed else "")


def _with(findings: Findings) -> str:
    return " with the baseline" if len(set(findings.crossovers["baseline"])) == 1 else ""


def _shade_crossovers(sheet: Sheet, findings: Findings, looks: dict[str, Mark]) -> None:
    for row in along_size(findings.crossovers):
        low, high, middle = number(row["ci_low"]), number(row["ci_high"]), number(row["median"])
        if low is not None and high is not None:
            sheet.axes.axvspan(low, high, color=looks[row["arm"]].colour, alpha=0.1, linewidth=0)
        if middle is not None:
            sheet.axes.axvline(middle, color=looks[row["arm"]].colour, linewidth=0.9, linestyle=":")


def _law_line(law: Row, cells: list[Row]) -> tuple[list[float], list[float]]:
    """A fitted law over the arm's measured sizes, never beyond them."""
    sizes = [float(row["train_size"]) for row in cells]
    xs = np.geomspace(min(sizes), max(sizes), 60)
    ys = 100 * (1 - law_error(xs, *(float(law[name]) for name in "abcd")))
    return [float(x) for x in xs], [float(y) for y in ys]


def _polyline(cells: list[Row], column: str) -> tuple[list[float], list[float]]:
    ordered = sorted(cells, key=lambda row: float(row["train_size"]))
    return [float(row["train_size"]) for row in ordered], [100 * float(row[column]) for row in ordered]


def _dodges(arms: int) -> list[float]:
    ratio = _DODGE if arms <= 6 else _DODGE ** (6 / arms)
    return [float(ratio ** (i - (arms - 1) / 2)) for i in range(arms)]


def _within(ends: dict[str, float], limits: tuple[float, float]) -> dict[str, float]:
    """Ends of lines, at the axes' border where a fitted law leaves it."""
    return {name: min(max(end, limits[0]), limits[1]) for name, end in ends.items()}

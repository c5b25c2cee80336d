"""Figures of one training size: accuracy by level of the factor, and differences to the baseline."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.axis import is_geometric
from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.drawing import (
    INTERVAL_NOTE,
    draw_mean,
    draw_seeds,
    percent_of,
    set_linear,
    set_log_x,
)
from harness.report.frames import (
    Row,
    arms_with_results,
    compared,
    comparisons_with_results,
    completed_runs,
    grouped,
    largest_size,
)
from harness.report.sheet import LINE_HEIGHT, Label, Sheet, fix_ticks, lines_in, short_names
from harness.report.style import BASELINE_COLOUR, INK, Mark, has_ordered_levels, marks
from harness.spec.formats import count, number, percent, plain, points_interval, words


def factor_curve(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy by level, every seed drawn, the baseline as a band; rows instead where levels are words."""
    rows = arms_with_results(findings, largest_size(findings))
    if has_ordered_levels(records.study) and any(not row["is_baseline"] for row in rows):
        return _by_number(records, findings, rows)
    return _by_row(records, findings, rows)


def _by_number(records: StudyRecords, findings: Findings, rows: list[Row]) -> Figure:
    study = records.study
    runs = completed_runs(records, largest_size(findings))
    levels = {arm.name: level for arm in study.all_arms if (level := number(arm.level)) is not None}
    sheet = Sheet(f"Test accuracy by {words(study.factor)}", INTERVAL_NOTE)
    axes, looks = sheet.axes, marks(study)
    drawn: list[float | None] = []
    for row in rows:
        if row["is_baseline"]:
            drawn += _draw_band(sheet, row, name=study.baseline.name)
    ordered = sorted((row for row in rows if row["arm"] in levels), key=lambda row: levels[row["arm"]])
    line = [row for row in ordered if not row["is_baseline"]]
    axes.plot(
        [levels[row["arm"]] for row in line], [100 * row["mean"] for row in line], color=INK, linewidth=1, alpha=0.45
    )
    for row in ordered:
        x = levels[row["arm"]]
        seeds = _accuracies(runs, row["arm"])
        draw_seeds(axes, [x] * len(seeds), seeds, looks[row["arm"]], aside=(-6, 0))
        interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
        draw_mean(axes, (x, 100 * row["mean"]), interval, looks[row["arm"]])
        drawn += [*seeds, 100 * row["mean"], *interval]
    places = sorted({levels[row["arm"]] for row in ordered})
    if is_geometric(places):
        set_log_x(axes, places, places)
    else:
        set_linear(axes.xaxis, places)
    fix_ticks(axes.xaxis, places, plain)
    set_linear(axes.yaxis, drawn)
    axes.set_xlabel(words(study.factor))
    axes.set_ylabel("test accuracy (%)")
    return sheet.finish()


def _by_row(records: StudyRecords, findings: Findings, rows: list[Row]) -> Figure:
    study = records.study
    runs, looks = completed_runs(records, largest_size(findings)), marks(study)
    marked = [f"{row['arm']} (baseline)" if row["is_baseline"] else row["arm"] for row in rows]
    names = short_names(marked, 1.5, lines=3 if len(rows) <= 12 else 2)
    tall = _row_height(names.values())
    sheet = Sheet(f"Test accuracy by {words(study.factor)}", INTERVAL_NOTE, height=tall * len(rows) + 0.75)
    axes = sheet.axes
    drawn: list[float | None] = []
    for place, row in enumerate(rows):
        seeds = _accuracies(runs, row["arm"])
        interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
        if row["is_baseline"] and None not in interval:
            axes.axvspan(*interval, color=BASELINE_COLOUR, alpha=0.15, linewidth=0)  # type: ignore[arg-type]
        if row["is_baseline"]:
            axes.axvline(100 * row["mean"], color=BASELINE_COLOUR, linewidth=1, linestyle="--")
        draw_seeds(axes, seeds, [place] * len(seeds), looks[row["arm"]], aside=(0, -6))
        draw_mean(axes, (100 * row["mean"], place), interval, looks[row["arm"]], along="x")
        drawn += [*seeds, 100 * row["mean"], *interval]
    _rows_axis(sheet, [names[name] for name in marked])
    sheet.column([Label(percent(row["mean"]), None, float(place)) for place, row in enumerate(rows)])
    set_linear(axes.xaxis, drawn, bins=5)
    axes.set_xlabel("test accuracy (%)")
    return sheet.finish()


def differences(records: StudyRecords, findings: Findings) -> Figure:
    """Interval plot: each arm's difference to the one it is compared with, with the line of no difference."""
    size = largest_size(findings)
    rows = grouped(comparisons_with_results(findings, size), records.study)
    looks, baseline = marks(records.study), records.study.baseline.name
    texts = [compared(row, records) for row in rows]
    names = short_names(texts, 1.4, lines=3 if len(rows) <= 12 else 2)
    tall = _row_height(names.values())
    plain_case = texts == [row["arm"] for row in rows]
    where = f"At {count(size)} training images. " if size is not None else ""
    better = "than the baseline" if plain_case else f"than what stands behind the minus, else than {baseline}"
    sheet = Sheet(
        f"Difference in test accuracy to {baseline}" if plain_case else "Differences in test accuracy",
        f"{where}Mean over paired seeds with its 95% interval, in points; right of zero is better {better}.",
        height=tall * len(rows) + 0.75,
    )
    axes = sheet.axes
    axes.axvline(0, color=INK, linewidth=1)
    drawn: list[float | None] = [0.0]
    for place, row in enumerate(rows):
        interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
        draw_mean(axes, (100 * row["difference"], place), interval, looks[row["arm"]], along="x")
        drawn += [100 * row["difference"], *interval]
    _rows_axis(sheet, [names[text] for text in texts])
    sheet.column(
        Label(points_interval(row["difference"], row["ci_low"], row["ci_high"]), None, float(place))
        for place, row in enumerate(rows)
    )
    set_linear(axes.xaxis, drawn, bins=5)
    axes.set_xlabel("difference (points)")
    return sheet.finish()


def _draw_band(sheet: Sheet, row: Row, *, name: str) -> list[float | None]:
    """The baseline's interval and mean across the figure, named at its right; returns the heights drawn."""
    low, high, middle = percent_of(row["ci_low"]), percent_of(row["ci_high"]), 100 * row["mean"]
    if low is not None and high is not None:
        sheet.axes.axhspan(low, high, color=BASELINE_COLOUR, alpha=0.15, linewidth=0)
    sheet.axes.axhline(middle, color=BASELINE_COLOUR, linewidth=1.2, linestyle="--")
    text = short_names([name], 1.15, lines=4)[name]
    label = f"{text}\n(baseline)\n{percent(row['mean'])}"
    sheet.column([Label(label, Mark(BASELINE_COLOUR, "", "--"), middle)])
    return [low, middle, high]


def _rows_axis(sheet: Sheet, names: list[str]) -> None:
    axes = sheet.axes
    axes.set_yticks(range(len(names)), names, linespacing=1.05)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _row_height(names: Iterable[str]) -> float:
    most = max(lines_in([name]) for name in names)
    return max(0.3, most * LINE_HEIGHT * 1.06 + 0.1)


def _accuracies(runs: dict[str, pd.DataFrame], arm: str) -> list[float]:
    return [100 * float(value) for value in runs[arm]["test_accuracy"].dropna()] if arm in runs else []

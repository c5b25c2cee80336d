"""Figure of the gaps between series, or between a series and the baseline, over the factor's levels."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.drawing import column_height, draw_mean, percent_of, set_linear
from harness.report.frames import Gap, Row, gaps_of_series, sizes_of
from harness.report.level_axis import LevelAxis, asides
from harness.report.panels import Panels
from harness.report.sheet import Label, Sheet, short_names
from harness.report.style import INK, Mark, look_of_series, ordered_marks
from harness.spec.formats import number, words
from harness.spec.plural import counted

Line = tuple[Sequence[Row], Mark, Sequence[Row]]
"""Rows of differences by increasing level, their look, and rows of crossings."""


def gap_by_level(records: StudyRecords, findings: Findings) -> Figure:
    """Difference of each series to its partner by level, with the zero line and where it is crossed.

    A line per pair of series; with several training sizes a line per size, and a panel per pair.
    """
    found = gaps_of_series(records, findings)
    axis = LevelAxis(tuple(sorted({row["level"] for gap in found for row in gap.rows})))
    others = {gap.other for gap in found}
    better = f"is better than {found[0].other}" if len(others) == 1 else "the first named is better"
    note = f"Mean difference over paired seeds with its 95% interval; above zero {better}."
    if any(number(row["median"]) is not None for gap in found for row in gap.crossings):
        note += " Shaded on the zero line: 95% interval of a crossing."
    if sizes_of(findings):
        return _by_pair(records, findings, found, axis, note)
    return _one_panel(records, found, axis, note)


def _one_panel(records: StudyRecords, found: list[Gap], axis: LevelAxis, note: str) -> Figure:
    study, label = records.study, words(records.study.factor)
    others = {gap.other for gap in found}
    title = f"Gap to {found[0].other} by {label}" if len(others) == 1 else f"Gap between series by {label}"
    texts = [gap.series if len(others) == 1 else gap.name for gap in found]
    names = short_names(texts, 1.2, lines=3)
    sheet = Sheet(title, note, height=column_height(names.values()))
    lines = [(gap.rows, look_of_series(study, gap.series), gap.crossings) for gap in found]
    drawn = _draw_gaps(sheet.axes, lines, axis)
    set_linear(sheet.axes.yaxis, drawn)
    axis.set_on(sheet.axes)
    sheet.column(
        Label(names[text], mark, 100 * rows[-1]["difference"])
        for text, (rows, mark, _) in zip(texts, lines, strict=True)
    )
    sheet.axes.set_xlabel(label)
    sheet.axes.set_ylabel("difference (points)")
    return sheet.finish()


def _by_pair(records: StudyRecords, findings: Findings, found: list[Gap], axis: LevelAxis, note: str) -> Figure:
    sizes, label = sizes_of(findings), words(records.study.factor)
    looks = dict(zip(sizes, ordered_marks(len(sizes)), strict=True))
    panels = Panels(
        f"Gap between series by {label}",
        note,
        [gap.name for gap in found],
        label=label,
        key=[Label(f"{counted(size, 'image')}", looks[size]) for size in sizes],
        columns=1,
        tall=2.8 if len(found) == 1 else 1.9,
    )
    drawn: list[float | None] = []
    for axes, gap in zip(panels.axes, found, strict=True):
        lines = [(gap.at(size), looks[size], gap.crossings_at(size)) for size in sizes]
        drawn += _draw_gaps(axes, lines, axis)
    for axes in panels.axes:
        set_linear(axes.yaxis, drawn)
        axis.set_on(axes)
        axes.set_ylabel("difference (points)")
    return panels.finish()


def _draw_gaps(axes: Axes, lines: Sequence[Line], axis: LevelAxis) -> list[float | None]:
    """The lines, and their crossings on the line of no difference; returns the heights drawn."""
    axes.axhline(0, color=INK, linewidth=1)
    drawn: list[float | None] = [0.0]
    for (rows, mark, crossings), aside in zip(lines, asides(len(lines)), strict=True):
        xs, ys = [axis.at(row["level"], aside) for row in rows], [100 * row["difference"] for row in rows]
        axes.plot(xs, ys, color=mark.colour, linewidth=1.1)
        for x, y, row in zip(xs, ys, rows, strict=True):
            interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
            draw_mean(axes, (x, y), interval, mark)
            drawn += [y, *interval]
        for row in crossings:
            _draw_crossing(axes, row, mark, axis, alone=len(lines) == 1)
    return drawn


def _draw_crossing(axes: Axes, row: Row, mark: Mark, axis: LevelAxis, *, alone: bool) -> None:
    """The interval as a bar on the zero line (an open end reaches the last level), the median as a stroke across it."""
    middle = number(row["median"])
    if middle is None:
        return
    low, high = number(row["ci_low"]), number(row["ci_high"])
    ends = axis.levels[0] if low is None else low, axis.levels[-1] if high is None else high
    if alone:
        axes.axvspan(*ends, color=mark.colour, alpha=0.12, linewidth=0)
    axes.plot(ends, [0, 0], color=mark.colour, linewidth=6, alpha=0.4, solid_capstyle="butt", zorder=2)
    axes.plot([middle], [0], color=mark.colour, marker="|", markersize=14, markeredgewidth=1.6, zorder=3)

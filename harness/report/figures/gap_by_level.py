"""The gaps between series, or between a series and the baseline, over the factor's levels."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas, Label, column_height
from harness.report.figures.drawing import draw_mean, interval_of
from harness.report.figures.in_words import difference, several
from harness.report.figures.labels import short_names
from harness.report.figures.level_axis import LevelAxis, asides
from harness.report.figures.looks import Mark, look_of_series, ordered_marks
from harness.report.figures.picture import Picture
from harness.report.frames import Gap, Row, at_largest, gaps_of_series, largest_size, sizes_of
from harness.report.style import INK
from harness.spec.formats import number, plain, words
from harness.spec.plural import counted

Line = tuple[Sequence[Row], Mark, Sequence[Row]]
"""Rows of differences by increasing level, their look, and rows of crossings."""


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    """Difference of each series to its partner by level, with the zero line and where it is crossed.

    A line per pair of series; with several training sizes a line per size, and a panel per pair.
    """
    found, sizes, factor = gaps_of_series(records, findings), sizes_of(findings), words(records.study.factor)
    axis = LevelAxis(tuple(sorted({row["level"] for gap in found for row in gap.rows})))
    canvas = _by_pair(found, sizes, axis, factor) if sizes else _one_panel(records, found, axis, factor)
    for axes in canvas.panels:
        axis.set_on(axes)
        axes.set_ylabel("difference (points)")
    canvas.panels[-1].set_xlabel(factor)
    return canvas.finish()


def _one_panel(records: StudyRecords, found: list[Gap], axis: LevelAxis, factor: str) -> Canvas:
    alone = len({gap.other for gap in found}) == 1
    title = f"Gap to {found[0].other} by {factor}" if alone else f"Gap between series by {factor}"
    texts = [gap.series if alone else gap.name for gap in found]
    names = short_names(texts, 1.2, lines=3)
    canvas = Canvas(title, _note(found), height=column_height(names.values()))
    lines = [(gap.rows, look_of_series(records.study, gap.series), gap.crossings) for gap in found]
    _draw_gaps(canvas.axes, lines, axis)
    ends = [(100 * rows[-1]["difference"], mark) for rows, mark, _ in lines]
    canvas.beside(Label(names[text], end, mark) for text, (end, mark) in zip(texts, ends, strict=True))
    return canvas


def _by_pair(found: list[Gap], sizes: Sequence[int], axis: LevelAxis, factor: str) -> Canvas:
    looks = dict(zip(sizes, ordered_marks(len(sizes)), strict=True))
    canvas = Canvas(
        f"Gap between series by {factor}",
        _note(found),
        height=3.4 if len(found) == 1 else 2.3,
        panels=[gap.name for gap in found],
        columns=1,
        key={counted(size, "image"): look for size, look in looks.items()},
    )
    for axes, gap in zip(canvas.panels, found, strict=True):
        _draw_gaps(axes, [(gap.at(size), looks[size], gap.crossings_at(size)) for size in sizes], axis)
    return canvas


def _note(found: list[Gap]) -> str:
    others = {gap.other for gap in found}
    better = f"better than {found[0].other}" if len(others) == 1 else "the first named is better"
    note = f"Mean difference over paired seeds with its 95% interval; above zero: {better}."
    if any(number(row["median"]) is not None for gap in found for row in gap.crossings):
        note += " Shaded on the zero line: 95% interval of a crossing."
    return note


def _draw_gaps(axes: Axes, lines: Sequence[Line], axis: LevelAxis) -> None:
    """The lines, and their crossings on the line of no difference."""
    axes.axhline(0, color=INK, linewidth=1)
    for (rows, mark, crossings), aside in zip(lines, asides(len(lines)), strict=True):
        xs, ys = [axis.at(row["level"], aside) for row in rows], [100 * row["difference"] for row in rows]
        axes.plot(xs, ys, color=mark.colour, linewidth=1.1)
        for x, y, row in zip(xs, ys, rows, strict=True):
            draw_mean(axes, x, y, interval_of(row), mark)
        for row in crossings:
            _draw_crossing(axes, row, mark, axis, alone=len(lines) == 1)


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


def _describe(records: StudyRecords, findings: Findings) -> str:
    size, texts = largest_size(findings), []
    for gap in gaps_of_series(records, findings):
        rows = gap.at(size) or list(gap.rows)
        told = [f"{difference(row)} at {plain(row['level'])}" for row in (rows[0], rows[-1])]
        texts.append(f"{gap.name} {' and '.join(told)}")
        texts += [str(row["statement"]).rstrip(".") for row in gap.crossings_at(size)]
    where = at_largest(findings, " With {}:")
    return f"Difference in points by {words(records.study.factor)}.{where} {several(texts)}."


PICTURE = Picture(
    "gap_by_level", "result", "Gap of each series by level of the factor", _draw, _describe, gaps_of_series
)

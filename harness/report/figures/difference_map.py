"""Heat map of the difference between two series, training size by level, with the line on which they are level."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas
from harness.report.figures.in_words import several
from harness.report.figures.picture import Picture
from harness.report.frames import Gap, Row, gaps_of_series, rows_of
from harness.report.style import INK, LABEL_SIZE
from harness.spec.formats import count, number, plain, points, words
from harness.spec.plural import counted

_COLOURS = "RdBu"
"""Diverging: red below zero, blue above; told apart by colour-blind readers."""
_SPAN = 0.55
"""Share of the palette used: its dark ends would hide the numbers."""
_INTERVAL = 0.9
"""Where in a cell intervals stand, aside of the number."""


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    found, factor = mapped_gaps(records, findings), words(records.study.factor)
    sizes = {int(row["train_size"]) for gap in found for row in gap.rows}
    frontiers = [frontier_of(gap, findings) for gap in found]
    note = (
        "Difference in points of test accuracy; blue: the first named is better, red: the second. "
        "*: the 95% interval excludes zero."
    )
    if any(frontiers):
        note += " Black lines: where the difference changes sign; upright: its 95% interval."
    canvas = Canvas(
        f"Difference by {factor} and training images",
        note,
        height=max(1.2, 0.42 * len(sizes)) + 0.5,
        panels=[gap.name for gap in found],
        columns=1,
        sharey=False,
    )
    largest = max(abs(100 * row["difference"]) for gap in found for row in gap.rows)
    for axes, gap, frontier in zip(canvas.panels, found, frontiers, strict=True):
        _draw_map(axes, gap, largest)
        _draw_frontier(axes, gap, frontier)
    canvas.panels[-1].set_xlabel(factor)
    return canvas.finish()


def mapped_gaps(records: StudyRecords, findings: Findings) -> list[Gap]:
    """The gaps between two series that were measured at two training sizes and two levels or more."""
    return [
        gap
        for gap in gaps_of_series(records, findings)
        if gap.other in records.study.series and len({row["train_size"] for row in gap.rows}) > 1
    ]


def frontier_of(gap: Gap, findings: Findings) -> list[Row]:
    """Where the two are level, by increasing level; only where that lies within the measured sizes."""
    rows = [row for row in rows_of(findings.frontier) if (row["arm"], row["baseline"]) == (gap.series, gap.other)]
    shown = {row["level"] for row in gap.rows}
    found = [row for row in rows if number(row["train_size"]) is not None and row["level"] in shown]
    return sorted(found, key=lambda row: float(row["level"]))


def _sides(gap: Gap) -> tuple[list[int], list[float]]:
    """Training sizes upwards, levels to the right."""
    return sorted({int(row["train_size"]) for row in gap.rows}), sorted({float(row["level"]) for row in gap.rows})


def _draw_map(axes: Axes, gap: Gap, largest: float) -> None:
    (sizes, levels), colours = _sides(gap), mpl.colormaps[_COLOURS]
    norm = TwoSlopeNorm(0, -largest / _SPAN or -1, largest / _SPAN or 1)
    values = np.full((len(sizes), len(levels)), np.nan)  # cells without a result are blank
    for row in gap.rows:
        x, y, value = levels.index(row["level"]), sizes.index(row["train_size"]), 100 * row["difference"]
        values[y, x] = value
        ground = {"facecolor": colours(norm(value)), "edgecolor": "none", "pad": 0.8}  # no line strikes a number out
        look: dict[str, Any] = {"size": LABEL_SIZE, "color": INK, "ha": "center", "va": "center", "zorder": 6}
        axes.text(x + 0.5, y + 0.5, _text(row), bbox=ground, **look)
    axes.pcolormesh(values, cmap=colours, norm=norm, edgecolors="white", linewidth=0.8)
    axes.set_xticks(np.arange(len(levels)) + 0.5, [plain(level) for level in levels])
    axes.set_yticks(np.arange(len(sizes)) + 0.5, [count(size) for size in sizes])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_ylabel("training images")


def _draw_frontier(axes: Axes, gap: Gap, frontier: Sequence[Row]) -> None:
    """A line across each level's column at the size where the difference changes sign, with its interval upright."""
    sizes, levels = _sides(gap)
    look: dict[str, Any] = {"color": INK, "path_effects": [withStroke(linewidth=3.2, foreground="white")]}
    for row in frontier:
        place, middle = levels.index(row["level"]), _height(float(row["train_size"]), sizes)
        low, high = number(row["ci_low"]), number(row["ci_high"])
        ends = [0.0 if low is None else _height(low, sizes), len(sizes) if high is None else _height(high, sizes)]
        axes.plot([place + _INTERVAL] * 2, ends, linewidth=1.2, zorder=3, **look)
        axes.plot([place + 0.05, place + 0.95], [middle] * 2, linewidth=1.8, zorder=4, **look)


def _height(size: float, sizes: Sequence[int]) -> float:
    """Where a training size stands between the middles of the map's rows, evenly in its logarithm."""
    place = min(max(bisect_right(sizes, size) - 1, 0), len(sizes) - 2)
    share = math.log(size / sizes[place]) / math.log(sizes[place + 1] / sizes[place])
    return place + 0.5 + share


def _text(row: Row) -> str:
    low, high = number(row["ci_low"]), number(row["ci_high"])
    excludes_zero = low is not None and high is not None and (low > 0 or high < 0)
    return points(row["difference"], 1) + ("*" if excludes_zero else "")


def _describe(records: StudyRecords, findings: Findings) -> str:
    texts = []
    for gap in mapped_gaps(records, findings):
        corners = {}
        for size in (gap.rows[0]["train_size"], gap.rows[-1]["train_size"]):
            for row in (gap.at(size)[0], gap.at(size)[-1]):
                corners[f"at {plain(row['level'])} and {counted(size, 'image')}"] = points(row["difference"])
        texts.append(f"{gap.name} {', '.join(f'{value} {where}' for where, value in corners.items())}")
        texts += [str(row["statement"]).rstrip(".") for row in frontier_of(gap, findings)]
    factor = words(records.study.factor)
    return f"Map of the difference in points by {factor} and training images. {several(texts)}."


PICTURE = Picture(
    "difference_map", "result", "Difference between series by level and training images", _draw, _describe, mapped_gaps
)

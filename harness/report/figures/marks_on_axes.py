"""What figures draw: means with intervals, seeds, the baseline across a figure, and axes of levels or sizes.

Each line that shows numbers has a label of PART, which `drawn_data` reads back: the data behind a figure is what is
drawn. Seeds lie behind their mean, at its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.analysis.curve import traced
from harness.report.style import MUTED, Mark
from harness.report.view import Row, interval_of
from harness.spec.formats import number, plain

PART = "{}\t{}"  # what a line shows, and of which arm or pair of arms; names hold no tabs
_COLUMNS = ("panel", "part", "of", "x", "y")


def interval_note(level: str, varied: str) -> str:
    """Of an arm's own accuracy, over what varies."""
    return f"Dots: seeds. Bars: {level} intervals of the mean over {varied} (from 3 seeds on)."


def difference_note(level: str, varied: str) -> str:
    """Of a difference between two arms."""
    return f"Dots: differences of seeds. Bars: {level} intervals of their mean over {varied}"


def drawn_data(figure: Figure) -> pd.DataFrame:
    """Every number that a figure shows, as drawn: panel, part (`mean`, `interval`, `seed`, ...), of which arm, x, y.

    An interval has two rows, its ends.
    """
    rows = []
    for axes in figure.axes:
        panel = " ".join(axes.get_title(loc="left").split())
        for line in axes.lines:
            part, told, name = str(line.get_label()).partition("\t")
            places = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in line.get_data()))
            rows += [(panel, part, name, float(x), float(y)) for x, y in zip(*places, strict=True) if told]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def draw_mean(
    axes: Axes, place: float, row: Row, mark: Mark, *, of: str = "mean", along: str = "y", hollow: bool = False
) -> None:
    """A marker at a row's value in percent or points, and a bar over its interval, along "x" or "y", if any."""
    named = _named(row, of)
    if interval := interval_of(row):
        ends, label = _turned([place, place], [100 * end for end in interval], along), PART.format("interval", named)
        axes.plot(*ends, color=mark.colour, linewidth=1.1, solid_capstyle="butt", zorder=3, label=label)
    at, label = _turned([place], [100 * row[of]], along), PART.format(of, named)
    edge: dict[str, Any] = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.7}
    if hollow:
        edge = {"markersize": 4.6, "markeredgecolor": mark.colour, "markeredgewidth": 1.3, "markerfacecolor": "white"}
    axes.plot(*at, zorder=4, label=label, **(mark.point | edge))


def is_limited(row: Row) -> bool:
    """Whether updates, not data, limit an arm of a difference, or the one that it is compared with."""
    return any(row.get(name) is True for name in ("limited_by_updates", "baseline_limited_by_updates"))


def _named(row: Row, of: str) -> str:
    """The arm of a row, or its pair of arms."""
    return f"{row['arm']} - {row['baseline']}" if of == "difference" else str(row["arm"])


def draw_line(
    axes: Axes,
    xs: Sequence[float],
    rows: Sequence[Row],
    mark: Mark,
    *,
    of: str = "mean",
    curve: Any = None,
    hollow: Callable[[Row], bool] = lambda row: False,
    seeds: Callable[[Row], Sequence[float]] = lambda row: (),
) -> None:
    """A line through the rows' values, or a curve in its place (its xs and ys), and each value with its interval.

    The curve of means is a fitted law, that of differences the one from which a crossing is read. `hollow`: of which
    rows the markers are. `seeds`: the single values behind that of a row, as fractions.
    """
    label = PART.format("law" if of == "mean" else "curve", _named(rows[0], of)) if curve else None
    axes.plot(*(curve or (xs, [100 * row[of] for row in rows])), linewidth=1.2, label=label, **mark.line)
    for x, row in zip(xs, rows, strict=True):
        if single := seeds(row):
            draw_seeds(axes, [x] * len(single), single, mark, _named(row, of))
        draw_mean(axes, x, row, mark, of=of, hollow=hollow(row))


def draw_seeds(
    axes: Axes, places: Sequence[float], values: Sequence[float], mark: Mark, of: str, *, along: str = "y"
) -> None:
    """A small dot per seed of an arm, or of a difference, at its fraction in percent, behind the mean."""
    known = [(place, 100 * value) for place, value in zip(places, values, strict=True) if number(value) is not None]
    xs, ys = _turned([place for place, _ in known], [value for _, value in known], along)
    look = replace(mark, marker="o").point | {"label": PART.format("seed", of)}
    axes.plot(xs, ys, markersize=3.4, markeredgewidth=0, alpha=0.4, zorder=2, **look)


def draw_arm(axes: Axes, place: float, row: Row, runs: Sequence[Row], mark: Mark, *, along: str = "y") -> None:
    """An arm's mean accuracy with its interval (along "x" or "y"), and its seeds behind it."""
    draw_seeds(axes, [place] * len(runs), [run["test_accuracy"] for run in runs], mark, row["arm"], along=along)
    draw_mean(axes, place, row, mark, along=along)


def draw_difference(
    axes: Axes, place: float, row: Row, seeds: Sequence[float], mark: Mark, *, along: str = "y"
) -> None:
    """A mean difference with its interval (along "x" or "y"), and the differences of single seeds behind it."""
    draw_seeds(axes, [place] * len(seeds), seeds, mark, _named(row, "difference"), along=along)
    draw_mean(axes, place, row, mark, of="difference", along=along)


def draw_baseline(axes: Axes, row: Row, mark: Mark, *, along: str = "y") -> None:
    """The baseline's mean accuracy across the figure, with its interval as a band, in the colour of its mark."""
    line, band = (axes.axvline, axes.axvspan) if along == "x" else (axes.axhline, axes.axhspan)
    if interval := interval_of(row):
        band(*(100 * end for end in interval), color=mark.colour, alpha=0.15, linewidth=0)
    line(100 * row["mean"], linewidth=1.2, label=PART.format("mean", row["arm"]), **across(mark).line)


def across(mark: Mark) -> Mark:
    """The look of a baseline that is drawn across a figure."""
    return replace(mark, marker="", dash="--")


def _turned(place: Any, value: Any, along: str) -> tuple[Any, Any]:
    return (value, place) if along == "x" else (place, value)


@dataclass(frozen=True)
class Places:
    """Where levels, training sizes or shifts stand on an axis, and beside them arms that have no level."""

    levels: Sequence[float]
    geometric: bool  # in their logarithms, not evenly
    beside: Sequence[str] = ()  # names of the arms without a numeric level, right of the last level

    def at(self, level: float, aside: float = 0.0) -> float:
        """The place of a level, moved aside by a share of the axis' length."""
        low, high = self.levels[0], self.levels[-1]
        return float(level * (high / low) ** aside) if self.geometric else level + aside * ((high - low) or 1.0)

    def curve(self, points: Sequence[float], heights: Sequence[float], aside: float, *, log: bool) -> Any:
        """The curve through three points or more, moved aside as they are, for `draw_line`; None through fewer."""
        if len(points) < 3:
            return None
        xs, ys = traced(points, heights, log=log)
        return [self.at(x, aside) for x in xs], ys

    def of_arm(self, name: str) -> float:
        """The place of an arm without a level."""
        step = min(0.1, 0.4 / len(self.beside))
        return self.at(self.levels[-1], 0.1 + step * (self.beside.index(name) + 0.5))

    def set_on(self, axes: Axes, write: Callable[[float], str] = plain) -> None:
        """Scale and ticks, with a line before the arms without a level; call after drawing."""
        if self.geometric:
            axes.set_xscale("log")
        fix_ticks(axes, self.levels, write)
        if self.beside:
            axes.axvline(self.at(self.levels[-1], 0.07), color=MUTED, linewidth=0.8, linestyle=":")


def asides(lines: int) -> list[float]:
    """How far lines stand aside of a level so that their intervals do not cover each other, for `Places.at`."""
    step = min(0.02, 0.06 / max(1, lines - 1))
    return [step * (place - (lines - 1) / 2) for place in range(lines)]


def fix_ticks(axes: Axes, places: Sequence[float], write: Callable[[float], str]) -> None:
    """Ticks of the x axis at given places only, written by `write`; call after setting its scale."""
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))

"""What figures draw: means with intervals, seeds, the baseline across a figure, and axes of levels or sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from harness.report.style import BASELINE_COLOUR, MUTED, Mark
from harness.report.view import Row, interval_of
from harness.spec.formats import number, plain

BASELINE = Mark(BASELINE_COLOUR, "", "--")  # of a baseline that is drawn across a figure


def interval_note(level: str, varied: str) -> str:
    """Of an arm's own accuracy, over what varies."""
    return f"Dots: seeds. Bars: {level} intervals of the mean over {varied} (from 3 seeds on)."


def draw_mean(axes: Axes, place: float, row: Row, mark: Mark, *, of: str = "mean", along: str = "y") -> None:
    """A marker at a row's value in percent or points, and a bar over its interval, along "x" or "y", if any."""
    if interval := interval_of(row):
        ends = _turned([place, place], [100 * end for end in interval], along)
        axes.plot(*ends, color=mark.colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    at = _turned([place], [100 * row[of]], along)
    axes.plot(*at, markersize=6.5, markeredgecolor="white", zorder=4, **mark.point)


def draw_line(
    axes: Axes, xs: Sequence[float], rows: Sequence[Row], mark: Mark, *, of: str = "mean", curve: Any = None
) -> None:
    """A line through the rows' values, or a curve in its place (its xs and ys), and each value with its interval."""
    axes.plot(*(curve or (xs, [100 * row[of] for row in rows])), linewidth=1.2, **mark.line)
    for x, row in zip(xs, rows, strict=True):
        draw_mean(axes, x, row, mark, of=of)


def draw_seeds(
    axes: Axes, places: Sequence[float], values: Sequence[float], mark: Mark, *, along: str = "y", aside: int = -6
) -> None:
    """A small dot per seed at its fraction in percent, `aside` (points) off the mean, whose bar would hide it."""
    known = [(place, 100 * value) for place, value in zip(places, values, strict=True) if number(value) is not None]
    xs, ys = _turned([place for place, _ in known], [value for _, value in known], along)
    shift = ScaledTranslation(*_turned(aside / 72, 0, along), axes.figure.dpi_scale_trans)
    axes.update_datalim(list(zip(xs, ys, strict=True)))  # which those set aside are not counted in
    look = replace(mark, marker="o").point
    axes.plot(xs, ys, markersize=3.2, markeredgewidth=0, alpha=0.65, zorder=2, transform=axes.transData + shift, **look)


def draw_arm(axes: Axes, place: float, row: Row, runs: Sequence[Row], mark: Mark, *, along: str = "y") -> None:
    """An arm's mean accuracy with its interval (along "x" or "y"), and its seeds beside it."""
    draw_seeds(axes, [place] * len(runs), [run["test_accuracy"] for run in runs], mark, along=along)
    draw_mean(axes, place, row, mark, along=along)


def draw_baseline(axes: Axes, row: Row, *, along: str = "y") -> None:
    """The baseline's mean accuracy across the figure, with its interval as a band."""
    line, band = (axes.axvline, axes.axvspan) if along == "x" else (axes.axhline, axes.axhspan)
    if interval := interval_of(row):
        band(*(100 * end for end in interval), color=BASELINE.colour, alpha=0.15, linewidth=0)
    line(100 * row["mean"], linewidth=1.2, **BASELINE.line)


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

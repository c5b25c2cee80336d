"""What several figures share: means with intervals, seeds, the baseline across a figure, names of arms."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from harness.report.figures.labels import short_names
from harness.report.figures.looks import BASELINE_COLOUR, Mark
from harness.report.frames import Row
from harness.spec import ResolvedStudy
from harness.spec.formats import number

INTERVAL_NOTE = "Dots: seeds. Bars: 95% intervals of the mean over seeds alone (from 3 on), for fixed test images."
"""Of an arm's own accuracy. Differences are over seeds and test images."""

BASELINE = Mark(BASELINE_COLOUR, "", "--")
"""Of a baseline that is drawn across a figure."""


def labels_of(study: ResolvedStudy, arms: Iterable[str], *, width: float = 1.35, lines: int = 3) -> dict[str, str]:
    """Names of arms beside the axes or in a key, the baseline marked; shorter where there are many."""
    names = list(arms)
    many = len(names) > 12
    marked = {name: f"{name} (baseline)" if name == study.baseline.name else name for name in names}
    short = short_names(list(marked.values()), width + 0.4 if many else width, lines=1 if many else lines)
    return {name: short[marked[name]] for name in names}


def interval_of(row: Row) -> tuple[float, float] | None:
    """A row's interval times 100, None where it has none."""
    low, high = number(row["ci_low"]), number(row["ci_high"])
    return None if low is None or high is None else (100 * low, 100 * high)


def draw_mean(
    axes: Axes, x: float, y: float, interval: tuple[float, float] | None, mark: Mark, *, along: str = "y"
) -> None:
    """A marker at the mean and a bar over its interval (along "x" or "y") where it has one."""
    if interval is not None:
        xs, ys = (interval, (y, y)) if along == "x" else ((x, x), interval)
        axes.plot(xs, ys, color=mark.colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    axes.plot([x], [y], markersize=6.5, markeredgecolor="white", zorder=4, **mark.point)


def draw_seeds(axes: Axes, xs: Sequence[float], ys: Sequence[float], mark: Mark, *, aside: tuple[float, float]) -> None:
    """Small dots, `aside` (points right, points up) of the mean so that its bar does not hide them."""
    shift = ScaledTranslation(aside[0] / 72, aside[1] / 72, axes.figure.dpi_scale_trans)
    look = replace(mark, marker="o").point
    axes.update_datalim([(x, y) for x, y in zip(xs, ys, strict=True)])  # which those set aside are not counted in
    axes.plot(xs, ys, markersize=3.2, markeredgewidth=0, alpha=0.65, zorder=2, transform=axes.transData + shift, **look)


def draw_arm(axes: Axes, place: float, row: Row, seeds: Sequence[float], mark: Mark, *, along: str = "y") -> None:
    """An arm's mean accuracy in percent with its interval over seeds (along "x" or "y"), and its seeds beside it."""
    mean = 100 * row["mean"]
    if along == "x":
        draw_seeds(axes, seeds, [place] * len(seeds), mark, aside=(0, -6))
        draw_mean(axes, mean, place, interval_of(row), mark, along="x")
    else:
        draw_seeds(axes, [place] * len(seeds), seeds, mark, aside=(-6, 0))
        draw_mean(axes, place, mean, interval_of(row), mark)


def draw_baseline(axes: Axes, row: Row, *, along: str = "y") -> None:
    """The baseline's mean accuracy across the figure, with its interval as a band."""
    line, band = (axes.axvline, axes.axvspan) if along == "x" else (axes.axhline, axes.axhspan)
    interval = interval_of(row)
    if interval is not None:
        band(*interval, color=BASELINE.colour, alpha=0.15, linewidth=0)
    line(100 * row["mean"], color=BASELINE.colour, linewidth=1.2, linestyle=BASELINE.dash)

"""What several figures share: means with intervals, seeds, scales of axes, names of arms."""

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from harness.report.sheet import LINE_HEIGHT, Label, fix_ticks, lines_in, short_names
from harness.report.style import Mark
from harness.spec import ResolvedStudy
from harness.spec.formats import magnitude, number

INTERVAL_NOTE = "Dots: seeds. Bars: 95% intervals of the mean over seeds alone (from 3 on), the test images fixed."
"""Of an arm's own accuracy. Differences are over seeds and test images."""


def labels_of(study: ResolvedStudy, arms: Iterable[str], *, width: float = 1.35) -> dict[str, str]:
    """Names for the right column, the baseline marked; shorter where there are many."""
    names = list(arms)
    many = len(names) > 12
    marked = {name: f"{name} (baseline)" if name == study.baseline.name else name for name in names}
    short = short_names(list(marked.values()), width + 0.4 if many else width, lines=1 if many else 3)
    return {name: short[marked[name]] for name in names}


def column_height(labels: Iterable[str], least: float = 3.3) -> float:
    """Height of a sheet (without its title) whose right column holds these labels."""
    texts = list(labels)
    return max(least, lines_in(texts) * LINE_HEIGHT + 0.035 * len(texts) + 0.6)


def draw_mean(
    axes: Axes,
    place: tuple[float, float],
    interval: tuple[float | None, float | None],
    mark: Mark,
    *,
    along: str = "y",
) -> None:
    """A marker at the mean and a bar over its interval (along "x" or "y") where it has one."""
    x, y = place
    low, high = interval
    if low is not None and high is not None:
        xs, ys = ([low, high], [y, y]) if along == "x" else ([x, x], [low, high])
        axes.plot(xs, ys, color=mark.colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    axes.plot(
        [x], [y], color=mark.colour, marker=mark.marker, markersize=6.5, markeredgecolor="white", linestyle="", zorder=4
    )


def draw_seeds(axes: Axes, xs: Sequence[float], ys: Sequence[float], mark: Mark, *, aside: tuple[float, float]) -> None:
    """Small dots, `aside` (points right, points up) of the mean so that its bar does not hide them."""
    shift = ScaledTranslation(aside[0] / 72, aside[1] / 72, axes.figure.dpi_scale_trans)
    axes.plot(
        xs,
        ys,
        color=mark.colour,
        marker="o",
        markersize=3.2,
        markeredgewidth=0,
        alpha=0.65,
        linestyle="",
        transform=axes.transData + shift,
        zorder=2,
    )


def percent_of(value: object) -> float | None:
    """A fraction times 100, None where it is missing."""
    fraction = number(value)
    return None if fraction is None else 100 * fraction


def set_linear(axis: Axis, values: Iterable[float | None], *, bins: int = 6, whole: bool = False) -> None:
    """Limits with some air around the values, and few round ticks."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    air = 0.07 * (high - low) or max(0.05 * abs(high), 0.5)
    limits = low - air, high + air
    ticks = MaxNLocator(bins, steps=[1, 2, 5, 10], integer=whole).tick_values(*limits)
    step = float(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    fix_ticks(
        axis,
        [float(tick) for tick in ticks if limits[0] <= tick <= limits[1]],
        lambda value: f"{value if abs(value) > step / 1000 else 0:.{digits}f}".replace("-", "\u2212"),
    )
    axis.set_view_interval(*limits, ignore=True)


def set_log_x(axes: Axes, values: Iterable[float], ticks: Sequence[float] | None = None) -> None:
    """Logarithmic with some air; ticks at `ticks` or at round numbers, written with prefixes."""
    known = list(values)
    low, high = min(known), max(known)
    air = (high / low) ** 0.08 if high > low else 1.6
    limits = low / air, high * air
    axes.set_xscale("log")
    fix_ticks(axes.xaxis, round_numbers(*limits) if ticks is None else ticks, short_magnitude)
    axes.set_xlim(limits)


def round_numbers(low: float, high: float) -> list[float]:
    """The 1-2-5 numbers within [low, high], or finer ones where the range is small."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = tuple(1 + step / 5 for step in range(45))
    ladders: tuple[tuple[float, ...], ...] = ((1,), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), fine)
    for ladder in ladders:
        places = sorted({step * 10.0**decade for decade in decades for step in ladder})
        inside = [place for place in places if low <= place <= high]
        if len(inside) >= 3:
            return inside
    return [low * (high / low) ** share for share in (0.15, 0.85)]


def short_magnitude(value: float) -> str:
    """A number for a tick: `500`, `5 k`, `12.5 M`."""
    if abs(value) < 10:
        return f"{value:.3g}"
    text = magnitude(value) if abs(value) >= 1e4 else f"{value:.4g}"
    head, _, prefix = text.partition(" ")
    if "." in head:
        head = head.rstrip("0").rstrip(".")
    return f"{head} {prefix}" if prefix else head


def key_column(labels: dict[str, str], looks: dict[str, Mark], ends: dict[str, float] | None = None) -> list[Label]:
    """Entries of the right column, at the height of each arm's end where `ends` has one."""
    return [Label(text, looks[name], None if ends is None else ends[name]) for name, text in labels.items()]

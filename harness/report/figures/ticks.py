"""Ticks: at given places, at round numbers of a logarithmic axis, and no two labels that touch."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

_PER_DECADE = 6
"""Ratio of the ends of a range from which its ticks are 1, 2, 5, 10, ...; below they are evenly spaced."""


def fix_ticks(axis: Axis, places: Sequence[float], write: Callable[[float], str]) -> None:
    """Ticks at given places only, written by `write`; call after setting the axis' scale."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def few_ticks(axis: Axis, *, most: int = 6, whole: bool = False) -> None:
    """Evenly spaced round ticks."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=whole))


def set_log_x(axes: Axes) -> None:
    """Logarithmic, with ticks at round numbers written with prefixes (`500`, `5 k`, `12.5 M`); call after drawing."""
    axes.set_xscale("log")
    fix_ticks(axes.xaxis, round_numbers(*axes.get_xlim()), EngFormatter(sep=" "))


def round_numbers(low: float, high: float) -> list[float]:
    """The 1-2-5 numbers within [low, high], or evenly spaced ones where the range is small."""
    wide = high / low > _PER_DECADE
    locator = LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    return [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]


def thin_ticks(axis: Axis, renderer: RendererBase) -> None:
    """Keep every second (third, ...) tick of an axis with fixed ticks until no two labels touch."""
    locator = axis.get_major_locator()
    if not isinstance(locator, FixedLocator):
        return
    places = sorted(float(place) for place in locator())
    for step in range(1, len(places) + 1):
        axis.set_major_locator(FixedLocator(places[::step]))
        labels = (label for label in axis.get_ticklabels() if label.get_text())
        boxes = [label.get_window_extent(renderer).padded(4) for label in labels]
        if not any(first.overlaps(second) for first, second in pairwise(boxes)):
            return

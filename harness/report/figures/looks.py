"""One look for each arm in all figures of its study."""

from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.colors import to_hex

from harness.spec import ResolvedStudy

Dash = Literal["-", "--", "-.", ":", ""] | tuple[float, tuple[float, ...]]
"""A line's pattern, as matplotlib names it or (offset, lengths drawn and left out in line widths)."""
BASELINE_COLOUR = "#6e7781"

# Of seaborn's colour-blind palette: not its grey (the baseline's), nor its yellow and pink, too pale on white.
_COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9")
_MARKERS = ("o", "s", "^", "v", "P", "X", "<")
_DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":")
_LEVEL_DASHES: tuple[Dash, ...] = (*_DASHES, (0, (7, 1, 1, 1, 1, 1)), (0, (2, 2)), (0, (1, 3)), (0, (5, 1)))


@dataclass(frozen=True)
class Mark:
    """How an arm looks in every figure of its study."""

    colour: str
    marker: str
    dash: Dash

    @property
    def line(self) -> dict[str, Any]:
        """As matplotlib's settings of a line."""
        return {"color": self.colour, "linestyle": self.dash}

    @property
    def point(self) -> dict[str, Any]:
        """As matplotlib's settings of a marker without a line."""
        return {"color": self.colour, "marker": self.marker, "linestyle": ""}


def marks(study: ResolvedStudy) -> dict[str, Mark]:
    """A look per arm: grey for the baseline, a sequential palette for ordered levels, distinct colours otherwise.

    The arms of a series share colour and marker, grey where the baseline is one of them; their dashes differ by level.
    """
    if study.series:
        return _marks_of_series(study)
    looks = {study.baseline.name: Mark(BASELINE_COLOUR, "D", "-")}
    names = [arm.name for arm in study.arms]
    if has_ordered_levels(study) and len(names) > 2:
        ordered = sorted(study.arms, key=lambda arm: float(arm.level or 0))
        shades = dict(zip([arm.name for arm in ordered], shades_of(len(names)), strict=True))
        return looks | {name: Mark(shades[name], _MARKERS[i % len(_MARKERS)], "-") for i, name in enumerate(names)}
    return looks | {name: _distinct(index) for index, name in enumerate(names)}


def look_of_series(study: ResolvedStudy, series: str) -> Mark:
    """How the line of a series looks."""
    look = marks(study)[study.series[series][0].name]
    return Mark(look.colour, look.marker, "-")


def shades_of(number: int) -> list[str]:
    """A sequential palette, dark to light: viridis without its pale end, which does not show on white."""
    shares = [0.8 * i / max(1, number - 1) for i in range(number)]
    return [to_hex(colour) for colour in mpl.colormaps["viridis"](shares)]


def ordered_marks(number: int) -> list[Mark]:
    """Looks of lines that stand in an order of their own, such as one for each training size."""
    return [Mark(shade, _MARKERS[i % len(_MARKERS)], "-") for i, shade in enumerate(shades_of(number))]


def _marks_of_series(study: ResolvedStudy) -> dict[str, Mark]:
    grey = Mark(BASELINE_COLOUR, "D", "-")
    looks, taken = {study.baseline.name: grey}, 0
    for arms in study.series.values():
        look = grey if study.baseline in arms else _distinct(taken)
        taken += study.baseline not in arms
        for place, arm in enumerate(arms):
            looks[arm.name] = Mark(look.colour, look.marker, _LEVEL_DASHES[place % len(_LEVEL_DASHES)])
    alone = [arm for arm in study.arms if arm.series is None]
    return looks | {arm.name: _distinct(taken + place) for place, arm in enumerate(alone)}


def _distinct(index: int) -> Mark:
    """The look of the arm (or series) at a place: all combinations of a colour and its turn's marker and dash."""
    turn = index // len(_COLOURS)
    return Mark(_COLOURS[index % len(_COLOURS)], _MARKERS[(index + turn) % len(_MARKERS)], _DASHES[turn % len(_DASHES)])


def has_ordered_levels(study: ResolvedStudy) -> bool:
    """Whether every arm's level is a number (`Arm` keeps numeric levels as floats)."""
    return bool(study.arms) and all(isinstance(arm.level, float) for arm in study.arms)

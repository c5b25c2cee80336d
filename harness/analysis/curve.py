"""A monotone curve through estimates at a few points, and where it is zero.

What the curve is at a position is a weighted sum of its heights, so it is a contrast like any other: its interval there
comes from `Evidence.contrast`, and the interval of a zero holds the positions at which that interval includes zero, as
Fieller's does (J. R. Stat. Soc. B 16, 1954, p. 175). Nothing is drawn at random, and nothing is extrapolated.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import interpolate, optimize

from harness.analysis.estimate import Floats, MeanEstimate

_PIECES = 16  # straight ones from each point to the next, as which a curve is drawn
_STEP = 1e-6  # of the heights' range, by which each is moved to see how the curve depends on it


@dataclass(frozen=True, eq=False)
class Curve:
    """Monotone cubics, which invent no sign change (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980, p. 238)."""

    positions: Floats  # (k,) ascending
    heights: Floats  # (k,)

    @cached_property
    def _line(self) -> interpolate.PchipInterpolator:
        return interpolate.PchipInterpolator(self.positions, self.heights)

    @cached_property
    def _step(self) -> float:
        return _STEP * (float(np.ptp(self.heights)) or 1.0)

    @cached_property
    def _moved(self) -> interpolate.PchipInterpolator:
        """The 2k curves with one height moved up, then down."""
        moves = self._step * np.eye(len(self.heights))
        return interpolate.PchipInterpolator(self.positions, np.stack([*moves, *-moves]) + self.heights, axis=1)

    def at(self, position: float) -> float:
        return float(self._line(position))

    def steepness(self, position: float) -> float:
        return float(self._line(position, 1))

    def weights(self, position: float) -> Floats:
        """(k,) derivatives of the curve at a position by its heights; the curve is their sum, so weighted.

        For it is homogeneous: all heights times a number give that many times the curve (Euler). The weights sum to 1:
        all heights raised raise the curve by as much.
        """
        up, down = np.split(self._moved(position), 2)
        return np.asarray((up - down) / (up - down).sum())

    def zeros(self) -> list[float]:
        """The positions within the range at which the curve is zero, ascending."""
        return [float(root) for root in self._line.roots(extrapolate=False) if math.isfinite(root)]


def traced(points: Sequence[float], heights: Sequence[float], *, log: bool) -> tuple[list[float], list[float]]:
    """The curve from which crossings are read, in short straight pieces; two points are joined by one.

    `points`: ascending, interpolated in their logarithms where `log`.
    """
    if len(points) < 3:
        return list(points), list(heights)
    positions = np.log(points) if log else np.array(points, dtype=np.float64)
    curve = Curve(positions, np.array(heights, dtype=np.float64))
    knots = np.arange(len(points))
    between = np.interp(np.linspace(0, knots[-1], knots[-1] * _PIECES + 1), knots, positions)
    xs = (np.exp(between) if log else between).tolist()
    ys = [curve.at(float(position)) for position in between]
    for place, (point, height) in enumerate(zip(points, heights, strict=True)):
        xs[place * _PIECES], ys[place * _PIECES] = float(point), float(height)
    return xs, ys


def half_width(found: MeanEstimate) -> float:
    """Half the width of an interval."""
    return (found.ci_high - found.ci_low) / 2


def zero_of(curve: Curve, half_of: Callable[[Floats], float]) -> tuple[float, float, float]:
    """Where the curve is zero, the middle one of several such positions, and its interval.

    `half_of` gives half the width of the interval of a weighted sum of the heights. A bound is NaN where it lies beyond
    the range. Without a zero it is taken to lie beyond the end towards which the heights of a rising curve point: it is
    NaN, and so is the bound on that side.
    """
    zeros = curve.zeros()
    is_beyond, above = not zeros, bool(curve.heights[-1] > 0)
    zero = float(curve.positions[0 if above else -1]) if is_beyond else zeros[len(zeros) // 2]
    rises = 1 if is_beyond or curve.heights[-1] > curve.heights[0] else -1

    def margin(position: float, side: int) -> float:
        """Above 0 where the curve has the sign that it has on this side of its zero, beyond its interval."""
        return side * rises * curve.at(position) - half_of(curve.weights(position))

    def bound(side: int) -> float:
        inner = zero
        for outer in sorted(curve.positions[side * (curve.positions - zero) > 0], reverse=side < 0):
            if margin(inner, side) >= 0:  # an interval of no width, up to rounding
                return inner
            if margin(outer, side) > 0:
                return float(optimize.brentq(margin, inner, outer, args=(side,), xtol=1e-9, rtol=1e-9))
            inner = outer
        return math.nan

    if is_beyond:
        return (math.nan, math.nan, bound(1)) if above else (math.nan, bound(-1), math.nan)
    return zero, bound(-1), bound(1)

"""How a difference moves along an axis (training sizes, levels of the factor), and where it changes sign."""

import math
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np
import pandas as pd
from scipy import interpolate

from harness.analysis.axis import Axis, axes_of, level_axis, series_pairs, size_axis
from harness.analysis.estimate import LEVEL, Floats, MeanEstimate
from harness.analysis.evidence import Evidence, generator
from harness.analysis.findings import CROSSOVER_COLUMNS, FRONTIER_COLUMNS, SLOPE_COLUMNS, frame
from harness.analysis.wording import described, listed
from harness.spec import METRICS
from harness.spec.formats import percent
from harness.spec.plural import counted

_GRID = 241
"""Positions over the measured range, evenly spaced, between which a sign change is interpolated."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where the axis' `arm` overtakes its `other`, or falls behind; differences are arm - other, positive = better."""

    axis: Axis
    metric: str
    trouble: str = ""
    """Why nothing can be judged, as a clause: lost runs, too few seeds or points."""
    differences: tuple[MeanEstimate, ...] = ()
    """The difference at each point; none where nothing can be judged."""
    median: float = math.nan
    """The point of the sign change; NaN where none is shown within the measured range."""
    ci_low: float = math.nan
    ci_high: float = math.nan
    share: float = math.nan
    """Share of resamples whose difference changes sign from one point to another."""

    @property
    def signs(self) -> tuple[int, ...]:
        """At each point the sign of the difference that its interval supports: 1, -1, or 0 where it includes zero."""
        return tuple(difference.sign for difference in self.differences)

    @property
    def changes(self) -> int:
        """How often the supported sign changes over all points."""
        return sum(one != other for one, other in pairwise(filter(None, self.signs)))

    @property
    def shown(self) -> bool:
        """Whether it crosses once: opposite signs at the two ends, and a single change over all points."""
        return self.changes == 1 and self.signs[0] * self.signs[-1] < 0


def slope(evidence: Evidence, axis: Axis, metric: str = "test_accuracy") -> MeanEstimate:
    """How (arm - other) changes along the axis (`Axis.slope_weights`), in the metric's unit.

    NaN below two points and where runs lack a result: a line through the points that are left is another line.
    Each seed is a block over the points: a slope per seed (and test image), then their mean. So correlation between
    points needs no model, and the interval is as exact as that of one difference.
    """
    if _trouble(evidence, axis, metric):
        return MeanEstimate(value=math.nan)
    return evidence.contrast(axis.slope_weights(), metric)


def _trouble(evidence: Evidence, axis: Axis, metric: str) -> str:
    """Why nothing can be judged along the axis; empty where it can."""
    if len(axis.points) < 2:
        return f"{counted(len(axis.points), axis.noun)} only, and at least 2 are needed"
    return evidence.absent(axis.cells, metric)


def crossing(evidence: Evidence, axis: Axis, metric: str = "test_accuracy") -> Crossing:
    """The point of an axis at which the difference changes sign, by interpolation between the measured points.

    The differences at the points are resampled jointly: seed blocks by normal weights scaled to a multivariate t with
    n - 1 degrees of freedom (so that every point of the curve has Student's interval, which a plain bootstrap of three
    seeds has not), test images by their covariance between points. Each resampled curve is interpolated by monotone
    cubics (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980, p. 238), which cannot invent a sign change. The interval
    holds the points whose interpolated difference could be zero (as Fieller's does). Nothing is extrapolated: resamples
    without a sign change count as beyond either end.
    """
    if trouble := _trouble(evidence, axis, metric):
        return Crossing(axis=axis, metric=metric, trouble=trouble)
    sign = 1.0 if METRICS[metric] == "up" else -1.0
    differences = tuple(evidence.contrast({arm: sign, other: -sign}, metric) for arm, other in axis.pairs)
    # Which of the two is called the arm must not matter, so the draws are those of the pair in order of name.
    curves = _resampled_curves(evidence, axis if axis.arm <= axis.other else axis.flipped(), metric)
    share = float(((curves > 0) != (curves[:, :1] > 0)).any(axis=1).mean())
    found = Crossing(axis=axis, metric=metric, differences=differences, share=share)
    if not found.shown:
        return found
    changes = sign_changes(axis.positions, curves)
    median = np.median(changes[np.isfinite(changes)])
    low = np.quantile(changes, (1 - LEVEL) / 2, method="lower")
    high = np.quantile(changes, (1 + LEVEL) / 2, method="higher")
    points = [axis.point(float(position)) for position in (median, low, high)]
    return replace(found, median=points[0], ci_low=points[1], ci_high=points[2])


def sign_changes(positions: Floats, curves: Floats) -> Floats:
    """(r,) positions at which the (r, k) curves change sign; infinite for those with the same sign at both ends.

    Of several changes the middle one is taken. Which infinity says to which side of the range the nearer end points.
    """
    grid = np.linspace(positions[0], positions[-1], _GRID)
    heights = interpolate.PchipInterpolator(positions, curves, axis=1)(grid)
    positive = heights > 0
    flips = positive[:, 1:] != positive[:, :-1]
    total = flips.sum(axis=1)
    rank = np.cumsum(flips, axis=1)
    at = np.argmax(flips & (rank == (total[:, None] + 1) // 2), axis=1)
    rows = np.arange(len(curves))
    left, right = heights[rows, at], heights[rows, at + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        places = grid[at] + (grid[1] - grid[0]) * left / (left - right)
    beyond = np.where(np.abs(heights[:, 0]) < np.abs(heights[:, -1]), -np.inf, np.inf)
    return np.where(total % 2 == 1, places, beyond)


def tables_along(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """CROSSOVER_COLUMNS and SLOPE_COLUMNS, a row of each per axis."""
    crossovers, slopes = [], []
    for axis in axes_of(evidence.study):
        found, change = crossing(evidence, axis), slope(evidence, axis)
        names = (axis.arm, axis.other, axis.along, None if axis.sized else evidence.train_size(axis.cells[0]))
        numbers = (found.median, found.ci_low, found.ci_high, found.share, axis.points[0], axis.points[-1])
        crossovers.append((*names, *numbers, statement(found)))
        slopes.append((*names, change.value, change.ci_low, change.ci_high))
    return frame(crossovers, CROSSOVER_COLUMNS), frame(slopes, SLOPE_COLUMNS)


def frontier_table(evidence: Evidence) -> pd.DataFrame:
    """FRONTIER_COLUMNS: the crossing along the training size of each pair of arms at a level that two series share."""
    study, rows = evidence.study, []
    for arm, other in series_pairs(study) if len(study.train_sizes) > 1 else ():
        levels = level_axis(study, arm, other, None)
        for level, ((one, _), (two, _)) in zip(levels.points, levels.pairs, strict=True):
            found = crossing(evidence, size_axis(study, one, two))
            rows.append((arm, other, level, found.median, found.ci_low, found.ci_high, found.share, statement(found)))
    return frame(rows, FRONTIER_COLUMNS)


def statement(found: Crossing) -> str:
    """The crossover in a sentence: a point with its interval, or that none is shown and what is known at the points."""
    if found.trouble:
        told = f"no crossing can be judged: {found.trouble}."
    else:
        told = _one_crossing(found) if found.shown else _several(found) if found.changes else _none_shown(found)
    if found.axis.train_size is not None:
        return f"At {counted(found.axis.train_size, 'training image')}: {told}"
    return f"{told[0].upper()}{told[1:]}"


def _one_crossing(found: Crossing) -> str:
    axis = found.axis
    verb = "overtakes" if found.signs[-1] > 0 else "falls behind"
    logarithmic = ", interpolated over its logarithm" if axis.log and not axis.sized else ""
    low, high = (
        axis.number(bound) if math.isfinite(bound) else f"beyond {axis.number(end)}"
        for bound, end in ((found.ci_low, axis.points[0]), (found.ci_high, axis.points[-1]))
    )
    return (
        f"{axis.arm} {verb} {axis.other} at about {axis.told(found.median)} [{low}, {high}]{logarithmic}; "
        f"{percent(found.share, 0)} of resamples cross (n = {counted(found.differences[0].n, 'seed')})."
    )


def _several(found: Crossing) -> str:
    """Who leads where, if that changes more than once, or once before an end at which no one leads."""
    axis = found.axis
    points = list(zip(axis.points, found.signs, strict=True))
    leads = []
    for sign, led in groupby((point for point in points if point[1]), key=lambda point: point[1]):
        numbers = [axis.number(point) for point, _ in led]
        leads.append(
            f"{axis.arm if sign > 0 else axis.other} at {' to '.join(dict.fromkeys((numbers[0], numbers[-1])))}"
        )
    times = {1: "once", 2: "twice"}.get(found.changes, f"{found.changes} times")
    none = [axis.number(point) for point, sign in points if not sign]
    no_one = f", no one at {listed(none)}" if none else ""
    return (
        f"the lead changes {times} in the measured range, {axis.span}: {listed(leads)}{no_one}; "
        "no single point of crossing is given."
    )


def _none_shown(found: Crossing) -> str:
    axis, signs = found.axis, found.signs
    leader = f"{axis.arm if signs[0] > 0 else axis.other} leads at both ends"
    if all(signs):
        return f"no crossing in the measured range, {axis.span}: {leader}; any crossing lies beyond it."
    at = next(i for i in (-1, 0, *range(len(signs))) if not signs[i])
    point = axis.number(axis.points[at]) if axis.sized else axis.told(axis.points[at])
    return (
        f"no crossing is shown in the measured range, {axis.span}: "
        f"{f'{leader}, but ' if signs[0] and signs[-1] else ''}at {point} the difference is "
        f"{described(found.metric, found.differences[at])}; {percent(found.share, 0)} of resamples cross."
    )


def _resampled_curves(evidence: Evidence, axis: Axis, metric: str) -> Floats:
    """(resamples, points) draws of the mean difference arm - other at each point."""
    seeds = evidence.shared_seeds(axis.cells, metric)
    blocks = np.stack(  # (seeds, points)
        [evidence.values(arm, metric, seeds) - evidence.values(other, metric, seeds) for arm, other in axis.pairs],
        axis=1,
    )
    where = () if axis.sized else (axis.along, axis.train_size)
    rng = generator(evidence.seed, "crossing", metric, axis.arm, axis.other, *where)
    n, resamples = len(seeds), evidence.resamples
    weights = rng.standard_normal((resamples, n)) / math.sqrt(n * (n - 1))
    stretch = np.sqrt((n - 1) / rng.chisquare(n - 1, (resamples, 1)))
    curves: Floats = blocks.mean(axis=0) + (weights @ (blocks - blocks.mean(axis=0))) * stretch
    root = _image_root(evidence, axis, seeds) if metric == "test_accuracy" else None
    return curves if root is None else curves + rng.standard_normal(curves.shape) @ root


def _image_root(evidence: Evidence, axis: Axis, seeds: tuple[int, ...]) -> Floats | None:
    """(points, points) root of the differences' covariance due to test images; None where predictions are lacking.

    The two-way analysis of variance of `image_components`, with covariances between points.
    """
    found = [evidence.images({arm: 1.0, other: -1.0}, seeds) for arm, other in axis.pairs]
    layers = [layer for layer in found if layer is not None]
    if len(layers) < len(found) or len({layer.shape for layer in layers}) > 1:
        return None
    values = np.stack(layers, axis=2)  # (seeds n, images m, points)
    n, m, points = values.shape
    column = values.mean(axis=0)
    rest = (values - column - values.mean(axis=1, keepdims=True) + column.mean(axis=0)).reshape(-1, points)
    interaction = rest.T @ rest / ((n - 1) * (m - 1))
    image = (np.atleast_2d(np.cov(column, rowvar=False)) - interaction / n) / m
    spectrum, axes = np.linalg.eigh(image)
    return np.asarray((axes * np.sqrt(np.maximum(spectrum, 0.0))).T)

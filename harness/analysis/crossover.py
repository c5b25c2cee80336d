"""How a difference moves along an axis (training sizes, levels of the factor), and where it changes sign."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import interpolate

from harness.analysis.axis import Axis, axes_of, series_pairs, shared_levels, size_axis
from harness.analysis.cells import Floats, frame, generator
from harness.analysis.estimate import LEVEL, MeanEstimate, Numbers, in_blocks
from harness.analysis.evidence import Evidence
from harness.analysis.findings import CROSSOVER_COLUMNS, FRONTIER_COLUMNS, SLOPE_COLUMNS
from harness.analysis.judgement import absent
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
        return tuple(map(supported_sign, self.differences))

    @property
    def changes(self) -> int:
        """How often the supported sign changes over all points."""
        supported = [sign for sign in self.signs if sign]
        return sum(one != other for one, other in pairwise(supported))

    @property
    def shown(self) -> bool:
        """Whether it crosses once: opposite signs at the two ends, and a single change over all points."""
        return self.changes == 1 and self.signs[0] * self.signs[-1] < 0


def supported_sign(estimate: MeanEstimate) -> int:
    """1 or -1 where the interval lies on one side of zero, else 0."""
    return int(estimate.ci_low > 0) - int(estimate.ci_high < 0)


def slope(evidence: Evidence, axis: Axis, metric: str = "test_accuracy") -> MeanEstimate | None:
    """How (arm - other) changes along the axis (`Axis.slope_weights`), in the metric's unit.

    None below two points and where runs lack a result: a line through the points that are left is another line.
    Each seed is a block over the points: a slope per seed (and test image), then their mean. So correlation between
    points needs no model, and the interval is as exact as that of one difference.
    """
    return None if _trouble(evidence, axis, metric) else evidence.contrast(axis.slope_weights(), metric)


def _trouble(evidence: Evidence, axis: Axis, metric: str) -> str:
    """Why nothing can be judged along the axis; empty where it can."""
    if len(axis.points) < 2:
        return f"{counted(len(axis.points), axis.noun.removesuffix('s'))} only, and at least 2 are needed"
    return absent(evidence, list(axis.cells), metric)


def crossing(evidence: Evidence, axis: Axis, metric: str = "test_accuracy") -> Crossing:
    """The point of an axis at which the difference changes sign, by interpolation between the measured points.

    The differences at the points are resampled jointly: seed blocks by normal weights scaled to a multivariate t with
    n - 1 degrees of freedom (so that every point of the curve has Student's interval, which a plain bootstrap of three
    seeds has not), test images by their covariance between points. Each resampled curve is interpolated by monotone
    cubics (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980, p. 238), which cannot invent a sign change. The interval
    holds the points whose interpolated difference could be zero (as Fieller's does). Nothing is extrapolated: resamples
    without a sign change count as beyond either end.
    """
    trouble = _trouble(evidence, axis, metric)
    if trouble:
        return Crossing(axis=axis, metric=metric, trouble=trouble)
    sign = 1.0 if METRICS[metric] == "up" else -1.0
    differences = tuple(evidence.contrast({arm: sign, other: -sign}, metric) for arm, other in axis.pairs)
    # Which of the two is called the arm must not matter, so the draws are those of the pair in order of name.
    in_order = axis if axis.arm <= axis.other else axis.flipped()
    curves = _resampled_curves(evidence, in_order, evidence.shared_seeds(axis.cells, metric), metric)
    share = float(((curves > 0) != (curves[:, :1] > 0)).any(axis=1).mean())
    found = Crossing(axis=axis, metric=metric, differences=differences, share=share)
    return _located(found, sign_changes(axis.positions, curves)) if found.shown else found


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


def slopes_table(evidence: Evidence) -> pd.DataFrame:
    """SLOPE_COLUMNS; see `Findings.slopes`."""
    rows = []
    for axis in axes_of(evidence.study):
        fall = slope(evidence, axis)
        numbers = (math.nan,) * 3 if fall is None else (fall.value, fall.ci_low, fall.ci_high)
        rows.append((*_names(evidence, axis), *numbers))
    return frame(rows, SLOPE_COLUMNS)


def crossovers_table(evidence: Evidence) -> pd.DataFrame:
    """CROSSOVER_COLUMNS; see `Findings.crossovers`."""
    rows = []
    for axis in axes_of(evidence.study):
        found = crossing(evidence, axis)
        points = axis.points
        ends = (points[0], points[-1]) if points else (math.nan, math.nan)
        rows.append(
            (*_names(evidence, axis), found.median, found.ci_low, found.ci_high, found.share, *ends, statement(found))
        )
    return frame(rows, CROSSOVER_COLUMNS)


def frontier_table(evidence: Evidence) -> pd.DataFrame:
    """FRONTIER_COLUMNS; see `Findings.frontier`."""
    study = evidence.study
    rows = []
    for arm, other in series_pairs(study) if len(study.train_sizes) > 1 else ():
        for level, pair in shared_levels(study, arm, other).items():
            found = crossing(evidence, size_axis(study, *pair))
            numbers = (found.median, found.ci_low, found.ci_high, found.share)
            rows.append((arm, other, level, *numbers, statement(found)))
    return frame(rows, FRONTIER_COLUMNS)


def _names(evidence: Evidence, axis: Axis) -> tuple[str, str, str, int | None]:
    """The first columns of a row: arm, baseline, along and, along the factor, the training size."""
    return axis.arm, axis.other, axis.along, None if axis.sized else evidence.cells.train_size(axis.cells[0])


def statement(found: Crossing) -> str:
    """The crossover in a sentence: a point with its interval, or that none is shown and what is known at the points."""
    axis = found.axis
    where = "" if axis.train_size is None else f"At {counted(axis.train_size, 'training image')}: "
    trouble = f"no crossing can be judged: {found.trouble}." if found.trouble else ""
    told = trouble or _one_crossing(found) or _several(found) or _none_shown(found)
    return f"{where}{told}" if where else f"{told[0].upper()}{told[1:]}"


def _one_crossing(found: Crossing) -> str:
    axis = found.axis
    if not found.shown:
        return ""
    verb = "overtakes" if found.signs[-1] > 0 else "falls behind"
    logarithmic = ", interpolated over its logarithm" if axis.log and not axis.sized else ""
    return (
        f"{axis.arm} {verb} {axis.other} at about {axis.told(found.median)} "
        f"[{_edge(axis, found.ci_low, 0)}, {_edge(axis, found.ci_high, -1)}]{logarithmic}; "
        f"{percent(found.share, 0)} of resamples cross (n = {counted(found.differences[0].n, 'seed')})."
    )


def _several(found: Crossing) -> str:
    """Who leads where, if that changes more than once, or once before an end at which no one leads."""
    axis = found.axis
    if not found.changes:
        return ""
    leads: list[tuple[int, list[float]]] = []
    for point, sign in zip(axis.points, found.signs, strict=True):
        if sign and (not leads or leads[-1][0] != sign):
            leads.append((sign, []))
        if sign:
            leads[-1][1].append(point)
    told = [
        f"{axis.arm if sign > 0 else axis.other} at {' to '.join(map(axis.number, dict.fromkeys((led[0], led[-1]))))}"
        for sign, led in leads
    ]
    times = {1: "once", 2: "twice"}.get(found.changes, f"{found.changes} times")
    none = [axis.number(point) for point, sign in zip(axis.points, found.signs, strict=True) if not sign]
    no_one = f", no one at {listed(none)}" if none else ""
    return (
        f"the lead changes {times} in the measured range, {axis.span}: {listed(told)}{no_one}; "
        "no single point of crossing is given."
    )


def _none_shown(found: Crossing) -> str:
    axis = found.axis
    leader = axis.arm if found.signs[0] > 0 else axis.other
    if all(found.signs):
        return (
            f"no crossing in the measured range, {axis.span}: {leader} leads at both ends; any crossing lies beyond it."
        )
    at = next(i for i in (-1, 0, *range(len(axis.points))) if not found.signs[i])
    point = axis.number(axis.points[at]) if axis.sized else axis.told(axis.points[at])
    ends = f"{leader} leads at both ends, but " if found.signs[0] and found.signs[-1] else ""
    return (
        f"no crossing is shown in the measured range, {axis.span}: {ends}at {point} the difference is "
        f"{described(found.metric, found.differences[at])}; {percent(found.share, 0)} of resamples cross."
    )


def _located(found: Crossing, changes: Floats) -> Crossing:
    """With median and interval; an end of the interval beyond the measured range stays NaN."""
    tail = (1 - LEVEL) / 2
    low = np.quantile(changes, tail, method="lower")
    high = np.quantile(changes, 1 - tail, method="higher")
    median = np.median(changes[np.isfinite(changes)])
    points = [found.axis.point(float(position)) for position in (median, low, high)]
    return replace(found, median=points[0], ci_low=points[1], ci_high=points[2])


def _edge(axis: Axis, bound: float, end: int) -> str:
    """A bound of the interval, or which end of the measured range it lies beyond."""
    return axis.number(bound) if math.isfinite(bound) else f"beyond {axis.number(axis.points[end])}"


def _resampled_curves(evidence: Evidence, axis: Axis, seeds: tuple[int, ...], metric: str) -> Floats:
    """(resamples, points) draws of the mean difference arm - other at each point."""
    cells = evidence.cells
    blocks = np.stack(  # (seeds, points)
        [cells.values(arm, metric, seeds) - cells.values(other, metric, seeds) for arm, other in axis.pairs],
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
    layers: list[Numbers] = []
    for arm, other in axis.pairs:
        layer = evidence.images({arm: 1.0, other: -1.0}, seeds)
        if layer is None or (layers and layer.shape != layers[0].shape):
            return None
        layers.append(layer)
    values: npt.NDArray[Any] = np.stack(layers, axis=2)  # (seeds n, images m, points)
    n, m = values.shape[:2]
    column = values.mean(axis=0)
    products = np.zeros((len(layers), len(layers)))
    for block in in_blocks(values):
        rest = block - column - block.mean(axis=1, keepdims=True) + column.mean(axis=0)
        flat = rest.reshape(-1, len(layers))
        products += flat.T @ flat
    interaction = products / ((n - 1) * (m - 1))
    image = (np.atleast_2d(np.cov(column, rowvar=False)) - interaction / n) / m
    spectrum, axes = np.linalg.eigh(image)
    return np.asarray((axes * np.sqrt(np.maximum(spectrum, 0.0))).T)

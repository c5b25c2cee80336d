"""How a difference moves along an axis (training sizes, levels of the factor), and where it changes sign."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import interpolate

from harness.analysis.axis import Axis, axes_of, series_pairs, shared_levels, size_axis
from harness.analysis.cells import Floats, generator
from harness.analysis.estimate import FEWEST_SEEDS, LEVEL, Estimate, Numbers, in_blocks
from harness.analysis.evidence import Evidence
from harness.analysis.findings import CROSSOVER_COLUMNS, FRONTIER_COLUMNS, SLOPE_COLUMNS
from harness.analysis.wording import described
from harness.spec import METRICS

_GRID = 241
"""Positions over the measured range, evenly spaced, between which a sign change is interpolated."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where the axis' `arm` overtakes its `other`, or falls behind; differences are arm - other, positive = better."""

    axis: Axis
    """The points with enough paired seeds."""
    metric: str
    seeds: tuple[int, ...] = ()
    """Seeds that are complete at all of these points."""
    ends: tuple[Estimate, Estimate] | None = None
    """The difference at the first and at the last of these points; None below two points or three seeds."""
    median: float = math.nan
    """The point of the sign change; NaN where none is shown within the measured range."""
    ci_low: float = math.nan
    ci_high: float = math.nan
    share: float = math.nan
    """Share of resamples whose difference has opposite signs at the two ends."""

    @property
    def end_signs(self) -> tuple[int, int]:
        """Sign of the difference at either end that its interval supports: 1, -1, or 0 where it includes zero."""
        return (0, 0) if self.ends is None else (supported_sign(self.ends[0]), supported_sign(self.ends[1]))

    @property
    def shown(self) -> bool:
        """Whether the differences at the two ends have opposite signs, each supported by its interval."""
        return math.prod(self.end_signs) < 0


def supported_sign(estimate: Estimate) -> int:
    """1 or -1 where the interval lies on one side of zero, else 0."""
    return int(estimate.ci_low > 0) - int(estimate.ci_high < 0)


def slope(evidence: Evidence, axis: Axis, metric: str = "test_accuracy") -> Estimate | None:
    """How (arm - other) changes along the axis (`Axis.slope_weights`), in the metric's unit; None below two points.

    Each seed is a block over the points: a slope per seed (and test image), then their mean. So correlation between
    points needs no model, and the interval is as exact as that of one difference.
    """
    measured = measured_part(evidence, axis, metric)
    return None if len(measured.points) < 2 else evidence.contrast(measured.slope_weights(), metric)


def measured_part(evidence: Evidence, axis: Axis, metric: str) -> Axis:
    """The points at which both sides share at least three seeds."""
    return axis.only(len(evidence.shared_seeds(pair, metric)) >= FEWEST_SEEDS for pair in axis.pairs)


def crossing(evidence: Evidence, axis: Axis, metric: str = "test_accuracy") -> Crossing:
    """The point of an axis at which the difference changes sign, by interpolation between the measured points.

    The differences at the points are resampled jointly: seed blocks by normal weights scaled to a multivariate t with
    n - 1 degrees of freedom (so that every point of the curve has Student's interval, which a plain bootstrap of three
    seeds has not), test images by their covariance between points. Each resampled curve is interpolated by monotone
    cubics (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980, p. 238), which cannot invent a sign change. The interval
    holds the points whose interpolated difference could be zero (as Fieller's does). Nothing is extrapolated: resamples
    without a sign change count as beyond either end.
    """
    measured = measured_part(evidence, axis, metric)
    seeds = evidence.shared_seeds(measured.cells, metric) if len(measured.points) > 1 else ()
    if len(seeds) < FEWEST_SEEDS:
        return Crossing(axis=measured, metric=metric, seeds=seeds)
    sign = 1.0 if METRICS[metric] == "up" else -1.0
    first, last = (
        evidence.contrast({arm: sign, other: -sign}, metric)
        for arm, other in measured.pairs[:: len(measured.pairs) - 1]
    )
    # Which of the two is called the arm must not matter, so the draws are those of the pair in order of name.
    in_order = measured if measured.arm <= measured.other else measured.flipped()
    changes = sign_changes(measured.positions, _resampled_curves(evidence, in_order, seeds, metric))
    share = float(np.isfinite(changes).mean())
    found = Crossing(axis=measured, metric=metric, seeds=seeds, ends=(first, last), share=share)
    return _located(found, changes) if found.shown else found


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
    for axis in axes_of(evidence.cells.study):
        fall = slope(evidence, axis)
        numbers = (math.nan,) * 3 if fall is None else (fall.value, fall.ci_low, fall.ci_high)
        rows.append((axis.arm, axis.other, axis.along, _size_along(evidence, axis), *numbers))
    return pd.DataFrame(rows, columns=list(SLOPE_COLUMNS)).astype(SLOPE_COLUMNS)


def crossovers_table(evidence: Evidence) -> pd.DataFrame:
    """CROSSOVER_COLUMNS; see `Findings.crossovers`."""
    rows = []
    for axis in axes_of(evidence.cells.study):
        found = crossing(evidence, axis)
        points = found.axis.points
        ends = (points[0], points[-1]) if points else (math.nan, math.nan)
        names = (axis.arm, axis.other, axis.along, _size_along(evidence, axis))
        rows.append((*names, found.median, found.ci_low, found.ci_high, found.share, *ends, statement(found)))
    return pd.DataFrame(rows, columns=list(CROSSOVER_COLUMNS)).astype(CROSSOVER_COLUMNS)


def frontier_table(evidence: Evidence) -> pd.DataFrame:
    """FRONTIER_COLUMNS; see `Findings.frontier`."""
    study = evidence.cells.study
    rows = []
    for arm, other in series_pairs(study) if len(study.train_sizes) > 1 else ():
        for level, pair in shared_levels(study, arm, other).items():
            found = crossing(evidence, size_axis(study, *pair))
            numbers = (found.median, found.ci_low, found.ci_high, found.share)
            rows.append((arm, other, level, *numbers, statement(found)))
    return pd.DataFrame(rows, columns=list(FRONTIER_COLUMNS)).astype(FRONTIER_COLUMNS)


def _size_along(evidence: Evidence, axis: Axis) -> int | None:
    """The training size of a row along the factor."""
    return None if axis.sized else evidence.cells.train_size(axis.cells[0])


def statement(found: Crossing) -> str:
    """The crossover in a sentence: a point with its interval, or that none is shown and what is known at the ends."""
    axis = found.axis
    where = "" if axis.train_size is None else f"At {axis.train_size:,} training images: "
    no = "no" if where else "No"
    if found.ends is None:
        return (
            f"{where}{no} crossing can be judged: {len(found.seeds)} seeds are complete over {len(axis.points)} "
            f"{'training ' if axis.sized else ''}{axis.noun}, and at least {FEWEST_SEEDS} over 2 are needed."
        )
    span = axis.told(axis.points[0], axis.points[-1])
    first, last = found.end_signs
    if found.shown:
        verb = "overtakes" if last > 0 else "falls behind"
        logarithmic = ", interpolated over its logarithm" if axis.log and not axis.sized else ""
        return (
            f"{where}{axis.arm} {verb} {axis.other} at about {axis.told(found.median)} "
            f"[{_edge(axis, found.ci_low, 0)}, {_edge(axis, found.ci_high, -1)}]{logarithmic}; "
            f"{100 * found.share:.0f} % of resamples cross (n = {len(found.seeds)} seeds)."
        )
    if first == last != 0:
        leader = axis.arm if first > 0 else axis.other
        return (
            f"{where}{no} crossing in the measured range, {span}: {leader} leads at both ends; "
            "any crossing lies beyond it."
        )
    point, difference = next((axis.points[i], found.ends[i]) for i in (-1, 0) if found.end_signs[i] == 0)
    return (
        f"{where}{no} crossing is shown in the measured range, {span}: "
        f"at {axis.number(point) if axis.sized else axis.told(point)} the difference is "
        f"{described(found.metric, difference)}; {100 * found.share:.0f} % of resamples cross."
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

"""How a difference moves along an axis (training sizes, levels of the factor), and where it changes sign."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import mean, pstdev

import numpy as np
import pandas as pd
from scipy import interpolate

from harness.analysis.estimate import LEVEL, Floats, MeanEstimate, image_components
from harness.analysis.evidence import Evidence, generator
from harness.analysis.findings import CROSSOVER_COLUMNS, FRONTIER_COLUMNS, SLOPE_COLUMNS, frame
from harness.analysis.wording import Cell, described, listed
from harness.spec import METRICS, ResolvedStudy
from harness.spec.formats import count, counted, percent, plain, words

TRAIN_SIZE = "train_size"

_GRID = 241  # positions over the measured range, evenly spaced, between which a sign change is interpolated


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The points at which `arm` and `other` are compared, ascending, with a cell of each at every point.

    Along the training size both are arms; along the factor both are series, at one training size. Curves over the axis
    are interpolated, and lines fitted, in the logarithm of the points where `log` is true: always along the training
    size, along the factor where the levels are geometric (`is_geometric`).
    """

    along: str  # `train_size`, or the study's factor
    arm: str
    other: str
    points: tuple[float, ...]  # training images, or levels
    pairs: tuple[tuple[Cell, Cell], ...]  # the cells of `arm` and of `other` at each point
    log: bool
    train_size: int | None = None  # along the factor of a study with several training sizes, the one of all cells

    @property
    def sized(self) -> bool:
        """Whether the points are training sizes."""
        return self.along == TRAIN_SIZE

    @property
    def noun(self) -> str:
        return "size" if self.sized else "level"

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for pair in self.pairs for cell in pair)

    @property
    def positions(self) -> Floats:
        """(points,) the points as they are interpolated: natural logarithms where `log`."""
        points = np.array(self.points, dtype=np.float64)
        return np.log(points) if self.log else points

    def slope_weights(self) -> dict[Cell, float]:
        """The contrast between cells that is the least-squares slope of (arm - other).

        Along the training size per 10x training images; along the factor times the range, so that it is the line's
        change from the first point to the last, in whatever unit the levels are.
        """
        x = np.log10(np.array(self.points, dtype=np.float64)) if self.sized else self.positions
        centred = (x - x.mean()) / ((x - x.mean()) ** 2).sum() * (1.0 if self.sized else x[-1] - x[0])
        arms, others = zip(*self.pairs, strict=True)
        return dict(zip(arms, centred.tolist(), strict=True)) | dict(zip(others, (-centred).tolist(), strict=True))

    def flipped(self) -> "Axis":
        """The same with arm and other exchanged."""
        return replace(self, arm=self.other, other=self.arm, pairs=tuple((other, arm) for arm, other in self.pairs))

    def number(self, point: float) -> str:
        """A point without its unit."""
        return count(point) if self.sized or abs(point) >= 1000 else plain(point)

    def told(self, *points: float) -> str:
        """A point, or a range of two: `3,000 training images`, `moved share 0 to 1`."""
        numbers = " to ".join(map(self.number, points))
        return f"{numbers} training images" if self.sized else f"{words(self.along)} {numbers}"

    @property
    def per(self) -> str:
        """What a slope counts."""
        if self.sized:
            line = f" (a line through {len(self.points)} sizes)" if len(self.points) > 2 else ""
            return f"per 10x training images{line}"
        line = "a line over its logarithm" if self.log else "a straight line"
        return f"from {self.told(self.points[0], self.points[-1])} along {line}"


def size_axis(study: ResolvedStudy, arm: str, other: str) -> Axis:
    """Two arms over the training sizes of a study."""
    points = tuple(map(float, study.train_sizes))
    pairs = tuple(((arm, size), (other, size)) for size in study.train_sizes)
    return Axis(along=TRAIN_SIZE, arm=arm, other=other, points=points, pairs=pairs, log=True)


def level_axis(study: ResolvedStudy, arm: str, other: str, size: int | None) -> Axis:
    """Two series over the levels that both have, at one training size."""
    first, second = ({of.level: of.name for of in study.series[name]} for name in (arm, other))
    points = tuple(level for level in first if isinstance(level, float) and level in second)
    pairs = tuple(((first[level], size), (second[level], size)) for level in points)
    log = is_geometric(points)
    return Axis(along=study.factor, arm=arm, other=other, points=points, pairs=pairs, log=log, train_size=size)


def series_pairs(study: ResolvedStudy) -> list[tuple[str, str]]:
    """The series whose arms are compared with those of another one at the same level, at two levels or more."""
    compared = {(arm.name, study.against(arm).name) for arm in study.arms}
    return [
        (arm, other)
        for arm in study.series
        for other in study.series
        if sum((one, two) in compared for (one, _), (two, _) in level_axis(study, arm, other, None).pairs) > 1
    ]


def is_geometric(levels: Sequence[float]) -> bool:
    """Whether levels are more evenly spaced in their logarithms than as they are; false below three of them."""
    if len(levels) < 3 or min(levels) <= 0:
        return False
    steps = [b - a for a, b in pairwise(levels)]
    ratios = [math.log(b / a) for a, b in pairwise(levels)]
    return pstdev(ratios) / mean(ratios) < pstdev(steps) / mean(steps)


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where the axis' `arm` overtakes its `other`, or falls behind; differences are arm - other, positive = better."""

    axis: Axis
    metric: str
    trouble: str = ""  # why nothing can be judged, as a clause: lost runs, too few seeds or points
    differences: tuple[MeanEstimate, ...] = ()  # the difference at each point; none where nothing can be judged
    median: float = math.nan  # the point of the sign change; NaN where none is shown within the measured range
    ci_low: float = math.nan
    ci_high: float = math.nan
    share: float = math.nan  # share of resamples whose difference changes sign from one point to another

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

    @property
    def open_point(self) -> int | None:
        """Index of a point at which no one leads: the last one, else the first, else one in between."""
        return next((i for i in (-1, *range(len(self.signs))) if not self.signs[i]), None)


def slope(evidence: Evidence, axis: Axis, metric: str = "test_accuracy") -> MeanEstimate:
    """How (arm - other) changes along the axis (`Axis.slope_weights`), in the metric's unit.

    NaN below two points and where runs lack a result. Each seed is a block over the points: a slope per seed (and test
    image), then their mean. So correlation between points needs no model.
    """
    if trouble_along(evidence, axis, metric):
        return MeanEstimate(value=math.nan)
    return evidence.contrast(axis.slope_weights(), metric)


def trouble_along(evidence: Evidence, axis: Axis, metric: str) -> str:
    """Why nothing can be judged along the axis, as a clause; empty where nothing is amiss."""
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
    if trouble := trouble_along(evidence, axis, metric):
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
    points = (np.exp if axis.log else np.asarray)([median, low, high])
    median, low, high = np.where(np.isfinite([median, low, high]), points, np.nan).tolist()
    return replace(found, median=median, ci_low=low, ci_high=high)


def sign_changes(positions: Floats, curves: Floats) -> Floats:
    """(r,) positions at which the (r, k) curves change sign; infinite for those with the same sign at both ends.

    Of several changes the middle one is taken. Which infinity says to which side of the range the nearer end points.
    """
    grid = np.linspace(positions[0], positions[-1], _GRID)
    heights = interpolate.PchipInterpolator(positions, curves, axis=1)(grid)
    flips = np.diff(heights > 0, axis=1)
    total = flips.sum(axis=1)
    at = np.argmax(np.cumsum(flips, axis=1) == (total[:, None] + 1) // 2, axis=1)
    rows = np.arange(len(curves))
    left, right = heights[rows, at], heights[rows, at + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        places = grid[at] + (grid[1] - grid[0]) * left / (left - right)
    beyond = np.where(np.abs(heights[:, 0]) < np.abs(heights[:, -1]), -np.inf, np.inf)
    return np.where(total % 2 == 1, places, beyond)


def tables_along(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """CROSSOVER_COLUMNS and SLOPE_COLUMNS, a row of each per arm over the sizes, and per pair of series and size."""
    study, crossovers, slopes = evidence.study, [], []
    axes = [size_axis(study, *pair) for pair in evidence.against.items()] if study.train_sizes else []
    axes += [level_axis(study, *pair, size) for pair in series_pairs(study) for size in evidence.sizes]
    for axis in axes:
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
        told = f"no crossing can be judged: {found.trouble}"
    else:
        told = _one_crossing(found) if found.shown else _several(found) if found.changes else _none_shown(found)
    if found.axis.train_size is not None:
        return f"At {counted(found.axis.train_size, 'training image')}: {told}."
    return f"{told[0].upper()}{told[1:]}."


def _one_crossing(found: Crossing) -> str:
    axis = found.axis
    verb = "overtakes" if found.signs[-1] > 0 else "falls behind"
    logarithmic = ", interpolated over its logarithm" if axis.log and not axis.sized else ""
    low, high = (
        f"beyond {axis.number(end)}" if math.isnan(bound) else axis.number(bound)
        for bound, end in ((found.ci_low, axis.points[0]), (found.ci_high, axis.points[-1]))
    )
    return (
        f"{axis.arm} {verb} {axis.other} at about {axis.told(found.median)} [{low}, {high}]{logarithmic}; "
        f"{percent(found.share, 0)} of resamples cross (n = {counted(found.differences[0].n, 'seed')})"
    )


def _several(found: Crossing) -> str:
    axis, leads = found.axis, []
    points = [(axis.number(point), sign) for point, sign in zip(axis.points, found.signs, strict=True)]
    for sign, led in groupby((point for point in points if point[1]), key=lambda point: point[1]):
        at = [number for number, _ in led]
        leads.append(f"{axis.arm if sign > 0 else axis.other} at {' to '.join(dict.fromkeys((at[0], at[-1])))}")
    times = {1: "once", 2: "twice"}.get(found.changes, f"{found.changes} times")
    none = [number for number, sign in points if not sign]
    no_one = f", no one at {listed(none)}" if none else ""
    span = axis.told(axis.points[0], axis.points[-1])
    told = f"the lead changes {times} in the measured range, {span}: {listed(leads)}{no_one}"
    return f"{told}; no single point of crossing is given"


def _none_shown(found: Crossing) -> str:
    axis, at = found.axis, found.open_point
    within = f"in the measured range, {axis.told(axis.points[0], axis.points[-1])}:"
    leader = f"{axis.arm if found.signs[0] > 0 else axis.other} leads at both ends"
    if at is None:
        return f"no crossing {within} {leader}; any crossing lies beyond it"
    point = axis.number(axis.points[at]) if axis.sized else axis.told(axis.points[at])
    but = f"{leader}, but " if found.signs[0] and found.signs[-1] else ""
    difference = described(found.metric, found.differences[at])
    share = percent(found.share, 0)
    return f"no crossing is shown {within} {but}at {point} the difference is {difference}; {share} of resamples cross"


def _resampled_curves(evidence: Evidence, axis: Axis, metric: str) -> Floats:
    """(resamples, points) draws of the mean difference arm - other at each point."""
    seeds = evidence.shared_seeds(axis.cells, metric)
    differences = [
        evidence.values(arm, metric, seeds) - evidence.values(other, metric, seeds) for arm, other in axis.pairs
    ]
    blocks = np.stack(differences, axis=1)  # (seeds, points)
    where = () if axis.sized else (axis.along, axis.train_size)
    rng = generator(evidence.seed, "crossing", metric, axis.arm, axis.other, *where)
    n, resamples = len(seeds), evidence.resamples
    weights = rng.standard_normal((resamples, n)) / math.sqrt(n * (n - 1))
    stretch = np.sqrt((n - 1) / rng.chisquare(n - 1, (resamples, 1)))
    curves: Floats = blocks.mean(axis=0) + (weights @ (blocks - blocks.mean(axis=0))) * stretch
    found = [evidence.images({arm: 1.0, other: -1.0}, seeds) for arm, other in axis.pairs]
    layers = [layer for layer in found if layer is not None]
    if metric != "test_accuracy" or len(layers) < len(found) or len({layer.shape for layer in layers}) > 1:
        return curves  # predictions are lacking
    by_images, _ = image_components(np.stack(layers, axis=2))  # (points, points)
    spectrum, axes = np.linalg.eigh(by_images)
    root = np.asarray((axes * np.sqrt(np.maximum(spectrum, 0.0))).T)
    return np.asarray(curves + rng.standard_normal(curves.shape) @ root)

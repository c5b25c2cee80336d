"""How a difference moves along an axis (training sizes, levels of the factor), and where it changes sign."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import mean, pstdev

import numpy as np

from harness.analysis.curve import Curve, half_width, zero_of
from harness.analysis.estimate import LEVEL, Floats, MeanEstimate
from harness.analysis.evidence import Evidence
from harness.analysis.wording import Cell, described, listed
from harness.spec import METRICS, ResolvedStudy
from harness.spec.formats import count, counted, plain, words

TRAIN_SIZE = "train_size"


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
    unit: str = ""  # of levels of the factor

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

    def told(self, *points: float, joined: str = " to ") -> str:
        """A point, or a range of two: `3,000 training images`, `moved share 0 to 1`, `distance 8 px`."""
        numbers = joined.join(map(self.number, points))
        unit = f" {self.unit}" if self.unit else ""
        return f"{numbers} training images" if self.sized else f"{words(self.along)} {numbers}{unit}"

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
    return Axis(
        along=study.factor, arm=arm, other=other, points=points, pairs=pairs, log=log, train_size=size, unit=study.unit
    )


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
    place: float = math.nan  # the point of the sign change; NaN where none is shown, or two points only bracket it
    ci_low: float = math.nan
    ci_high: float = math.nan

    @property
    def signs(self) -> tuple[int, ...]:
        """At each point the sign of the difference that its interval supports: 1, -1, or 0 where it includes zero."""
        return tuple(difference.sign for difference in self.differences)

    @property
    def leads(self) -> tuple[int, ...]:
        """The signs from which changes are read: a change that is not there comes in at most 5 % of studies.

        The two ends, looked at as a pair, stand at the intervals' own level: one of them must be wrong. Of the others
        any may be, so that they share that level (Bonferroni), and so do the ends where they are no pair.
        """
        found, others = list(self.differences), max(1, len(self.differences) - 2)
        leads = [each.sign if each.p_value() < (1 - LEVEL) / others else 0 for each in found]
        if self.signs[0] * self.signs[-1] < 0:
            leads[0], leads[-1] = self.signs[0], self.signs[-1]
        return tuple(leads)

    @property
    def changes(self) -> int:
        """How often the lead changes over all points."""
        return sum(one != other for one, other in pairwise(filter(None, self.leads)))

    @property
    def shown(self) -> bool:
        """Whether it crosses once: opposite leads at the two ends, and a single change over all points."""
        return self.changes == 1 and self.leads[0] * self.leads[-1] < 0

    @property
    def open_point(self) -> int | None:
        """Index of a point at which no one leads, the last, else the first, else another; else where the other does."""
        signs, places = self.signs, (-1, *range(len(self.signs)))
        led = next((i for i in places if not signs[i]), None)
        return led if led is not None else next((i for i in places if signs[i] != signs[0]), None)


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

    Whether it does rests on the differences at the points alone. Two points only bracket the change: which curve joins
    them is not measured.
    """
    if trouble := trouble_along(evidence, axis, metric):
        return Crossing(axis=axis, metric=metric, trouble=trouble)
    sign = 1.0 if METRICS[metric] == "up" else -1.0
    differences = tuple(evidence.contrast({arm: sign, other: -sign}, metric) for arm, other in axis.pairs)
    found = Crossing(axis=axis, metric=metric, differences=differences)
    if not found.shown:
        return found
    if len(axis.points) == 2:
        return replace(found, ci_low=axis.points[0], ci_high=axis.points[1])

    def half_of(weights: Floats) -> float:
        parts = zip(axis.pairs, weights.tolist(), strict=True)
        terms = {cell: side * weight for pair, weight in parts for cell, side in zip(pair, (1, -1), strict=True)}
        return half_width(evidence.contrast({cell: weight for cell, weight in terms.items() if weight}, metric))

    curve = Curve(axis.positions, np.array([difference.value for difference in differences]))
    place, low, high = (math.exp(x) if axis.log else x for x in zero_of(curve, half_of))
    return replace(found, place=place, ci_low=low, ci_high=high)


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
    verb = "overtakes" if found.leads[-1] > 0 else "falls behind"
    low, high = axis.number(found.ci_low), axis.number(found.ci_high)
    if math.isnan(found.place):
        where = f"between {axis.told(found.ci_low, found.ci_high, joined=' and ')}"
    else:
        where = f"at about {axis.told(found.place)} [{low}, {high}]"
        if not axis.sized:
            before = max(point for point in axis.points if point <= found.place)
            after = min(point for point in axis.points if point >= found.place)
            over = " over its logarithm" if axis.log else ""
            where += f", interpolated{over} between {axis.told(before, after, joined=' and ')}"
    return f"{axis.arm} {verb} {axis.other} {where} (n = {counted(found.differences[0].n, 'seed')})"


def _several(found: Crossing) -> str:
    axis, leads = found.axis, []
    points = [(axis.number(point), sign) for point, sign in zip(axis.points, found.leads, strict=True)]
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
    return f"no crossing is shown {within} {but}at {point} the difference is {difference}"

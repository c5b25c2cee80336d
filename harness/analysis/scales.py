"""A gap on two scales besides points: the ratio of errors, and how many times the images make up for it.

A gap may shrink in points and grow as a ratio of errors, where both errors fall. Where two arms are level is the same
on all scales.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from harness.analysis.axis import Axis, trouble_along
from harness.analysis.curve import Curve, half_width, zero_of
from harness.analysis.estimate import Floats
from harness.analysis.evidence import Evidence
from harness.analysis.wording import Cell
from harness.spec import Estimate
from harness.spec.formats import count, plain

METRIC = "test_accuracy"  # the gaps that are told on several scales are of this

_NONE = Estimate(math.nan)


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Something of the axis' arm over that of its other, at each point, and the factor by which it changes."""

    name: str  # what the ratio is of, in words
    at: tuple[Estimate, ...]  # NaN where it is not defined
    told: tuple[str, ...]  # each in words, also where only a bound is known: `more than 5.5`; empty where nothing is
    change: Estimate  # per 10x training images, or from the first level to the last; above 1 where it grows

    @property
    def sign(self) -> int:
        """1 where the interval of the change lies above 1, -1 where below, else 0."""
        return int(self.change.ci_low > 1) - int(self.change.ci_high < 1)

    def in_words(self, axis: Axis) -> str:
        """`ratio of errors 1.22 [1.1, 1.35] at 500, 1.35 [1.3, 1.4] at 5,000 (×1.11 [1.02, 1.2] per 10x)`."""
        parts = (f"{text} at {axis.number(x)}" for text, x in zip(self.told, axis.points, strict=True) if text)
        change = _told(self.change)
        per = "per 10x" if axis.sized else "from the first level to the last"
        return f"{self.name} {', '.join(parts)}{f' (×{change} {per})' if change else ''}"


def _told(ratio: Estimate, least: float = math.nan, most: float = math.nan) -> str:
    """`2.1 [1.8, 2.6]`, where only `least` to `most` was measured `2.1 [1.8, beyond 2.5]`; or `more than 1.9`."""
    if math.isfinite(ratio.value):
        ends = zip((ratio.ci_low, ratio.ci_high), (least, most), strict=True)
        low, high = (_times(end) if math.isfinite(end) else f"beyond {_times(bound)}" for end, bound in ends)
        return f"{_times(ratio.value)} [{low}, {high}]"
    if math.isfinite(ratio.ci_low):
        return f"more than {_times(ratio.ci_low)}"
    return f"less than {_times(ratio.ci_high)}" if math.isfinite(ratio.ci_high) else ""


def _times(ratio: float) -> str:
    return count(ratio) if ratio >= 1000 else plain(ratio)


def on_scales(evidence: Evidence, axis: Axis) -> list[Ratios]:
    """The ratio of errors, and along three training sizes or more the data equivalence; none where runs are lacking."""
    if trouble_along(evidence, axis, METRIC):
        return []
    ratios = [ratio_of_errors(evidence, axis)]
    if axis.sized and len(axis.points) > 2:
        ratios.append(images_needed(evidence, axis))
    return ratios


def ratio_of_errors(evidence: Evidence, axis: Axis) -> Ratios:
    """Error of the arm over that of its other; differences of logarithms per seed, test images by the delta method."""
    contrast = partial(evidence.contrast, metric=METRIC, scale="log_error")
    at = tuple(_exponential(contrast({arm: 1.0, other: -1.0})) for arm, other in axis.pairs)
    change = _exponential(contrast(axis.slope_weights()))
    return Ratios(name="ratio of errors", at=at, told=tuple(map(_told, at)), change=change)


def images_needed(evidence: Evidence, axis: Axis) -> Ratios:
    """How many times the training images of its other the arm needs to be as accurate, by its interpolated accuracy.

    The interval at a size holds the numbers of images at which the arm's accuracy may be that of the other (Fieller);
    that of the change follows from the errors of all accuracies (delta method).
    """
    arms, others = (list(cells) for cells in zip(*axis.pairs, strict=True))
    heights = np.array([evidence.contrast({cell: 1.0}, METRIC).value for cell in arms])
    at, told, places = [], [], []
    for other, position in zip(others, axis.positions.tolist(), strict=True):
        curve = Curve(axis.positions, heights - evidence.contrast({other: 1.0}, METRIC).value)

        def half_of(weights: Floats, other: Cell = other) -> float:
            return half_width(evidence.contrast({**_weighted(arms, weights), other: -1.0}, METRIC))

        found = zero_of(curve, half_of)
        ratio = Estimate(*(math.exp(x - position) for x in found))
        at.append(ratio if math.isfinite(ratio.value) else _NONE)
        told.append(_told(ratio, *np.exp(axis.positions[[0, -1]] - position).tolist()))
        places.append((other, position, found[0], curve))
    change = _change(evidence, arms, places)
    return Ratios(name="data equivalence", at=tuple(at), told=tuple(told), change=change)


def _change(evidence: Evidence, arms: Sequence[Cell], places: Sequence[tuple[Cell, float, float, Curve]]) -> Estimate:
    """The factor by which the images needed change per 10x images, by a line through the sizes where they are known."""
    known = [each for each in places if math.isfinite(each[2]) and each[3].steepness(each[2]) > 0]
    if len(known) < 2:
        return _NONE
    x = np.array([position for _, position, _, _ in known]) / math.log(10)
    slopes = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    weights = np.zeros(len(arms))
    terms: dict[Cell, float] = {}
    for slope, (other, _, place, curve) in zip(slopes.tolist(), known, strict=True):
        step = slope / curve.steepness(place)
        weights -= step * curve.weights(place)
        terms[other] = step
    value = float(sum(slope * (place - position) for slope, (_, position, place, _) in zip(slopes, known, strict=True)))
    half = half_width(evidence.contrast({**_weighted(arms, weights), **terms}, METRIC))
    return _exponential(Estimate(value, value - half, value + half))


def _weighted(cells: Sequence[Cell], weights: Floats) -> dict[Cell, float]:
    return {cell: weight for cell, weight in zip(cells, weights.tolist(), strict=True) if weight}


def _exponential(found: Estimate) -> Estimate:
    return Estimate(*(math.exp(min(number, 700.0)) for number in (found.value, found.ci_low, found.ci_high)))


def disagreement(evidence: Evidence, lead: Axis, sign: int) -> str:
    """How the other scales tell another story than points of accuracy, as clauses; empty where they do not.

    `lead`: the axis whose arm is the leader; `sign`: whether its lead in points grows (1), shrinks (-1) or neither (0).
    """
    return " and ".join(_disagreeing(on_scales(evidence, lead.flipped()), sign))


def _disagreeing(scales: Sequence[Ratios], sign: int) -> Iterator[str]:
    for scale in scales:
        known = [plain(each.value) for each in scale.at if math.isfinite(each.value)]
        if math.isfinite(scale.change.value) and scale.sign != sign:
            span = f"{known[0]} to {known[-1]}"
            story = {1: f"grows from {span}", -1: f"shrinks from {span}", 0: f"does not clearly change ({span})"}
            yield f"the {scale.name} {story[scale.sign]}"

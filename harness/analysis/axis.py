"""What two arms, or two series of arms, are compared along: training sizes, or the levels of the study's factor."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import mean, pstdev

import numpy as np

from harness.analysis.cells import Cell, Floats
from harness.spec import ResolvedStudy
from harness.spec.formats import count, plain, words

TRAIN_SIZE = "train_size"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The points at which `arm` and `other` are compared, ascending, with a cell of each at every point.

    Along the training size both are arms; along the factor both are series, at one training size. Curves over the axis
    are interpolated, and lines fitted, in the logarithm of the points where `log` is true: always along the training
    size, along the factor where the levels are geometric (`is_geometric`).
    """

    along: str
    """`train_size`, or the study's factor."""
    arm: str
    other: str
    points: tuple[float, ...]
    """Training images, or levels."""
    pairs: tuple[tuple[Cell, Cell], ...]
    """The cells of `arm` and of `other` at each point."""
    log: bool
    train_size: int | None = None
    """Along the factor of a study with several training sizes, the one of all cells."""

    @property
    def sized(self) -> bool:
        """Whether the points are training sizes."""
        return self.along == TRAIN_SIZE

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, point by point."""
        return tuple(cell for pair in self.pairs for cell in pair)

    @property
    def positions(self) -> Floats:
        """(points,) the points as they are interpolated: natural logarithms where `log`."""
        points = np.array(self.points, dtype=np.float64)
        return np.log(points) if self.log else points

    def point(self, position: float) -> float:
        """The point at a position; NaN for an infinite one."""
        if not math.isfinite(position):
            return math.nan
        return float(np.exp(position)) if self.log else float(position)

    def slope_weights(self) -> dict[Cell, float]:
        """The contrast between cells that is the least-squares slope of (arm - other).

        Along the training size per 10x training images; along the factor times the range, so that it is the line's
        change from the first point to the last, in whatever unit the levels are.
        """
        x = np.log10(np.array(self.points, dtype=np.float64)) if self.sized else self.positions
        centred = (x - x.mean()) / ((x - x.mean()) ** 2).sum() * (1.0 if self.sized else x[-1] - x[0])
        weights = {arm: float(weight) for (arm, _), weight in zip(self.pairs, centred, strict=True)}
        weights.update({other: -float(weight) for (_, other), weight in zip(self.pairs, centred, strict=True)})
        return weights

    def flipped(self) -> "Axis":
        """The same with arm and other exchanged."""
        return replace(self, arm=self.other, other=self.arm, pairs=tuple((other, arm) for arm, other in self.pairs))

    @property
    def noun(self) -> str:
        """What the points are: `sizes` or `levels`."""
        return "sizes" if self.sized else "levels"

    def number(self, point: float) -> str:
        """A point without its unit."""
        return count(point) if self.sized or abs(point) >= 1000 else plain(point)

    def told(self, *points: float) -> str:
        """A point, or a range of two: `3,000 training images`, `moved share 0 to 1`."""
        numbers = " to ".join(map(self.number, points))
        return f"{numbers} training images" if self.sized else f"{words(self.along)} {numbers}"

    @property
    def span(self) -> str:
        """From the first point to the last."""
        return self.told(self.points[0], self.points[-1])

    @property
    def per(self) -> str:
        """What a slope counts."""
        if self.sized:
            line = f" (a line through {len(self.points)} sizes)" if len(self.points) > 2 else ""
            return f"per 10x training images{line}"
        line = "a line over its logarithm" if self.log else "a straight line"
        return f"from {self.span} along {line}"


def size_axis(study: ResolvedStudy, arm: str, other: str) -> Axis:
    """Two arms over the training sizes of a study."""
    return Axis(
        along=TRAIN_SIZE,
        arm=arm,
        other=other,
        points=tuple(map(float, study.train_sizes)),
        pairs=tuple(((arm, size), (other, size)) for size in study.train_sizes),
        log=True,
    )


def level_axis(study: ResolvedStudy, arm: str, other: str, size: int | None) -> Axis:
    """Two series over the levels that both have, at one training size."""
    shared = shared_levels(study, arm, other)
    return Axis(
        along=study.factor,
        arm=arm,
        other=other,
        points=tuple(shared),
        pairs=tuple(((first, size), (second, size)) for first, second in shared.values()),
        log=is_geometric(list(shared)),
        train_size=size,
    )


def shared_levels(study: ResolvedStudy, arm: str, other: str) -> dict[float, tuple[str, str]]:
    """The levels that two series share, ascending, with the names of their arms there."""
    first, second = ({of.level: of.name for of in study.series[name]} for name in (arm, other))
    return {level: (first[level], second[level]) for level in first if isinstance(level, float) and level in second}


def series_pairs(study: ResolvedStudy) -> list[tuple[str, str]]:
    """The series whose arms are compared with those of another one at the same level, at two levels or more."""
    against = {arm.name: study.against(arm).name for arm in study.arms}
    return [
        (arm, other)
        for arm in study.series
        for other in study.series
        if sum(against.get(first) == second for first, second in shared_levels(study, arm, other).values()) > 1
    ]


def axes_of(study: ResolvedStudy) -> list[Axis]:
    """Every axis of a study: each arm and its partner along the training size, each pair of series along the factor."""
    along_size = (
        [size_axis(study, arm.name, study.against(arm).name) for arm in study.arms] if study.train_sizes else []
    )
    return along_size + [
        level_axis(study, arm, other, size)
        for arm, other in series_pairs(study)
        for size in study.train_sizes or (None,)
    ]


def is_geometric(levels: list[float]) -> bool:
    """Whether levels are more evenly spaced in their logarithms than as they are; false below three of them."""
    if len(levels) < 3 or min(levels) <= 0:
        return False
    steps = [b - a for a, b in pairwise(levels)]
    ratios = [math.log(b / a) for a, b in pairwise(levels)]
    return pstdev(ratios) / mean(ratios) < pstdev(steps) / mean(steps)

"""What two arms, or two series of arms, are compared along: training sizes, or the levels of the study's factor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import mean, pstdev

import numpy as np

from harness.analysis.estimate import Floats
from harness.analysis.wording import Cell
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
    def noun(self) -> str:
        """What a point is."""
        return "size" if self.sized else "level"

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
    def span(self) -> str:
        """From the first point to the last."""
        return self.told(self.points[0], self.points[-1])

    @property
    def per(self) -> str:
        """What a slope counts."""
        if self.sized:
            line = f" (a line through {len(self.points)} sizes)" if len(self.points) > 2 else ""
            return f"per 10x training images{line}"
        return f"from {self.span} along {'a line over its logarithm' if self.log else 'a straight line'}"


def size_axis(study: ResolvedStudy, arm: str, other: str) -> Axis:
    """Two arms over the training sizes of a study."""
    points = tuple(map(float, study.train_sizes))
    pairs = tuple(((arm, size), (other, size)) for size in study.train_sizes)
    return Axis(along=TRAIN_SIZE, arm=arm, other=other, points=points, pairs=pairs, log=True)


def level_axis(study: ResolvedStudy, arm: str, other: str, size: int | None) -> Axis:
    """Two series over the levels that both have, at one training size."""
    first, second = ({of.level: of.name for of in study.series[name]} for name in (arm, other))
    points = tuple(level for level in first if isinstance(level, float) and level in second)
    return Axis(
        along=study.factor,
        arm=arm,
        other=other,
        points=points,
        pairs=tuple(((first[level], size), (second[level], size)) for level in points),
        log=is_geometric(points),
        train_size=size,
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


def axes_of(study: ResolvedStudy) -> list[Axis]:
    """Every axis of a study: each arm and its partner along the training size, each pair of series along the factor."""
    arms = study.arms if study.train_sizes else ()
    return [size_axis(study, arm.name, study.against(arm).name) for arm in arms] + [
        level_axis(study, arm, other, size)
        for arm, other in series_pairs(study)
        for size in study.train_sizes or (None,)
    ]


def is_geometric(levels: Sequence[float]) -> bool:
    """Whether levels are more evenly spaced in their logarithms than as they are; false below three of them."""
    if len(levels) < 3 or min(levels) <= 0:
        return False
    steps = [b - a for a, b in pairwise(levels)]
    ratios = [math.log(b / a) for a, b in pairwise(levels)]
    return pstdev(ratios) / mean(ratios) < pstdev(steps) / mean(steps)

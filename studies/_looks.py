"""Claims on what is seen inside the kept model of an arm (`patchbench look`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from harness.spec import Claim, Estimate

Map = Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class AttentionWidens(Claim):
    """The mean attention distance of the heads of `arm` grows from block to block, by a line through all heads, pixels.

    The interval is over heads and blocks of one model, the kept one: other seeds are not in it.
    """

    arm: str

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.arm,)

    def judge(self, tables: Any, rng: Any) -> Estimate:
        from scipy import stats

        rows = _seen(tables, self.arm).attention.distances
        blocks, far = (
            [float(block) for block, row in enumerate(rows) for _ in row],
            [far for row in rows for far in row],
        )
        line = stats.linregress(blocks, far)
        slope, half = float(line.slope), float(stats.t.ppf(0.975, len(far) - 2)) * float(line.stderr)
        return Estimate(slope, slope - half, slope + half)


@dataclass(frozen=True, kw_only=True)
class AttentionLocalises(Claim):
    """With the most training images the lower half of the blocks of `arm` attends over less far than with the fewest.

    By how much less, pixels, by the mean over heads. The interval is over heads of one model each, the best ones with
    so many images (Welch's t): other seeds are not in it.
    """

    arm: str

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.arm,)

    def judge(self, tables: Any, rng: Any) -> Estimate:
        from scipy import stats

        by_size = _seen(tables, self.arm).by_size
        if by_size is None:
            raise ValueError("of this arm no models of several training sizes were kept")
        few, many = by_size[0].lower, by_size[-1].lower
        interval = stats.ttest_ind(few, many, equal_var=False).confidence_interval()
        return Estimate(fmean(few) - fmean(many), float(interval.low), float(interval.high))


@dataclass(frozen=True, kw_only=True)
class PositionsKnowLines(Claim):
    """Position embeddings of `arm` are more alike in one row or column than elsewhere: the mean difference of cosines.

    The interval is over patches of one model, the kept one: other seeds are not in it.
    """

    arm: str

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.arm,)

    def judge(self, tables: Any, rng: Any) -> Estimate:
        from scipy import stats

        maps = _seen(tables, self.arm).positions.maps
        side, tiles = len(maps[0][0]), len(maps)
        at = [(tile * side + side // 2) // tiles for tile in range(tiles)]
        found = [_in_line(maps[i][j], at[i], at[j]) for i in range(tiles) for j in range(tiles)]
        half = float(stats.t.ppf(0.975, len(found) - 1)) * stdev(found) / len(found) ** 0.5
        return Estimate(fmean(found), fmean(found) - half, fmean(found) + half)


def _in_line(cosines: Map, row: int, column: int) -> float:
    """How much more alike the others of a patch's row and column are to it than those of neither."""
    places = [(i, j) for i in range(len(cosines)) for j in range(len(cosines)) if (i, j) != (row, column)]
    both: tuple[list[float], list[float]] = ([], [])
    for i, j in places:
        both[i != row and j != column].append(cosines[i][j])
    line, elsewhere = map(fmean, both)
    return line - elsewhere


def _seen(tables: Any, arm: str) -> Any:
    """What was seen in the kept model of an arm."""
    return next(seen for seen in tables.records.insides if seen.arm == arm)

"""The axis of a factor's levels, on which several series have their points side by side."""

from dataclasses import dataclass

from matplotlib.axes import Axes

from harness.analysis.axis import is_geometric
from harness.report.figures.ticks import fix_ticks
from harness.report.style import MUTED
from harness.spec import Arm, ResolvedStudy
from harness.spec.formats import plain


@dataclass(frozen=True)
class LevelAxis:
    """Where levels stand on an axis: evenly or in their logarithms, and arms without a level beside them."""

    levels: tuple[float, ...]
    beside: tuple[str, ...] = ()
    """Names of the arms without a numeric level, right of the last level."""

    @classmethod
    def of(cls, study: ResolvedStudy) -> "LevelAxis":
        """For all arms of a study; a baseline drawn across the figure needs no place."""
        arms = placed_arms(study)
        levels = {level for arm in arms if (level := level_of(arm)) is not None}
        return cls(tuple(sorted(levels)), tuple(arm.name for arm in arms if level_of(arm) is None))

    def place(self, arm: Arm, aside: float = 0.0) -> float:
        """Where an arm stands, by its level or beside the levels."""
        level = level_of(arm)
        return self.beside_at(arm.name) if level is None else self.at(level, aside)

    @property
    def geometric(self) -> bool:
        return is_geometric(list(self.levels))

    def at(self, level: float, aside: float = 0.0) -> float:
        """The place of a level, moved aside by a share of the axis' length."""
        low, high = self.levels[0], self.levels[-1]
        return float(level * (high / low) ** aside) if self.geometric else level + aside * ((high - low) or 1.0)

    def beside_at(self, name: str) -> float:
        """The place of an arm without a level."""
        step = min(0.1, 0.4 / len(self.beside))
        return self.at(self.levels[-1], 0.1 + step * (self.beside.index(name) + 0.5))

    def set_on(self, axes: Axes) -> None:
        """Scale and ticks, with a line before the arms without a level; call after drawing."""
        if self.geometric:
            axes.set_xscale("log")
        fix_ticks(axes.xaxis, self.levels, plain)
        if self.beside:
            axes.axvline(self.at(self.levels[-1], 0.07), color=MUTED, linewidth=0.8, linestyle=":")


def asides(lines: int) -> list[float]:
    """How far lines stand aside of a level so that their intervals do not cover each other, for `LevelAxis.at`."""
    step = min(0.02, 0.06 / max(1, lines - 1))
    return [step * (place - (lines - 1) / 2) for place in range(lines)]


def level_of(arm: Arm) -> float | None:
    """An arm's level where it is a number."""
    return arm.level if isinstance(arm.level, float) else None


def placed_arms(study: ResolvedStudy) -> list[Arm]:
    """The arms with a place on the axis: not a baseline in no series, unless there are none and it has a level."""
    own = study.baseline.series is not None or (not study.series and level_of(study.baseline) is not None)
    return [arm for arm in study.all_arms if own or arm is not study.baseline]

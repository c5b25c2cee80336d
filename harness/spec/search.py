"""What is tuned, for every arm alike: the ranges of nuisance parameters, and how many trials search them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from harness.spec.checks import check_types
from harness.spec.errors import require, require_within
from harness.spec.recipe import BUDGET_UNITS

if TYPE_CHECKING:
    from harness.spec.study import Arm


NEVER_TUNED = (*BUDGET_UNITS, "evaluations")
"""Fields of the recipe that a search may not touch: every arm is given the same images and the same evaluations."""

STARTUP_TRIALS = 4
"""Trials drawn at random (the recipe's own setting included) before the sampler learns from them."""


@dataclass(frozen=True, kw_only=True)
class LogUniform:
    """A nuisance parameter searched evenly in its logarithm."""

    kind: Literal["log_uniform"] = "log_uniform"
    low: float
    high: float

    def __post_init__(self) -> None:
        check_types(self)
        require_within("LogUniform.low", self.low, 0, open_low=True)
        require_within("LogUniform.high", self.high, 0, open_low=True)
        require(self.low < self.high, f"LogUniform has low {self.low} and high {self.high}; low must be below high.")


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """A nuisance parameter searched evenly in [low, high]."""

    kind: Literal["uniform"] = "uniform"
    low: float
    high: float

    def __post_init__(self) -> None:
        check_types(self)
        require(self.low < self.high, f"Uniform has low {self.low} and high {self.high}; low must be below high.")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A nuisance parameter that takes one of a few values."""

    kind: Literal["choice"] = "choice"
    values: tuple[str | float | int | bool, ...]

    def __post_init__(self) -> None:
        check_types(self)
        require(len(self.values) > 1, f"Choice has the values {self.values}; it needs at least two.")
        twice = next((value for value in self.values if self.values.count(value) > 1), None)
        require(
            len(set(self.values)) == len(self.values),
            f"Choice has the values {self.values}; {twice!r} stands there twice. Give each value once.",
        )


Distribution = LogUniform | Uniform | Choice
Space = Mapping[str, Distribution]
"""Nuisance parameters by their field in the recipe, e.g. `learning_rate` or `augmentation.strength`."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How every arm, the baseline too, is tuned: the same number of trials of the same length for each."""

    space: Space = field(default_factory=dict)
    """What is searched, for every family."""
    by_family: Mapping[str, Space] = field(default_factory=dict)
    """Ranges that replace or extend `space` for one model family, the `kind` of its specification: `vit`, `resnet`,
    `swin`, `module`, `timm`, `torchvision`."""
    by_arm: Mapping[str, Mapping[str, Distribution | None]] = field(default_factory=dict)
    """Ranges that replace or extend those for single arms, by name: e.g. the learning rates of another optimiser.
    None leaves a parameter of that arm at its own setting, untuned."""
    trials: int = 0
    """Trials per arm (per arm and training size where sizes vary); 0 takes the recipe's own setting unsearched."""
    updates: int | None = None
    """Length of a trial, updates; None for the recipe's own budget."""
    sampler: Literal["tpe", "random"] = "tpe"

    def __post_init__(self) -> None:
        check_types(self)
        require_within("search.trials", self.trials, 0)
        if self.updates is not None:
            require_within("search.updates", self.updates, 1)
        for place, space in (("space", self.space), *self.by_family.items(), *self.by_arm.items()):
            for name in NEVER_TUNED:
                require(
                    name not in space,
                    f"search ({place}) tunes {name!r}, which all trainings must share for the tuning to be equal. "
                    "Take it out; search.updates sets the length of a trial, recipe.updates that of a training.",
                )
        object.__setattr__(self, "space", MappingProxyType(dict(self.space)))
        for name in ("by_family", "by_arm"):
            spaces = {key: MappingProxyType(dict(space)) for key, space in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(spaces))

    def space_of(self, arm: "Arm") -> dict[str, Distribution]:
        """The ranges for an arm: the common ones, its family's, its own."""
        ranges: dict[str, Distribution | None] = dict(self.space)
        ranges |= self.by_family.get(arm.model.kind, {})
        ranges |= self.by_arm.get(arm.name, {})
        return {name: distribution for name, distribution in ranges.items() if distribution is not None}


def settings(space: Space, own: Mapping[str, Any]) -> float:
    """How many settings there are to try: all combinations of a space of choices, and `own` where it is none of them.

    Infinite where a parameter has a continuous range.
    """
    choices = {name: found.values for name, found in space.items() if isinstance(found, Choice)}
    if len(choices) < len(space):
        return math.inf
    return math.prod(map(len, choices.values())) + any(own[name] not in values for name, values in choices.items())


def extremes(distribution: Distribution) -> tuple[Any, ...]:
    """Values that stand for all of a range: each must be one that the recipe accepts."""
    match distribution:
        case Choice(values=values):
            return values
        case LogUniform(low=low, high=high) | Uniform(low=low, high=high):
            return (low, high)

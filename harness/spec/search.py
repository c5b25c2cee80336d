"""What is tuned, for every arm alike: the ranges of nuisance parameters, and how many trials search them."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from harness.spec.checks import check_types, nearest, replace_at, value_at
from harness.spec.errors import InvalidInput, require, require_within
from harness.spec.model import ModelSpec
from harness.spec.recipe import BUDGET_UNITS, Recipe

if TYPE_CHECKING:
    from harness.spec.study import Arm, ResolvedStudy


OF_MODEL = "model."
"""Begins the name of a nuisance parameter that is a field of the arm's model; the others are fields of the recipe."""

NEVER_TUNED = (*BUDGET_UNITS, "evaluations", "model.kind", "model.distillation_token")
"""What a search may not touch: every arm is given the same images and evaluations, and keeps its family and teacher."""

FAMILIES: tuple[str, ...] = tuple(spec.kind for spec in get_args(ModelSpec))
"""The families of models, by the `kind` of their specifications."""

MOST_MODELS = 10_000
"""Models that the search of one arm may try in all: each is made, and refused where it is impossible, at load."""

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
"""Nuisance parameters by their field in the recipe, e.g. `learning_rate` or `augmentation.strength`, or in the arm's
model: `model.dropout`."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How every arm, the baseline too, is tuned: the same number of trials of the same length for each."""

    space: Space = field(default_factory=dict)
    """What is searched, for every family; a field of the model must be one that every arm's model has."""
    by_family: Mapping[str, Space] = field(default_factory=dict)
    """Ranges that replace or extend `space` for one model family (FAMILIES)."""
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
        for name in self.by_family:
            require(
                name in FAMILIES, f"search.by_family names {name!r}, no family of models. {nearest(name, FAMILIES)}"
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


@dataclass(frozen=True)
class Setting:
    """What a search sets the nuisance parameters of: an arm's model and its recipe."""

    model: ModelSpec
    recipe: Recipe

    def value(self, parameter: str) -> Any:
        """The value of a nuisance parameter; `InvalidInput` for one that there is not."""
        is_model = parameter.startswith(OF_MODEL)
        return value_at(self.model if is_model else self.recipe, parameter.removeprefix(OF_MODEL))

    def with_value(self, parameter: str, value: Any) -> "Setting":
        """The setting with another value of a nuisance parameter; `InvalidInput` for an impossible one."""
        if parameter.startswith(OF_MODEL):
            return replace(self, model=replace_at(self.model, parameter.removeprefix(OF_MODEL), value))
        return replace(self, recipe=replace_at(self.recipe, parameter, value))


def models_tried(space: Space, model: ModelSpec) -> list[ModelSpec]:
    """The models that a search of an arm tries: its own, and those of all values (of a range, of its ends)."""
    tuned = {name.removeprefix(OF_MODEL): extremes(space[name]) for name in space if name.startswith(OF_MODEL)}
    number = math.prod(map(len, tuned.values()))
    require(
        number <= MOST_MODELS,
        f"search tries {number:,} combinations of {', '.join(tuned)} of the model; at most {MOST_MODELS:,} can be "
        "checked before anything is trained. Search fewer of them.",
    )
    found = [model]
    for values in itertools.product(*tuned.values()) if tuned else ():
        made = model
        for name, value in zip(tuned, values, strict=True):
            made = replace_at(made, name, value)
        found.append(made)
    return found


def check_search(study: "ResolvedStudy") -> None:
    """Refuse a search of what an arm does not have, of impossible values, or of what the arms themselves differ in."""
    search = study.search
    for name in search.by_arm:
        study.arm(name)
    for arm in study.all_arms:
        space, setting = search.space_of(arm), Setting(arm.model, study.recipe_of(arm))
        require(
            bool(space) or search.trials <= 1,
            f"search.trials is {search.trials}, but nothing is searched for arm {arm.name!r}; "
            "declare search.space, or set search.trials=0.",
        )
        for parameter, distribution in space.items():
            _check_parameter(study, arm, setting, parameter)
            for value in extremes(distribution):
                setting.with_value(parameter, value)
        try:
            models_tried(space, arm.model)
        except InvalidInput as error:
            raise InvalidInput(f"The search of arm {arm.name!r} tries an impossible model: {error}") from error


def _check_parameter(study: "ResolvedStudy", arm: "Arm", setting: Setting, parameter: str) -> None:
    """Refuse a nuisance parameter that the arm lacks, or that arms without ranges of their own differ in."""
    is_model = parameter.startswith(OF_MODEL)
    try:
        setting.value(parameter)
    except InvalidInput as error:
        if not is_model:
            raise
        raise InvalidInput(
            f"search tunes {parameter!r}, which the model of arm {arm.name!r} does not have: {error} Name it in "
            "search.by_family for the families that have it."
        ) from error
    if parameter in study.search.by_arm.get(arm.name, {}):  # a range of its own is entered where the arm's change says
        return
    key = parameter if is_model else f"recipe.{parameter}"
    remedy = "give the arm a range of its own in search.by_arm, or take it out of one of the two."
    for changed in arm.changes:
        overlap = f"{key}.".startswith(f"{changed}.") or f"{changed}.".startswith(f"{key}.")
        require(not overlap, f"Arm {arm.name!r} changes {changed}, which the search tunes for every arm; {remedy}")
    for other in study.all_arms if is_model else ():
        alike = other.model.kind == arm.model.kind and parameter not in study.search.by_arm.get(other.name, {})
        require(
            not alike or Setting(other.model, setting.recipe).value(parameter) == setting.value(parameter),
            f"Arms {other.name!r} and {arm.name!r} differ in {parameter}, which the search tunes for both: it would "
            "undo the difference. Give the arms ranges of their own in search.by_arm, or take it out of the search.",
        )


def settings(space: Space, own: Mapping[str, Any]) -> float:
    """How many settings there are to try: all combinations of a space of choices, and `own` where it is none of them.

    Infinite where a parameter has a continuous range.
    """
    choices = {name: found.values for name, found in space.items() if isinstance(found, Choice)}
    if len(choices) < len(space):
        return math.inf
    return math.prod(map(len, choices.values())) + any(own[name] not in values for name, values in choices.items())


def extremes(distribution: Distribution) -> tuple[Any, ...]:
    """Values that stand for all of a range: each must be one that recipe or model accepts."""
    match distribution:
        case Choice(values=values):
            return values
        case LogUniform(low=low, high=high) | Uniform(low=low, high=high):
            return (low, high)

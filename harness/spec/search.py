"""What is tuned, for every arm alike: the ranges of nuisance parameters, and how many trials search them."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from harness.spec.checks import AboveZero, Count, Positive, Within, check_types, freeze, later, replace_at, value_at
from harness.spec.errors import InvalidInput, require, require_choice
from harness.spec.formats import counted
from harness.spec.model import ModelSpec
from harness.spec.recipe import BUDGET_UNITS, Recipe

if TYPE_CHECKING:
    from harness.spec.study import Arm, ResolvedStudy


OF_MODEL = "model."
"""Begins the name of a nuisance parameter that is a field of the arm's model; the others are fields of the recipe."""

NEVER_TUNED = (*BUDGET_UNITS, "least_epochs", "evaluations", "model.kind", "model.distillation_token")
"""What a search may not touch: every arm is given the same images and evaluations, and keeps its family and teacher."""

FAMILIES: tuple[str, ...] = tuple(spec.kind for spec in get_args(ModelSpec))
"""The families of models, by the `kind` of their specifications."""

MOST_MODELS = 10_000  # of those that the search of an arm may make, so many are tried at load

EDGE = 0.05  # a chosen value within this share of its range from an edge asks for a wider range

STEP_BEYOND = {"log_uniform": math.log(2), "uniform": 0.25}
"""How far a range is widened: by a factor of two, or by a quarter of its width."""

SIGNIFICANT_DIGITS = 4  # of a proposed number: finer differences mean nothing, and tables stay readable

STARTUP_TRIALS = 4  # trials drawn at random (the recipe's own setting included) before the sampler learns from them


@dataclass(frozen=True, kw_only=True)
class LogUniform:
    """A nuisance parameter searched evenly in its logarithm."""

    kind: Literal["log_uniform"] = "log_uniform"
    low: AboveZero
    high: AboveZero

    def __post_init__(self) -> None:
        check_types(self)
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
        if not len(set(self.values)) == len(self.values) > 1:
            raise InvalidInput(f"Choice has the values {self.values}; it needs at least two, each given once.")


Distribution = LogUniform | Uniform | Choice
Space = Mapping[str, Distribution]
"""Nuisance parameters by their field in the recipe, e.g. `learning_rate` or `augmentation.strength`, or in the arm's
model: `model.dropout`."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How every arm, the baseline too, is tuned: the same number of trials of the same length for each."""

    _key = "search"
    space: Space = field(default_factory=dict)
    """For every family; a field of the model must be one that every arm's model has."""
    by_family: Mapping[str, Space] = field(default_factory=dict)
    """Ranges that replace or extend `space` for one model family (FAMILIES)."""
    by_arm: Mapping[str, Mapping[str, Distribution | None]] = field(default_factory=dict)
    """Ranges that replace or extend those for single arms, by name; None leaves a parameter untuned."""
    trials: Count = 0
    """Trials per search, of which the first is the recipe's own setting; 0 takes that unsearched."""
    repeats: Positive = later(1)
    """Independent searches of each arm (at each training size), on a seed each. Confirm seeds take turns with the
    settings that they choose, so that the spread over seeds holds the luck of the search."""
    updates: Positive | None = None
    share: Annotated[float, Within(0, 1, open_low=True)] | None = later(None)
    """Length of a trial, in updates or as a share of the recipe's own; None for the recipe's own."""
    sampler: Literal["qmc", "tpe", "random"] = "tpe"
    """`qmc`: scrambled Sobol points, which fill the ranges evenly and learn nothing; `tpe`: learns from the scores."""
    widenings: Count = later(0)
    """Most rounds of further trials beyond the edge of a range, where a search's best value lies there: see `beyond`.
    A round has half as many trials as the search tries settings of its own, rounded up."""

    def __post_init__(self) -> None:
        check_types(self)
        require(
            self.updates is None or self.share is None,
            f"search.updates is {self.updates} and search.share {self.share}; both are the length of a trial. Set one, "
            "and the other to None.",
        )
        for name in itertools.chain(self.space, *self.by_family.values(), *self.by_arm.values()):
            if name in NEVER_TUNED:
                raise InvalidInput(f"search tunes {name!r}, which all trainings must share. Take it out.")
        for name in self.by_family:
            require_choice("search.by_family: family", name, FAMILIES)
        freeze(self, "space", "by_family", "by_arm")

    def space_of(self, arm: "Arm") -> dict[str, Distribution]:
        """The ranges for an arm: the common ones, its family's, its own."""
        ranges = {**self.space, **self.by_family.get(arm.model.kind, {}), **self.by_arm.get(arm.name, {})}
        return {name: distribution for name, distribution in ranges.items() if distribution is not None}


@dataclass(frozen=True)
class Setting:
    """What a search sets the nuisance parameters of: an arm's model and its recipe."""

    model: ModelSpec
    recipe: Recipe

    def value(self, parameter: str) -> Any:
        """The value of a nuisance parameter; `InvalidInput` for one that there is not."""
        return value_at(self, _place(parameter), asked=parameter.removeprefix(OF_MODEL))

    def with_value(self, parameter: str, value: Any) -> "Setting":
        """The setting with another value of a nuisance parameter; `InvalidInput` for an impossible one."""
        return replace_at(self, _place(parameter), value)

    def with_values(self, values: Mapping[str, Any]) -> "Setting":
        """The setting with nuisance values; the images seen stay what they are, as near as whole updates get."""
        images, own = self.recipe.total_images, self
        for name, value in values.items():
            own = own.with_value(name, value)
        return replace(own, recipe=replace(own.recipe, updates=images // own.recipe.batch_size))


def _place(parameter: str) -> str:
    return parameter if parameter.startswith(OF_MODEL) else f"recipe.{parameter}"


def models_tried(space: Space, model: ModelSpec) -> list[ModelSpec]:
    """The models that a search of an arm tries: its own, and those of all values (of a range, of its ends)."""
    tuned = {name.removeprefix(OF_MODEL): extremes(space[name]) for name in space if name.startswith(OF_MODEL)}
    settings = itertools.islice(itertools.product(*tuned.values()), MOST_MODELS)
    changes = (zip(tuned, values, strict=True) for values in settings)
    return [model, *(reduce(lambda made, change: replace_at(made, *change), each, model) for each in changes)]


def check_search(study: "ResolvedStudy") -> None:
    """Refuse a search of what an arm does not have, of impossible values, or of what the arms themselves differ in."""
    search = study.search
    _check_repeats(search, len(study.seeds))
    for name in search.by_arm:
        study.arm(name)
    found = {arm.name: Setting(arm.model, study.recipe_of(arm)) for arm in study.all_arms}
    for arm in study.all_arms:
        space = search.space_of(arm)
        if not space and search.trials > 1:
            told = "declare search.space, or set search.trials=0."
            raise InvalidInput(f"search.trials is {search.trials}, but arm {arm.name!r} has nothing to search; {told}")
        for parameter, distribution in space.items():
            _check_parameter(study, arm, found, parameter)
            for value in extremes(distribution):
                found[arm.name].with_value(parameter, value)
        try:
            models_tried(space, arm.model)
        except InvalidInput as error:
            raise InvalidInput(f"The search of arm {arm.name!r} tries an impossible model: {error}") from error


def _check_repeats(search: Search, seeds: int) -> None:
    """Refuse repeated searches that have nothing of their own to try, or that no seed would confirm."""
    if search.repeats > 1 and search.trials < 2:
        told = "the first trial is the recipe's own setting, so that there is nothing to choose from."
        raise InvalidInput(
            f"search.repeats is {search.repeats}, search.trials {search.trials}: {told} Set search.trials=2 or more, "
            "or search.repeats=1."
        )
    if search.repeats > seeds:
        told = f"confirmed by no seed. Give {search.repeats} seeds or more, or set search.repeats={seeds}."
        raise InvalidInput(
            f"search.repeats is {search.repeats}, but with {counted(seeds, 'seed')} some would be {told}"
        )


def _check_parameter(study: "ResolvedStudy", arm: "Arm", settings: Mapping[str, Setting], parameter: str) -> None:
    """Refuse a nuisance parameter that the arm lacks, or that arms without ranges of their own differ in."""
    is_model, search = parameter.startswith(OF_MODEL), study.search
    try:
        value = settings[arm.name].value(parameter)
    except InvalidInput as error:
        told = f"{error} Name it in search.by_family for families that have it." if is_model else str(error)
        raise InvalidInput(f"search tunes {parameter!r}, which arm {arm.name!r} does not have: {told}") from error
    # Of the arguments of a user's model nobody knows the types.
    is_argument = parameter.startswith(f"{OF_MODEL}arguments.")
    if is_argument and type(value) is int and not isinstance(search.space_of(arm)[parameter], Choice):
        raise InvalidInput(
            f"search tunes {parameter!r} in a range, whose values are no whole numbers; arm {arm.name!r} has {value}. "
            f"Take Choice(values=(...)), or give the arm {value}.0."
        )
    for other in study.all_arms:
        is_own = any(parameter in search.by_arm.get(name, {}) for name in (arm.name, other.name))
        kinds = {arm.model.kind, other.model.kind}
        is_own |= len(kinds) == 2 and any(parameter in search.by_family.get(kind, {}) for kind in kinds)
        comparable = parameter in search.space_of(other) and (not is_model or other.model.kind == arm.model.kind)
        if comparable and not is_own and settings[other.name].value(parameter) != value:
            told = "which the search would undo. Give them ranges of their own in search.by_arm, or take it out."
            raise InvalidInput(f"Arms {arm.name!r} and {other.name!r} differ in {parameter}, {told}")


def settings(space: Space, own: Mapping[str, Any]) -> float:
    """How many settings there are to try: all combinations of choices, and `own` where none; infinite for a range."""
    choices = {name: found.values for name, found in space.items() if isinstance(found, Choice)}
    if len(choices) < len(space):
        return math.inf
    return math.prod(map(len, choices.values())) + any(own[name] not in values for name, values in choices.items())


def extremes(distribution: Distribution) -> tuple[Any, ...]:
    """Values that stand for all of a range: each must be one that recipe or model accepts."""
    return distribution.values if isinstance(distribution, Choice) else (distribution.low, distribution.high)


def edge_distance(distribution: Distribution, value: float | str | bool) -> float:
    """Distance of a value to the nearer edge of its range, as a share of the range's width on its own scale, 0 to .5.

    Logarithmic for LogUniform; NaN for a Choice, which has no edges. Below 0 for a value outside the range.
    """
    if isinstance(distribution, Choice):
        return math.nan
    low, high, at = _on_scale(distribution, distribution.low, distribution.high, float(value))
    position = (at - low) / (high - low)
    return min(position, 1 - position)


def _on_scale(distribution: LogUniform | Uniform, *values: float) -> Iterator[float]:
    is_log = isinstance(distribution, LogUniform)
    return ((math.log(value) if value > 0 else -math.inf) if is_log else value for value in values)


def at_edge(space: Space, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the parameters whose value lies within EDGE of an edge of its range, sorted."""
    return tuple(name for name in sorted(space) if name in values and edge_distance(space[name], values[name]) <= EDGE)


def beyond(own: Setting, space: Space, best: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """`count` settings beyond the edges of ranges on which the best setting lies; none where nothing lies there.

    Each such parameter steps evenly from its edge to the widened one, by STEP_BEYOND or the half or quarter of it,
    whichever model and recipe accept; the others keep the best setting's values.
    """
    parts = {name: part for name in at_edge(space, best) if (part := _part_beyond(own, name, space[name], best[name]))}
    shares = [k / count for k in range(1, count + 1)] if parts else []
    return [{**best, **{name: _between(space[name], *part, share) for name, part in parts.items()}} for share in shares]


def round_beyond(trials: int, space: Space) -> int:
    """Trials of a round beyond the edges of ranges, for a search of so many; none where there are choices only."""
    return 0 if all(isinstance(found, Choice) for found in space.values()) else trials // 2


def _part_beyond(own: Setting, name: str, found: Distribution, value: float) -> tuple[float, float] | None:
    """Ends of the part of a range beyond an edge, on the range's own scale, from the edge outwards; None without any.

    It begins at the value where that lies outside the range already.
    """
    assert isinstance(found, LogUniform | Uniform)
    low, high, at = _on_scale(found, found.low, found.high, value)
    up = high - at < at - low
    edge = max(high, at) if up else min(low, at) if math.isfinite(at) else low
    step = STEP_BEYOND[found.kind] * (1.0 if isinstance(found, LogUniform) else high - low)
    for share in (1, 0.5, 0.25):
        end = edge + share * step * (1 if up else -1)
        try:
            own.with_value(name, _between(found, edge, end, 1.0))
        except InvalidInput:
            continue
        return edge, end
    return None


def _between(found: Distribution, edge: float, end: float, share: float) -> float:
    at = edge + share * (end - edge)
    return significant(math.exp(at) if isinstance(found, LogUniform) else at)


def significant(value: float) -> float:
    """A number with SIGNIFICANT_DIGITS."""
    return round(value, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value)))) if value else value


def widened(space: Space, tried: Iterable[Mapping[str, Any]]) -> dict[str, Distribution]:
    """The ranges with what was tried beyond them."""
    settings_tried, ranges = list(tried), dict(space)
    for name, found in space.items():
        if isinstance(found, LogUniform | Uniform) and settings_tried:
            values = [float(values[name]) for values in settings_tried]
            ranges[name] = replace(found, low=min(found.low, *values), high=max(found.high, *values))
    return ranges

"""The study: one ablation question, its arms, its protocol and the published findings it puts to the test."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from math import inf
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from harness.spec.checks import check_types, later, nearest, replace_at
from harness.spec.claims import Claim, check_own, is_own
from harness.spec.data import DataSpec
from harness.spec.errors import InvalidInput, require, require_choice, require_within
from harness.spec.model import ModelSpec
from harness.spec.plural import plural
from harness.spec.recipe import Recipe
from harness.spec.run import leaves, to_plain
from harness.spec.search import Search, Setting, check_search, extremes, models_tried, settings

ScaleName = Literal["smoke", "laptop", "gpu", "paper"]
T = TypeVar("T")

SCALES: tuple[str, ...] = get_args(ScaleName)

TUNE_SEED = 1_000_000
"""Seed of every tuning trial, the same for all arms; confirm seeds must stay below it."""


@dataclass(frozen=True)
class Arm:
    """One level of the factor, as a complete model + data + recipe."""

    name: str
    model: ModelSpec
    _: KW_ONLY
    level: float | str | None = None
    """Value of the factor, for axes and for order; None for a baseline that has none."""
    series: str | None = None
    """The line that this arm is a point of, in studies of several lines over the levels (`pre-norm`, `post-norm`)."""
    against: str | None = None
    """Name of the arm that this one is compared with; None for the study's baseline."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What this arm changes in the study's recipe and data, e.g. `{"recipe.optimizer": "sgd"}`."""

    def __post_init__(self) -> None:
        check_types(self)
        require(bool(self.name.strip()), "An arm's name is empty; give it a name to stand in tables and figures.")
        require(self.name.isprintable(), f"Arm name {self.name!r} holds unprintable characters.")
        for field_name, text in (("name", self.name), ("series", self.series or "")):
            require(
                text == text.strip(),
                f"Arm {field_name} {text!r} begins or ends with a blank, which nobody sees; leave it out.",
            )
        for key in self.changes:
            require(
                key.partition(".")[0] in ("recipe", "data") and "." in key,
                f"Arm {self.name!r} changes {key!r}; a change names a field as recipe.FIELD or data.FIELD.",
            )
        object.__setattr__(self, "changes", MappingProxyType(dict(self.changes)))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much a study spends, and on what: its arms, data and protocol at one scale."""

    data: DataSpec
    recipe: Recipe
    baseline: Arm
    """The arm that the others are compared with."""
    arms: tuple[Arm, ...]
    """In the order of the factor's levels, without the baseline."""
    train_sizes: tuple[int, ...] = ()
    """Training-set sizes of a two-factor study, ascending; empty for the one size of `data`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the confirm runs, the same for all arms."""
    search: Search = field(default_factory=Search)
    test_shifts: tuple[int, ...] = ()
    """Also test on images moved by this many pixels, ascending; empty for the plain test alone."""
    minutes: float | None = None
    """Expected wall time on the scale's usual machine (smoke, laptop: 2 CPU cores)."""
    claims: tuple[Claim, ...] = ()
    """Claims that name arms of this scale, besides the study's own."""

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One ablation question. A study file defines one, under the name `STUDY`."""

    question: str
    """In one sentence, ending in a question mark."""
    source: str
    """The publication that the question comes from."""
    factor: str
    """What the study varies; names the axis of the figures."""
    scales: Mapping[str, Scale]
    claims: tuple[Claim, ...] = ()
    """Claims that hold for any scale (they name no arm of one scale only)."""
    figures: tuple[Callable[..., Any], ...] = ()
    """Functions `(tables) -> matplotlib Figure` that add figures to the report, called by the functions' names and
    described by their docstrings; `tables` is what a claim's `judge` is given."""
    changes_after_first_look: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By scale: what was changed in this study after its results at that scale had been seen, and why; stands in the
    reports of that scale."""

    def __post_init__(self) -> None:
        check_types(self)
        require(self.question.strip().endswith("?"), f"Study.question is {self.question!r}; it must end in '?'.")
        require(bool(self.scales), "Study.scales is empty; a study needs at least one scale.")
        for name in self.scales:
            require_choice("Study.scales: scale", name, SCALES)
        object.__setattr__(self, "scales", MappingProxyType(dict(self.scales)))
        _check_figures(self.figures)
        for name in self.changes_after_first_look:
            require_choice("Study.changes_after_first_look: scale", name, tuple(self.scales))
        object.__setattr__(self, "changes_after_first_look", MappingProxyType(dict(self.changes_after_first_look)))

    def resolve(self, name: str, scale: str) -> "ResolvedStudy":
        """This study, called `name`, at one scale."""
        if scale not in self.scales:
            raise InvalidInput(f"Study {name!r} has no scale {scale!r}. {nearest(scale, self.scales)}")
        of_scale = vars(self.scales[scale])
        return ResolvedStudy(
            **(of_scale | {"claims": self.claims + of_scale["claims"]}),
            name=name,
            scale=scale,
            question=self.question,
            source=self.source,
            factor=self.factor,
            figures=self.figures,
            changes_after_first_look=self.changes_after_first_look.get(scale, ()),
        )


@dataclass(frozen=True, kw_only=True)
class ResolvedStudy(Scale):
    """A study at one scale, with the user's overrides applied: what planning, running and reporting work from."""

    name: str
    scale: str
    question: str
    source: str
    factor: str
    changes_after_first_look: tuple[str, ...] = ()
    figures: tuple[Any, ...] = later(())
    """See `Study.figures`; of a study that was read back, the functions' names."""

    def __post_init__(self) -> None:
        check_types(self)
        self._check_seeds()
        self._check_sizes()
        self._check_arms()
        self._check_series()
        check_search(self)
        self._check_images()
        self._check_claims()

    @property
    def all_arms(self) -> tuple[Arm, ...]:
        """The baseline, then the arms in order."""
        return (self.baseline, *self.arms)

    @property
    def cells(self) -> tuple[tuple[Arm, int | None], ...]:
        """Every (arm, training size) that is tuned and confirmed; size None is the size of `data`."""
        sizes: tuple[int | None, ...] = self.train_sizes or (None,)
        return tuple((arm, size) for size in sizes for arm in self.all_arms)

    @property
    def has_own_code(self) -> bool:
        """Whether there are claims or figures that only the study's own file can make."""
        return bool(self.figures) or any(map(is_own, self.claims))

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        for arm in self.all_arms:
            if arm.name == name:
                return arm
        raise InvalidInput(f"No arm is called {name!r}. {nearest(name, [arm.name for arm in self.all_arms])}")

    def against(self, arm: Arm) -> Arm:
        """The arm that `arm` is compared with."""
        return self.baseline if arm.against is None else self.arm(arm.against)

    @property
    def series(self) -> dict[str, tuple[Arm, ...]]:
        """The lines over the levels by name, each with its arms by increasing level; empty where no arm is in one."""
        lines: dict[str, list[Arm]] = {}
        for arm in self.all_arms:
            if arm.series is not None:
                lines.setdefault(arm.series, []).append(arm)
        return {name: tuple(sorted(arms, key=_level)) for name, arms in lines.items()}

    def recipe_of(self, arm: Arm) -> Recipe:
        """The recipe with the arm's changes."""
        return _with_changes(self.recipe, arm, "recipe")

    def data_of(self, arm: Arm, train_size: int | None = None) -> DataSpec:
        """The data with the arm's changes, at a training size of the study."""
        data = _with_changes(self.data, arm, "data")
        return data if train_size is None else replace(data, train_size=train_size)

    def trial_updates(self, recipe: Recipe) -> int:
        """Updates of a trial of an arm's resolved recipe: as many as see the images that every other arm's trials see.

        Never more than a confirm run has.
        """
        if self.search.updates is None:
            return recipe.total_updates
        same_images = round(self.search.updates * self.recipe.batch_size / recipe.batch_size)
        return min(max(1, same_images), recipe.total_updates)

    def trials_of(self, arm: Arm) -> int:
        """Trials of an arm's search: those asked for, or one for each setting where a space of choices has fewer."""
        space, own = self.search.space_of(arm), Setting(arm.model, self.recipe_of(arm).written_out())
        return int(min(self.search.trials, settings(space, {name: own.value(name) for name in space})))

    @property
    def used_up(self) -> tuple[str, ...]:
        """A sentence for each number of settings that is below the trials asked for, naming the arms."""
        of_number: dict[int, list[str]] = {}
        for arm in self.all_arms:
            of_number.setdefault(self.trials_of(arm), []).append(arm.name)
        return tuple(
            f"There are only {number} settings to try for {', '.join(arms)}: all of them are tried, and the other "
            f"{self.search.trials - number} of {self.search.trials} trials, which would repeat them, are not made."
            for number, arms in of_number.items()
            if number < self.search.trials
        )

    def _check_seeds(self) -> None:
        require(bool(self.seeds), "seeds is empty; at least one confirm seed is needed.")
        require(len(set(self.seeds)) == len(self.seeds), f"seeds is {self.seeds}; each seed may stand there once.")
        for seed in self.seeds:
            require_within("seeds: seed", seed, 0, TUNE_SEED - 1)

    def _check_sizes(self) -> None:
        for name, noun, values in (
            ("train_sizes", "size", self.train_sizes),
            ("test_shifts", "shift", self.test_shifts),
        ):
            for value in values:
                require_within(f"{name}: {noun}", value, 1)
            require(list(values) == sorted(set(values)), f"{name} is {values}; {plural(noun)} must ascend, each once.")

    def _check_arms(self) -> None:
        names = [arm.name for arm in self.all_arms]
        for name in names:
            require(names.count(name) == 1, f"Two arms are called {name!r}; every arm needs a name of its own.")
        _require_look_different("Arms", names)
        _require_look_different("Series", self.series)
        seen: list[tuple[Any, str]] = []
        for arm in self.all_arms:
            content = (arm.model, self.recipe_of(arm).written_out(), self.data_of(arm))
            for other, name in seen:
                require(content != other, f"Arm {arm.name!r} equals arm {name!r}: same model, recipe and data.")
            seen.append((content, arm.name))
            require(
                not arm.model.needs_teacher or self.recipe_of(arm).distillation is not None,
                f"Arm {arm.name!r} has a distillation token, but its recipe has no teacher; set recipe.distillation.",
            )

    def _check_images(self) -> None:
        """For sources whose image size is known without their files; planning checks the others."""
        for arm in self.all_arms:
            data = self.data_of(arm)
            size = data.image_size or data.known_image_size
            if size is not None:
                self.check_image(arm, size)

    def check_image(self, arm: Arm, size: int) -> None:
        """Refuse images of a side (pixels) that do not suit an arm: its model, its teacher, its batches, its tests."""
        learned = self.recipe_of(arm).distillation
        try:
            self.data_of(arm).check_moved(size)
            models = models_tried(self.search.space_of(arm), arm.model)
            for model in (*models, *([learned.teacher] if learned else [])):
                model.check_image(size)
                self._check_batch_norm(arm, model, size)
        except InvalidInput as error:
            raise InvalidInput(f"Arm {arm.name!r}: {error}") from error
        require(
            not self.test_shifts or self.test_shifts[-1] < size,
            f"test_shifts is {self.test_shifts}; arm {arm.name!r} sees images of {size} pixels, "
            f"and a shift must be below that.",
        )

    def smallest_batch(self, arm: Arm) -> tuple[int, int]:
        """The smallest batch of any training of an arm, and the most parts of one, by its recipe and its search."""
        recipe, space = self.recipe_of(arm), self.search.space_of(arm)
        tried = {
            name: [getattr(recipe, name), *(value for value in extremes(space[name]) if isinstance(value, int))]
            for name in ("batch_size", "accumulate")
            if name in space
        }
        return min(tried.get("batch_size", [recipe.batch_size])), max(tried.get("accumulate", [recipe.accumulate]))

    def _check_batch_norm(self, arm: Arm, model: ModelSpec, size: int) -> None:
        """Refuse a part of a batch that leaves BatchNorm one number per channel, which has no variance."""
        side, (batch, parts) = model.batch_norm_side(size), self.smallest_batch(arm)
        require(
            side is None or max(1, batch // parts) * side**2 > 1,
            f"recipe.batch_size is {batch} and recipe.accumulate {parts}: some part of a batch is a single image, of "
            f"which BatchNorm's last map ({model.kind}, images of {size} pixels) is a single pixel, and one number has "
            f"no variance. Set batch_size to {2 * parts} or more, or take larger images.",
        )

    def _check_series(self) -> None:
        for arm in self.all_arms:
            other = self.against(arm).name
            require(
                arm.against is None or (other != arm.name and arm is not self.baseline),
                f"Arm {arm.name!r} is compared with {other!r}; "
                + ("the baseline is compared with nothing." if arm is self.baseline else "name another arm."),
            )
        for name, arms in self.series.items():
            levels = [arm.level for arm in arms]
            require(
                all(isinstance(level, float) for level in levels) and len(set(levels)) == len(levels),
                f"The arms of series {name!r} have the levels {levels}; each needs a number of its own.",
            )

    def _check_claims(self) -> None:
        for claim in self.claims:
            check_own(claim)
            claim.check(self)


def _check_figures(figures: tuple[Callable[..., Any], ...]) -> None:
    names = [getattr(figure, "__name__", "") for figure in figures]
    for name, figure in zip(names, figures, strict=True):
        require(
            name.isidentifier(),
            f"Study.figures has {figure!r}; a figure is a function with a name, which the figure is called by.",
        )
        require(names.count(name) == 1, f"Study.figures has {name!r} twice; give each function a name of its own.")


def _require_look_different(what: str, names: Iterable[str]) -> None:
    """Refuse names that differ in blanks alone, or in nothing but the form of their Unicode (NFC, NFD)."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault("".join(unicodedata.normalize("NFC", name).split()), name)
        require(
            other == name,
            f"{what} {other!a} and {name!a} differ in blanks or in the form of their Unicode alone; "
            "give one of them another name.",
        )


def _level(arm: Arm) -> float:
    return arm.level if isinstance(arm.level, float) else inf


def changed_fields(before: ResolvedStudy, now: ResolvedStudy) -> list[str]:
    """Dotted names of the fields in which two studies differ, sorted."""
    old, new = (leaves(to_plain(study)) for study in (before, now))
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _with_changes(spec: T, arm: Arm, part: str) -> T:
    for key, value in arm.changes.items():
        head, _, rest = key.partition(".")
        if head == part:
            try:
                spec = replace_at(spec, rest, value)
            except InvalidInput as error:
                raise InvalidInput(f"Arm {arm.name!r} changes {key}: {error}") from error
    return spec

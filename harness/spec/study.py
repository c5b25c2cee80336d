"""The study: one ablation question, its arms, its protocol and the published findings it puts to the test."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from math import inf
from typing import Annotated, Any, TypeVar

from harness.spec.checks import Checked, Positive, Within, check_types, freeze, known, later, nearest, replace_at
from harness.spec.claims import Answer, Claim, check_own, is_own
from harness.spec.data import DataSpec
from harness.spec.errors import InvalidInput, require, require_choice
from harness.spec.few_shot import FewShot
from harness.spec.model import ModelSpec, Module, Timm, Torchvision
from harness.spec.recipe import Pretraining, Recipe
from harness.spec.run import leaves, to_plain
from harness.spec.search import Search, Setting, check_search, extremes, models_tried, round_beyond, settings

T = TypeVar("T")

SCALES = ("smoke", "laptop", "gpu", "paper")
GROUPS = ("data and bias", "architecture", "inside the ViT", "training")

FIGURES = (
    *("lead_by_size", "gains", "accuracy_by_size", "accuracy_by_level", "gap_by_level", "difference_map"),
    *("differences", "agreement_by_size", "accuracy_by_shift", "few_shot_by_size"),
    *("accuracy_by_macs", "accuracy_by_speed"),
)
"""Those of a report that may be its main one."""

TUNE_SEED = 1_000_000  # seed of every tuning trial, the same for all arms; confirm seeds must stay below it


@dataclass(frozen=True)
class Arm:
    """One level of the factor, as a complete model + data + recipe."""

    name: str
    model: ModelSpec
    _: KW_ONLY
    level: float | str | None = None  # value of the factor, for axes and for order; None for a baseline that has none
    series: str | None = None
    """The line that this arm is a point of, in studies of several lines over the levels (`pre-norm`, `post-norm`)."""
    against: str | None = None  # name of the arm that this one is compared with; None for the study's baseline
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What this arm changes in the study's recipe and data, e.g. `{"recipe.optimizer": "sgd"}`."""

    def __post_init__(self) -> None:
        check_types(self)
        for what, text in (("name", self.name), ("series", self.series)):
            if text is not None and not (text.isprintable() and text.strip() == text != ""):
                raise InvalidInput(f"Arm {what} is {text!r}; it must be printable, without blanks at its ends.")
        for key in self.changes:
            if not key.startswith(("recipe.", "data.")):
                raise InvalidInput(f"Arm {self.name!r} changes {key!r}; name a field as recipe.FIELD or data.FIELD.")
        freeze(self, "changes")

    def changed(self, part: str, spec: T) -> T:
        """The study's `recipe` or `data` with this arm's changes."""
        for key, value in self.changes.items():
            try:
                if key.startswith(f"{part}."):
                    spec = replace_at(spec, key.removeprefix(f"{part}."), value)
            except InvalidInput as error:
                raise InvalidInput(f"Arm {self.name!r} changes {key}: {error}") from error
        return spec


@dataclass(frozen=True, kw_only=True)
class Scale(Checked):
    """How much a study spends, and on what: its arms, data and protocol at one scale."""

    _key = "study"
    data: DataSpec
    recipe: Recipe
    baseline: Arm
    arms: tuple[Arm, ...]  # in the order of the factor's levels, without the baseline, which they are compared with
    train_sizes: tuple[Positive, ...] = ()
    """Training-set sizes of a two-factor study, ascending; empty for the one size of `data`."""
    seeds: tuple[Annotated[int, Within(0, TUNE_SEED - 1)], ...] = (0, 1, 2)
    """Of the confirm runs, the same for all arms."""
    long_from: Positive | None = later(None)
    long_seeds: Annotated[int, Within(2, TUNE_SEED)] = later(3)
    """From this training size on, where a training takes long, only the first `long_seeds` of `seeds` are run, each
    with its search."""
    search: Search = field(default_factory=Search)
    test_shifts: tuple[Positive, ...] = ()
    """Also test on images moved by this many pixels, ascending; empty for the plain test alone."""
    few_shot: FewShot | None = later(None)  # also evaluate the features of confirm runs on another task
    minutes: float | None = None
    """Expected wall time on the scale's usual machine: taken on 2 CPU cores (smoke, laptop), else an estimate."""
    claims: tuple[Claim, ...] = ()  # claims that name arms of this scale, besides the study's own
    answer: tuple[Answer, ...] = later(())  # to the question, one or two; in place of the study's own


@dataclass(frozen=True, kw_only=True)
class Study:
    """One ablation question. A study file defines one, under the name `STUDY`."""

    question: str
    source: str
    factor: str
    """The question in one sentence, the publication that it comes from, and what varies: the axis of the figures."""
    unit: str = ""  # of the factor's levels, as figures show it: "px"
    group: str | None = None  # one of `GROUPS`, under which it is listed
    scales: Mapping[str, Scale]
    claims: tuple[Claim, ...] = ()  # claims that hold for any scale (they name no arm of one scale only)
    answer: tuple[Answer, ...] = ()
    """What answers the question, a sentence or two; by default, and where arms or claims of a resolved study were
    changed so that it does not fit, the verdict on the first claim."""
    figure: str = ""
    """The main figure, beside the answer: one of `FIGURES`; by default the first that the report has."""
    figures: tuple[Callable[..., Any], ...] = ()
    """Functions `(tables) -> matplotlib Figure`, of what a claim's `judge` is given; docstrings describe them."""
    changes_after_first_look: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By scale, for its reports: what was changed after its results had been seen, and why.

    Reports warn of a changed field that no sentence names by a part of its name (`learning rate`, `updates`).
    """

    def __post_init__(self) -> None:
        check_types(self)
        require(self.question.strip().endswith("?"), f"Study.question is {self.question!r}; it must end in '?'.")
        require(bool(self.scales), "Study.scales is empty; a study needs at least one scale.")
        for name in self.scales:
            require_choice("Study.scales: scale", name, SCALES)
        if self.group is not None:
            require_choice("Study.group", self.group, GROUPS)
        for name in self.changes_after_first_look:
            require_choice("Study.changes_after_first_look: scale", name, tuple(self.scales))
        if self.figure:
            require_choice("Study.figure", self.figure, FIGURES)
        names = {name for figure in self.figures if (name := getattr(figure, "__name__", "")).isidentifier()}
        if len(names) < len(self.figures):
            raise InvalidInput(f"Study.figures has {self.figures}; each must be a function with a name of its own.")
        freeze(self, "scales", "changes_after_first_look")

    def resolve(self, name: str, scale: str) -> "ResolvedStudy":
        """This study, called `name`, at one scale."""
        if scale not in self.scales:
            raise InvalidInput(f"Study {name!r} has no scale {scale!r}. {nearest(scale, self.scales)}")
        content = vars(self) | vars(self.scales[scale]) | {"name": name, "scale": scale}
        del content["scales"], content["group"]
        content["claims"] = self.claims + self.scales[scale].claims
        content["answer"] = self.scales[scale].answer or self.answer
        content["changes_after_first_look"] = self.changes_after_first_look.get(scale, ())
        resolved = ResolvedStudy(**content)
        require(len(resolved.answer) < 3, f"answer has {len(resolved.answer)} sentences; two are the most.")
        for sentence in resolved.answer:
            sentence.claim_of(resolved)
        return resolved


@dataclass(frozen=True, kw_only=True)
class ResolvedStudy(Scale):
    """A study at one scale, with the user's overrides applied: what planning, running and reporting work from."""

    name: str
    scale: str
    question: str
    source: str
    factor: str
    changes_after_first_look: tuple[str, ...] = ()
    unit: str = later("")
    figure: str = later("")  # see `Study.figure`
    figures: tuple[Any, ...] = later(())  # see `Study.figures`; of a study that was read back, the functions' names.

    def __post_init__(self) -> None:
        super().__post_init__()
        is_name = self.name.isprintable() and self.name not in ("", ".", "..") and not set("/\\") & set(self.name)
        require(is_name, f"The study's name is {self.name!r}; it names a folder: one or more letters, without slashes.")
        if not 0 < len(self.seeds) == len(set(self.seeds)):
            raise InvalidInput(f"seeds is {self.seeds}; at least one is needed, each once.")
        for name, values in (("train_sizes", self.train_sizes), ("test_shifts", self.test_shifts)):
            require(list(values) == sorted(set(values)), f"{name} is {values}; they must ascend, each once.")
        self._check_arms()
        self._check_few_shot()
        if self.long_from is not None and not self.train_sizes:
            raise InvalidInput(
                f"long_from is {self.long_from:,}, a training size, and there are none; set train_sizes."
            )
        check_search(self)
        for arm in self.all_arms:
            if size := self.data_of(arm).image_size or self.data_of(arm).known_image_size:  # planning checks the others
                self.check_image(arm, size)
        for claim in self.claims:
            check_own(claim)
            claim.check(self)

    @property
    def all_arms(self) -> tuple[Arm, ...]:
        """The baseline, then the arms in order."""
        return (self.baseline, *self.arms)

    @property
    def cells(self) -> tuple[tuple[Arm, int | None], ...]:
        """Every (arm, training size) that is tuned and confirmed; size None is the size of `data`."""
        return tuple((arm, size) for size in self.train_sizes or (None,) for arm in self.all_arms)

    @property
    def has_own_code(self) -> bool:
        """Whether there are claims or figures that only the study's own file can make."""
        return bool(self.figures) or any(map(is_own, self.claims))

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        found = {arm.name: arm for arm in self.all_arms}
        if name not in found:
            raise InvalidInput(f"No arm is called {name!r}. {nearest(name, found)}")
        return found[name]

    def against(self, arm: Arm) -> Arm:
        """The arm that `arm` is compared with."""
        return self.baseline if arm.against is None else self.arm(arm.against)

    @property
    def series(self) -> dict[str, tuple[Arm, ...]]:
        """The lines over the levels by name, each with its arms by increasing level; empty where no arm is in one."""
        arms = sorted(self.all_arms, key=lambda arm: arm.level if isinstance(arm.level, float) else inf)
        names = dict.fromkeys(arm.series for arm in self.all_arms if arm.series is not None)
        return {name: tuple(arm for arm in arms if arm.series == name) for name in names}

    def recipe_of(self, arm: Arm) -> Recipe:
        """The recipe with the arm's changes."""
        return arm.changed("recipe", self.recipe)

    def data_of(self, arm: Arm, train_size: int | None = None) -> DataSpec:
        """The data with the arm's changes, at a training size of the study."""
        data = arm.changed("data", self.data)
        return data if train_size is None else replace(data, train_size=train_size)

    def pretraining(self, name: str, *, seeds: int = 1) -> Pretraining:
        """The arm of that name, with its own setting, as what other runs start from: also those of other studies."""
        arm = self.arm(name)
        return Pretraining(data=self.data_of(arm), recipe=self.recipe_of(arm), model=arm.model, seeds=seeds)

    def trial_updates(self, recipe: Recipe) -> int:
        """Updates of a trial of an arm's resolved recipe: as many images as other arms see, at most a confirm run's."""
        if self.search.updates is None:
            return max(1, round((self.search.share or 1.0) * recipe.total_updates))
        same_images = round(self.search.updates * self.recipe.batch_size / recipe.batch_size)
        return min(max(1, same_images), recipe.total_updates)

    def seeds_at(self, size: int | None) -> tuple[int, ...]:
        """The seeds that are run at a training size of the study."""
        is_long = None not in (self.long_from, size) and known(size) >= known(self.long_from)
        return self.seeds[: self.long_seeds] if is_long else self.seeds

    def searches_at(self, size: int | None) -> int:
        """The searches that are made of an arm at a training size: those that a seed confirms."""
        return min(self.search.repeats, len(self.seeds_at(size)))

    def search_of(self, seed: int) -> int:
        """Which of a cell's searches (0 to `search.repeats` - 1) chooses the setting of a confirm seed."""
        return self.seeds.index(seed) % self.search.repeats

    def trials_of(self, arm: Arm) -> int:
        """Trials of each of an arm's searches, the recipe's own setting included.

        Those asked for, or one for each setting where a space of choices has fewer; those beyond edges not counted.
        """
        space, own = self.search.space_of(arm), Setting(arm.model, self.recipe_of(arm).written_out())
        return int(min(self.search.trials, settings(space, {name: own.value(name) for name in space})))

    def most_beyond(self, arm: Arm) -> int:
        """Most trials that one of an arm's searches makes beyond the edges of its ranges."""
        return self.search.widenings * round_beyond(self.trials_of(arm), self.search.space_of(arm))

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

    def smallest_part(self, arm: Arm) -> int:
        """Images of the smallest part of a batch that any training of an arm may take, by its recipe and its search."""
        recipe, space = self.recipe_of(arm), self.search.space_of(arm)
        sizes = [recipe.batch_size, *(extremes(space["batch_size"]) if "batch_size" in space else ())]
        parts = [recipe.accumulate, *(extremes(space["accumulate"]) if "accumulate" in space else ())]
        return int(max(1, min(sizes) // max(parts)))

    def check_image(self, arm: Arm, size: int) -> None:
        """Refuse images of a side (pixels) that do not suit an arm: its model, its teacher, its start, its tests."""
        learned, start, shifts = self.recipe_of(arm).distillation, self.recipe_of(arm).start_from, self.test_shifts
        try:
            self.data_of(arm).check_moved(size)
            models = models_tried(self.search.space_of(arm), arm.model)
            for model in (*models, *([learned.teacher] if learned else [])):
                model.check_image(size)
            if start is not None:
                for model in models:
                    start.check(model, self.data_of(arm), size)
            if shifts and shifts[-1] >= size:
                raise InvalidInput(f"test_shifts is {shifts}; images have {size} pixels; shifts must be below that.")
        except InvalidInput as error:
            raise InvalidInput(f"Arm {arm.name!r}: {error}") from error

    def _check_arms(self) -> None:
        seen: dict[str, Any] = {}
        for arm in self.all_arms:
            require(arm.name not in seen, f"Two arms are called {arm.name!r}; every arm needs a name of its own.")
            content = (arm.model, self.recipe_of(arm).written_out(), self.data_of(arm))
            for name, other in seen.items():
                require(content != other, f"Arm {arm.name!r} equals arm {name!r}: same model, recipe and data.")
            seen[arm.name] = content
            self._check_draws(arm)
            self._check_made(arm)
            if arm.model.distillation_token and self.recipe_of(arm).distillation is None:
                raise InvalidInput(f"Arm {arm.name!r} has a distillation token, no teacher: set recipe.distillation.")
            if arm.against is not None and (arm is self.baseline or self.arm(arm.against) is arm):
                told = "name another arm, and none for the baseline."
                raise InvalidInput(f"Arm {arm.name!r} is compared with {arm.against!r}; {told}")
        for name, arms in self.series.items():
            levels = [arm.level for arm in arms]
            if not all(isinstance(level, float) for level in levels) or len(set(levels)) < len(levels):
                raise InvalidInput(f"Series {name!r} has the levels {levels}; each arm needs a number of its own.")

    def _check_made(self, arm: Arm) -> None:
        """Refuse images that cannot be made as asked, at any training size."""
        for size in self.train_sizes or (None,):
            try:
                self.data_of(arm, size).check_made(self.recipe_of(arm).epochs)
            except InvalidInput as error:
                raise InvalidInput(f"Arm {arm.name!r}: {error}") from error

    def _check_few_shot(self) -> None:
        if self.few_shot is None:
            return
        self.few_shot.check_images(self.few_shot.data.image_size)
        for arm in self.all_arms:
            if isinstance(arm.model, Module | Timm | Torchvision):
                told = "its head, whose inputs are the features, is known of ViTSpec, ResNetSpec and SwinSpec alone"
                raise InvalidInput(f"few_shot is set, and arm {arm.name!r} is of kind {arm.model.kind!r}: {told}.")

    def _check_draws(self, arm: Arm) -> None:
        """Refuse an arm that is tested on other images than the baseline, where each seed draws its own."""
        own, others = self.data_of(arm), self.data_of(self.baseline)
        for key in ("resplit", "split_seed") if own.resplit or others.resplit else ():
            if getattr(own, key) != getattr(others, key):
                raise InvalidInput(
                    f"Arm {arm.name!r} has data.{key} {getattr(own, key)}, the baseline {getattr(others, key)}; with "
                    "data.resplit they must be the same, so that all arms of a seed are tested on the same images."
                )


def changed_fields(before: ResolvedStudy | Mapping[str, Any], now: ResolvedStudy | Mapping[str, Any]) -> list[str]:
    """Dotted names of the fields in which two studies, or what is kept of them, differ, sorted."""
    old, new = (leaves(to_plain(study)) for study in (before, now))
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))

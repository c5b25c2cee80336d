"""From a study to its trainings: every run that will be made, with everything resolved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from itertools import product
from typing import Any

from harness.data import content_hash, resolve
from harness.records.kept_models import with_hash
from harness.spec import (
    TUNE_SEED,
    Arm,
    DataSpec,
    InvalidInput,
    ModelSpec,
    Recipe,
    ResolvedStudy,
    Run,
    RunConfig,
    SourceFacts,
)
from harness.spec.checks import known
from harness.spec.errors import require
from harness.spec.few_shot import FewShot
from harness.spec.formats import counted
from harness.spec.recipe import StartFrom
from harness.spec.run import Phase
from harness.spec.search import Setting

Resolve = Callable[[DataSpec], tuple[DataSpec, SourceFacts]]


@lru_cache(maxsize=256)
def _with_values(own: Setting, values: tuple[tuple[str, type, Any], ...]) -> Setting:
    """A setting with nuisance values, whose types tell 1 from True."""
    return own.with_values({name: value for name, _, value in values})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm at one training size: what is tuned, and confirmed on every seed."""

    arm: Arm
    recipe: Recipe  # with its budget in updates
    data: DataSpec  # with every size written out
    facts: SourceFacts
    data_hash: str
    trial_updates: int
    searches: int  # independent ones
    trials: int  # of each search, trial 0 included, without those beyond the edges of its ranges
    most_beyond: int  # trials that a search makes beyond these edges, at most
    seeds: tuple[int, ...]
    test_shifts: tuple[int, ...]
    few_shot: FewShot | None  # with every size of its data written out; None where none is asked for
    few_shot_hash: str
    parameters: tuple[str, ...]  # nuisance parameters: fields of the recipe or, as `model.FIELD`, of the model

    @property
    def key(self) -> tuple[str, int]:
        """Arm name and training size."""
        return self.arm.name, known(self.data.size)

    @property
    def own_values(self) -> dict[str, Any]:
        """The arm's own setting of the nuisance parameters: trial 0 of every search."""
        own = Setting(self.arm.model, self.recipe)
        return {name: own.value(name) for name in self.parameters}

    @property
    def trials_in_all(self) -> int:
        """Trials of all searches, without those beyond the edges of ranges."""
        return self.searches * self.trials

    @property
    def trial_images(self) -> int:
        """Training images of a trial."""
        return self.trial_updates * self.recipe.batch_size

    @property
    def images_planned(self) -> int:
        """Training images over all trials (without those beyond the edges of ranges) and confirm runs."""
        return self.trials_in_all * self.trial_images + len(self.seeds) * self.recipe.total_images

    def trial(self, number: int, values: Mapping[str, Any], search: int = 0) -> Run:
        """A training of a search: scored on validation, on a seed that no confirm run has.

        All trials of a search have one seed, so that settings are compared on the same training and validation images;
        another search has another, and measures all of its settings afresh.
        """
        run = self._run("tune", TUNE_SEED + search, replace(self.recipe, updates=self.trial_updates), values)
        return replace(run, trial=number, search=search if self.searches > 1 else None)

    def confirm(self, seed: int, values: Mapping[str, Any], search: int | None = None) -> Run:
        """A training of a chosen setting on a fresh seed, scored once on the test split."""
        return replace(self._run("confirm", seed, self.recipe, values), search=search if self.searches > 1 else None)

    def _run(self, phase: Phase, seed: int, recipe: Recipe, values: Mapping[str, Any]) -> Run:
        own = Setting(self.arm.model, recipe)
        found = _with_values(own, tuple((name, type(value), value) for name, value in values.items()))
        config = RunConfig(
            phase=phase,
            seed=seed,
            model=found.model,
            recipe=found.recipe,
            data=self.data,
            data_hash=self.data_hash,
            channels=self.facts.channels,
            classes=self.facts.classes,
            **({} if phase == "tune" else _of_confirm_runs(self)),
        )
        return Run(arm=self.arm.name, config=config, values=dict(values))


def _of_confirm_runs(cell: Cell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in ("test_shifts", "few_shot", "few_shot_hash")}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a study will train."""

    study: ResolvedStudy
    cells: tuple[Cell, ...]

    @property
    def data(self) -> tuple[DataSpec, ...]:
        """Every data set that is loaded, once, whatever subsets are taken of it."""
        return tuple(dict.fromkeys(replace(cell.data, train_size=None) for cell in self.cells))

    @property
    def surveyed(self) -> tuple[DataSpec, ...]:
        """Of `data`, those that differ in more than how an image is shown: each at its largest size."""
        by_size = sorted(self.data, key=lambda spec: spec.image_size or 0)
        found = {
            (spec.source, spec.read_from, spec.validation_size, spec.split_seed, spec.resplit): spec for spec in by_size
        }
        return tuple(found.values())

    @property
    def runs(self) -> int:
        """Trainings in all, tuning and confirming, without trials beyond the edges of ranges."""
        return sum(cell.trials_in_all + len(cell.seeds) for cell in self.cells)

    @property
    def most_runs(self) -> int:
        """Trainings where every search goes on beyond an edge of its ranges as often as it may."""
        return self.runs + sum(cell.searches * cell.most_beyond for cell in self.cells)


def make_plan(study: ResolvedStudy) -> Plan:
    """Resolve every cell of a study; trains nothing. Raises `InvalidInput` for what cannot be trained."""
    resolved, hashes, cells = cache(resolve), dict[object, str](), []
    started = cache(partial(_resolved_start, resolved=resolved))
    for arm, size in study.cells:
        asked = study.data_of(arm, size)
        data, facts = resolved(asked)
        images = asked.source, asked.made
        if images not in hashes:
            hashes[images] = content_hash(asked)
        study.check_image(arm, facts.image_size)  # a folder's images are known only now
        recipe, data = _with_budget(study.recipe_of(arm), data)
        if recipe.start_from is not None:
            recipe = replace(recipe, start_from=started(recipe.start_from, arm.name, arm.model, asked, facts))
        trial_updates = study.trial_updates(recipe)
        _check_batch_sizes(study, arm, recipe, (trial_updates, recipe.total_updates))
        few_shot, few_shot_hash = _few_shot(study, facts, resolved, hashes)
        cell = Cell(
            arm=arm,
            recipe=recipe,
            data=data,
            facts=facts,
            data_hash=hashes[images],
            trial_updates=trial_updates,
            searches=study.searches_at(size),
            trials=study.trials_of(arm),
            most_beyond=study.most_beyond(arm),
            seeds=study.seeds_at(size),
            test_shifts=study.test_shifts,
            few_shot=few_shot,
            few_shot_hash=few_shot_hash,
            parameters=tuple(sorted(study.search.space_of(arm))),
        )
        cells.append(cell)
    return Plan(study=study, cells=tuple(cells))


def _with_budget(recipe: Recipe, data: DataSpec) -> tuple[Recipe, DataSpec]:
    """Budget and training images as numbers: of images without end, as many as the budget, each seen once."""
    data.check_made(recipe.epochs)
    recipe = recipe.resolved(data.size or 0)
    return recipe, replace(data, train_size=recipe.total_images) if data.is_unlimited else data


def _resolved_start(
    start: StartFrom, arm: str, model: ModelSpec, data: DataSpec, facts: SourceFacts, *, resolved: Resolve
) -> StartFrom:
    """Where an arm starts from, with nothing left open: model, sizes, the data's hash or that of the file.

    Raises `InvalidInput` for what the images of the arm, of `data` and `facts`, do not go with, and for a missing file.
    """
    if (made := start.pretraining) is None:
        return replace(start, file=with_hash(known(start.file)))
    before, found = resolved(made.data)
    recipe, before = _with_budget(made.recipe, before)
    require(
        found.channels == facts.channels,
        f"Arm {arm!r} starts from a model of images with {counted(found.channels, 'channel')}, and its own have "
        f"{facts.channels}. Use images of as many channels for both.",
    )
    made = replace(
        made,
        recipe=recipe,
        model=made.model or model,
        data_hash=content_hash(before),
        channels=found.channels,
        classes=found.classes,
    )
    try:  # again: the sizes of some sources are known only now
        replace(start, pretraining=replace(made, data=replace(made.data, image_size=found.image_size))).check(
            model, data, facts.image_size
        )
    except InvalidInput as error:
        raise InvalidInput(f"Arm {arm!r}: {error}") from error
    return replace(start, pretraining=replace(made, data=before))


def _few_shot(
    study: ResolvedStudy,
    facts: SourceFacts,
    resolved: Resolve,
    hashes: dict[object, str],
) -> tuple[FewShot | None, str]:
    """The evaluation on another task, its images of the size of `facts`, and the hash of that task."""
    asked = study.few_shot
    if asked is None:
        return None, ""
    data, known_of_it = resolved(replace(asked.data, image_size=facts.image_size))
    # The smallest class has no more than the mean; what it has is counted before the first run.
    asked.check_target(known(data.size) // known_of_it.classes, known_of_it.channels, facts.channels)
    images = data.source, data.made
    if images not in hashes:
        hashes[images] = content_hash(data)
    return replace(asked, data=data), hashes[images]


def _check_batch_sizes(study: ResolvedStudy, arm: Arm, recipe: Recipe, lengths: tuple[int, ...]) -> None:
    """Refuse a tuned batch size in which no number of updates sees the images of a training of these updates."""
    tuned = study.search.space_of(arm).get("batch_size")
    for size, updates in product(getattr(tuned, "values", ()), lengths):
        images = updates * recipe.batch_size
        require(
            images % size == 0,
            f"search tries batch size {size} for arm {arm.name!r}, and the {images:,} images that a training sees are "
            f"not a whole number of such batches. Take sizes that divide {images:,}, or another number of updates.",
        )

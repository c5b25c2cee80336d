"""From a study to its trainings: every run that will be made, with everything resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product
from typing import Any

from harness.data import content_hash, resolve
from harness.spec import TUNE_SEED, Arm, DataSpec, Recipe, ResolvedStudy, Run, RunConfig, SourceFacts
from harness.spec.checks import known
from harness.spec.errors import require
from harness.spec.run import Phase
from harness.spec.search import Setting


@lru_cache(maxsize=256)
def _with_values(own: Setting, values: tuple[tuple[str, type, Any], ...]) -> Setting:
    """A setting with nuisance values, whose types tell 1 from True."""
    return own.with_values({name: value for name, _, value in values})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm at one training size: what is tuned once and confirmed on every seed."""

    arm: Arm
    recipe: Recipe  # with its budget in updates
    data: DataSpec  # with every size written out
    facts: SourceFacts
    data_hash: str
    trial_updates: int
    trials: int
    seeds: tuple[int, ...]
    test_shifts: tuple[int, ...]
    parameters: tuple[str, ...]  # nuisance parameters: fields of the recipe or, as `model.FIELD`, of the model

    @property
    def key(self) -> tuple[str, int]:
        """Arm name and training size."""
        return self.arm.name, known(self.data.train_size)

    @property
    def own_values(self) -> dict[str, Any]:
        """The arm's own setting of the nuisance parameters: trial 0 of every search."""
        own = Setting(self.arm.model, self.recipe)
        return {name: own.value(name) for name in self.parameters}

    @property
    def images_planned(self) -> int:
        """Training images over all trials and confirm runs."""
        return self.trials * self.trial_updates * self.recipe.batch_size + len(self.seeds) * self.recipe.total_images

    def trial(self, number: int, values: Mapping[str, Any]) -> Run:
        """A training of the search: scored on validation, on a seed that no confirm run has."""
        return self._run("tune", TUNE_SEED, replace(self.recipe, updates=self.trial_updates), values, number)

    def confirm(self, seed: int, values: Mapping[str, Any]) -> Run:
        """A training of the chosen setting on a fresh seed, scored once on the test split."""
        return self._run("confirm", seed, self.recipe, values)

    def _run(self, phase: Phase, seed: int, recipe: Recipe, values: Mapping[str, Any], trial: int | None = None) -> Run:
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
            test_shifts=self.test_shifts if phase == "confirm" else (),
        )
        return Run(arm=self.arm.name, config=config, trial=trial, values=dict(values))


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
        found = {(spec.source, spec.validation_size, spec.split_seed, spec.resplit): spec for spec in by_size}
        return tuple(found.values())

    @property
    def runs(self) -> int:
        """Trainings in all, tuning and confirming."""
        return sum(cell.trials + len(cell.seeds) for cell in self.cells)


def make_plan(study: ResolvedStudy) -> Plan:
    """Resolve every cell of a study; trains nothing. Raises `InvalidInput` for what cannot be trained."""
    resolved, hashes, cells = cache(resolve), dict[str, str](), []
    for arm, size in study.cells:
        asked = study.data_of(arm, size)
        data, facts = resolved(asked)
        if asked.source not in hashes:
            hashes[asked.source] = content_hash(asked)
        study.check_image(arm, facts.image_size)  # a folder's images are known only now
        recipe = study.recipe_of(arm).resolved(known(data.train_size))
        trial_updates = study.trial_updates(recipe)
        _check_batch_sizes(study, arm, recipe, (trial_updates, recipe.total_updates))
        cell = Cell(
            arm=arm,
            recipe=recipe,
            data=data,
            facts=facts,
            data_hash=hashes[asked.source],
            trial_updates=trial_updates,
            trials=study.trials_of(arm),
            seeds=study.seeds,
            test_shifts=study.test_shifts,
            parameters=tuple(sorted(study.search.space_of(arm))),
        )
        cells.append(cell)
    return Plan(study=study, cells=tuple(cells))


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

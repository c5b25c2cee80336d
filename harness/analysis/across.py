"""Two studies side by side: which arms both have, how these differ, and what else was not the same."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import eq
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import Cell, Cells, cells_of, frame, generator
from harness.analysis.comparisons import holm
from harness.analysis.estimate import MeanEstimate, estimate_mean
from harness.analysis.summary import unfinished
from harness.analysis.wording import listed
from harness.records.run_table import StudyRecords
from harness.spec import NAMED_SOURCES, DataSpec, Recipe, ResolvedStudy, to_plain
from harness.spec.plural import counted
from harness.spec.run import leaves

SHARED_COLUMNS: dict[str, str] = {
    "first_arm": "str",
    "second_arm": "str",
    "train_size": "Int64",
    "n": "Int64",
    "first_n": "Int64",
    "first_mean": "float64",
    "second_n": "Int64",
    "second_mean": "float64",
    "difference": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "p_value": "float64",
    "p_holm": "float64",
    "same_runs": "Int64",
}
"""Arms with the same model, recipe and data in both studies: mean test accuracy of each, and the paired difference
(second - first) over the `n` seeds that completed in both, NaN where a run of either has no result; `same_runs` of them
are of the very same configuration (tuned values too), so that they differ by chance, machine or code alone. `p_holm`
corrects over the rows."""

KIN_COLUMNS: dict[str, str] = {
    "first_arm": "str",
    "second_arm": "str",
    "first_size": "Int64",
    "second_size": "Int64",
    "first_mean": "float64",
    "second_mean": "float64",
    "differs": "str",
}
"""Arms with the same model and training size whose recipe or data is another: `differs` names the fields."""

PLACES = ("first", "second")
"""Tell two results of one study and scale apart."""


@dataclass(frozen=True, kw_only=True)
class Across:
    """What two studies have in common."""

    shared: pd.DataFrame
    """SHARED_COLUMNS."""
    kin: pd.DataFrame
    """KIN_COLUMNS."""
    settings: tuple[tuple[str, str, str], ...]
    """Fields in which the studies' data, recipe, search and seeds differ, with both values."""
    cautions: tuple[str, ...]
    """Sentences on what makes the two less comparable, or says that nothing is shared."""


@dataclass(frozen=True)
class _Side:
    """One study with what its cells were trained on."""

    records: StudyRecords
    cells: Cells

    @property
    def study(self) -> ResolvedStudy:
        return self.cells.study

    def data(self, cell: Cell) -> DataSpec:
        """The data of a cell with the source's numbers written out."""
        spec = replace(self.study.data_of(self.study.arm(cell[0])), train_size=self.cells.train_size(cell))
        facts = NAMED_SOURCES.get(spec.source)
        if facts is None:
            return spec
        held_out = spec.validation_size or facts.validation_images
        return replace(
            spec,
            image_size=spec.image_size or facts.image_size,
            validation_size=held_out,
            train_size=spec.train_size or facts.train_images - held_out,
        )

    def recipe(self, cell: Cell) -> Recipe:
        """The recipe of a cell with its budget in updates, where the number of training images is known."""
        recipe, size = self.study.recipe_of(self.study.arm(cell[0])), self.data(cell).train_size
        if size is None:
            return recipe
        return replace(recipe, updates=recipe.resolved_updates(size), epochs=None, images=None)

    def tuned(self, cell: Cell) -> set[str]:
        """The fields of the recipe that a search has set."""
        search = self.study.search
        return set(search.space_of(self.study.arm(cell[0]))) if search.trials else set()

    def known(self, key: str) -> str:
        value = self.records.provenance.get(key, "1" if key == "numerics" else None)  # 1 before it was counted
        return "" if value is None else str(value)


def across(first: StudyRecords, second: StudyRecords, *, seed: int = 0, resamples: int = 2000) -> Across:
    """Compare two studies; `seed` and `resamples` are those of the bootstrap over test images."""
    one, two = (_Side(records, cells_of(records)) for records in (first, second))
    hashes = {side.known("data_hash") for side in (one, two)} - {""}
    same_data = len(hashes) < 2
    shared, kin = [], []
    for cell in one.cells.rows:
        for other in two.cells.rows:
            if one.study.arm(cell[0]).model != two.study.arm(other[0]).model:
                continue
            differs = _differences(one, cell, two, other)
            if not differs and same_data:
                shared.append(_shared_row(one, cell, two, other, seed, resamples))
            elif one.data(cell).train_size == two.data(other).train_size:
                kin.append(_kin_row(one, cell, two, other, differs or ["the data's content"]))
    adjusted = holm([row["p_value"] for row in shared])
    shared = [row | {"p_holm": p} for row, p in zip(shared, adjusted, strict=True)]
    return Across(
        shared=frame(shared, SHARED_COLUMNS),
        kin=frame(kin, KIN_COLUMNS),
        settings=_settings(one, two),
        cautions=tuple(_cautions(one, two, len(shared), same_data=same_data)),
    )


def _differences(one: _Side, cell: Cell, two: _Side, other: Cell) -> list[str]:
    """Dotted names of the fields of data and recipe in which two cells differ; a field that both tune is the same."""
    before = {"data": to_plain(one.data(cell)), "recipe": to_plain(one.recipe(cell))}
    after = {"data": to_plain(two.data(other)), "recipe": to_plain(two.recipe(other))}
    old, new = leaves(before), leaves(after)
    tuned = tuple(f"recipe.{key}." for key in one.tuned(cell) & two.tuned(other))
    differing = (key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return sorted(key for key in differing if not f"{key}.".startswith(tuned))


def _shared_row(one: _Side, cell: Cell, two: _Side, other: Cell, seed: int, resamples: int) -> dict[str, Any]:
    seeds = tuple(sorted(set(one.cells.completed(cell)) & set(two.cells.completed(other))))
    rng = generator(seed, "across", one.study.name, cell, two.study.name, other)
    paired = _difference(one.cells, cell, two.cells, other, seeds, rng, resamples)
    return {
        "first_arm": cell[0],
        "second_arm": other[0],
        "train_size": one.data(cell).train_size,
        "n": paired.n,
        "first_n": len(one.cells.completed(cell)),
        "first_mean": one.cells.mean(cell, "test_accuracy"),
        "second_n": len(two.cells.completed(other)),
        "second_mean": two.cells.mean(other, "test_accuracy"),
        "difference": paired.value,
        "ci_low": paired.ci_low,
        "ci_high": paired.ci_high,
        "p_value": paired.p_value(),
        "same_runs": sum(map(eq, one.cells.digests(cell, seeds), two.cells.digests(other, seeds))),
    }


def _difference(
    one: Cells, cell: Cell, two: Cells, other: Cell, seeds: tuple[int, ...], rng: np.random.Generator, resamples: int
) -> MeanEstimate:
    """The paired difference second - first: by seed, and by test image where both kept their predictions.

    NaN where runs lack a result: those that are left may flatter either.
    """
    if unfinished(one, cell) or unfinished(two, other):
        return MeanEstimate(seeds=seeds, value=math.nan)
    values = two.values(other, "test_accuracy", seeds) - one.values(cell, "test_accuracy", seeds)
    before, after = one.answers(cell, seeds), two.answers(other, seeds)
    images = None
    if before is not None and after is not None and before.shape == after.shape:
        images = after.astype(np.int8) - before.astype(np.int8)
    return estimate_mean(seeds, values, images, rng, resamples=resamples)


def _kin_row(one: _Side, cell: Cell, two: _Side, other: Cell, differs: list[str]) -> dict[str, Any]:
    return {
        "first_arm": cell[0],
        "second_arm": other[0],
        "first_size": one.data(cell).train_size,
        "second_size": two.data(other).train_size,
        "first_mean": one.cells.mean(cell, "test_accuracy"),
        "second_mean": two.cells.mean(other, "test_accuracy"),
        "differs": ", ".join(differs),
    }


def _settings(one: _Side, two: _Side) -> tuple[tuple[str, str, str], ...]:
    """Fields of the studies' protocol (not their arms, claims and texts) that differ, with both values as text."""
    parts = ("data", "recipe", "search", "seeds", "train_sizes", "test_shifts")
    old, new = (leaves({part: to_plain(getattr(side.study, part)) for part in parts}) for side in (one, two))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return tuple((key, _told(old, key), _told(new, key)) for key in keys)


def _told(leaves: dict[str, Any], key: str) -> str:
    if key not in leaves:
        return "not set"
    value = leaves[key]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _cautions(one: _Side, two: _Side, shared: int, *, same_data: bool) -> Iterable[str]:
    names = [f"{side.study.name} ({side.study.scale})" for side in (one, two)]
    names = names if names[0] != names[1] else [f"{name}, {place}" for name, place in zip(names, PLACES, strict=True)]
    if not same_data:
        yield "The data are not the same (their SHA-256 differ), so no arm counts as shared."
    elif not shared:
        yield "No arm has the same model, recipe and data in both studies, so no difference between them is computed."
    for key, told in (
        ("numerics", "numerics of the training code; a difference may come from the code"),
        ("device", "devices; images per second and memory are not comparable"),
        ("precision", "precisions; a difference may come from rounding"),
        ("torch", "versions of torch"),
    ):
        values = (one.known(key), two.known(key))
        if all(values) and values[0] != values[1]:
            both = listed(f"{value} in {name}" for value, name in zip(values, names, strict=True))
            yield f"The studies were made with different {told}: {both}."
    trials = tuple(side.study.search.trials for side in (one, two))
    if trials[0] != trials[1]:
        both = listed(f"{counted(count, 'trial')} per arm in {name}" for count, name in zip(trials, names, strict=True))
        yield f"The arms were not tuned alike: {both}."
    for side, name in zip((one, two), names, strict=True):
        lost = sum(side.cells.state(cell, each) != "completed" for cell in side.cells.rows for each in side.study.seeds)
        if lost:
            yield (
                f"{counted(lost, 'confirm run')} of {name} {'has' if lost == 1 else 'have'} no result. Differences of "
                "the arms concerned are not computed: the remaining runs may flatter one of them."
            )

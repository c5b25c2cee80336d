"""Two results side by side: of one study, whether the second agrees with the first; of two, how shared arms differ."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pandas as pd

from harness.analysis.estimate import MeanEstimate, estimate_mean, holm
from harness.analysis.evidence import Evidence, evidence_of, weighted_answers
from harness.analysis.findings import columns, frame
from harness.analysis.replication import Replication, difference_of, is_one_study, replication
from harness.analysis.wording import Cell, listed
from harness.records.run_table import StudyRecords
from harness.spec import NAMED_SOURCES, to_plain
from harness.spec.formats import counted
from harness.spec.run import leaves

_TYPES = dict.fromkeys(("first_n", "second_n", "first_size", "second_size", "same_runs"), "Int64")
_TYPES |= dict.fromkeys(("first_arm", "second_arm", "differs"), "str")

SHARED_COLUMNS = columns(
    "first_arm second_arm train_size n first_n first_mean second_n second_mean "
    "difference ci_low ci_high p_value p_holm same_runs",
    **_TYPES,
)
"""Arms with the same model, recipe and data in both studies: mean test accuracy of each, and the difference (second -
first), NaN where a run of either has no result; paired over the `n` seeds that completed in both, or unpaired where the
seeds or the numbers of searches are others. `same_runs` of the n are of the very same configuration (tuned values too),
so that they differ by chance, machine or code alone. `p_holm` corrects over the rows."""

KIN_COLUMNS = columns("first_arm second_arm first_size second_size first_mean second_mean differs", **_TYPES)
"""Arms with the same model and training size whose recipe or data is another: `differs` names the fields."""

PLACES = ("first", "second")  # tell two results of one study and scale apart

_PROTOCOL = ("data", "recipe", "search", "seeds", "train_sizes", "test_shifts", "few_shot")
"""Fields of a study that are compared as a whole: not its arms, claims and texts."""

_ORIGINS = {
    "numerics": "numerics of the training code; a difference may come from the code",
    "device": "devices; images per second and memory are not comparable",
    "precision": "precisions; a difference may come from rounding",
    "torch": "versions of torch",
}


@dataclass(frozen=True, kw_only=True)
class Across:
    """What two results have in common."""

    shared: pd.DataFrame  # SHARED_COLUMNS
    kin: pd.DataFrame  # KIN_COLUMNS
    settings: tuple[tuple[str, str, str], ...]
    """Fields in which the studies' data, recipe, search and seeds differ, with both values."""
    cautions: tuple[str, ...]  # sentences on what makes the two less comparable, or says that nothing is shared
    replication: Replication | None = None  # where both are runs of one study on the same data; `shared` is then empty


def across(first: StudyRecords, second: StudyRecords) -> Across:
    """Compare two studies."""
    one, two = (evidence_of(records) for records in (first, second))
    same_data = len({_origin(side, "data_hash") for side in (one, two)} - {""}) < 2
    old, new = (leaves({part: to_plain(getattr(side.study, part)) for part in _PROTOCOL}) for side in (one, two))
    settings = tuple((name, _told(old, name), _told(new, name)) for name in _differing(old, new))
    if same_data and is_one_study(one.study, two.study):
        again = replication(one, two)
        return Across(
            shared=frame([], SHARED_COLUMNS),
            kin=frame([], KIN_COLUMNS),
            settings=settings,
            cautions=(*_cautions(one, two), *again.cautions),
            replication=again,
        )
    shared, kin = [], []
    for cell, other in product(one.rows, two.rows):
        if one.study.arm(cell[0]).model != two.study.arm(other[0]).model:
            continue
        before, after = _setting(one, cell), _setting(two, other)
        tuned = tuple(f"recipe.{name}." for name in _tuned(one, cell) & _tuned(two, other))
        differs = [name for name in _differing(before, after) if not f"{name}.".startswith(tuned)]
        names, size = (cell[0], other[0]), before["data.train_size"]
        means = one.mean(cell, "test_accuracy"), two.mean(other, "test_accuracy")
        if not differs and same_data:
            found, common = _difference(one, cell, two, other), _common(one, cell, two, other)
            sides = (len(one.completed(cell)), means[0], len(two.completed(other)), means[1])
            same = set(one.digests(cell, common)) & set(two.digests(other, common))
            interval = (found.value, found.ci_low, found.ci_high, found.p_value())
            shared.append((*names, size, len(common), *sides, *interval, math.nan, len(same)))
        elif size == after["data.train_size"]:
            kin.append((*names, size, size, *means, ", ".join(differs or ["the data's content"])))
    table = frame(shared, SHARED_COLUMNS)
    alone = [] if shared else ["No arm has the same model, recipe and data in both studies: no difference is computed."]
    if not same_data:
        alone = ["The data are not the same (their SHA-256 differ), so no arm counts as shared."]
    return Across(
        shared=table.assign(p_holm=holm(table["p_value"].tolist())),
        kin=frame(kin, KIN_COLUMNS),
        settings=settings,
        cautions=(*alone, *_cautions(one, two)),
    )


def _setting(side: Evidence, cell: Cell) -> dict[str, Any]:
    """Data and recipe of a cell by their dotted names: the source's numbers written out, the budget in updates."""
    arm = side.study.arm(cell[0])
    data, recipe = replace(side.study.data_of(arm), train_size=side.train_size(cell)), side.study.recipe_of(arm)
    if facts := NAMED_SOURCES.get(data.source):
        held_out = data.validation_size or facts.validation_images
        size = data.size or facts.train_images - held_out
        image_size = data.image_size or facts.image_size
        data = replace(data, image_size=image_size, validation_size=held_out, train_size=size)
    if data.size is not None:
        updates = recipe.resolved_updates(data.size)
        recipe = replace(recipe, updates=updates, epochs=None, images=None, least_epochs=None)
    return leaves({"data": to_plain(data), "recipe": to_plain(recipe)})


def _tuned(side: Evidence, cell: Cell) -> set[str]:
    """The fields of the recipe that a search has set."""
    search = side.study.search
    return set(search.space_of(side.study.arm(cell[0]))) if search.trials else set()


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _common(one: Evidence, cell: Cell, two: Evidence, other: Cell) -> tuple[int, ...]:
    """Seeds that completed in both, ascending."""
    return tuple(sorted(set(one.completed(cell)) & set(two.completed(other))))


def _difference(one: Evidence, cell: Cell, two: Evidence, other: Cell) -> MeanEstimate:
    """The difference second - first, paired by seed, and by test image where both kept their predictions.

    Unpaired where they have other seeds or take these from other numbers of searches. NaN where runs lack a result:
    those that are left may flatter either.
    """
    seeds = _common(one, cell, two, other)
    if one.unfinished(cell) or two.unfinished(other):
        return MeanEstimate(seeds=seeds, value=math.nan)
    if one.completed(cell) != two.completed(other) or one.study.search.repeats != two.study.search.repeats:
        return difference_of(one.contrast({cell: 1.0}), two.contrast({other: 1.0}))
    values = two.values(other, "test_accuracy", seeds) - one.values(cell, "test_accuracy", seeds)
    images = weighted_answers([(1, two.predictions(other, seeds)), (-1, one.predictions(cell, seeds))])
    level = max(one.level, two.level)
    return estimate_mean(seeds, values, images, replicates=one.replicates(seeds), level=level)


def _told(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name, "not set")
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else "none" if value is None else str(value)


def _origin(side: Evidence, key: str) -> str:
    value = side.records.provenance.get(key, "1" if key == "numerics" else None)  # 1 before it was counted
    return "" if value is None else str(value)


def _cautions(one: Evidence, two: Evidence) -> Iterator[str]:
    names = [f"{side.study.name} ({side.study.scale})" for side in (one, two)]
    if names[0] == names[1]:
        names = [f"{name}, {place}" for name, place in zip(names, PLACES, strict=True)]
    for key, told in _ORIGINS.items():
        values = _origin(one, key), _origin(two, key)
        if all(values) and values[0] != values[1]:
            both = listed(f"{value} in {name}" for value, name in zip(values, names, strict=True))
            yield f"The studies were made with different {told}: {both}."
    searches = [(side.study.search.trials, side.study.search.repeats) for side in (one, two)]
    if searches[0] != searches[1]:
        both = listed(
            f"{counted(trials, 'trial')} {f'in each of {repeats} searches ' if repeats > 1 else ''}per arm in {name}"
            for (trials, repeats), name in zip(searches, names, strict=True)
        )
        yield f"The arms were not tuned alike: {both}."
    for side, name in zip((one, two), names, strict=True):
        lost = side.planned_runs - sum(len(side.completed(cell)) for cell in side.rows)
        if lost:
            yield (
                f"{counted(lost, 'confirm run')} of {name} {'has' if lost == 1 else 'have'} no result. Differences of "
                "the arms concerned are not computed: the remaining runs may flatter one of them."
            )

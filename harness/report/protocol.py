"""How the arms were trained, as the study asks for it: the table that a reader needs to judge or repeat a result."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from harness.records import csv_text
from harness.records.run_table import StudyRecords
from harness.report.table import Table, text_table
from harness.spec import Choice, LogUniform, ResolvedStudy, Uniform, to_plain
from harness.spec.formats import count, plain, words
from harness.spec.plural import counted
from harness.spec.search import OF_MODEL, STARTUP_TRIALS


def protocol_table(records: StudyRecords) -> Table:
    """A row per setting of data, recipe and search; what is tuned shows its range, what an arm changes its value."""
    rows = list(_rows(records.study))
    csv = csv_text.from_frame(pd.DataFrame(rows, columns=["setting", "value"]))
    return text_table("protocol", "How every arm was trained", ("Setting", "Value"), rows, csv=csv)


def _rows(study: ResolvedStudy) -> Iterator[tuple[str, str]]:
    tuned = study.search.space if study.search.trials else {}
    yield from _settings("Data", to_plain(study.data), {})
    if study.train_sizes:
        yield "Training sizes", ", ".join(map(count, study.train_sizes))
    yield from _settings("Recipe", to_plain(study.recipe.written_out()), dict(tuned))
    yield "Confirm seeds", ", ".join(map(str, study.seeds))
    yield from _search(study)
    for arm in study.all_arms:
        for key, value in arm.changes.items():
            yield f"{arm.name} changes {words(key)}", _text(to_plain(value))
        own = study.recipe_of(arm)
        if own.optimizer != study.recipe.optimizer:  # what is not set is then the other optimiser's usual setting
            for key, usual in (("learning_rate", own.rate), ("weight_decay", own.decay)):
                if getattr(own, key) is None:
                    yield f"{arm.name} changes {words(f'recipe.{key}')}", _text(usual)


def _settings(part: str, fields: dict[str, Any], tuned: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The fields that are set; None says only that another field, or the source, decides."""
    for name, value in fields.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _settings(part, value, tuned, f"{key}.")
        elif key in tuned:
            yield f"{part}: {words(key)}", f"tuned, {_range(tuned[key])}"
        elif value is not None:
            yield f"{part}: {words(key)}", _text(value)


def _search(study: ResolvedStudy) -> Iterator[tuple[str, str]]:
    search = study.search
    if not search.trials:
        yield "Search", "none: every arm has the recipe's own setting"
        return
    length = "as long as the confirm runs" if search.updates is None else f"of {counted(search.updates, 'update')}"
    learns = search.sampler == "tpe" and search.trials > STARTUP_TRIALS
    drawn = f"then {STARTUP_TRIALS - 1} at random, then by TPE" if learns else "then at random"
    told = "the recipe's own setting" if search.trials == 1 else f"the recipe's own setting, {drawn}"
    yield "Search", f"{counted(search.trials, 'trial')} per arm ({told}), {length}"
    of_model = {name: found for name, found in search.space.items() if name.startswith(OF_MODEL)}
    for families, spaces in (("every", {"arm": of_model}), ("family", search.by_family), ("arm", search.by_arm)):
        for owner, space in spaces.items():
            for key, distribution in space.items():
                told = "not tuned" if distribution is None else _range(distribution)
                yield f"Search: {words(key)}, {families} {owner}", told


def _range(distribution: Any) -> str:
    match distribution:
        case LogUniform(low=low, high=high):
            return f"{plain(low)} to {plain(high)}, logarithmic"
        case Uniform(low=low, high=high):
            return f"{plain(low)} to {plain(high)}"
        case Choice(values=values):
            return "one of " + ", ".join(map(_text, values))
    raise AssertionError(distribution)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return plain(value, 6)
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{words(key)} {_text(item)}" for key, item in value.items())
    return "none" if value is None else str(value)

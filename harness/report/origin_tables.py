"""Tables of how the results came about: tuning, runs without a result, the data's images, settings, provenance."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.looks import current, level_for
from harness.analysis.tuning import share_first_trial
from harness.records.data_facts import PART_NAMES, of_provenance
from harness.records.run_table import StudyRecords
from harness.report.result_tables import arm_column, size_column
from harness.report.table import Cell, Column, Table, make_table, number_column, text_column, text_of, text_table
from harness.report.view import Row, View, rows_of
from harness.spec import Choice, LogUniform, Pretraining, ResolvedStudy, StartFrom, Uniform, to_plain
from harness.spec.formats import NONE, confidence, count, counted, duration, number, percent, plain, words
from harness.spec.run import leaves
from harness.spec.search import OF_MODEL, STARTUP_TRIALS

_UNFINISHED = ("diverged", "out_of_memory", "failed", "missing")
"""Ways in which a planned run has no result: columns of `findings.arms`."""

_PROVENANCE = {
    "created": "Created",
    "patchbench_version": "patchbench",
    "git_revision": "Git revision",
    "data_source": "Data",
    "data_hash": "Data, SHA-256",
    "code_fingerprint": "Training code, fingerprint",
    "precision": "Precision",
    "device": "Device",
    "cards": "Cards",
    "cards_per_run": "Cards per run",
    "set_aside": "Cards set aside",
    "cpu": "CPU",
    "cores": "Cores",
    "threads": "Threads",
    "platform": "Platform",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "wall_seconds": "Wall time of the last launch",
}
_MOST_CLASSES = 50  # rows of the table of classes; the file to download has all


def tuning_table(view: View) -> Table:
    """Tuning per arm: what was spent, what was chosen, and how near to the edge of its range."""
    audit = view.findings.audit
    names = [str(name).removeprefix("p.") for name in audit.columns if str(name).startswith("p.")]
    several, has_beyond = view.study.search.repeats > 1, bool(audit["beyond"].any())
    columns = (
        arm_column(view),
        size_column(view),
        *([number_column("Search", "search", count)] if several else []),
        number_column("Trials", "trials", count),
        *([Column("Of them beyond edges", _trials_beyond, numeric=True)] if has_beyond else []),
        number_column("Completed", "completed", count),
        number_column("Images seen", "images", count),
        number_column("Best validation accuracy", "best_validation_accuracy", percent),
        *(Column(f"Chosen {words(name)} (to edge)", partial(_chosen, name), numeric=True) for name in names),
        Column("On the edge of its range", lambda row: Cell(text_of(row["at_edge"]) or "none")),
    )
    note = "To edge: distance of the chosen value to the nearer end of its range, as a share of the range's width."
    if (audit["completed"] < audit["trials"]).any():
        note += " Trials that did not complete count among the trials of their arm."
    if several:
        shared = share_first_trial(view.study, view.records.trials)
        note += " Each search has a seed of its own" + shared * ", but for the first trial, which all share" + "."
    if has_beyond:
        note += " Beyond edges: further trials where a search's best value lay on an edge, by one rule for every arm."
    trials = (audit["trials"] - audit["beyond"]).groupby(audit["train_size"], dropna=False)
    same = (trials.min() == trials.max()).all()
    spent = "the same number of trials for every arm" if same else "the numbers of trials differ"
    return make_table("tuning", f"Tuning audit: {spent}", columns, rows_of(audit), frame=audit, note=note)


def _trials_beyond(row: Row) -> Cell:
    more = text_of(row["widened"])
    return Cell(f"{count(row['beyond'])} ({more})" if more else count(row["beyond"]), number(row["beyond"]))


def _chosen(name: str, row: Row) -> Cell:
    value, edge = row[f"p.{name}"], number(row.get(f"edge.{name}"))
    return Cell(plain(value) if edge is None else f"{plain(value)} ({percent(edge, 0)})", number(value))


def unfinished_table(view: View) -> Table:
    """Planned runs without a result, by how they ended."""
    rows = [row for row in rows_of(view.findings.arms) if any(number(row[status]) for status in _UNFINISHED)]
    ended = (number_column(words(status).capitalize(), status, count) for status in _UNFINISHED)
    columns = (arm_column(view), size_column(view), number_column("Planned", "planned", count), *ended)
    return make_table("unfinished", "Confirm runs without a result", columns, rows)


def provenance_table(records: StudyRecords) -> Table:
    """Where the numbers come from: what of it is known."""
    known = records.provenance | {"wall_seconds": duration(records.provenance.get("wall_seconds"))}
    revision = text_of(known.get("git_revision"))
    if known.get("git_dirty"):
        known["git_revision"] = f"{revision} (with uncommitted changes)"
    elif known.get("git_dirty", False) is None and not revision.startswith("unknown"):
        known["git_revision"] = f"{revision} (whether with uncommitted changes is unknown)"
    rows = [(heading, text_of(known.get(key))) for key, heading in _PROVENANCE.items()]
    shown = [(heading, text) for heading, text in rows if text not in ("", NONE)]
    return text_table("provenance", "What the results were made with", ("What", "Value"), shown)


def looks_table(records: StudyRecords) -> Table:
    """What was announced before the first run, every look at the results, and the level that follows for intervals."""
    headings, caption = ("What", "Value"), "What was announced, and the looks at the results"
    return text_table("looks", caption, headings, _looks(records))


def _looks(records: StudyRecords) -> Iterator[tuple[str, str]]:
    ledger, look = records.looks, current(records)
    level = f"at level {confidence(level_for(records))}"
    if look is None:
        yield "Intervals", f"{level}; of before looks were kept, so they allow for one look only"
        return
    if known := ledger.registered:
        when = "after results had been seen" if ledger.seen else "before the first run"
        yield "Registered", f"{known.time}, {when}"
        announced = f"what was announced ({known.preregistered[:16]})"
        changed = f"not {announced}; changed since: {', '.join(look.changed)}"
        yield "What was run", changed if look.changed else announced
    for place, taken in enumerate(ledger.looks, start=1):
        told = f"{counted(len(taken.seeds), 'seed')}, {counted(taken.completed, 'run')}, {confidence(taken.level)}"
        told += "" if taken.spends else " (not counted in the level)"
        more = [name for name in taken.changed_since_look if name != "seeds"]
        told += f"; changed since the look before: {', '.join(more)}" if more else ""
        yield f"Look {place}", f"{taken.time}: {told}"
    yield "Intervals", f"{level}, so that all looks together are wrong in at most 5% of studies"
    yield "More seeds", "run --seeds N adds to the runs that are there; intervals widen for one look more"


def images_tables(records: StudyRecords) -> Iterator[Table]:
    """Of each data set that something was kept of: what it holds and what was passed over, and each class's images."""
    columns = [text_column("Class", "name")]
    columns += [number_column(f"{name.capitalize()} images", part, count) for part, name in PART_NAMES.items()]
    for place, facts in enumerate(of_provenance(records.provenance), start=1):
        lines = [*facts.lines(), ("SHA-256", facts.data_hash)]
        yield text_table(f"data-{place}", f"Images of {facts.source}", ("What", "Value"), lines)
        rows, more = to_plain(facts.classes), len(facts.classes) - _MOST_CLASSES
        frame = pd.DataFrame(rows, columns=["name", *PART_NAMES])
        note = f"And {count(more)} more classes, in the file to download." if more > 0 else ""
        name, caption = f"classes-{place}", f"Images of each class of {facts.source}"
        yield make_table(name, caption, columns, rows[:_MOST_CLASSES], frame=frame, note=note)


def protocol_table(study: ResolvedStudy) -> Table:
    """A row per setting of data, recipe and search; what is tuned shows its range, what an arm changes its value."""
    return text_table("protocol", "How every arm was trained", ("Setting", "Value"), _settings(study))


def _settings(study: ResolvedStudy) -> Iterator[tuple[str, str]]:
    tuned = study.search.space if study.search.trials else {}
    for part, fields in (("Data", study.data), ("Recipe", study.recipe.written_out())):
        for key, value in leaves(to_plain(fields)).items():
            if key in tuned and part == "Recipe":
                yield f"{part}: {_named(key)}", f"tuned, {_range(tuned[key])}"
            elif value not in (None, {}):  # None says only that another field, or the source, decides
                yield f"{part}: {_named(key)}", _text(value)
    if study.train_sizes:
        yield "Training sizes", ", ".join(map(count, study.train_sizes))
    few = study.seeds_at(study.train_sizes[-1] if study.train_sizes else None)
    yield "Confirm seeds", ", ".join(map(str, study.seeds))
    if few != study.seeds:
        yield f"Confirm seeds from {study.long_from:,} training images on", ", ".join(map(str, few))
    yield from _search(study)
    yield from _changes(study)


def _named(key: str) -> str:
    """A setting for people, which may be broken at each of its words: `augmentation shift`."""
    return words(key).replace(".", " ")


def _changes(study: ResolvedStudy) -> Iterator[tuple[str, str]]:
    numbers = dict[Pretraining, int]()
    for arm in study.all_arms:
        changed, own = dict(arm.changes), study.recipe_of(arm)
        start = changed.pop("recipe.start_from", None)
        if isinstance(start, StartFrom):
            yield from _start(arm.name, start, numbers)
        if own.optimizer != study.recipe.optimizer:  # what is not set is then the other optimiser's usual setting
            usual = {"learning_rate": own.rate, "weight_decay": own.decay}
            changed |= {f"recipe.{key}": value for key, value in usual.items() if getattr(own, key) is None}
        for key, value in leaves(to_plain(changed)).items():
            yield f"{arm.name} changes {_named(key)}", _text(value)


def _start(arm: str, start: StartFrom, numbers: dict[Pretraining, int]) -> Iterator[tuple[str, str]]:
    """What an arm starts from; a pre-training, by its number of those told, has its settings told the first time."""
    trained = "all of it is trained" if start.trained == "all" else "its head alone is trained"
    if start.file is not None:
        yield f"{arm} starts from", f"the weights in {start.file.path} ({start.file.names}'s names); {trained}"
    if (made := start.pretraining) is not None:
        is_new, number = made not in numbers, numbers.setdefault(made, len(numbers) + 1)
        yield f"{arm} starts from", f"pre-training {number}{' of its own model' * (made.model is None)}; {trained}"
        for key, value in leaves(to_plain(made)).items() if is_new else ():
            if value not in (None, {}):
                yield f"Pre-training {number}: {_named(key)}", _text(value)


def _search(study: ResolvedStudy) -> Iterator[tuple[str, str]]:
    search = study.search
    if not search.trials:
        yield "Search", "none: every arm has the recipe's own setting"
        return
    length = "as long as the confirm runs" if search.updates is None else f"of {counted(search.updates, 'update')}"
    if search.share is not None:
        length = f"of {percent(search.share, 0)} of the updates of a confirm run"
    learns = search.sampler == "tpe" and search.trials > STARTUP_TRIALS
    drawn = f"then {STARTUP_TRIALS - 1} at random, then by TPE" if learns else "then at random"
    drawn = "then scrambled Sobol points" if search.sampler == "qmc" else drawn
    told = "the recipe's own setting" if search.trials == 1 else f"the recipe's own setting, {drawn}"
    per = "search" if search.repeats > 1 else "arm"
    yield "Search", f"{counted(search.trials, 'trial')} per {per} ({told}), {length}"
    if search.repeats > 1:
        turns = "confirm seeds take turns with what they choose"
        yield "Independent searches", f"{count(search.repeats)} per arm; {turns}"
    if search.widenings:
        rounds = f"{counted(search.widenings, 'round')} of further trials beyond it, half as many as a search's own"
        yield "Where a search's best value lies on an edge of its range", f"at most {rounds}"
    of_model = {name: found for name, found in search.space.items() if name.startswith(OF_MODEL)}
    for families, spaces in (("every", {"arm": of_model}), ("family", search.by_family), ("arm", search.by_arm)):
        for owner, space in spaces.items():
            for key, distribution in space.items():
                yield f"Search: {words(key)}, {families} {owner}", _range(distribution)


def _range(distribution: Any) -> str:
    match distribution:
        case LogUniform(low=low, high=high):
            return f"{plain(low)} to {plain(high)}, logarithmic"
        case Uniform(low=low, high=high):
            return f"{plain(low)} to {plain(high)}"
        case Choice(values=values):
            return "one of " + ", ".join(map(_text, values))
    return "not tuned"


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return count(value)
        case float():
            return plain(value, 6)
        case list():
            return ", ".join(map(_text, value))
    return "none" if value is None else str(value)

"""Whether the tables of a study agree with the study and with each other; needs no run folder."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.execution.faults import Check, Fault, same
from harness.execution.plan import Cell, make_plan
from harness.records.run_table import StudyRecords
from harness.records.runs import STATUSES
from harness.spec import Choice, InvalidInput
from harness.spec.plural import counted
from harness.spec.search import Distribution

Row = Mapping[str, Any]


def check_tables(records: StudyRecords) -> Check:
    """Rows against the study's plan, curves, shifts and predictions against their runs, the choice of settings."""
    parts = (_places, _confirmed, _chosen, _curves, _shifts, _predictions, _origin)
    faults = tuple(fault for part in parts for fault in part(records))
    lacking = _planned(records) - len(records.runs) - len(records.trials)
    notes = (f"{lacking:,} planned runs are not in the tables.",) if lacking > 0 else ()
    tables = (records.runs, records.trials, records.curves, records.shifts, records.correct)
    return Check(
        what="rows of the tables, against study.json",
        checked=sum(len(table) for table in tables),
        faults=faults,
        notes=notes,
    )


def check_identities(records: StudyRecords) -> Check:
    """The digest of every row, made again from the study and the row's seed or trial and setting."""
    what = "digests, made again from study.json"
    rows = [("runs.csv", row) for row in _rows(records.runs)] + [("trials.csv", row) for row in _rows(records.trials)]
    try:
        cells = {cell.key: cell for cell in make_plan(records.study).cells} if rows else {}
    except InvalidInput as error:
        return Check(what=what, checked=0, notes=(f"The data is not here as it was: {error}",))
    changed = {cell.data_hash for cell in cells.values()} - set(str(records.provenance.get("data_hash")).split(", "))
    if changed:
        return Check(what=what, checked=0, notes=("The data has changed since, so digests have, too.",))
    faults = []
    for table, row in rows:
        cell = cells.get((row["arm"], row["train_size"]))
        expected = None if cell is None else _digest(cell, row, records.study.search.space_of(cell.arm))
        if expected != row["digest"]:
            place = f"{row['arm']}, {counted(int(row['train_size']), 'image')}"
            faults.append(
                Fault(path=table, expected=f"digest {expected} ({place}, by study.json)", found=str(row["digest"]))
            )
    return Check(what=what, checked=len(rows), faults=tuple(faults))


def _digest(cell: Cell, row: Row, space: Mapping[str, Distribution]) -> str | None:
    """The digest of a row's run; None for a row whose setting no run can have."""
    try:
        values = {name: _typed(row.get(f"p.{name}"), cell.own_values[name], space[name]) for name in cell.parameters}
        run = cell.trial(int(row["trial"]), values) if "trial" in row else cell.confirm(int(row["seed"]), values)
    except (ValueError, TypeError):
        return None
    return run.digest


def _typed(kept: Any, own: Any, distribution: Distribution) -> Any:
    """A nuisance parameter's value as the study has it: the recipe's own, one of a choice, or a number."""
    known = [own]
    match distribution:
        case Choice(values=values):
            known += values
    return next((value for value in known if same(kept, value)), kept if isinstance(kept, str) else float(kept))


def _planned(records: StudyRecords) -> int:
    study = records.study
    return sum(study.trials_of(arm) + len(study.seeds) for arm, _ in study.cells)


def _places(records: StudyRecords) -> Iterator[Fault]:
    """Every row has a place in the study that no other row has."""
    study = records.study
    for table, frame, number, allowed in (
        ("runs.csv", records.runs, "seed", set(study.seeds)),
        ("trials.csv", records.trials, "trial", set(range(min(study.search.trials, len(records.trials) + 1)))),
    ):
        for row in _rows(frame):
            sizes = _sizes(records, row)
            wanted: dict[str, tuple[Any, bool]] = {
                "study": (study.name, row["study"] == study.name),
                "scale": (study.scale, row["scale"] == study.scale),
                "arm": ("an arm of the study", sizes is not None),
                "train_size": (f"one of {sizes}", not sizes or row["train_size"] in sizes),
                number: (f"one of the study's {number}s", row[number] in allowed),
                "status": (f"one of {STATUSES}", row["status"] in STATUSES),
                "digest": ("64 hexadecimal digits", re.fullmatch("[0-9a-f]{64}", str(row["digest"])) is not None),
            }
            yield from (
                Fault(path=table, expected=f"{column} {rule} in row {_name(row)}", found=repr(row[column]))
                for column, (rule, holds) in wanted.items()
                if not holds
            )
        for columns in (["arm", "train_size", number], ["digest"]):
            counts = Counter(map(tuple, frame[columns].astype(str).to_numpy().tolist()))
            yield from (
                Fault(path=table, expected=f"one row of {', '.join(place)}", found=f"{count} rows")
                for place, count in counts.items()
                if count > 1
            )


def _sizes(records: StudyRecords, row: Row) -> tuple[int, ...] | None:
    """The training sizes that a row's arm may have, () for any; None for an arm that the study does not have."""
    try:
        arm = records.study.arm(str(row["arm"]))
    except InvalidInput:
        return None
    size = records.study.data_of(arm).train_size
    return records.study.train_sizes or ((size,) if size else ())


def _confirmed(records: StudyRecords) -> Iterator[Fault]:
    """A confirm run says whether it is the baseline's, and a completed one has its accuracy and its images."""
    for row in _rows(records.runs):
        is_baseline = row["arm"] == records.study.baseline.name
        if bool(row["is_baseline"]) != is_baseline:
            yield Fault(
                path="runs.csv", expected=f"is_baseline {is_baseline} in row {_name(row)}", found="the opposite"
            )
        if (row["status"] == "completed") == bool(pd.isna(row["test_accuracy"])):
            expected = "a test_accuracy where a run completed, and only there"
            yield Fault(path="runs.csv", expected=f"{expected}, row {_name(row)}", found=f"{row['test_accuracy']}")


def _chosen(records: StudyRecords) -> Iterator[Fault]:
    """In each cell the best completed trial is marked, the earliest among equals; its setting is the confirmed one."""
    parameters = [name for name in records.trials.columns if name.startswith("p.")]
    for (arm, size), trials in records.trials.groupby(["arm", "train_size"], sort=False):
        if len(trials) != records.study.trials_of(records.study.arm(str(arm))):
            continue
        scored = trials[trials["status"] == "completed"].sort_values(
            ["validation_accuracy", "trial"], ascending=[False, True], kind="stable"
        )
        best = [] if scored.empty else [int(scored.iloc[0]["trial"])]
        marked = trials.loc[trials["chosen"].astype(bool), "trial"].astype(int).tolist()
        place = f"{arm}, {counted(int(str(size)), 'image')}"
        if marked != best:
            yield Fault(path="trials.csv", expected=f"trial {best} chosen for {place}", found=f"{marked}")
        confirmed = records.runs[(records.runs["arm"] == arm) & (records.runs["train_size"] == size)]
        for row in _rows(confirmed) if best else ():
            for name in parameters:
                if not same(row.get(name), scored.iloc[0][name]):
                    chosen = scored.iloc[0][name]
                    yield Fault(
                        path="runs.csv", expected=f"{name} {chosen} as chosen for {place}", found=f"{row.get(name)}"
                    )


def _curves(records: StudyRecords) -> Iterator[Fault]:
    """Each curve belongs to a run, and ends where a completed run says it ended."""
    runs: dict[str, Row] = {row["digest"]: row for row in _rows(records.runs)}
    ends: dict[str, Row] = {}
    for row in _rows(records.curves):
        run = runs.get(row["digest"])
        if run is None or any(row[key] != run[key] for key in ("arm", "train_size", "seed")):
            yield Fault(
                path="curves.csv", expected="rows of runs in runs.csv", found=f"row {_name(row)} {row['digest']}"
            )
        ends[row["digest"]] = row
    for digest, row in ends.items():
        run = runs.get(digest)
        if run is not None and run["status"] == "completed":
            for key, own in (("validation_accuracy", "validation_accuracy"), ("update", "updates")):
                if not same(row[key], run[own]):
                    yield Fault(
                        path="curves.csv", expected=f"{key} {run[own]} at the end of {_name(run)}", found=f"{row[key]}"
                    )


def _shifts(records: StudyRecords) -> Iterator[Fault]:
    """The unmoved test is that of runs.csv, and so is the largest shift."""
    for row in _rows(records.runs) if records.study.test_shifts else ():
        own = records.shifts[records.shifts["digest"] == row["digest"]]
        known = dict(zip(own["shift"], own["test_accuracy"], strict=True))
        wanted = (0, *sorted(records.study.test_shifts)) if row["status"] == "completed" else ()
        if tuple(sorted(known)) != wanted:
            yield Fault(path="shifts.csv", expected=f"shifts {wanted} of {_name(row)}", found=f"{tuple(sorted(known))}")
        elif wanted:
            for shift, column in ((0, "test_accuracy"), (wanted[-1], "shifted_accuracy")):
                if not same(known[shift], row[column]):
                    yield Fault(
                        path="shifts.csv",
                        expected=f"{row[column]} ({column} of {_name(row)} in runs.csv)",
                        found=f"{known[shift]}",
                    )


def _predictions(records: StudyRecords) -> Iterator[Fault]:
    """Each completed run's share of right answers is its test accuracy."""
    completed = {row["digest"]: row for row in _rows(records.runs) if row["status"] == "completed"}
    for digest in sorted(completed.keys() ^ records.correct.keys()):
        expected = "answers of this run" if digest in completed else "answers of completed runs only"
        yield Fault(path="predictions.npz", expected=expected, found=f"{digest}: {digest in records.correct}")
    for digest, row in completed.items():
        answers = records.correct.get(digest)
        if answers is not None and not same(row["test_accuracy"], float(np.mean(answers)) if len(answers) else None):
            expected = f"test_accuracy {np.mean(answers):.10g} of {_name(row)} (by predictions.npz)"
            yield Fault(path="runs.csv", expected=expected, found=f"{row['test_accuracy']}")


def _origin(records: StudyRecords) -> Iterator[Fault]:
    """study.json names the training code, devices and precisions that the rows name."""
    for column in ("code_fingerprint", "device", "precision"):
        said = records.provenance.get(column)
        named = {str(value) for frame in (records.runs, records.trials) for value in frame[column].dropna()}
        if said is not None and ", ".join(sorted(named)) != said:
            yield Fault(
                path="study.json", expected=f"{column} {', '.join(sorted(named))} (by the tables)", found=f"{said}"
            )


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _name(row: Row) -> str:
    number = f"trial {row['trial']}" if "trial" in row else f"seed {row['seed']}"
    return f"{row['arm']} · {counted(int(row['train_size']), 'image')} · {number}"

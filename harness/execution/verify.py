"""Whether what is kept of a study still holds: hashes, tables and report, each made again and compared; writes nothing.

This finds damage and edits, not forgery. What another version of the code has made differently is told in a note.
"""

import contextlib
import csv
import math
import os
import re
import tempfile
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import analyse
from harness.analysis.looks import current
from harness.analysis.tuning import share_first_trial
from harness.execution.plan import Cell, make_plan
from harness.execution.progress import open_cells
from harness.execution.publish import collect
from harness.records import manifest
from harness.records.files import RecordsError, read_bytes, sha256
from harness.records.kept_models import ModelFolder
from harness.records.layout import StudyFolder, pretrained_folder
from harness.records.looks import NAME, digest_of
from harness.records.provenance import report_maker
from harness.records.run_table import ADDED_COLUMNS, StudyRecords, load_records, write_tables
from harness.records.runs import RunFolder, read_journal
from harness.records.write_lock import StudyLock
from harness.report import write_report
from harness.spec import InvalidInput
from harness.spec.formats import counted
from harness.spec.search import Distribution

TOLERANCE = 1e-9  # largest relative difference between a number and itself once written with ten digits


@dataclass(frozen=True)
class Fault:
    """A file that does not hold."""

    path: str  # relative to the study's results folder
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}; found {self.found.removesuffix('.')}."


Findings = Iterator[Fault | str | int]  # faults, notes, and how many things a check has compared


@dataclass(frozen=True, kw_only=True)
class Check:
    """One kind of check, and what it came to."""

    what: str
    checked: int  # how many things were compared
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]  # what could not be compared, and why

    @classmethod
    def of(cls, what: str, path: str, found: Findings) -> "Check":
        """A check from what it finds; what cannot be read is a fault of `path`, what this machine lacks a note."""
        findings: list[Fault | str | int] = []
        try:
            findings.extend(found)
        except (RecordsError, csv.Error) as error:
            findings.append(Fault(path, "what can be read", str(error)))
        except InvalidInput as error:
            findings.append(f"This cannot be made again here: {error}")
        faults = tuple(item for item in findings if isinstance(item, Fault))
        notes = tuple(item for item in findings if isinstance(item, str))
        checked = sum(item for item in findings if isinstance(item, int))
        return cls(what=what, checked=checked, faults=faults, notes=notes)

    @property
    def outcome(self) -> str:
        """In a word or two, for a table."""
        if self.faults:
            return f"{len(self.faults):,} do not hold"
        return "holds" if self.checked else "not compared"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All checks of one results folder."""

    folder: Path
    checks: tuple[Check, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(chain.from_iterable(check.faults for check in self.checks))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(chain.from_iterable(check.notes for check in self.checks))

    def as_json(self) -> dict[str, Any]:
        """`folder`, `holds`, and `checks`, each with `what`, `checked`, `faults` and `notes`."""
        return {"folder": str(self.folder), "holds": not self.faults, "checks": [asdict(item) for item in self.checks]}


def verify(folder: Path) -> Verification:
    """Check everything in a study's results folder. Raises `InvalidInput` while the study is running."""
    StudyLock(StudyFolder(folder).lock).require_free()
    checks = [
        Check.of("published files, by their SHA-256", manifest.NAME, _check_files(folder)),
        Check.of("run folders: configuration, journal, result", "work/runs", _check_runs(folder)),
    ]
    if models := _models(folder):
        checks.append(Check.of("kept models, by the SHA-256 of their weights", "work", _check_models(folder, models)))
    if starts := _starts(folder):
        checks.append(
            Check.of("pre-trainings that runs started from", "work/pretrained", _check_starts(folder, starts))
        )
    told: str | Fault = "There are no tables yet: the study was launched, and no results were written."
    kept = None
    try:
        kept = load_records(folder) if StudyFolder(folder).study_file.exists() else None
    except RecordsError as error:
        told = Fault("tables", "readable tables", str(error))
    if kept is None:
        checks.append(Check.of("tables", "tables", iter([told])))
    else:
        checks += [
            Check.of("digests, made again from study.json", "tables", _check_digests(kept)),
            Check.of("accuracies, by the answers that were kept", "runs.csv", _check_answers(kept)),
            Check.of("tables, made again from the run folders", "tables", _check_origins(folder, kept)),
            Check.of("looks, by what was announced and reported", NAME, _check_looks(kept)),
            Check.of("report, made again", "study.json", _check_report(folder, kept)),
        ]
    return Verification(folder=folder, checks=tuple(checks))


def _check_files(folder: Path) -> Findings:
    known = manifest.read_manifest(folder)
    if known is None:
        yield f"There is no {manifest.NAME}: these results are of an earlier version, and no file has a hash."
        return
    yield len(known.files)
    yield from _wrong_hashes(folder, known.files)
    for name in manifest.SOURCES:
        if name not in known.files and (folder / name).exists():
            yield Fault(name, f"an entry in {manifest.NAME}", "none")


def _wrong_hashes(folder: Path, files: dict[str, str]) -> list[Fault]:
    wrong = manifest.mismatches(folder, files)
    return [Fault(name, f"SHA-256 {files[name]}", found) for name, found in wrong.items()]


def _check_runs(folder: Path) -> Findings:
    if not StudyFolder(folder).runs.is_dir():
        yield "There is no work folder (a copy, or a clone): the tables cannot be held against the runs."
        return
    runs = [RunFolder(path) for path in sorted(StudyFolder(folder).runs.iterdir()) if path.is_dir()]
    yield len(runs)
    for run in runs:
        reads = {run.config_path: run.config, run.journal_path: run.journal, run.result_path: run.result}
        for path, read in reads.items():
            try:
                read()
            except RecordsError as error:
                yield Fault(path.relative_to(folder).as_posix(), "the run that its folder names", str(error))
    if unfinished := sum(not run.result_path.exists() for run in runs):
        yield f"{unfinished:,} run folders have no result yet."


def _models(folder: Path) -> list[ModelFolder]:
    """The models of a study's arms, also of fewer training images, and of results that were set aside."""
    places = StudyFolder(folder)
    found = (path for place in (places.models, places.models_by_size) for path in place.glob("*"))
    return [ModelFolder(path) for path in sorted([*found, *places.runs.glob("*/model")]) if path.is_dir()]


def _check_models(folder: Path, models: Sequence[ModelFolder]) -> Findings:
    yield len(models)
    for model in models:
        path = model.facts_path
        try:
            _ = model.facts
            path = model.weights_path
            model.require_whole()
        except RecordsError as error:
            yield Fault(path.relative_to(folder).as_posix(), "a whole model", str(error))


def _starts(folder: Path) -> list[str]:
    """The digests of the pre-trainings that the runs started from, by their journals."""
    found = set[str]()
    for path in StudyFolder(folder).runs.glob("*/journal.jsonl"):
        with contextlib.suppress(RecordsError):  # which is a fault of the run
            found |= {str(event.get("digest")) for event in read_journal(path) if event["event"] == "started_from"}
    return sorted(digest for digest in found if re.fullmatch("[0-9a-f]{64}", digest))


def _check_starts(folder: Path, digests: Sequence[str]) -> Findings:
    """What all studies share: that configuration, result and model of each pre-training are whole and of its digest."""
    for digest in digests:
        run = RunFolder(pretrained_folder(folder.parents[1]) / digest)
        if not run.path.exists():
            yield f"The pre-training {digest[:12]} is not kept any more; a run that starts from it makes it again."
            continue
        yield 1
        if wrong := _wrong_in(run):
            path, why = wrong
            place = Path(os.path.relpath(path, folder)).as_posix()
            remedy = f"Remove {run.path}: the next run that starts from it makes it again"
            yield Fault(place, f"what belongs to the pre-training {digest[:12]}", f"{why} {remedy}")


def _wrong_in(run: RunFolder) -> tuple[Path, str] | None:
    """The first file of a run and its model that is damaged or of another run, and what is wrong with it."""
    model, path = ModelFolder.of_run(run), run.config_path
    try:
        run.config()
        path = run.result_path
        if run.result() is None:
            return path, "no result."
        path = model.facts_path
        if model.facts.digest != run.path.name:
            return path, f"the model of {model.facts.digest[:12]}."
        path = model.weights_path
        model.require_whole()
    except RecordsError as error:
        return path, str(error)
    return None


def _check_looks(kept: StudyRecords) -> Findings:
    """The digests of every line, and that the results that stand there were looked at."""
    ledger = kept.looks
    if not ledger:
        yield f"There is no {NAME}: no looks were kept, as by earlier versions, or the file was removed."
        return
    lines = [(look.digest, look.study) for look in ledger.looks]
    lines += [(ledger.registered.preregistered, ledger.registered.study)] if ledger.registered else []
    yield len(lines)
    for digest, study in lines:
        if digest_of(study) != digest:
            yield Fault(NAME, f"digest {digest_of(study)} of a study", digest)
    if current(kept) not in ledger.looks:
        yield Fault(NAME, "a look at the results that stand here", "none")


def _check_origins(folder: Path, kept: StudyRecords) -> Findings:
    """Tables line by line, packed files by their content. Raises `InvalidInput` where the data is not here."""
    if not StudyFolder(folder).runs.is_dir():
        return
    there = {path.parent.name for path in StudyFolder(folder).runs.glob("*/result.json")}
    finished = [item for cell in open_cells(make_plan(kept.study), folder) for item in cell.finished()]
    planned = {item.run.digest for item in finished}
    rows = [(table, digest) for table in ("runs", "trials") for digest in getattr(kept, table)["digest"]]
    for table, digest in rows:
        if digest not in there:
            yield Fault(f"{table}.csv", f"a result in work/runs/{digest}", "none")
    if others := sum(digest not in planned for _, digest in rows):
        why = " (of before each search had a first trial of its own)" * share_first_trial(kept.study, kept.trials)
        yield f"The run folders have other configurations{why} for {counted(others, 'row')}; tables are not made again."
    else:
        yield len(rows)
        yield from _other_content(folder, kept, collect(kept.study, finished, kept.provenance))


def _other_content(folder: Path, kept: StudyRecords, fresh: StudyRecords) -> Iterator[Fault]:
    before = {
        name: getattr(fresh, name).drop(columns=_lacked(folder / f"{name}.csv"), errors="ignore")
        for name in ("runs", "trials", "curves")
    }
    with tempfile.TemporaryDirectory(prefix="patchbench-") as temporary:
        write_tables(Path(temporary), replace(fresh, **before))
        for path in sorted(Path(temporary).glob("*.csv")):
            yield from _first_difference(folder / path.name, path)
    for key in sorted(fresh.provenance.keys() & kept.provenance.keys()):  # earlier versions kept fewer
        expected, found = fresh.provenance.get(key), kept.provenance.get(key)
        if expected != found:
            yield Fault("study.json", f"{key} {expected!r} (by the run folders)", f"{found!r}")
    for digest, answers in fresh.correct.items():
        if not np.array_equal(answers, kept.correct.get(digest, ())):
            yield Fault("predictions.npz", f"the answers in work/runs/{digest}", "others")
    for digest, classes in fresh.classes.items() if kept.classes else ():  # which those of earlier versions lack
        same = np.array_equal(classes, kept.classes.get(digest, ()))
        if not same or not np.array_equal(fresh.top5.get(digest, ()), kept.top5.get(digest, ())):
            yield Fault("predictions.npz", f"the classes in work/runs/{digest}", "others")
    for (digest, size), answers in fresh.at_patches.items():
        if not np.array_equal(answers, kept.at_patches.get((digest, size), ())):
            told = f"the answers with patches of {size} px in work/runs/{digest}"
            yield Fault("predictions.npz", told, "others")


def _lacked(path: Path) -> list[str]:
    """The columns of later date that a table of an earlier version does not have."""
    heading = read_bytes(path).decode(errors="replace").splitlines()[:1] if path.exists() else []
    return [name for name in ADDED_COLUMNS if heading and name not in heading[0].split(",")]


def _first_difference(kept: Path, made: Path) -> Iterator[Fault]:
    """The first line that differs."""
    if not kept.exists():
        yield Fault(kept.name, "a table", "none")
        return
    old, new = (list(csv.reader(read_bytes(path).decode(errors="replace").splitlines())) for path in (kept, made))
    for number, (one, other) in enumerate(zip_longest(old, new), start=1):
        if one != other:
            yield Fault(kept.name, f"line {number}: {','.join(other or ())}", ",".join(one or ()))
            return


def _check_report(folder: Path, kept: StudyRecords) -> Findings:
    """Comparisons, claims, pages and figures, byte by byte; what other code or libraries have made differs in notes."""
    with tempfile.TemporaryDirectory(prefix="patchbench-") as temporary:
        written = write_report(kept, analyse(kept), Path(temporary))
        made = {path.relative_to(temporary).as_posix(): path for path in written}
        wrong = _wrong_hashes(folder, {name: sha256(read_bytes(path)) for name, path in made.items()})
        tables = [fault.path for fault in wrong if fault.path.endswith(".csv") and (folder / fault.path).exists()]
        differences = [fault for name in tables for fault in _first_difference(folder / name, made[name])]
    maker = _other_maker(folder) if wrong else None
    if maker is None:
        yield len(made)
        yield from wrong
        return
    yield len(made) - len(wrong)
    yield f"Made by another version ({maker}), so not compared byte by byte: {', '.join(of.path for of in wrong)}."
    yield from (f"This version computes other values: {difference}" for difference in differences)


def _other_maker(folder: Path) -> str | None:
    """In which respects the report was made by something else than what runs now; None where in none."""
    known = manifest.read_manifest(folder)
    if known is None:
        return f"unknown: there is no {manifest.NAME}"
    now = report_maker()
    names = sorted(name for name in now.keys() | known.made_by.keys() if now.get(name) != known.made_by.get(name))
    return ", ".join(f"{name} {known.made_by.get(name)}, now {now.get(name)}" for name in names) or None


def _check_digests(records: StudyRecords) -> Findings:
    """The digest of every row, made again from study and row. Raises `InvalidInput` without the study's data."""
    cells = {cell.key: cell for cell in make_plan(records.study).cells}
    if {cell.data_hash for cell in cells.values()} - set(str(records.provenance.get("data_hash")).split(", ")):
        yield "The data has changed since, so digests have, too."
        return
    spaces = {arm.name: records.study.search.space_of(arm) for arm in records.study.all_arms}
    for table, frame in (("runs.csv", records.runs), ("trials.csv", records.trials)):
        yield len(frame)
        for number, row in enumerate(frame.to_dict("records"), start=2):
            made = _digest(cells.get((row["arm"], row["train_size"])), row, spaces.get(row["arm"], {}))
            if made != row["digest"]:
                yield Fault(table, f"digest {made} in row {number}", str(row["digest"]))


def _check_answers(records: StudyRecords) -> Findings:
    """A completed run's test accuracy is the share of its right answers; so are others. A copy has both, too."""
    completed = records.runs[records.runs["status"] == "completed"]
    known = {
        "test_accuracy": {digest: float(np.mean(correct)) for digest, correct in records.correct.items()},
        "balanced_accuracy": {digest: of_run.balanced_accuracy for digest, of_run in records.classes.items()},
        "top5_accuracy": {digest: float(np.mean(hits)) for digest, hits in records.top5.items()},
    }
    for metric, shares in known.items():
        for digest, accuracy in zip(completed["digest"], completed[metric], strict=True):
            if digest in shares and not _same(accuracy, share := shares[digest]):
                yield Fault("runs.csv", f"{metric} {share:.10g} of run {digest} (by predictions.npz)", f"{accuracy}")
    yield len(completed)


def _digest(cell: Cell | None, row: Mapping[Hashable, Any], space: Mapping[str, Distribution]) -> str | None:
    """The digest of a row's run; None for a row whose place or setting no run can have."""
    if cell is None:
        return None
    try:
        values = {name: _typed(row.get(f"p.{name}"), cell.own_values[name], space[name]) for name in cell.parameters}
        search = 0 if pd.isna(row["search"]) else int(row["search"])
        is_trial = "trial" in row
        run = cell.trial(int(row["trial"]), values, search) if is_trial else cell.confirm(int(row["seed"]), values)
    except (ValueError, TypeError):
        return None
    return run.digest


def _typed(kept: Any, own: Any, distribution: Distribution) -> Any:
    """A nuisance parameter's value as the study has it: the recipe's own, one of a choice, or a number."""
    known = (own, *getattr(distribution, "values", ()))
    return next((value for value in known if _same(kept, value)), kept if isinstance(kept, str) else float(kept))


def _same(kept: Any, value: Any) -> bool:
    """Whether a table's cell, with ten digits, holds a value; nothing stands for None."""
    if value is None:
        return bool(pd.isna(kept))
    is_text = isinstance(value, str | bool) or isinstance(kept, str)
    return str(kept) == str(value) if is_text else math.isclose(kept, value, rel_tol=TOLERANCE)

"""Whether what is kept of a study still holds: hashes, tables and report, each made again and compared; writes nothing.

What another version of the code has made is compared as far as this one can, and the rest is told in a note. A fault
is a value that cannot be what the study left. No key signs anything here: this finds damage and edits, not forgery.
"""

import csv
import io
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis import analyse
from harness.execution.collect import ADDED_ORIGINS, collect
from harness.execution.consistency import check_identities, check_tables
from harness.execution.faults import Check, Fault, same
from harness.execution.plan import make_plan
from harness.execution.progress import Finished, open_cells
from harness.records import manifest
from harness.records.files import RecordsError, read_bytes, sha256
from harness.records.journal import read_journal, whole_lines
from harness.records.layout import StudyFolder
from harness.records.provenance import report_maker
from harness.records.run_table import StudyRecords, load_records, write_tables
from harness.records.runs import RunFolder, RunResult
from harness.records.write_lock import StudyLock
from harness.report import write_report
from harness.spec import InvalidInput
from harness.spec.plural import counted


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All checks of one results folder."""

    folder: Path
    checks: tuple[Check, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(fault for check in self.checks for fault in check.faults)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for check in self.checks for note in check.notes)

    def as_json(self) -> dict[str, Any]:
        """`folder`, `holds`, and `checks`, each with `what`, `checked`, `faults` and `notes`."""
        return {"folder": str(self.folder), "holds": not self.faults, "checks": [asdict(item) for item in self.checks]}


def verify(folder: Path) -> Verification:
    """Check everything in a study's results folder, with its run folders where they are there.

    Raises `InvalidInput` while the study is running, as its files change then.
    """
    StudyLock(StudyFolder(folder).lock).require_free()
    checks = [check_files(folder), check_runs(folder)]
    if not StudyFolder(folder).study_file.exists():
        note = "There are no tables yet: the study was launched, and no results were written."
        return Verification(folder=folder, checks=(*checks, Check(what="tables", checked=0, notes=(note,))))
    try:
        kept = load_records(folder)
    except RecordsError as error:
        fault = Fault(path="tables", expected="readable tables", found=str(error))
        return Verification(folder=folder, checks=(*checks, Check(what="tables", checked=1, faults=(fault,))))
    checks += [check_tables(kept), check_identities(kept), check_origins(folder, kept), check_report(folder, kept)]
    return Verification(folder=folder, checks=tuple(checks))


def check_files(folder: Path) -> Check:
    """Every published file against its SHA-256 in the manifest."""
    what = "published files, by their SHA-256"
    try:
        known = manifest.read_manifest(folder)
    except RecordsError as error:
        return Check(what=what, checked=1, faults=(Fault(path=manifest.NAME, expected="a manifest", found=str(error)),))
    if known is None:
        note = f"There is no {manifest.NAME}: these results are of an earlier version, and no file has a hash."
        return Check(what=what, checked=0, notes=(note,))
    wrong = manifest.mismatches(folder, known.files)
    faults = [Fault(path=name, expected=f"SHA-256 {known.files[name]}", found=wrong[name]) for name in wrong]
    unlisted = [name for name in manifest.SOURCES if name not in known.files and (folder / name).exists()]
    faults += [Fault(path=name, expected=f"an entry in {manifest.NAME}", found="none") for name in unlisted]
    return Check(what=what, checked=len(known.files), faults=tuple(faults))


def check_runs(folder: Path) -> Check:
    """Every run folder: its configuration, journal, result and predictions."""
    runs = StudyFolder(folder).runs
    if not runs.is_dir():
        note = "There is no work folder (a copy, or a clone): the tables cannot be held against the runs."
        return Check(what="run folders", checked=0, notes=(note,))
    paths = sorted(path for path in runs.iterdir() if path.is_dir())
    faults = tuple(fault for path in paths for fault in _run_faults(path, folder))
    unfinished = sum(not RunFolder(path).result_path.exists() for path in paths)
    notes = (f"{unfinished:,} run folders have no result yet.",) if unfinished else ()
    return Check(what="run folders: configuration, journal, result", checked=len(paths), faults=faults, notes=notes)


def _run_faults(path: Path, folder: Path) -> Iterator[Fault]:
    run = RunFolder(path)
    result: RunResult | None = None
    for part, read in ((run.config_path, run.config), (run.journal_path, run.journal), (run.result_path, run.result)):
        try:
            found = read()
        except RecordsError as error:
            yield Fault(path=_relative(part, folder), expected="the run that its folder names", found=str(error))
        else:
            result = found if isinstance(found, RunResult) else result
    if result is not None and result.status == "completed" and result.files:
        yield from _prediction_faults(run, result, folder)
    if result is not None and result.status != "failed" and run.journal_path.exists():
        yield from _journal_faults(run, result, folder)


def _prediction_faults(run: RunFolder, result: RunResult, folder: Path) -> Iterator[Fault]:
    if run.predictions_path.name not in result.files:
        return
    labels, predicted = run.predictions()
    accuracy = float(np.mean(labels == predicted)) if len(labels) else None
    if not same(accuracy, result.test_accuracy):
        path = _relative(run.predictions_path, folder)
        yield Fault(path=path, expected=f"accuracy {result.test_accuracy} (by result.json)", found=f"{accuracy}")


def _journal_faults(run: RunFolder, result: RunResult, folder: Path) -> Iterator[Fault]:
    """A finished run's journal is whole to its last line, and ends with the result."""
    path = _relative(run.journal_path, folder)
    try:
        content = read_bytes(run.journal_path)
        last = (read_journal(run.journal_path) or [{}])[-1]
    except RecordsError:
        return  # told already
    if content != whole_lines(content):
        yield Fault(path=path, expected="whole lines", found="a torn last line")
    if last.get("event") != "finished" or last.get("status") != result.status:
        said = f"{last.get('event')} {last.get('status', '')}".strip()
        yield Fault(path=path, expected=f"finished {result.status} at its end (by result.json)", found=said)


def check_origins(folder: Path, kept: StudyRecords) -> Check:
    """The tables against the run folders: row by row, and all of them made again, byte by byte."""
    what = "rows of the tables, against the run folders"
    if not StudyFolder(folder).runs.is_dir():
        return Check(what=what, checked=0)
    faults = [*_row_faults(folder, kept, "runs.csv"), *_row_faults(folder, kept, "trials.csv")]
    notes: tuple[str, ...] = ()
    try:
        cells = open_cells(make_plan(kept.study), folder)
        finished = [item for cell in cells for item in cell.finished()]
    except InvalidInput as error:
        notes = (f"The tables cannot be made again here: {error}",)
    else:
        missing = len(_digests(kept) - {item.run.digest for item in finished})
        if missing:
            notes = (
                f"This version plans other configurations for {counted(missing, 'row')}, so the tables are held "
                "against the run folders row by row and not made again.",
            )
        else:
            faults += _table_faults(folder, kept, finished)
    return Check(what=what, checked=len(kept.runs) + len(kept.trials), faults=tuple(faults), notes=notes)


def _row_faults(folder: Path, kept: StudyRecords, table: str) -> Iterator[Fault]:
    frame = kept.runs if table == "runs.csv" else kept.trials
    columns = _rows(read_bytes(folder / table).decode())[0]
    for row in frame.to_dict("records"):
        run = RunFolder(StudyFolder(folder).runs / str(row["digest"]).replace("/", "_"))
        try:
            result, content = run.result(), run.config()
        except RecordsError:
            continue  # told with the run folders
        if result is None:
            yield Fault(path=table, expected=f"a result in {_relative(run.path, folder)}", found="none")
            continue
        expected = _expected(result, content, columns, is_trial=table == "trials.csv")
        yield from (
            Fault(path=table, expected=f"{column} {value} ({_relative(run.path, folder)})", found=f"{row[column]}")
            for column, value in expected.items()
            if column in columns and not same(row[column], value)
        )


def _expected(result: RunResult, content: dict[str, Any], columns: list[str], *, is_trial: bool) -> dict[str, Any]:
    """What a row must hold, from a run's result and configuration."""
    config = content["config"]
    own = {key: value for key, value in asdict(result).items() if key not in ("shifts", "environment", "files")}
    if is_trial and result.status != "completed":
        own["validation_accuracy"] = None
    place = {"arm": content.get("arm"), "train_size": config["data"]["train_size"]}
    number = {"trial": content.get("trial")} if is_trial else {"seed": config["seed"]}
    said = content.get("values")
    values: dict[str, Any] = said if isinstance(said, dict) else {}
    return own | place | number | {name: values.get(name[2:]) for name in columns if name.startswith("p.")}


def _table_faults(folder: Path, kept: StudyRecords, finished: list[Finished]) -> Iterator[Fault]:
    """Differences between the tables and those that the run folders make; of packed files, in their content."""
    fresh = collect(kept.study, finished, kept.provenance)
    with tempfile.TemporaryDirectory(prefix="patchbench-") as temporary:
        made = Path(temporary)
        write_tables(made, fresh)
        for path in sorted(made.glob("*.csv")):
            if (folder / path.name).exists():
                yield from _text_faults(folder / path.name, read_bytes(path).decode())
            else:
                yield Fault(path=path.name, expected="a table", found="none")
    lacking = {key for key in ADDED_ORIGINS if key not in kept.provenance}
    for key in sorted((fresh.provenance.keys() | kept.provenance.keys()) - lacking):
        if fresh.provenance.get(key) != kept.provenance.get(key):
            expected = f"{key} {fresh.provenance.get(key)!r} (by the run folders)"
            yield Fault(path="study.json", expected=expected, found=f"{kept.provenance.get(key)!r}")
    for digest, answers in fresh.correct.items():
        if not np.array_equal(answers, kept.correct.get(digest, ())):
            yield Fault(path="predictions.npz", expected=f"the answers in work/runs/{digest}", found="others")


def _text_faults(path: Path, expected: str) -> Iterator[Fault]:
    """The first line that differs; by the columns that both have, where a table is of an earlier version."""
    found = read_bytes(path).decode(errors="replace")
    if found == expected:
        return
    old, new = _rows(found), _rows(expected)
    if not old or not set(old[0]) < set(new[0]):
        old, new = ([[line] for line in text.splitlines()] for text in (found, expected))
    else:
        places = [new[0].index(name) for name in old[0]]
        new = [[row[place] for place in places] for row in new]
    for number, (one, other) in enumerate(zip(old, new, strict=False), start=1):
        if one != other:
            yield Fault(path=path.name, expected=f"line {number}: {','.join(other)}", found=",".join(one))
            return
    if len(old) != len(new):
        yield Fault(path=path.name, expected=f"{len(new)} lines", found=f"{len(old)}")


def _rows(text: str) -> list[list[str]]:
    """The rows of a table; its lines, where it has a field that is longer than any that is written here."""
    try:
        return list(csv.reader(io.StringIO(text)))
    except csv.Error:
        return [[line] for line in text.splitlines()]


def check_report(folder: Path, kept: StudyRecords) -> Check:
    """Comparisons, claims, pages and figures, made again in a temporary folder and compared byte by byte.

    What other code or libraries have made may look another way: then a difference is a note.
    """
    what = "report, made again"
    faults, others, checked = [], [], 0
    try:
        findings = analyse(kept)
    except RecordsError as error:
        return Check(what=what, checked=1, faults=(Fault(path="study.json", expected="its origins", found=str(error)),))
    with tempfile.TemporaryDirectory(prefix="patchbench-") as temporary:
        for path in write_report(kept, findings, Path(temporary)):
            name = path.relative_to(temporary).as_posix()
            checked += 1
            expected, found = sha256(read_bytes(path)), _hash_of(folder / name)
            if expected != found:
                faults.append(Fault(path=name, expected=f"SHA-256 {expected} (made again)", found=found))
                others += _values_told(path, folder / name) if name.endswith(".csv") else []
    if not faults:
        return Check(what=what, checked=checked)
    maker = _other_maker(folder)
    if maker is None:
        return Check(what=what, checked=checked, faults=tuple(faults))
    names = ", ".join(fault.path for fault in faults)
    note = f"Made by another version ({maker}), so not compared byte by byte: {names}."
    return Check(what=what, checked=checked - len(faults), notes=(note, *others))


def _values_told(made: Path, kept: Path) -> list[str]:
    """A sentence where a table that this version makes has other values in the columns that both have."""
    if not kept.exists():
        return []
    faults = list(_text_faults(kept, read_bytes(made).decode()))
    return [f"This version computes other values: {fault}" for fault in faults]


def _other_maker(folder: Path) -> str | None:
    """In which respects the report was made by something else than what runs now; None where in none."""
    known = manifest.read_manifest(folder)
    if known is None:
        return f"unknown: there is no {manifest.NAME}"
    now = report_maker()
    names = sorted(name for name in now.keys() | known.made_by.keys() if now.get(name) != known.made_by.get(name))
    return ", ".join(f"{name} {known.made_by.get(name)}, now {now.get(name)}" for name in names) or None


def _hash_of(path: Path) -> str:
    try:
        return sha256(read_bytes(path))
    except RecordsError:
        return "no file that can be read"


def _digests(kept: StudyRecords) -> set[str]:
    return {*kept.runs["digest"], *kept.trials["digest"]}


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()

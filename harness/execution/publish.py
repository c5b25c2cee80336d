"""A study's results folder: its tables and its report, from the run folders or from the tables alone."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.analysis import Findings, analyse
from harness.execution import own_results
from harness.execution.collect import collect
from harness.execution.plan import make_plan
from harness.execution.progress import NONE, open_cells
from harness.records import manifest
from harness.records.files import RecordsError, is_being_set_aside, remove_unfinished, set_aside_together
from harness.records.layout import StudyFolder, shared_write_lock
from harness.records.provenance import report_maker
from harness.records.run_table import StudyRecords, load_records, load_runs, write_tables
from harness.records.runs import RunResult
from harness.records.study_file import latest_study, read_study
from harness.records.write_lock import write_lock
from harness.report import write_index, write_report
from harness.spec import InvalidInput, ResolvedStudy, changed_fields

Say = Callable[[str], object]

ASIDE = "results"
"""What a set of results of other settings is called where it is kept; a number follows."""


def write_results(records: StudyRecords, folder: Path, say: Say, own: ResolvedStudy | None = None) -> Findings:
    """Write the tables, figures and pages of a study; returns what was found.

    `own`: the study itself, where it is at hand and has claims or figures that only its file can make. Results of
    other settings that stand there are set aside first, in one folder, and what changed is said.
    To be called in the study's write lock.
    """
    if _kept_digests(folder) - set(records.runs["digest"]) or is_being_set_aside(StudyFolder(folder).aside, ASIDE):
        _set_results_aside(folder, records, say)
    kept = own_results.kept_of(folder)
    (folder / manifest.NAME).unlink(missing_ok=True)  # it speaks of the files that are written over now
    write_tables(folder, replace(records, provenance=records.provenance | kept))
    return _report(folder, own)


def _set_results_aside(folder: Path, records: StudyRecords, say: Say) -> None:
    try:
        changed = ", ".join(_changes(folder, records)) or "the runs' configurations"
    except RecordsError:  # an earlier move was killed in the middle
        changed = "see its study.json"
    places = StudyFolder(folder)
    published = {*places.report_files(), *(folder / name for name in (*manifest.SOURCES, manifest.NAME))}
    aside = set_aside_together(sorted(published), places.aside, ASIDE)
    say(f"The results that stood here were of other settings ({changed}); they are kept in {aside}.")


def publish(folder: Path, say: Say, known: Mapping[str, RunResult], own: ResolvedStudy | None = None) -> Findings:
    """Collect the runs of the study that was last launched into a folder, and write its tables and its report.

    `known` are results by digest, which are not read again.
    """
    with write_lock(StudyFolder(folder).write_lock):
        return write_results(_collected(folder, known), folder, say, own)


def rebuild(folder: Path, say: Say, own: ResolvedStudy | None = None) -> Findings:
    """Make a study's tables and report again from what is kept; trains nothing."""
    StudyFolder(folder).require_inside(folder.parents[1])
    if own is not None:
        own_results.tell_of_changes(own, folder, say)
    if StudyFolder(folder).runs.exists():
        with write_lock(StudyFolder(folder).write_lock):
            fresh = _collected(folder)
            if _kept_digests(folder) <= set(fresh.runs["digest"]):
                return write_results(fresh, folder, say, own)
            say("The work folder lacks runs that the tables have; the report is made from the tables.")
            return _report(folder, own)
    return _report(folder, own)


def _collected(folder: Path, known: Mapping[str, RunResult] = NONE) -> StudyRecords:
    """The frames of all runs that have a result, by the study as it was last launched."""
    study, provenance = latest_study(folder)
    cells = open_cells(make_plan(study), folder, known)
    return collect(study, [item for cell in cells for item in cell.finished()], provenance)


def read_results(folder: Path) -> tuple[StudyRecords, Findings]:
    """The kept tables of a study and what they say."""
    if not os.path.lexists(folder / "study.json"):  # a link to nothing is named when it is read
        raise InvalidInput(f"There are no results in {folder}. Run the study first.")
    manifest.require_unchanged(folder)
    kept = load_records(folder)
    return kept, analyse(kept)


def _changes(folder: Path, records: StudyRecords) -> list[str]:
    """What differs between the study whose tables stand in `folder` and another: its fields, or the data's content."""
    before, origin = read_study(folder)
    old, new = origin.get("data_hash"), records.provenance.get("data_hash")
    data = [f"the content of {records.provenance.get('data_source')}"] if old and new and old != new else []
    return changed_fields(before, records.study) + data


def _kept_digests(folder: Path) -> set[str]:
    """The runs of the tables that stand in `folder`; none where there are no tables that can be read."""
    try:
        read_study(folder)
        return set(load_runs(folder)["digest"])
    except InvalidInput:
        return set()


def _report(folder: Path, own: ResolvedStudy | None) -> Findings:
    """A report from the tables alone, so that it can be made again, to the same bytes, wherever they are."""
    if own is not None and own.has_own_code:
        own_results.take_in(own, folder)
    kept, findings = read_results(folder)
    report = write_report(kept, findings, folder)
    sources = [folder / name for name in manifest.SOURCES if (folder / name).exists()]
    manifest.write_manifest(folder, [*sources, *report], report_maker())
    if (folder.parent.name, folder.name) == (kept.study.name, kept.study.scale):  # else there are no others beside it
        results = folder.parents[1]
        with write_lock(shared_write_lock(results)):
            remove_unfinished(results)
            write_index(results)
    return findings

"""A study's results folder: its tables and its report, from the run folders or from the tables alone.

A study file's own claims and figures are asked by `run` and `report FILE.py`; other reports show what was kept.
"""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis import Findings, analyse
from harness.analysis.evidence import evidence_of
from harness.analysis.judging import KEY as CLAIMS
from harness.analysis.judging import own_verdicts
from harness.analysis.looks import current
from harness.analysis.tuning import share_first_trial
from harness.execution.inside_models import look_inside, open_models
from harness.execution.interventions import keep_samples
from harness.execution.overrides import resolve_study
from harness.execution.plan import make_plan
from harness.execution.progress import Finished, open_cells
from harness.records import looks, manifest, run_table
from harness.records.correctness import Classes
from harness.records.files import RecordsError, is_being_set_aside, remove_unfinished, set_aside_together
from harness.records.insides import write_insides
from harness.records.layout import StudyFolder, command_line
from harness.records.provenance import report_maker
from harness.records.run_table import StudyRecords, with_columns
from harness.records.runs import RunResult
from harness.records.study_file import latest_study, read_study, write_study
from harness.records.write_lock import write_lock
from harness.report import write_index, write_report
from harness.report.own_figures import KEY as FIGURES
from harness.report.own_figures import draw_own, kept_figures
from harness.spec import InvalidInput, ResolvedStudy, canonical_json
from harness.spec.claims import is_own
from harness.spec.study import changed_fields

Say = Callable[[str], object]
ASIDE = "results"  # what a set of results of other settings is called where it is kept; a number follows
_OF_RUNS = ("device", "precision", "code_fingerprint", "numerics", "data_hash", "data_source")


def publish(
    folder: Path, say: Say, known: Mapping[str, RunResult] | None = None, own: ResolvedStudy | None = None
) -> Findings:
    """Collect the runs of the study that was last launched into a folder, and write its tables and its report.

    `known` are results by digest, which are not read again; `own` is the study itself, where it is at hand and has
    claims or figures that only its file can make. Results of other settings that stand there are set aside first.
    """
    with write_lock(StudyFolder(folder).write_lock):
        looks.require_ledger(folder)
        return _write(_collected(folder, known), folder, say, own, inside=True)


def look(folder: Path, say: Say, arms: Collection[str] = ()) -> None:
    """Look into the best models of a study, of `arms` or of all, and make its report again with what is seen."""
    StudyFolder(folder).require_inside(folder.parents[1])
    with write_lock(StudyFolder(folder).write_lock):
        looks.require_ledger(folder)
        manifest.require_unchanged(folder)
        study, _ = read_study(folder)
        found = look_inside(folder, study, say, arms)
        (folder / manifest.NAME).unlink(missing_ok=True)  # it speaks of the inside.json that is written over now
        write_insides(folder, found)
        _report(folder, None)


def rebuild(folder: Path, say: Say, own: ResolvedStudy | None = None) -> Findings:
    """Make a study's tables and report again from what is kept; trains nothing."""
    StudyFolder(folder).require_inside(folder.parents[1])
    with contextlib.suppress(InvalidInput):
        if own is not None and canonical_json(own.claims) != canonical_json(read_study(folder)[0].claims):
            say(
                "The claims of the study file were changed after its last run; the report has those of that run. "
                "`patchbench run` judges the new ones, and trains nothing again."
            )
    with write_lock(StudyFolder(folder).write_lock):
        if not StudyFolder(folder).runs.exists():
            return _report(folder, own)
        looks.require_ledger(folder)
        try:
            fresh = _collected(folder)
        except RecordsError:
            raise
        except InvalidInput as error:  # the data is not at hand
            if not _kept_digests(folder):
                raise
            say(f"{error} The report is made from the tables.")
            return _report(folder, own)
        if _kept_digests(folder) <= set(fresh.runs["digest"]):
            return _write(fresh, folder, say, own)
        lack = "The work folder lacks runs that the tables have"
        if share_first_trial(fresh.study, run_table.load_records(folder).trials):
            lack = "These results are of before each search had a first trial of its own; `run` trains those that lack"
        say(f"{lack}; the report is made from the tables.")
        return _report(folder, own)


def read_results(folder: Path) -> tuple[StudyRecords, Findings]:
    """The kept tables of a study and what they say."""
    if not os.path.lexists(folder / "study.json"):  # a link to nothing is named when it is read
        raise InvalidInput(f"There are no results in {folder}. Run the study first.")
    manifest.require_unchanged(folder)
    kept = run_table.load_records(folder)
    return kept, analyse(kept)


def study_of_file(name: str, scale: str, say: Say) -> ResolvedStudy | None:
    """The study of a file `path/to/my_study.py` at a scale; None, which is said, where the file does not give it."""
    if Path(name).suffix != ".py" or not Path(name).is_file():
        return None
    try:
        return resolve_study(name, scale, ())
    except InvalidInput as error:
        say(f"{error} Claims and figures of this file's own are shown as they were kept.")
        return None


def _collected(folder: Path, known: Mapping[str, RunResult] | None = None) -> StudyRecords:
    """The frames of all runs that have a result, by the study as it was last launched."""
    study, provenance = latest_study(folder)
    cells = open_cells(make_plan(study), folder, known)
    return collect(study, [item for cell in cells for item in cell.finished()], provenance)


def _write(
    records: StudyRecords, folder: Path, say: Say, own: ResolvedStudy | None, *, inside: bool = False
) -> Findings:
    """Write the tables, figures and pages; what results of other settings are set aside for, is said."""
    places, kept = StudyFolder(folder), dict[str, Any]()
    if _kept_digests(folder) - set(records.runs["digest"]) or is_being_set_aside(places.aside, ASIDE):
        changed = _changes(folder, records)
        published = {*places.report_files(), *(folder / name for name in (*manifest.SOURCES, manifest.NAME))}
        ledger = folder / looks.NAME  # goes on here
        aside = set_aside_together(sorted(published - {ledger}), places.aside, ASIDE, ledger)
        say(f"The results that stood here were of other settings ({changed}); they are kept in {aside}.")
    with contextlib.suppress(InvalidInput):
        before = read_study(folder)[1]
        kept = {key: before[key] for key in (CLAIMS, FIGURES) if key in before}
    (folder / manifest.NAME).unlink(missing_ok=True)  # it speaks of the files that are written over now
    run_table.write_tables(folder, replace(records, provenance=records.provenance | kept))
    if inside:
        _keep_samples(records.study, folder, say)
    if inside and records.study.scale != "smoke":  # whose trainings take hardly longer
        _look_again(records.study, folder, say)
    return _report(folder, own)


def _keep_samples(study: ResolvedStudy, folder: Path, say: Say) -> None:
    """Keep an image as the study's interventions change it; a machine without the data goes without."""
    try:
        keep_samples(study, folder)
    except Exception as error:
        say(f"The report has no image as the study changes it ({' '.join(str(error).split())[:300]}).")


def _look_again(study: ResolvedStudy, folder: Path, say: Say) -> None:
    """Look into the models that are new; what fails there costs no more than its pictures."""
    try:
        if open_models(folder, study):
            write_insides(folder, look_inside(folder, study, lambda text: None, anew=False))
    except Exception as error:
        again = command_line(folder.parents[1], "look", study.name, "--scale", study.scale)
        say(f"The models were not looked into ({' '.join(str(error).split())[:300]}). Try again: {again}")


def _changes(folder: Path, records: StudyRecords) -> str:
    """What differs between the study whose tables stand in `folder` and another: its fields, or the data's content."""
    try:
        before, origin = read_study(folder)
    except RecordsError:  # an earlier move was killed in the middle
        return "see its study.json"
    old, new = origin.get("data_hash"), records.provenance.get("data_hash")
    data = [f"the content of {records.provenance.get('data_source')}"] if old and new and old != new else []
    return ", ".join([*changed_fields(before, records.study), *data]) or "the runs' configurations"


def _kept_digests(folder: Path) -> set[str]:
    """The runs of the tables that stand in `folder`; none where there are no tables that can be read."""
    try:
        read_study(folder)
        return set(run_table.load_runs(folder)["digest"])
    except InvalidInput:
        return set()


def _report(folder: Path, own: ResolvedStudy | None) -> Findings:
    """A report from the tables alone, so that it can be made again, to the same bytes, wherever they are."""
    if own is not None and own.has_own_code:
        _take_in(own, folder)
    kept = _looked_at(folder)
    findings = analyse(kept)
    report = write_report(kept, findings, folder)
    sources = [folder / name for name in manifest.SOURCES if (folder / name).exists()]
    manifest.write_manifest(folder, [*sources, *report], report_maker())
    if (folder.parent.name, folder.name) == (kept.study.name, kept.study.scale):  # else there are no others beside it
        results = folder.parents[1]
        with write_lock(StudyFolder(results).write_lock):
            remove_unfinished(results)
            write_index(results)
    return findings


def _looked_at(folder: Path) -> StudyRecords:
    """The tables in a folder; that they are reported is a look, which is kept unless it was before."""
    manifest.require_unchanged(folder)
    kept = run_table.load_records(folder)
    look = current(kept)
    if look is None or look in kept.looks.looks:
        return kept
    (folder / manifest.NAME).unlink(missing_ok=True)  # it speaks of the ledger that is written over now
    looks.append(folder, replace(look, time=looks.now()))
    return replace(kept, looks=looks.read_ledger(folder))


def _take_in(study: ResolvedStudy, folder: Path) -> None:
    """Judge a study's own claims on the results in a folder, draw its own figures; what it lacks now stays as kept."""
    manifest.require_unchanged(folder)
    records = run_table.load_records(folder)
    own = {canonical_json(claim): claim for claim in study.claims if is_own(claim)}
    claims = tuple(own.get(canonical_json(kept), kept) for kept in records.study.claims)
    records = replace(records, study=replace(records.study, claims=claims, figures=study.figures))
    evidence = evidence_of(records)
    before = {figure["name"] for figure in kept_figures(records)}
    made: dict[str, Any] = {CLAIMS: own_verdicts(evidence)}
    if all(map(callable, study.figures)):
        made[FIGURES] = draw_own(study.figures, evidence, folder)
        for name in before - {figure["name"] for figure in made[FIGURES] if not figure["failure"]}:
            for kind in ("png", "svg"):
                (StudyFolder(folder).figures / f"{name}.{kind}").unlink(missing_ok=True)
    (folder / manifest.NAME).unlink(missing_ok=True)  # it speaks of the study.json that is written over now
    write_study(folder, records.study, records.provenance | made)


def collect(study: ResolvedStudy, finished: Sequence[Finished], provenance: dict[str, Any]) -> StudyRecords:
    """The frames of everything that has a result, in the order of the plan."""
    confirmed = [item for item in finished if item.run.trial is None]
    trials = [item for item in finished if item.run.trial is not None]
    completed = [item for item in confirmed if item.result.status == "completed"]
    answers = {item.run.digest: item.folder.answers() for item in completed}
    classes = {digest: pair for digest, (pair, _) in answers.items()}
    return StudyRecords(
        study=study,
        provenance=provenance | results_provenance(finished) | _test_classes(completed, classes.values()),
        runs=with_columns((_row(study, item) | _balanced(item, classes) for item in confirmed), run_table.RUN_COLUMNS),
        trials=with_columns([_row(study, item) for item in trials], run_table.TRIAL_COLUMNS),
        curves=with_columns((row for item in confirmed for row in _curve(item)), run_table.CURVE_COLUMNS),
        shifts=with_columns((row for item in confirmed for row in _shifts(item)), run_table.SHIFT_COLUMNS),
        correct={digest: pair.correct for digest, pair in classes.items()},
        classes=classes,
        patches=with_columns((row for item in confirmed for row in _patches(item)), run_table.PATCH_COLUMNS),
        few_shots=with_columns((row for item in confirmed for row in _few_shots(item)), run_table.FEW_SHOT_COLUMNS),
        at_patches={
            (item.run.digest, size): correct
            for item in completed
            if item.result.patches
            for size, correct in item.folder.correct_at_patches().items()
        },
        top5={digest: top5 for digest, (_, top5) in answers.items() if top5 is not None},
    )


def results_provenance(finished: Iterable[Finished]) -> dict[str, Any]:
    """What the runs themselves say of where they came from; several values are joined by a comma."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    changed = set()
    for item in finished:
        config, result = item.run.config, item.result
        own = {**vars(result), "data_hash": config.data_hash, "data_source": config.data.source}
        for key, value in {**result.environment, **{key: own[key] for key in _OF_RUNS}}.items():
            found[key].add(str(value))
        changed.add(result.environment.get("git_dirty"))
    joined: dict[str, Any] = {key: ", ".join(sorted(found[key])) for key in (*found, *_OF_RUNS)}
    return joined | {"git_dirty": True if True in changed else None if None in changed else False}


def _test_classes(completed: Sequence[Finished], predictions: Iterable[Classes]) -> dict[str, Any]:
    """Number of classes, and the share of the commonest one in the test images, where all arms have the same data."""
    if len({item.run.config.data_hash for item in completed}) != 1:
        return {}
    labels = np.concatenate([labels for labels, _ in predictions])  # of all runs: each seed may have images of its own
    share = round(np.bincount(labels).max() / len(labels), 6)
    return {"classes": completed[0].run.config.classes, "largest_class_share": share}


def _row(study: ResolvedStudy, item: Finished) -> dict[str, Any]:
    """What runs.csv and trials.csv have columns for, and more."""
    arm, run, result = item.cell.arm, item.run, item.result
    own = vars(result) | _place(item) | {"study": study.name, "scale": study.scale, "search": run.search}
    if run.trial is not None:
        score = result.validation_accuracy if result.status == "completed" else None
        own |= {"trial": run.trial, "validation_accuracy": score, "chosen": item.chosen}
        own |= {"at_edge": ", ".join(item.at_edge)}
    else:
        own |= {"is_baseline": arm.name == study.baseline.name, "level": arm.level, "series": arm.series or ""}
        if result.shifts:
            own |= {"shifted_accuracy": result.shifts[-1].accuracy, "shift_agreement": result.shifts[-1].agreement}
        if result.few_shots:
            own["few_shot_accuracy"] = result.few_shots[-1].accuracy
    return own | {f"p.{name}": value for name, value in run.values.items()}


def _balanced(item: Finished, classes: Mapping[str, Classes]) -> dict[str, float]:
    """By the predicted classes, which results of before it was measured have, too."""
    kept = classes.get(item.run.digest)
    return {} if kept is None else {"balanced_accuracy": kept.balanced_accuracy}


def _curve(item: Finished) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(RecordsError):  # the result is whole; only its curve is lost
        yield from (_place(item) | event for event in item.folder.journal() if event["event"] == "evaluated")


def _shifts(item: Finished) -> Iterator[dict[str, Any]]:
    for at in item.result.shift_curve:
        yield _place(item) | {"shift": at.pixels, "test_accuracy": at.accuracy, "agreement": at.agreement}


def _patches(item: Finished) -> Iterator[dict[str, Any]]:
    for at in item.result.patches:
        yield _place(item) | vars(at) | {"test_accuracy": at.accuracy}


def _few_shots(item: Finished) -> Iterator[dict[str, Any]]:
    for at in item.result.few_shots:
        yield _place(item) | {"shots": at.shots, "few_shot_accuracy": at.accuracy}


def _place(item: Finished) -> dict[str, Any]:
    run, config = item.run, item.run.config
    return {"arm": run.arm, "train_size": config.data.train_size, "seed": config.seed, "digest": run.digest}

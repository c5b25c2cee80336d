"""What a study file's own claims and figures make of its results, kept so that a report needs no study file.

study.json holds their verdicts and which figures were drawn; the files of these are in figures/. A study file is asked
at the end of `run` and by `patchbench report FILE.py`; every other report shows what was kept.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.analysis.evidence import evidence_of
from harness.analysis.judging import KEY as CLAIMS
from harness.analysis.judging import own_verdicts
from harness.records import manifest
from harness.records.layout import StudyFolder
from harness.records.run_table import load_records
from harness.records.study_file import read_study, write_study
from harness.report.own_figures import KEY as FIGURES
from harness.report.own_figures import draw_own, kept_figures
from harness.spec import InvalidInput, ResolvedStudy, find_study, to_plain
from harness.spec.claims import is_own


def study_of_file(name: str, scale: str, say: Callable[[str], object]) -> ResolvedStudy | None:
    """The study of a file `path/to/my_study.py` at a scale; None, which is said, where the file does not give it."""
    if Path(name).suffix != ".py" or not Path(name).is_file():
        return None
    try:
        found, study = find_study(name)
        return study.resolve(found, scale)
    except InvalidInput as error:
        say(f"{error} Claims and figures of this file's own are shown as they were kept.")
        return None


def tell_of_changes(study: ResolvedStudy, folder: Path, say: Callable[[str], object]) -> None:
    """Say so where the claims of a study file are not those that its results were given."""
    with contextlib.suppress(InvalidInput):
        if list(map(to_plain, study.claims)) != list(map(to_plain, read_study(folder)[0].claims)):
            say(
                "The claims of the study file were changed after its last run; the report has those of that run. "
                "`patchbench run` judges the new ones, and trains nothing again."
            )


def kept_of(folder: Path) -> dict[str, Any]:
    """What the results in a folder have of a study file's own, as part of their provenance."""
    with contextlib.suppress(InvalidInput):
        provenance = read_study(folder)[1]
        return {key: provenance[key] for key in (CLAIMS, FIGURES) if key in provenance}
    return {}


def take_in(study: ResolvedStudy, folder: Path) -> None:
    """Judge a study's own claims on the results in a folder, draw its own figures, and keep both there.

    Of the claims, those that the results have; a claim that the study has no longer stays as it was kept. So do all
    figures where the study itself was read back and has their names only.
    """
    manifest.require_unchanged(folder)
    records = load_records(folder)
    own = [(to_plain(claim), claim) for claim in study.claims if is_own(claim)]
    claims = tuple(
        next((claim for plain, claim in own if plain == to_plain(kept)), kept) for kept in records.study.claims
    )
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

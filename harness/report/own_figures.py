"""Figures that a study file draws itself: drawn while that file is at hand, and kept with the results."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from harness.analysis.evidence import Evidence
from harness.analysis.own_code import attempt, runs_of
from harness.records.files import RecordsError, read_bytes, write_bytes
from harness.records.layout import StudyFolder
from harness.records.run_table import StudyRecords
from harness.report.figures import PICTURES
from harness.report.style import png, svg, theme
from harness.spec.formats import words

KEY = "own_figures"
"""Of the provenance: each figure's name and caption, which runs it was drawn from, or why it was not drawn."""

_REMEDY = "`patchbench report STUDY.py`, with the study's file, draws it again"


@dataclass(frozen=True)
class OwnFigure:
    """A figure with its files."""

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes


def draw_own(functions: Sequence[Callable[..., Any]], evidence: Evidence, folder: Path) -> list[dict[str, str]]:
    """Draw each function's figure in the house style into a study's figures/; returns what is to be kept of them.

    A function that fails costs its own figure only.
    """
    assert evidence.records is not None
    kept, runs = [], runs_of(evidence.records)
    for function in functions:
        caption = " ".join((inspect.getdoc(function) or "").split())
        drawn, failure = _drawn(function, evidence)
        for kind, content in zip(("png", "svg"), drawn or (), strict=False):
            write_bytes(StudyFolder(folder).figures / f"{function.__name__}.{kind}", content)
        kept.append({"name": function.__name__, "caption": caption, "runs": runs, "failure": failure})
    return kept


def kept_figures(records: StudyRecords) -> list[dict[str, str]]:
    """What was kept of a study's own figures; `RecordsError` where that is not whole."""
    kept, keys = records.provenance.get(KEY, []), ("name", "caption", "runs", "failure")
    whole = isinstance(kept, list) and all(
        isinstance(item, dict) and all(isinstance(item.get(key), str) for key in keys) and item["name"].isidentifier()
        for item in kept
    )
    if not whole:
        raise RecordsError(f"{KEY} in study.json does not hold a study's own figures. Take that entry out.")
    return list(kept)


def own_figures(records: StudyRecords) -> tuple[list[OwnFigure], tuple[str, ...]]:
    """The figures that were kept, and a sentence for each that is not there."""
    found, cautions = [], []
    for kept in kept_figures(records):
        name, failure = kept["name"], kept["failure"]
        if not failure and kept["runs"] != runs_of(records):
            failure = f"it was drawn from other runs; {_REMEDY}"
        try:
            files = [] if failure else [_kept_file(records, f"{name}.{kind}") for kind in ("png", "svg")]
        except RecordsError as error:
            failure = f"{str(error).removesuffix('.')}; {_REMEDY}"
        if failure:
            cautions.append(f"The study file's own figure {name!r} is left out: {failure}.")
        else:
            title = words(name).capitalize()
            found.append(OwnFigure(name, title, kept["caption"] or title, *files))
    return found, tuple(cautions)


def _kept_file(records: StudyRecords, name: str) -> bytes:
    if records.folder is None:
        raise RecordsError(f"There is no file {name}.")
    return read_bytes(StudyFolder(records.folder).figures / name)


def _drawn(function: Callable[..., Any], evidence: Evidence) -> tuple[tuple[bytes, bytes] | None, str]:
    """A figure as PNG and as SVG, or why there is none."""
    if function.__name__ in {picture.name for picture in PICTURES}:
        return None, "a figure of every report is called so; give the function another name"
    with theme():
        figure, failure = attempt(function, evidence)
        if failure or not isinstance(figure, Figure):
            return None, failure or f"it gave {figure!r:.80}, which is no matplotlib Figure"
        plt.close(figure)
        return attempt(lambda: (png(figure), svg(figure)))

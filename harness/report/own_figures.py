"""Figures that a study file draws itself: drawn while that file is at hand, and kept with the results."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from harness.analysis.evidence import Evidence
from harness.analysis.judging import attempt
from harness.records.files import RecordsError, read_bytes, write_bytes
from harness.records.layout import StudyFolder
from harness.records.run_table import StudyRecords, runs_of
from harness.report.figures import is_of_reports
from harness.report.style import Drawn, png, svg, theme
from harness.spec.formats import words

KEY = "own_figures"
"""Of the provenance: each figure's name and caption, which runs it was drawn from, or why it was not drawn."""


def draw_own(functions: Sequence[Callable[..., Any]], evidence: Evidence, folder: Path) -> list[dict[str, str]]:
    """Draw each function's figure in the house style into a study's figures/; returns what is to be kept of them.

    A function that fails costs its own figure only.
    """
    assert evidence.records is not None
    kept, runs = [], runs_of(evidence.records)
    for function in functions:
        caption = " ".join((inspect.getdoc(function) or "").split())
        drawn, failure = _drawn(function, evidence)
        for kind, content in (drawn or {}).items():
            write_bytes(StudyFolder(folder).figures / f"{function.__name__}.{kind}", content)
        kept.append({"name": function.__name__, "caption": caption, "runs": runs, "failure": failure})
    return kept


def _drawn(function: Callable[..., Any], evidence: Evidence) -> tuple[dict[str, bytes] | None, str]:
    """A figure as PNG and as SVG, or why there is none."""
    if is_of_reports(function.__name__):
        return None, "a figure of every report is called so; give the function another name"
    with theme():
        figure, failure = attempt(function, evidence)
        if failure or not isinstance(figure, Figure):
            return None, failure or f"it gave {figure!r:.80}, which is no matplotlib Figure"
        plt.close(figure)
        return attempt(lambda: {"png": png(figure), "svg": svg(figure)})


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


def own_figures(records: StudyRecords, first: int = 1) -> tuple[list[Drawn], tuple[str, ...]]:
    """The figures that were kept, numbered from `first`, and a sentence for each that is not there."""
    found, cautions = list[Drawn](), []
    for kept in kept_figures(records):
        name, failure, pixels = kept["name"], kept["failure"], b""
        if not failure and (records.folder is None or kept["runs"] != runs_of(records)):
            failure = "it was drawn from other runs"
        elif not failure and records.folder is not None:
            try:
                pixels = read_bytes(StudyFolder(records.folder).figures / f"{name}.png")
            except RecordsError as error:
                failure = str(error).removesuffix(".")
        if failure:
            again = "" if kept["failure"] else "; `patchbench report STUDY.py`, with the study's file, draws it again"
            cautions.append(f"The study file's own figure {name!r} is left out: {failure}{again}.")
            continue
        title, address = words(name).capitalize(), f"figures/{name}.png"
        found.append(Drawn(name, "own", title, kept["caption"] or title, first + len(found), address, pixels))
    return found, tuple(cautions)

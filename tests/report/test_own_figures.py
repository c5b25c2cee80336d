"""Figures of a study file's own: kept with the results, and harmless whatever they do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from report_cases import single

from harness.analysis.evidence import evidence_of
from harness.records.files import RecordsError
from harness.records.run_table import StudyRecords
from harness.report.content import content_of
from harness.report.own_figures import KEY, draw_own, own_figures


def losses(tables: Any) -> Figure:
    """The test loss of each run,
    by arm."""
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(tables.runs["test_loss"], "o")
    return figure


def by_pyplot(tables: Any) -> Figure:
    figure, axes = plt.subplots()
    axes.plot(tables.curves["train_loss"])
    return figure


def cannot_be_saved(tables: Any) -> Figure:
    figure = Figure()
    figure.savefig = None  # type: ignore[method-assign, assignment]
    return figure


def drawn(folder: Path, *functions: Any) -> StudyRecords:
    records = replace(single()[0], folder=folder)
    return replace(records, provenance=records.provenance | {KEY: draw_own(functions, evidence_of(records), folder)})


@pytest.mark.usefixtures("main_figure_alone")
def test_a_figure_is_kept_with_its_caption_and_stands_last_in_the_report(tmp_path: Path) -> None:
    records = drawn(tmp_path, losses, by_pyplot)
    assert plt.get_fignums() == []
    report = content_of(records, single()[1])
    last = report.figures[-2]
    assert (last.name, last.title, last.description) == ("losses", "Losses", "The test loss of each run, by arm.")
    assert last.png == (tmp_path / "figures" / "losses.png").read_bytes()
    assert [figure.number for figure in report.figures] == list(range(1, len(report.figures) + 1))
    assert report.figures[-1].description == "By pyplot"


def test_a_figure_that_cannot_be_saved_is_left_out(tmp_path: Path) -> None:
    figures, cautions = own_figures(drawn(tmp_path, cannot_be_saved, losses))
    assert [figure.name for figure in figures] == ["losses"]
    assert cautions[0].startswith("The study file's own figure 'cannot_be_saved' is left out: TypeError")


def test_a_figure_of_other_runs_or_without_its_file_is_left_out(tmp_path: Path) -> None:
    records = drawn(tmp_path, losses)
    figures, (caution,) = own_figures(replace(records, runs=records.runs.iloc[1:]))
    assert (figures, "drawn from other runs" in caution) == ([], True)
    (tmp_path / "figures" / "losses.png").unlink()
    figures, (caution,) = own_figures(records)
    assert (figures, "draws it again" in caution) == ([], True)


@pytest.mark.parametrize("spoilt", [3, ["x"], [{}], [{"name": "../x", "caption": "", "runs": "", "failure": ""}]])
def test_a_spoilt_entry_is_refused(tmp_path: Path, spoilt: object) -> None:
    records = drawn(tmp_path, losses)
    with pytest.raises(RecordsError, match=r"own_figures in study\.json"):
        own_figures(replace(records, provenance={KEY: spoilt}))

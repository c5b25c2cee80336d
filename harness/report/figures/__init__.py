"""The figures of a report: a file for each kind, with what it needs, how it is drawn and what it shows in words."""

from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures import (
    accuracy_by_cost,
    accuracy_by_level,
    accuracy_by_shift,
    accuracy_by_size,
    difference_map,
    differences,
    gap_by_level,
    gap_by_size,
    learning_curves,
    tuning_budget,
    unfinished_runs,
)
from harness.report.figures.picture import Picture
from harness.report.style import theme

PICTURES: tuple[Picture, ...] = (
    accuracy_by_size.PICTURE,
    accuracy_by_level.PICTURE,
    gap_by_level.PICTURE,
    difference_map.PICTURE,
    gap_by_size.PICTURE,
    differences.PICTURE,
    accuracy_by_shift.PICTURE,
    *accuracy_by_cost.PICTURES,
    learning_curves.PICTURE,
    tuning_budget.PICTURE,
    unfinished_runs.PICTURE,
)
"""In the order of the report, the main figure first."""


def pictures_of(records: StudyRecords, findings: Findings) -> list[Picture]:
    """The kinds of figures that this study has the data for."""
    return [picture for picture in PICTURES if picture.applies(records, findings)]


def figures_of(records: StudyRecords, findings: Findings) -> dict[str, Figure]:
    """Every figure that applies, by its name, the main figure first."""
    with theme():
        return {picture.name: picture.draw(records, findings) for picture in pictures_of(records, findings)}

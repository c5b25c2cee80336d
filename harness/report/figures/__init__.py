"""The figures of a report: a file for each kind, with what it needs, how it is drawn and what it shows in words."""

from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures import (
    accuracy_by_cost,
    accuracy_by_level,
    accuracy_by_shift,
    by_size,
    curves,
    difference_map,
    differences,
    gap_by_level,
    unfinished_runs,
)
from harness.report.figures.picture import Picture
from harness.report.style import theme

PICTURES: tuple[Picture, ...] = (
    by_size.ACCURACY,
    accuracy_by_level.PICTURE,
    gap_by_level.PICTURE,
    difference_map.PICTURE,
    by_size.GAP,
    differences.PICTURE,
    accuracy_by_shift.PICTURE,
    *accuracy_by_cost.PICTURES,
    curves.LEARNING,
    curves.BUDGET,
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

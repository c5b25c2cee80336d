"""Which figures a study has: each with what it needs, how it is drawn and how it is described in words."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report import describe
from harness.report.costs import accuracy_by_macs, accuracy_by_speed, rows_with_cost
from harness.report.curves import (
    budget_curves,
    budget_rows,
    learning_curves,
    learning_rows,
    unfinished_rows,
    unfinished_runs,
)
from harness.report.difference_map import difference_map, mapped_gaps
from harness.report.frames import (
    arms_with_results,
    comparisons_with_results,
    gaps_of_series,
    largest_size,
    sizes_of,
)
from harness.report.gaps import gap_by_level
from harness.report.levels import differences, factor_curve
from harness.report.series import series_curve
from harness.report.shifts import accuracy_by_shift, shift_rows
from harness.report.sizes import accuracy_by_size, gap_by_size
from harness.report.style import theme

Draw = Callable[[StudyRecords, Findings], Figure]
Describe = Callable[[StudyRecords, Findings], str]


@dataclass(frozen=True)
class Picture:
    """One kind of figure."""

    name: str
    """Of its files in figures/."""
    section: str
    """Where in the report it stands: main, shifts, cost, learning, tuning or unfinished."""
    title: str
    draw: Draw
    describe: Describe
    """What it shows, with numbers, for those who do not see it."""
    applies: Callable[[StudyRecords, Findings], bool]


PICTURES: tuple[Picture, ...] = (
    Picture(
        "accuracy_by_size",
        "main",
        "Test accuracy by training images",
        accuracy_by_size,
        describe.accuracy_by_size,
        lambda records, findings: bool(sizes_of(findings) and not records.study.series and arms_with_results(findings)),
    ),
    Picture(
        "accuracy_by_level",
        "main",
        "Test accuracy by level of the factor",
        factor_curve,
        describe.factor_curve,
        lambda records, findings: bool(
            not sizes_of(findings) and not records.study.series and arms_with_results(findings)
        ),
    ),
    Picture(
        "accuracy_by_level",
        "main",
        "Test accuracy of each series by level of the factor",
        series_curve,
        describe.series_curve,
        lambda records, findings: bool(records.study.series and arms_with_results(findings)),
    ),
    Picture(
        "gap_by_level",
        "main",
        "Gap of each series by level of the factor",
        gap_by_level,
        describe.gap_by_level,
        lambda records, findings: bool(gaps_of_series(records, findings)),
    ),
    Picture(
        "difference_map",
        "main",
        "Difference between series by level and training images",
        difference_map,
        describe.difference_map,
        lambda records, findings: bool(mapped_gaps(records, findings)),
    ),
    Picture(
        "gap_by_size",
        "main",
        "Gap to the baseline by training images",
        gap_by_size,
        describe.gap_by_size,
        lambda records, findings: bool(
            sizes_of(findings) and not records.study.series and comparisons_with_results(findings)
        ),
    ),
    Picture(
        "differences",
        "main",
        "Differences to the baseline",
        differences,
        describe.differences,
        lambda records, findings: bool(
            (not sizes_of(findings) or records.study.series)
            and comparisons_with_results(findings, largest_size(findings))
        ),
    ),
    Picture(
        "accuracy_by_shift",
        "shifts",
        "Tests on moved images",
        accuracy_by_shift,
        describe.accuracy_by_shift,
        lambda _, findings: bool(shift_rows(findings)),
    ),
    Picture(
        "accuracy_by_macs",
        "cost",
        "Accuracy against computation",
        accuracy_by_macs,
        describe.accuracy_by_macs,
        lambda _, findings: bool(rows_with_cost(findings, "macs_per_image")),
    ),
    Picture(
        "accuracy_by_speed",
        "cost",
        "Accuracy against training speed",
        accuracy_by_speed,
        describe.accuracy_by_speed,
        lambda _, findings: bool(rows_with_cost(findings, "train_images_per_second")),
    ),
    Picture(
        "learning_curves",
        "learning",
        "Learning curves",
        learning_curves,
        describe.learning_curves,
        lambda records, findings: not learning_rows(records, findings).empty,
    ),
    Picture(
        "tuning_budget",
        "tuning",
        "Accuracy by tuning budget",
        budget_curves,
        describe.budget_curves,
        lambda _, findings: not budget_rows(findings).empty,
    ),
    Picture(
        "unfinished_runs",
        "unfinished",
        "Confirm runs without a result",
        unfinished_runs,
        describe.unfinished_runs,
        lambda _, findings: bool(unfinished_rows(findings)),
    ),
)
"""In the order of the report, the main figure first."""


def pictures_of(records: StudyRecords, findings: Findings) -> list[Picture]:
    """The kinds of figures that this study has the data for."""
    return [picture for picture in PICTURES if picture.applies(records, findings)]


def figures_of(records: StudyRecords, findings: Findings) -> dict[str, Figure]:
    """Every figure that applies, by its name, the main figure first."""
    with theme():
        return {picture.name: picture.draw(records, findings) for picture in pictures_of(records, findings)}

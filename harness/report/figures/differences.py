"""Interval plot of the differences to the baseline, or to the arm that each is compared with."""

from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures import in_words
from harness.report.figures.canvas import Canvas, Label, rows_height, set_rows
from harness.report.figures.drawing import draw_mean, interval_of
from harness.report.figures.labels import short_names
from harness.report.figures.looks import marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import few_ticks
from harness.report.frames import (
    at_largest,
    compared,
    comparisons_with_results,
    grouped,
    has_partners,
    largest_size,
    sizes_of,
)
from harness.report.style import INK


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    study, looks = records.study, marks(records.study)
    rows = grouped(comparisons_with_results(findings, largest_size(findings)), study)
    texts, baseline = [compared(row, study) for row in rows], study.baseline.name
    names = short_names(texts, 1.4, lines=3 if len(rows) <= 12 else 2)
    alone = texts == [row["arm"] for row in rows]
    other = "the baseline" if alone else f"the arm after the minus sign, else than {baseline}"
    canvas = Canvas(
        f"Difference in test accuracy to {baseline}" if alone else "Differences in test accuracy",
        at_largest(findings, "At {}. ")
        + f"Mean over paired seeds with its 95% interval, in points; right of zero: better than {other}.",
        height=rows_height(names[text] for text in texts),
    )
    axes = canvas.axes
    axes.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(rows):
        draw_mean(axes, 100 * row["difference"], place, interval_of(row), looks[row["arm"]], along="x")
    set_rows(axes, [names[text] for text in texts])
    few_ticks(axes.xaxis, most=4)
    canvas.beside(Label(in_words.difference(row), place) for place, row in enumerate(rows))
    axes.set_xlabel("difference (points)")
    return canvas.finish()


def _describe(records: StudyRecords, findings: Findings) -> str:
    rows = comparisons_with_results(findings, largest_size(findings))
    named = [row | {"arm": compared(row, records.study)} for row in rows]
    own = " unless another arm is named" if has_partners(records.study) else ""
    told = in_words.differences(named)
    return f"Difference in test accuracy to {records.study.baseline.name}{own}, in points. {told}"


def _applies(records: StudyRecords, findings: Findings) -> bool:
    alone = not sizes_of(findings) or records.study.series
    return bool(alone and comparisons_with_results(findings, largest_size(findings)))


PICTURE = Picture("differences", "result", "Differences to the baseline", _draw, _describe, _applies)

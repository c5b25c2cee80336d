"""The gap to the baseline by the number of training images."""

from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures import in_words
from harness.report.figures.accuracy_by_size import dodges, line_of, set_size_axis
from harness.report.figures.canvas import Canvas, Label, column_height
from harness.report.figures.drawing import draw_mean, interval_of
from harness.report.figures.labels import short_names
from harness.report.figures.looks import marks
from harness.report.figures.picture import Picture
from harness.report.frames import by_arm, compared, comparisons_with_results, has_partners, sizes_of
from harness.report.style import INK
from harness.spec.plural import counted


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    """Difference in test accuracy to the baseline by training images, with intervals and the zero line."""
    study, looks = records.study, marks(records.study)
    found = by_arm(comparisons_with_results(findings), study)
    texts = {name: compared(rows[0], study) for name, rows in found.items()}
    own = any(text != name for name, text in texts.items())  # an arm is compared with another than the baseline
    names = short_names(list(texts.values()), 1.35, lines=3 if len(texts) <= 12 else 1)
    other = f"the arm after the minus sign, else than {study.baseline.name}" if own else "the baseline"
    canvas = Canvas(
        "Gaps by training images" if own else f"Gap to {study.baseline.name} by training images",
        f"Mean difference over paired seeds with its 95% interval; above zero: better than {other}.",
        height=column_height(names.values()),
    )
    canvas.axes.axhline(0, color=INK, linewidth=1)
    labels = []
    for (name, rows), dodge in zip(found.items(), dodges(len(found)), strict=True):
        look, (xs, ys) = looks[name], line_of(rows, "difference")
        canvas.axes.plot([x * dodge for x in xs], ys, color=look.colour, linestyle=look.dash, linewidth=1)
        labels.append(Label(names[texts[name]], ys[-1], look))
        for row in rows:
            draw_mean(canvas.axes, row["train_size"] * dodge, 100 * row["difference"], interval_of(row), look)
    set_size_axis(canvas.axes, findings)
    canvas.beside(labels)
    canvas.axes.set_ylabel("difference (points)")
    return canvas.finish()


def _describe(records: StudyRecords, findings: Findings) -> str:
    """Differences at the smallest and largest size."""
    study, sizes = records.study, sizes_of(findings)
    rows = {size: comparisons_with_results(findings, size) for size in (sizes[0], sizes[-1])}
    named = {size: [row | {"arm": compared(row, study)} for row in of_size] for size, of_size in rows.items()}
    texts = [f"At {counted(size, 'image')}: {in_words.differences(of_size)}" for size, of_size in named.items()]
    own = " unless another arm is named" if has_partners(study) else ""
    return " ".join([f"Gap to {study.baseline.name}{own} in points by number of training images.", *texts])


PICTURE = Picture(
    name="gap_by_size",
    section="main",
    title="Gap to the baseline by training images",
    draw=_draw,
    describe=_describe,
    applies=lambda records, findings: bool(
        sizes_of(findings) and not records.study.series and comparisons_with_results(findings)
    ),
)

"""Confirm runs without a result, by the way they ended."""

from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas, rows_height, set_rows
from harness.report.figures.in_words import several
from harness.report.figures.labels import short_names
from harness.report.figures.looks import Mark
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import few_ticks
from harness.report.frames import Row, cell_name, rows_of
from harness.spec.formats import number, words

UNFINISHED = {
    "diverged": Mark("#d55e00", "v", ""),
    "out_of_memory": Mark("#0173b2", "s", ""),
    "failed": Mark("#8250df", "X", ""),
    "missing": Mark("#57606a", "o", ""),
}
"""Ways in which a planned run has no result (columns of `findings.arms`), and their looks."""


def unfinished_rows(findings: Findings) -> list[Row]:
    """Rows of `findings.arms` with a planned run that has no result."""
    return [row for row in rows_of(findings.arms) if any(_counts(row).values())]


def _draw(_: StudyRecords, findings: Findings) -> Figure:
    rows = unfinished_rows(findings)
    texts = [cell_name(row, findings) for row in rows]
    names = short_names(texts, 1.9, lines=2)
    present = [status for status in UNFINISHED if any(_counts(row)[status] for row in rows)]
    title, height = "Confirm runs without a result", max(1.6, rows_height(names[text] for text in texts))
    canvas = Canvas(title, "One mark per run.", height=height)
    axes = canvas.axes
    for place, row in enumerate(rows):
        ends = [status for status, runs in _counts(row).items() for _ in range(runs)]
        for at, status in enumerate(ends, start=1):
            axes.plot([at], [place], **UNFINISHED[status].point)
    set_rows(axes, [names[text] for text in texts])
    axes.set_xlim(0.4, max(sum(_counts(row).values()) for row in rows) + 0.6)
    few_ticks(axes.xaxis, whole=True)
    canvas.key_beside({words(status): UNFINISHED[status] for status in present})
    axes.set_xlabel("runs")
    return canvas.finish()


def _counts(row: Row) -> dict[str, int]:
    return {status: int(number(row[status]) or 0) for status in UNFINISHED}


def _describe(_: StudyRecords, findings: Findings) -> str:
    texts = []
    for row in unfinished_rows(findings):
        parts = [f"{runs} {words(status)}" for status, runs in _counts(row).items() if runs]
        texts.append(f"{cell_name(row, findings)}: {', '.join(parts)}")
    return f"Confirm runs without a result. {several(texts)}."


PICTURE = Picture(
    "unfinished_runs",
    "unfinished",
    "Confirm runs without a result",
    _draw,
    _describe,
    lambda _, findings: unfinished_rows(findings),
)

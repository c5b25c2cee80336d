"""What is taken from a report into a paper: a table of the arms, and its figures with the data behind them."""

from collections.abc import Callable
from pathlib import Path

from harness.analysis.findings import Findings
from harness.records import csv_text, files
from harness.records.run_table import StudyRecords
from harness.report.figures import drawings
from harness.report.figures.canvas import Drawing
from harness.report.page import markdown_table
from harness.report.result_tables import takeaway_table
from harness.report.style import pdf, png, svg, theme
from harness.report.table import Table
from harness.report.view import View

_LATEX = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "†": r"$\dagger$",
    "…": r"\ldots{}",
}

FIGURES: dict[str, Callable[[Drawing], bytes]] = {
    "svg": lambda drawing: svg(drawing.figure),
    "pdf": lambda drawing: pdf(drawing.figure),
    "png": lambda drawing: png(drawing.figure),
    "csv": lambda drawing: csv_text.from_frame(drawing.data).encode(),
}
"""By format, how a figure is written; as CSV the numbers that it shows."""


def arms_as(records: StudyRecords, findings: Findings, form: str) -> str:
    """The table of arms as `latex`, `markdown` or `csv`; those that may be the best are marked."""
    table = takeaway_table(View(records, findings))
    if form == "csv":
        return table.csv
    if form == "latex":
        return latex(table)
    return f"{markdown_table(table)}\n\n{table.note}\n"


def latex(table: Table) -> str:
    """A table for LaTeX with the package booktabs; its caption and note stand above it as comments."""
    rows = [[column.heading for column in table.columns], *([cell.text for cell in row] for row in table.rows)]
    head, *body = (" & ".join(map(escaped, row)) + r" \\" for row in rows)
    lines = [f"% {' '.join(text.split())}" for text in (table.caption, table.note) if text]
    sides = "".join("r" if column.numeric else "l" for column in table.columns)
    begin, end = rf"\begin{{tabular}}{{{sides}}}", r"\end{tabular}"
    return "\n".join((*lines, begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end)) + "\n"


def escaped(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.splitlines()))


def write_figures(records: StudyRecords, findings: Findings, folder: Path, form: str) -> list[Path]:
    """Write the figures of a report that have numbers to show in one of the formats FIGURES; returns the paths.

    Equal records give equal bytes. As CSV, what shows images only is left out.
    """
    written = []
    with theme():
        for name, _, drawing in drawings(View(records, findings)):
            if form != "csv" or len(drawing.data):
                written.append(folder / f"{name}.{form}")
                files.write_bytes(written[-1], FIGURES[form](drawing))
    return written

"""Accuracy by the number of training images, with fitted laws and crossovers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.analysis.laws import law_error, law_formula
from harness.records.run_table import StudyRecords
from harness.report.figures import in_words
from harness.report.figures.canvas import Canvas, Label, column_height
from harness.report.figures.drawing import INTERVAL_NOTE, draw_arm, labels_of
from harness.report.figures.looks import Mark, marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import fix_ticks
from harness.report.frames import Row, along_size, arms_with_results, by_arm, rows_of, seeds_of, sizes_of
from harness.spec.formats import count, number
from harness.spec.plural import counted

_DODGE = 1.035
"""Arms stand side by side at a size: each is moved by this ratio against the one before."""
_MOST_CROSSOVERS = 8


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy by training images, with fitted laws and the intervals of crossovers."""
    study, looks = records.study, marks(records.study)
    found = by_arm(arms_with_results(findings), study)
    names = labels_of(study, found)
    laws = {row["arm"]: row for row in rows_of(findings.laws) if number(row["a"]) is not None}
    title, note = "Test accuracy by training images", _note(findings, list(laws.values()))
    canvas = Canvas(title, note, height=column_height(names.values(), 3.8))
    axes, seeds = canvas.axes, {size: seeds_of(records, size) for size in sizes_of(findings)}
    _shade_crossovers(axes, findings, looks)
    labels = []
    for (name, rows), dodge in zip(found.items(), dodges(len(found)), strict=True):
        xs, ys = _law_line(laws[name], rows) if name in laws else line_of(rows, "mean")
        axes.plot(xs, ys, color=looks[name].colour, linestyle=looks[name].dash, linewidth=1.2)
        labels.append(Label(names[name], ys[-1], looks[name]))
        for row in rows:
            draw_arm(axes, row["train_size"] * dodge, row, seeds[row["train_size"]][name], looks[name])
    set_size_axis(axes, findings)
    canvas.beside(labels)
    axes.set_ylabel("test accuracy (%)")
    return canvas.finish()


def set_size_axis(axes: Axes, findings: Findings) -> None:
    """Training images on a logarithmic axis, with a tick at each size."""
    axes.set_xscale("log")
    fix_ticks(axes.xaxis, sizes_of(findings), count)
    axes.set_xlabel("training images")


def line_of(rows: list[Row], column: str) -> tuple[list[float], list[float]]:
    """Training sizes of an arm and its values there, in percent."""
    ordered = sorted(rows, key=lambda row: float(row["train_size"]))
    return [float(row["train_size"]) for row in ordered], [100 * float(row[column]) for row in ordered]


def dodges(arms: int) -> list[float]:
    """By what each arm is moved so that their intervals do not cover each other."""
    ratio = _DODGE if arms <= 6 else _DODGE ** (6 / arms)
    return [float(ratio ** (i - (arms - 1) / 2)) for i in range(arms)]


def _note(findings: Findings, laws: list[Row]) -> str:
    lines = f" Lines: fitted laws, {law_formula(law['d'] for law in laws)}." if laws else ""
    crossovers = along_size(findings.crossovers)
    if not any(number(row["ci_low"]) is not None for row in crossovers):
        return INTERVAL_NOTE + lines
    other = " with the baseline" if len({row["baseline"] for row in crossovers}) == 1 else ""
    return f"{INTERVAL_NOTE}{lines} Shaded: 95% interval of a crossover{other}."


def _shade_crossovers(axes: Axes, findings: Findings, looks: dict[str, Mark]) -> None:
    for row in along_size(findings.crossovers):
        low, high, middle = number(row["ci_low"]), number(row["ci_high"]), number(row["median"])
        if low is not None and high is not None:
            axes.axvspan(low, high, color=looks[row["arm"]].colour, alpha=0.1, linewidth=0)
        if middle is not None:
            axes.axvline(middle, color=looks[row["arm"]].colour, linewidth=0.9, linestyle=":")


def _law_line(law: Row, rows: list[Row]) -> tuple[list[float], list[float]]:
    """A fitted law over the arm's measured sizes, never beyond them."""
    sizes = [float(row["train_size"]) for row in rows]
    xs = np.geomspace(min(sizes), max(sizes), 60)
    ys = 100 * (1 - law_error(xs, *(float(law[name]) for name in "abcd")))
    return [float(x) for x in xs], [float(y) for y in ys]


def _describe(_: StudyRecords, findings: Findings) -> str:
    """Accuracies at the smallest and largest size, and crossovers."""
    sizes = sizes_of(findings)
    ends = dict.fromkeys((sizes[0], sizes[-1]))
    texts = [f"At {counted(size, 'image')}: {in_words.accuracies(arms_with_results(findings, size))}" for size in ends]
    statements = [str(row["statement"]) for row in along_size(findings.crossovers)]
    return " ".join(["Test accuracy by number of training images.", *texts, *statements[:_MOST_CROSSOVERS]])


PICTURE = Picture(
    name="accuracy_by_size",
    section="main",
    title="Test accuracy by training images",
    draw=_draw,
    describe=_describe,
    applies=lambda records, findings: bool(
        sizes_of(findings) and not records.study.series and arms_with_results(findings)
    ),
)

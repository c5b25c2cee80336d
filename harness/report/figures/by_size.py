"""Accuracy, and the gap to the baseline, by the number of training images, with fitted laws and crossovers."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.analysis.laws import law_error, law_formula
from harness.records.run_table import StudyRecords
from harness.report.figures import in_words
from harness.report.figures.canvas import Canvas, Label, column_height
from harness.report.figures.drawing import INTERVAL_NOTE, draw_arm, draw_mean, interval_of, labels_of
from harness.report.figures.labels import short_names
from harness.report.figures.looks import Mark, marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import fix_ticks
from harness.report.frames import (
    Row,
    along_size,
    arms_with_results,
    by_arm,
    compared,
    comparisons_with_results,
    has_partners,
    rows_of,
    seeds_of,
    sizes_of,
)
from harness.report.style import INK
from harness.spec.formats import count, number
from harness.spec.plural import counted

_DODGE = 1.035
"""Arms stand side by side at a size: each is moved by this ratio against the one before."""
_MOST_CROSSOVERS = 8


def _draw_accuracy(records: StudyRecords, findings: Findings) -> Figure:
    study, looks = records.study, marks(records.study)
    found = by_arm(arms_with_results(findings), study)
    names = labels_of(study, found)
    laws = {row["arm"]: row for row in rows_of(findings.laws) if number(row["a"]) is not None}
    title, note = "Test accuracy by training images", _note(findings, list(laws.values()))
    canvas = Canvas(title, note, height=column_height(names.values(), 3.8))
    axes, seeds = canvas.axes, {size: seeds_of(records, size) for size in sizes_of(findings)}
    _shade_crossovers(axes, findings, looks)
    labels = []
    for (name, rows), dodge in zip(found.items(), _dodges(len(found)), strict=True):
        xs, ys = _law_line(laws[name], rows) if name in laws else _line(rows, "mean")
        axes.plot(xs, ys, linewidth=1.2, **looks[name].line)
        labels.append(Label(names[name], ys[-1], looks[name]))
        for row in rows:
            draw_arm(axes, row["train_size"] * dodge, row, seeds[row["train_size"]][name], looks[name])
    return _finished(canvas, findings, labels, "test accuracy (%)")


def _draw_gap(records: StudyRecords, findings: Findings) -> Figure:
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
    for (name, rows), dodge in zip(found.items(), _dodges(len(found)), strict=True):
        look, (xs, ys) = looks[name], _line(rows, "difference")
        canvas.axes.plot([x * dodge for x in xs], ys, linewidth=1, **look.line)
        labels.append(Label(names[texts[name]], ys[-1], look))
        for row in rows:
            draw_mean(canvas.axes, row["train_size"] * dodge, 100 * row["difference"], interval_of(row), look)
    return _finished(canvas, findings, labels, "difference (points)")


def _finished(canvas: Canvas, findings: Findings, labels: list[Label], measured: str) -> Figure:
    """With training images on a logarithmic axis, and the arms' names beside their last points."""
    canvas.axes.set_xscale("log")
    fix_ticks(canvas.axes.xaxis, sizes_of(findings), count)
    canvas.beside(labels)
    canvas.axes.set_xlabel("training images")
    canvas.axes.set_ylabel(measured)
    return canvas.finish()


def _line(rows: list[Row], column: str) -> tuple[list[float], list[float]]:
    """Training sizes of an arm and its values there, in percent."""
    ordered = sorted(rows, key=lambda row: float(row["train_size"]))
    return [float(row["train_size"]) for row in ordered], [100 * float(row[column]) for row in ordered]


def _law_line(law: Row, rows: list[Row]) -> tuple[list[float], list[float]]:
    """A fitted law over the arm's measured sizes, never beyond them."""
    sizes = [float(row["train_size"]) for row in rows]
    xs = np.geomspace(min(sizes), max(sizes), 60)
    ys = 100 * (1 - law_error(xs, *(float(law[name]) for name in "abcd")))
    return xs.tolist(), ys.tolist()


def _dodges(arms: int) -> list[float]:
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


def _at_ends(findings: Findings, tell: Callable[[int], str]) -> list[str]:
    """What there is to tell of the smallest and of the largest training size."""
    ends = dict.fromkeys((sizes_of(findings)[0], sizes_of(findings)[-1]))
    return [f"At {counted(size, 'image')}: {tell(size)}" for size in ends]


def _describe_accuracy(_: StudyRecords, findings: Findings) -> str:
    texts = _at_ends(findings, lambda size: in_words.accuracies(arms_with_results(findings, size)))
    statements = [str(row["statement"]) for row in along_size(findings.crossovers)]
    return " ".join(["Test accuracy by number of training images.", *texts, *statements[:_MOST_CROSSOVERS]])


def _describe_gap(records: StudyRecords, findings: Findings) -> str:
    study = records.study

    def tell(size: int) -> str:
        rows = comparisons_with_results(findings, size)
        return in_words.differences([row | {"arm": compared(row, study)} for row in rows])

    own = " unless another arm is named" if has_partners(study) else ""
    gap = f"Gap to {study.baseline.name}{own} in points by number of training images."
    return " ".join([gap, *_at_ends(findings, tell)])


def _applies(records: StudyRecords, findings: Findings) -> bool:
    return bool(sizes_of(findings) and not records.study.series and arms_with_results(findings))


ACCURACY = Picture(
    "accuracy_by_size",
    "result",
    "Test accuracy by training images",
    _draw_accuracy,
    _describe_accuracy,
    _applies,
)
GAP = Picture(
    "gap_by_size",
    "result",
    "Gap to the baseline by training images",
    _draw_gap,
    _describe_gap,
    lambda records, findings: _applies(records, findings) and comparisons_with_results(findings),
)

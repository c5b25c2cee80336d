"""Validation accuracy over the course of training, and by tuning budget."""

import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.analysis.learning import mean_curve
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas, Label, column_height
from harness.report.figures.drawing import labels_of
from harness.report.figures.in_words import ends, several
from harness.report.figures.looks import marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import few_ticks
from harness.report.frames import at_largest, at_size, largest_size
from harness.spec.formats import count, percent
from harness.spec.plural import counted


def _draw_learning(records: StudyRecords, findings: Findings) -> Figure:
    curves, looks = _curves(records, findings), marks(records.study)
    names = labels_of(records.study, [arm.name for arm in records.study.all_arms if arm.name in set(curves["arm"])])
    note = at_largest(findings, "At {}. ") + "Thin lines: seeds. Thick lines: their mean."
    canvas = Canvas("Learning curves", note, height=column_height(names.values()))
    axes, labels = canvas.axes, []
    for name, text in names.items():
        look, of_arm = looks[name], curves[curves["arm"] == name]
        lines = [
            list(zip(group["update"].astype(float), 100 * group["validation_accuracy"], strict=True))
            for _, group in of_arm.groupby("seed")
        ]
        axes.add_collection(LineCollection(lines, colors=look.colour, linewidths=0.6, alpha=0.4))
        means = 100 * mean_curve(of_arm, "validation_accuracy")
        alone = look.marker if len(means) == 1 else ""  # one evaluation makes no line
        axes.plot(means.index.astype(float), means, marker=alone, **look.line)
        labels.append(Label(text, float(means.iloc[-1]), look))
    axes.set_xlim(left=0)
    few_ticks(axes.xaxis)
    axes.xaxis.set_major_formatter(lambda update, _: count(update))
    return _finished(canvas, labels, "updates")


def _draw_budget(records: StudyRecords, findings: Findings) -> Figure:
    budget, looks = _budget(findings), marks(records.study)
    names = labels_of(records.study, [arm.name for arm in records.study.all_arms if arm.name in set(budget["arm"])])
    where = at_largest(findings, ", at {}")
    note = f"Expected validation accuracy of the best of k trials{where}. Curves still rising call for more trials."
    canvas = Canvas("Accuracy by tuning budget", note, height=column_height(names.values()))
    axes, labels = canvas.axes, []
    for name, text in names.items():
        look, rows = looks[name], budget[budget["arm"] == name]
        xs, ys = rows["trials"].astype(float), 100 * rows["expected_best"]
        axes.plot(xs, ys, marker=look.marker, markersize=4, markevery=max(1, len(rows) // 8), **look.line)
        labels.append(Label(text, float(ys.iloc[-1]), look))
    few_ticks(axes.xaxis, whole=True)
    return _finished(canvas, labels, "trials of the search (k)")


def _finished(canvas: Canvas, labels: list[Label], along: str) -> Figure:
    canvas.beside(labels)
    canvas.axes.set_xlabel(along)
    canvas.axes.set_ylabel("validation accuracy (%)")
    return canvas.finish()


def _curves(records: StudyRecords, findings: Findings) -> pd.DataFrame:
    """The evaluations that are drawn: at the largest training size."""
    curves = at_size(records.curves, largest_size(findings))
    return curves.dropna(subset=["update", "validation_accuracy"]).sort_values(["seed", "update"], kind="stable")


def _budget(findings: Findings) -> pd.DataFrame:
    """Points of the budget curves, at the largest training size."""
    budget = at_size(findings.budget, largest_size(findings))
    if budget.empty:
        return budget
    return budget.dropna(subset=["trials", "expected_best"]).sort_values("trials", kind="stable")


def _describe_learning(records: StudyRecords, findings: Findings) -> str:
    curves = _curves(records, findings)
    last = {str(arm): mean_curve(of_arm, "validation_accuracy").iloc[-1] for arm, of_arm in curves.groupby("arm")}
    ordered = sorted(last.items(), key=lambda end: (float(end[1]), end[0]))
    seeds = counted(curves.groupby("arm")["seed"].nunique().max(), "seed")
    told = ends([f"{arm} {percent(value)}" for arm, value in ordered])
    over = counted(curves["update"].max(), "update")
    return f"Validation accuracy over {over}, up to {seeds} per arm. Mean at the end: {told}."


def _describe_budget(_: StudyRecords, findings: Findings) -> str:
    budget = _budget(findings)
    texts = [
        f"{arm} from {percent(rows['expected_best'].iloc[0])} to {percent(rows['expected_best'].iloc[-1])}"
        for arm, rows in budget.groupby("arm", sort=False)
    ]
    most = counted(budget["trials"].max(), "trial")
    return f"Expected validation accuracy of the best of 1 to {most}: {several(texts)}."


LEARNING = Picture(
    "learning_curves",
    "learning",
    "Learning curves",
    _draw_learning,
    _describe_learning,
    lambda records, findings: len(_curves(records, findings)),
)
BUDGET = Picture(
    "tuning_budget",
    "tuning",
    "Accuracy by tuning budget",
    _draw_budget,
    _describe_budget,
    lambda _, findings: len(_budget(findings)),
)

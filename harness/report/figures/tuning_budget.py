"""Accuracy by tuning budget: whether more trials would change the order of the arms."""

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas, Label, column_height
from harness.report.figures.drawing import labels_of
from harness.report.figures.in_words import several
from harness.report.figures.looks import marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import few_ticks
from harness.report.frames import at_largest, at_size, largest_size
from harness.spec.formats import percent
from harness.spec.plural import counted

_TITLE = "Accuracy by tuning budget"


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    """Expected validation accuracy of the best of k trials, per arm."""
    budget, looks = _budget(findings), marks(records.study)
    names = labels_of(records.study, [arm.name for arm in records.study.all_arms if arm.name in set(budget["arm"])])
    where = at_largest(findings, ", at {}")
    note = f"Expected validation accuracy of the best of k trials{where}. Curves still rising call for more trials."
    canvas = Canvas(_TITLE, note, height=column_height(names.values()))
    axes, labels = canvas.axes, []
    for name, text in names.items():
        look, rows = looks[name], budget[budget["arm"] == name]
        line = {"color": look.colour, "linestyle": look.dash, "marker": look.marker, "markersize": 4}
        xs, ys = rows["trials"].astype(float), 100 * rows["expected_best"]
        axes.plot(xs, ys, markevery=max(1, len(rows) // 8), **line)
        labels.append(Label(text, float(ys.iloc[-1]), look))
    few_ticks(axes.xaxis, whole=True)
    canvas.beside(labels)
    axes.set_xlabel("trials of the search (k)")
    axes.set_ylabel("validation accuracy (%)")
    return canvas.finish()


def _budget(findings: Findings) -> pd.DataFrame:
    """Points of the budget curves, at the largest training size."""
    budget = at_size(findings.budget, largest_size(findings))
    return (
        budget
        if budget.empty
        else budget.dropna(subset=["trials", "expected_best"]).sort_values("trials", kind="stable")
    )


def _describe(_: StudyRecords, findings: Findings) -> str:
    """The first and last point of each budget curve."""
    budget = _budget(findings)
    texts = [
        f"{arm} from {percent(rows['expected_best'].iloc[0])} to {percent(rows['expected_best'].iloc[-1])}"
        for arm, rows in budget.groupby("arm", sort=False)
    ]
    most = counted(budget["trials"].max(), "trial")
    return f"Expected validation accuracy of the best of 1 to {most}: {several(texts)}."


PICTURE = Picture(
    name="tuning_budget",
    section="tuning",
    title=_TITLE,
    draw=_draw,
    describe=_describe,
    applies=lambda _, findings: not _budget(findings).empty,
)

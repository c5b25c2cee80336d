"""Validation accuracy over the course of training."""

import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.analysis.learning import mean_curve
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas, Label, column_height
from harness.report.figures.drawing import labels_of
from harness.report.figures.in_words import several
from harness.report.figures.looks import marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import few_ticks
from harness.report.frames import at_largest, at_size, largest_size
from harness.spec.formats import count, percent
from harness.spec.plural import counted


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    """Validation accuracy by update: a thin line per seed, the mean over it."""
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
        axes.plot(means.index.astype(float), means, marker=alone, color=look.colour, linestyle=look.dash)
        labels.append(Label(text, float(means.iloc[-1]), look))
    axes.set_xlim(left=0)
    few_ticks(axes.xaxis)
    axes.xaxis.set_major_formatter(lambda update, _: count(update))
    canvas.beside(labels)
    axes.set_xlabel("updates")
    axes.set_ylabel("validation accuracy (%)")
    return canvas.finish()


def _curves(records: StudyRecords, findings: Findings) -> pd.DataFrame:
    """The evaluations that are drawn: at the largest training size."""
    curves = at_size(records.curves, largest_size(findings))
    return curves.dropna(subset=["update", "validation_accuracy"]).sort_values(["seed", "update"], kind="stable")


def _describe(records: StudyRecords, findings: Findings) -> str:
    """Where the learning curves end."""
    curves = _curves(records, findings)
    ends = {
        str(arm): float(mean_curve(of_arm, "validation_accuracy").iloc[-1])
        for arm, of_arm in curves.groupby("arm", sort=False)
    }
    texts = [f"{arm} {percent(value)}" for arm, value in sorted(ends.items(), key=lambda end: -end[1])]
    if several(texts) != "; ".join(texts):
        texts = [f"from {texts[0]} (highest) to {texts[-1]} (lowest)"]
    seeds = counted(curves.groupby("arm")["seed"].nunique().max(), "seed")
    over = counted(curves["update"].max(), "update")
    return f"Validation accuracy over {over}, up to {seeds} per arm. Mean at the end: {'; '.join(texts)}."


PICTURE = Picture(
    name="learning_curves",
    section="learning",
    title="Learning curves",
    draw=_draw,
    describe=_describe,
    applies=lambda records, findings: not _curves(records, findings).empty,
)

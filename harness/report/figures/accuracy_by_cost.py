"""Accuracy against what it costs: multiply-accumulates per image, measured training speed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas, column_height
from harness.report.figures.drawing import INTERVAL_NOTE, draw_mean, draw_seeds, interval_of, labels_of
from harness.report.figures.in_words import several
from harness.report.figures.looks import BASELINE_COLOUR, look_of_series, marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import set_log_x
from harness.report.frames import Row, arms_with_results, at_largest, completed_runs, largest_size
from harness.report.style import INK
from harness.spec.formats import count, magnitude, number, percent
from harness.spec.plural import counted


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost that accuracy is set against."""

    column: str
    """Of `findings.arms` and of the runs."""
    label: str
    better: int
    """1 where more is cheaper, -1 where less is."""
    write: Callable[[Any], str]
    same_for_seeds: bool = False

    def rows(self, findings: Findings) -> list[Row]:
        """Arms that have a mean accuracy and a positive cost, at the largest training size."""
        rows = arms_with_results(findings, largest_size(findings))
        return [row for row in rows if (number(row[self.column]) or 0) > 0]

    def front(self, rows: list[Row]) -> list[Row]:
        """Arms that no other arm beats in accuracy at the same or a lower cost."""
        front: list[Row] = []
        for row in sorted(rows, key=lambda row: (-self.better * float(row[self.column]), -float(row["mean"]))):
            if not front or row["mean"] > front[-1]["mean"]:
                front.append(row)
        return front

    def picture(self, name: str, title: str) -> Picture:
        """The figure of accuracy against this cost."""
        return Picture(
            name,
            "cost",
            title,
            lambda records, findings: _draw(records, findings, self, title),
            lambda _, findings: _describe(findings, self),
            lambda _, findings: self.rows(findings),
        )


def _draw(records: StudyRecords, findings: Findings, cost: Cost, title: str) -> Figure:
    rows, looks = cost.rows(findings), marks(records.study)
    names = labels_of(records.study, [row["arm"] for row in rows])
    front = " Thin line: the best accuracy at each cost." if len(cost.front(rows)) > 1 else ""
    lines = " Lines between marks: levels of a series." if records.study.series else ""
    note = f"{at_largest(findings, 'At {}. ')}{INTERVAL_NOTE}{front}{lines}"
    canvas = Canvas(title, note, height=column_height(names.values()))
    axes = canvas.axes
    _draw_lines(axes, records, rows, cost)
    runs = completed_runs(records, largest_size(findings))
    for row in rows:
        look = looks[row["arm"]]
        if row["arm"] in runs:
            done = runs[row["arm"]].dropna(subset=["test_accuracy", cost.column])
            xs, ys = (done[column].astype(float).tolist() for column in (cost.column, "test_accuracy"))
            # What is the same for all seeds would hide under the bar.
            draw_seeds(axes, xs, [100 * y for y in ys], look, aside=(-6 * cost.same_for_seeds, 0))
        draw_mean(axes, float(row[cost.column]), 100 * row["mean"], interval_of(row), look)
    set_log_x(axes)
    by_accuracy = sorted(rows, key=lambda row: -float(row["mean"]))
    canvas.key_beside({names[row["arm"]]: looks[row["arm"]] for row in by_accuracy})
    axes.set_xlabel(cost.label)
    axes.set_ylabel("test accuracy (%)")
    return canvas.finish()


def _draw_lines(axes: Axes, records: StudyRecords, rows: list[Row], cost: Cost) -> None:
    """The best accuracy at each cost, and the levels of each series."""

    def line(of: list[Row], **look: Any) -> None:
        axes.plot([row[cost.column] for row in of], [100 * row["mean"] for row in of], **look)

    colour = INK if records.study.series else BASELINE_COLOUR  # a series may be grey
    line(cost.front(rows), color=colour, linewidth=0.9)
    for name, arms in records.study.series.items():
        of_series = [row for arm in arms for row in rows if row["arm"] == arm.name]
        line(of_series, color=look_of_series(records.study, name).colour, linewidth=1.6, alpha=0.55)


def _describe(findings: Findings, cost: Cost) -> str:
    rows = cost.rows(findings)
    texts = [f"{row['arm']} {percent(row['mean'])} at {cost.write(row[cost.column])}" for row in cost.front(rows)]
    told = f"Best accuracy at each cost: {several(texts)} ({counted(len(rows), 'arm')})."
    return f"Test accuracy against {cost.label}. {told}"


MACS = Cost(
    column="macs_per_image", label="multiply-accumulates per image", better=-1, write=magnitude, same_for_seeds=True
)
SPEED = Cost(column="train_images_per_second", label="training images per second", better=1, write=count)
PICTURES = (
    MACS.picture("accuracy_by_macs", "Accuracy against computation"),
    SPEED.picture("accuracy_by_speed", "Accuracy against training speed"),
)

"""Accuracy by the number of training images, with fitted laws and crossovers, and few-shot on another task."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from harness.analysis.learning import law_error, law_formula
from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.marks_on_axes import Places, draw_line, draw_seeds, interval_note
from harness.report.view import Row, View, accuracy, interval_of, rows_of
from harness.spec.formats import count, counted, number


def accuracy_by_size(view: View) -> Drawing | None:
    """Every arm's accuracy with the law that was fitted to it, and the intervals of crossovers shaded."""
    rows = view.arms()
    if not view.sizes or view.study.series or not rows:
        return None
    laws = {row["arm"]: row for row in rows_of(view.findings.laws, known="a")}
    crossovers = view.along(view.findings.crossovers, factor=False)
    note = interval_note(view.level, view.varied)
    if laws:
        note += f" Lines: fitted laws, {law_formula(law['d'] for law in laws.values())}."
    if any(number(row["ci_low"]) is not None for row in crossovers):
        note += f" Shaded: {view.level} interval of a crossover, or the two sizes that bracket it."
    canvas = Canvas("Test accuracy by training images", note, finding=view.finding, height=3.8)
    for row in crossovers:
        _shade(canvas.axes, row, view.looks[row["arm"]].colour)
    told = _draw_lines(canvas, view, rows, laws)
    told += [str(row["statement"]).rstrip(".") for row in crossovers]
    return canvas.finish("training images", "test accuracy (%)", told)


def few_shot_by_size(view: View) -> Drawing | None:
    """Few-shot accuracy on another task beside accuracy on the task trained on, by the images of the latter."""
    rows, asked = rows_of(view.findings.few_shots, known="mean"), view.study.few_shot
    if not view.sizes or view.study.series or not rows or asked is None:
        return None
    rows, shots = [row for row in rows if row["shots"] == asked.shots[-1]], counted(asked.shots[-1], "image")
    canvas = Canvas(
        "Few-shot accuracy by training images",
        f"Left: on {asked.data.title}, from {shots} of each class, features frozen. Right: on the task trained "
        f"on. {interval_note(view.level, f'{view.varied}, at the left for fixed test images')}",
        finding=view.finding,
        height=3.0,
        panels=["another task, few-shot", "the task trained on"],
        share="x",
    )
    runs, places, told = view.runs(), Places(view.sizes, geometric=True), []
    tasks = (("few-shot accuracy", "few_shot_accuracy", rows), ("test accuracy", "test_accuracy", view.arms()))
    for axes, (what, column, of_task) in zip(canvas.panels, tasks, strict=True):
        found = view.by_arm(of_task)
        for name, of_arm in found.items():
            look = canvas.key[view.named(name)] = view.looks[name]
            seeds = [float(run["train_size"]) for run in runs[name]]
            draw_seeds(axes, seeds, [run[column] for run in runs[name]], look, name)
            draw_line(axes, [float(row["train_size"]) for row in of_arm], of_arm, look)
            ends = [f"{accuracy(row)} at {counted(row['train_size'], 'image')}" for row in of_arm]
            told.append(from_to(f"{what} of {name}", ends))
        places.set_on(axes, count)
    return canvas.finish("training images", "accuracy (%)", told)


def _draw_lines(canvas: Canvas, view: View, rows: list[Row], laws: Mapping[str, Row]) -> list[str]:
    """A line per arm, or its law, over a logarithmic axis; returns the lines' ends."""
    found, runs, places, told = view.by_arm(rows), view.runs(), Places(view.sizes, geometric=True), []
    looks = view.looks_among(found)
    for name, of_arm in found.items():
        xs = [float(row["train_size"]) for row in of_arm]
        seeds = [float(run["train_size"]) for run in runs[name]]
        draw_seeds(canvas.axes, seeds, [run["test_accuracy"] for run in runs[name]], looks[name], name)
        draw_line(canvas.axes, xs, of_arm, looks[name], curve=_law_line(laws[name], xs) if name in laws else None)
        canvas.tell(view, name, looks, (xs[-1], 100 * of_arm[-1]["mean"]))
        ends = [f"{accuracy(row)} at {counted(row['train_size'], 'image')}" for row in of_arm]
        told.append(from_to(view.named(name), ends))
    places.set_on(canvas.axes, count)
    return told


def _law_line(law: Row, sizes: list[float]) -> tuple[list[float], list[float]]:
    """A fitted law over the arm's measured sizes, never beyond them."""
    xs = np.geomspace(min(sizes), max(sizes), 60)
    ys = 100 * (1 - law_error(xs, *(float(law[name]) for name in "abcd")))
    return xs.tolist(), ys.tolist()


def _shade(axes: Axes, crossover: Row, colour: str) -> None:
    if interval := interval_of(crossover):
        axes.axvspan(*interval, color=colour, alpha=0.1, linewidth=0)
    if (middle := number(crossover["crossing"])) is not None:
        axes.axvline(middle, color=colour, linewidth=0.9, linestyle=":")

"""Validation accuracy over the course of training and by tuning budget; tests on shifted images."""

import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from harness.analysis.learning import mean_curve
from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.marks_on_axes import Places, asides, draw_line, draw_seeds
from harness.report.view import View, at_size, rows_of
from harness.spec.formats import count, percent

_METRICS = {"test_accuracy": "test accuracy (%)", "agreement": "agreement (%)"}
"""What is measured on shifted images, with its axis."""
_MOST_SIZES = 3  # rows of panels, so that the figure fits a page; the report's table has all training sizes


def learning_curves(view: View) -> Drawing | None:
    """Validation accuracy by update at the largest training size, of every seed and their mean."""
    curves = at_size(view.records.curves, view.largest).dropna(subset=["update", "validation_accuracy"])
    if curves.empty:
        return None
    canvas, told = Canvas(f"Learning curves{view.at_largest}", "Thin lines: seeds. Thick lines: their mean."), []
    for name, rows in view.by_arm(rows_of(curves.sort_values(["seed", "update"], kind="stable"))).items():
        look, of_arm = view.looks[name], pd.DataFrame(rows)
        of_arm["percent"] = 100 * of_arm["validation_accuracy"]
        seeds = [seed[["update", "percent"]].to_numpy(float) for _, seed in of_arm.groupby("seed")]
        canvas.axes.add_collection(LineCollection(seeds, colors=look.colour, linewidths=0.6, alpha=0.4))
        means = 100 * mean_curve(of_arm, "validation_accuracy")
        every = max(1, len(means) // 8)
        canvas.axes.plot(means.index, means, marker=look.marker, markersize=4, markevery=every, **look.line)
        canvas.key[view.named(name)] = look
        told.append(f"{name} ends at {percent(means.iloc[-1] / 100)}")
    canvas.axes.set_xlim(left=0)
    canvas.axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    canvas.axes.xaxis.set_major_formatter(lambda update, _: count(update))
    return canvas.finish("updates", "validation accuracy (%)", told)


def tuning_budget(view: View) -> Drawing | None:
    """Expected validation accuracy of the best of k trials at the largest training size."""
    budget = at_size(view.findings.budget, view.largest)
    if budget.empty or (budget := budget.dropna(subset=["trials", "expected_best"])).empty:
        return None
    note = "Expected validation accuracy of the best of k trials. Curves still rising call for more trials."
    canvas, told = Canvas(f"Accuracy by tuning budget{view.at_largest}", note), []
    for name, rows in view.by_arm(rows_of(budget.sort_values("trials", kind="stable"))).items():
        look, ks = view.looks[name], [row["trials"] for row in rows]
        ys = [100 * row["expected_best"] for row in rows]
        canvas.axes.plot(ks, ys, marker=look.marker, markersize=4, markevery=max(1, len(rows) // 8), **look.line)
        canvas.key[view.named(name)] = look
        told.append(from_to(name, [f"{percent(row['expected_best'])} of {count(row['trials'])}" for row in rows]))
    canvas.axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    return canvas.finish("trials (k)", "validation accuracy (%)", told)


def accuracy_by_shift(view: View) -> Drawing | None:
    """Accuracy on shifted test images, and agreement with the prediction for the image as it is."""
    rows, measured = rows_of(view.findings.shifts, known="mean"), view.records.shifts
    if not rows:
        return None
    found, sizes = view.by_arm(rows), view.spread_sizes(rows, _MOST_SIZES)
    canvas = Canvas(
        "Shifted test images",
        f"Dots: seeds. Bars: {view.level} intervals of the mean over {view.runs_varied}. "
        "Agreement: same prediction as for the unshifted image.",
        height=2.1,
        panels=[f"{count(size)} training images" * bool(size) * (not i) for size in sizes for i in range(2)],
        sharey="col",
    )
    canvas.key |= {view.named(name): view.looks[name] for name in found}
    shifts = sorted({float(row["shift"]) for row in rows})
    places, told = Places(shifts, geometric=False), []
    cells = [(size, metric) for size in sizes for metric in _METRICS]
    for axes, (size, metric) in zip(canvas.panels, cells, strict=True):
        seeds = view.by_arm(rows_of(at_size(measured, size)))
        for (name, of_arm), aside in zip(found.items(), asides(len(found)), strict=True):
            of_cell = [row for row in of_arm if row["metric"] == metric and size in (None, row["train_size"])]
            of_cell.sort(key=lambda row: float(row["shift"]))
            look, of_seeds = view.looks[name], seeds.get(name, [])
            xs = [places.at(row["shift"], aside) for row in of_cell]
            draw_seeds(axes, [places.at(row["shift"], aside) for row in of_seeds], [s[metric] for s in of_seeds], look)
            draw_line(axes, xs, of_cell, look)
            if of_cell and size == sizes[-1]:
                values = [f"{percent(row['mean'])} at {count(row['shift'])} px" for row in of_cell]
                told.append(from_to(f"{metric.replace('_', ' ')} of {name}", values))
        places.set_on(axes, count)
        axes.set_ylabel(_METRICS[metric])
    return canvas.finish("shift (pixels)", "test accuracy (%)", told)

"""Tests on shifted images: predictions that stay the same, by training images, and all that was measured by shift."""

from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.labels import Label
from harness.report.figures.marks_on_axes import Places, asides, draw_line, draw_seeds
from harness.report.view import View, at_size, rows_of
from harness.spec.formats import count, counted, percent

_METRICS = {"test_accuracy": "test accuracy (%)", "agreement": "agreement (%)"}
"""What is measured on shifted images, with its axis."""
_MOST_SIZES = 3  # rows of panels, so that the figure fits a page; the report's table has all training sizes


def agreement_by_size(view: View) -> Drawing | None:
    """How many predictions survive the largest shift, by training images."""
    rows = [row for row in rows_of(view.findings.shifts, known="mean") if row["metric"] == "agreement"]
    if not view.sizes or view.study.series or not rows:
        return None
    most = max(row["shift"] for row in rows)
    canvas = Canvas(
        f"Predictions that stay the same when the image is shifted by {count(most)} px",
        f"Share of the test images. Dots: seeds. Bars: {view.level} intervals of the mean over {view.runs_varied}.",
        finding=view.finding,
        height=3.4,
    )
    found = view.by_arm([row for row in rows if row["shift"] == most])
    seeds = view.by_arm([row for row in rows_of(view.records.shifts) if row["shift"] == most])
    places, told = Places(view.sizes, geometric=True), []
    for (name, of_arm), aside in zip(found.items(), asides(len(found)), strict=True):
        of_arm.sort(key=lambda row: int(row["train_size"]))
        look, of_seeds = view.looks[name], seeds.get(name, [])
        at_seeds = [places.at(row["train_size"], aside) for row in of_seeds]
        draw_seeds(canvas.axes, at_seeds, [row["agreement"] for row in of_seeds], look, name)
        xs = [places.at(row["train_size"], aside) for row in of_arm]
        draw_line(canvas.axes, xs, of_arm, look)
        canvas.labels.append(Label(canvas.axes, name, xs[-1], 100 * of_arm[-1]["mean"], stands_out=True, end=True))
        ends = [f"{percent(row['mean'])} with {counted(row['train_size'], 'image')}" for row in of_arm]
        told.append(from_to(name, ends))
    places.set_on(canvas.axes, count)
    return canvas.finish("training images", "same prediction (%)", told)


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
        finding=view.finding,
        height=2.1,
        panels=[f"{count(size)} training images" * bool(size) * (not i) for size in sizes for i in range(2)],
        share="col",
    )
    canvas.key |= {view.named(name): view.looks[name] for name in found}
    shifts = sorted({float(row["shift"]) for row in rows})
    places, told = Places(shifts, geometric=False), []
    cells = [(size, metric) for size in sizes for metric in _METRICS]
    for axes, (size, metric) in zip(canvas.panels, cells, strict=True):
        seeds = view.by_arm(rows_of(at_size(measured, size)))
        for name, of_arm in found.items():
            of_cell = [row for row in of_arm if row["metric"] == metric and size in (None, row["train_size"])]
            of_cell.sort(key=lambda row: float(row["shift"]))
            look, of_seeds = view.looks[name], seeds.get(name, [])
            draw_seeds(axes, [s["shift"] for s in of_seeds], [s[metric] for s in of_seeds], look, name)
            if of_cell:
                draw_line(axes, [float(row["shift"]) for row in of_cell], of_cell, look)
            if of_cell and size == sizes[-1]:
                values = [f"{percent(row['mean'])} at {count(row['shift'])} px" for row in of_cell]
                told.append(from_to(f"{metric.replace('_', ' ')} of {name}", values))
        places.set_on(axes, count)
        axes.set_ylabel(_METRICS[metric])
    return canvas.finish("shift (pixels)", "test accuracy (%)", told)

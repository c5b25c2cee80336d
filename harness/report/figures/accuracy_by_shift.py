"""Tests on shifted images: accuracy, and agreement with the prediction for the image as it is."""

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas
from harness.report.figures.drawing import draw_mean, interval_of, labels_of
from harness.report.figures.in_words import several
from harness.report.figures.level_axis import asides
from harness.report.figures.looks import Mark, marks
from harness.report.figures.picture import Picture
from harness.report.figures.ticks import fix_ticks
from harness.report.frames import Row, Size, at_largest, at_size, by_arm, largest_size, shift_rows, spread_sizes
from harness.spec.formats import count, percent

_METRICS = {"test_accuracy": "test accuracy (%)", "agreement": "agreement (%)"}
"""What is measured on shifted images, with its axis."""
_MOST_SIZES = 3
"""Rows of panels, so that the figure fits a page; the report's table has all training sizes."""


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    looks, rows = marks(records.study), shift_rows(findings)
    found = by_arm(rows, records.study)
    names = labels_of(records.study, found, width=1.75, lines=1)
    cells = [(size, metric) for size in spread_sizes(findings, rows, _MOST_SIZES) for metric in _METRICS]
    told = {size: "" if size is None else f"{count(size)} training images" for size, _ in cells}
    canvas = Canvas(
        "Shifted test images",
        "Thin lines: seeds. Bars: 95% intervals of the mean over seeds alone. "
        "Agreement: same prediction as for the unshifted image.",
        height=2.1,
        panels=[told[size] if metric == "test_accuracy" else "" for size, metric in cells],
        sharey="col",
        key={name: looks[arm] for arm, name in names.items()},
    )
    shifts = sorted({float(row["shift"]) for row in rows})
    beside = [max(1.0, shifts[-1] - shifts[0]) * aside for aside in asides(len(found))]
    for axes, (size, metric) in zip(canvas.panels, cells, strict=True):
        for (name, of_arm), aside in zip(found.items(), beside, strict=True):
            of_cell = [row for row in of_arm if row["metric"] == metric and size in (None, row["train_size"])]
            _draw_seeds(axes, records, (name, size, metric), looks[name])
            _draw_means(axes, sorted(of_cell, key=lambda row: float(row["shift"])), looks[name], aside)
        fix_ticks(axes.xaxis, shifts, count)
        axes.set_ylabel(_METRICS[metric])
    canvas.figure.supxlabel("shift (pixels)", size=9.5)
    return canvas.finish()


def _draw_means(axes: Axes, rows: list[Row], mark: Mark, aside: float) -> None:
    """The mean over the seeds with its interval at each shift."""
    xs, ys = [float(row["shift"]) + aside for row in rows], [100 * float(row["mean"]) for row in rows]
    axes.plot(xs, ys, linewidth=1.3, **mark.line)
    for x, y, row in zip(xs, ys, rows, strict=True):
        draw_mean(axes, x, y, interval_of(row), mark)


def _draw_seeds(axes: Axes, records: StudyRecords, cell: tuple[str, Size, str], mark: Mark) -> None:
    name, size, metric = cell
    measured = at_size(records.shifts, size)
    of_arm = measured[measured["arm"] == name].dropna(subset=[metric]).sort_values("shift", kind="stable")
    lines = [
        list(zip(group["shift"].astype(float), 100 * group[metric].astype(float), strict=True))
        for _, group in of_arm.groupby("digest")
    ]
    axes.add_collection(LineCollection(lines, colors=mark.colour, linewidths=0.6, alpha=0.35))


def _describe(records: StudyRecords, findings: Findings) -> str:
    rows, size = shift_rows(findings), largest_size(findings)
    rows = [row for row in rows if size in (None, row["train_size"])] or rows
    most = max(row["shift"] for row in rows)
    known = {(row["arm"], row["metric"], row["shift"]): row["mean"] for row in rows}
    texts = [
        f"{arm.name} {percent(known.get((arm.name, 'test_accuracy', 0)))} unshifted, "
        f"{percent(known[arm.name, 'test_accuracy', most])} shifted by {most} pixels"
        f" (prediction unchanged for {percent(known.get((arm.name, 'agreement', most)))})"
        for arm in records.study.all_arms
        if (arm.name, "test_accuracy", most) in known
    ]
    where = at_largest(findings, " With {}:")
    return f"Test accuracy on images shifted by up to {most} pixels.{where} {several(texts)}."


PICTURE = Picture(
    "accuracy_by_shift", "shifts", "Tests on shifted images", _draw, _describe, lambda _, findings: shift_rows(findings)
)

"""Accuracy against what it costs: multiply-accumulates per image, measured training speed."""

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator

from harness.analysis.wording import named
from harness.report.figures.canvas import Canvas, Drawing
from harness.report.figures.marks_on_axes import draw_mean, draw_seeds, fix_ticks, interval_note
from harness.report.style import BASELINE_COLOUR, INK
from harness.report.view import Row, View
from harness.spec.formats import count, counted, magnitude, number, percent


def accuracy_by_macs(view: View) -> Drawing | None:
    """Test accuracy against multiply-accumulates per image."""
    return _accuracy_by(view, "macs_per_image", "computation", magnitude, better=-1)


def accuracy_by_speed(view: View) -> Drawing | None:
    """Test accuracy against measured training speed."""
    return _accuracy_by(view, "train_images_per_second", "training speed", count, better=1)


def _accuracy_by(view: View, cost: str, told: str, write: Callable[[Any], str], *, better: int) -> Drawing | None:
    """Arms with a mean and a positive cost, at the largest training size; `better`: 1 where more is better, else -1."""
    rows = [row for row in view.arms(view.largest) if (number(row[cost]) or 0) > 0]
    if not rows:
        return None
    front = _front(rows, cost, better)
    canvas = Canvas(
        f"Accuracy against {told}{view.at_largest}",
        interval_note(view.level, view.varied)
        + " Thin line: the best accuracy at each cost." * (len(front) > 1)
        + " Lines between marks: levels of a series." * bool(view.study.series),
    )
    canvas.key |= {view.named(row["arm"]): view.looks[row["arm"]] for row in sorted(rows, key=lambda row: -row["mean"])}
    lines = [(front, 0.9, 1.0, INK if view.study.series else BASELINE_COLOUR)]  # a series may be grey
    for name, arms in view.study.series.items():
        of_series = [row for arm in arms for row in rows if row["arm"] == arm.name]
        lines.append((of_series, 1.6, 0.55, view.looks[name].colour))
    for line, width, alpha, colour in lines:
        xs, ys = [row[cost] for row in line], [100 * row["mean"] for row in line]
        canvas.axes.plot(xs, ys, linewidth=width, alpha=alpha, color=colour)
    runs = view.runs(view.largest)
    for row in rows:
        look, done = view.looks[row["arm"]], [run for run in runs[row["arm"]] if number(run[cost]) is not None]
        places, values = [float(run[cost]) for run in done], [run["test_accuracy"] for run in done]
        aside = -6 if len(set(places)) == 1 else 0  # what is the same for all seeds would hide under the bar
        draw_seeds(canvas.axes, places, values, look, aside=aside)
        draw_mean(canvas.axes, float(row[cost]), row, look)
    set_log_x(canvas.axes)
    best = [f"{row['arm']} {percent(row['mean'])} at {write(row[cost])}" for row in front]
    return canvas.finish(
        named(cost), "test accuracy (%)", [f"best of {counted(len(rows), 'arm')}, {best[0]}", *best[1:]]
    )


def _front(rows: list[Row], cost: str, better: int) -> list[Row]:
    """Arms that no other arm beats in accuracy at the same or a lower cost."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (-better * float(row[cost]), -float(row["mean"]))):
        if not front or row["mean"] > front[-1]["mean"]:
            front.append(row)
    return front


def set_log_x(axes: Axes) -> None:
    """Ticks at 1, 2, 5, 10, ..., evenly spaced where the range is small, with prefixes (`5 k`, `12.5 M`)."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    locator = LogLocator(subs=(1, 2, 5)) if high / low > 6 else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    fix_ticks(axes, [x for x in locator.tick_values(low, high) if low <= x <= high], EngFormatter(sep=" "))

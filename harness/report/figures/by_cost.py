"""Accuracy against what it costs: multiply-accumulates per image, measured training speed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator

from harness.analysis.wording import named
from harness.report.figures.canvas import Canvas, Drawing
from harness.report.figures.labels import Label
from harness.report.figures.marks_on_axes import draw_mean, draw_seeds, fix_ticks, interval_note
from harness.report.style import INK, PALE
from harness.report.view import MOST_COLOURED, Row, View, rows_of
from harness.spec.formats import count, counted, magnitude, number, percent

_VARIES = 1.05  # a cost of which the largest is no more than this times the smallest has no figure


def accuracy_by_macs(view: View) -> Drawing | None:
    """Test accuracy against multiply-accumulates per image."""
    return _accuracy_by(view, "macs_per_image", "computation", magnitude)


def accuracy_by_speed(view: View) -> Drawing | None:
    """Test accuracy against measured training speed."""
    return _accuracy_by(view, "train_images_per_second", "training speed", count)


def _accuracy_by(view: View, cost: str, told: str, write: Callable[[Any], str]) -> Drawing | None:
    """Arms with a mean and a positive cost, at the largest training size; None where the cost does not vary."""
    rows = [row for row in view.arms(view.largest) if (number(row[cost]) or 0) > 0]
    costs = [float(row[cost]) for row in rows]
    if not rows or max(costs) <= _VARIES * min(costs):
        return None
    fronts, series = _fronts(view, rows, cost), view.study.series
    canvas = Canvas(
        f"Accuracy against {told}{view.at_largest}",
        interval_note(view.level, view.varied)
        + " Steps: the best accuracy at each cost, among arms of the same data; each step is significant."
        * bool(fronts)
        + " Lines between marks: levels of a series." * bool(series),
        finding=view.finding,
    )
    for front in fronts:
        _draw_steps(canvas.axes, front, cost)
    for name, arms in series.items():
        of_series = [row for arm in arms for row in rows if row["arm"] == arm.name]
        xs, ys = [row[cost] for row in of_series], [100 * row["mean"] for row in of_series]
        canvas.axes.plot(xs, ys, color=view.looks[name].colour, alpha=0.55, linewidth=1.2)
    _draw_arms(canvas, view, rows, cost)
    set_log_x(canvas.axes)
    best = max(rows, key=lambda row: float(row["mean"]))
    said = [f"{counted(len(rows), 'arm')}, the most accurate {_told(best, cost, write)}"]
    said += [f"front: {', '.join(_told(row, cost, write) for row in front)}" for front in fronts]
    return canvas.finish(named(cost), "test accuracy (%)", said)


def _told(row: Row, cost: str, write: Callable[[Any], str]) -> str:
    return f"{row['arm']} {percent(row['mean'])} at {write(row[cost])}"


def _fronts(view: View, rows: list[Row], cost: str) -> list[list[Row]]:
    """The arms of each front of `findings.fronts`, from the cheapest."""
    found, known = dict[int, list[Row]](), {row["arm"]: row for row in rows}
    for row in rows_of(view.findings.fronts):
        if row["cost"] == cost and row["arm"] in known:
            found.setdefault(int(row["group"]), []).append(known[row["arm"]])
    return [front for front in found.values() if len(front) > 1]


def _draw_steps(axes: Axes, front: list[Row], cost: str) -> None:
    """What is reached at a cost, until the next arm of the front can be had."""
    xs, ys = [float(row[cost]) for row in front], [100 * row["mean"] for row in front]
    axes.plot(xs, ys, drawstyle="steps-post", linewidth=0.9, color=INK, zorder=1)


def _draw_arms(canvas: Canvas, view: View, rows: list[Row], cost: str) -> None:
    """Means and seeds at their cost; of many arms one stands out, and each has its name beside it."""
    runs, many = view.runs(view.largest), len(rows) > MOST_COLOURED
    canvas.axes.margins(y=0.15 if many else 0.07)  # names stand below and above, too
    for row in sorted(rows, key=lambda row: (row["arm"] == view.highlighted, -row["mean"])):
        arm, look = row["arm"], view.looks[row["arm"]]
        stands_out = arm == view.highlighted
        look = replace(look, colour=PALE) if many and not stands_out else look
        done = [run for run in runs[arm] if number(run[cost]) is not None]
        draw_seeds(canvas.axes, [float(run[cost]) for run in done], [run["test_accuracy"] for run in done], look, arm)
        draw_mean(canvas.axes, float(row[cost]), row, look)
        if many:
            canvas.labels.append(Label(canvas.axes, arm, float(row[cost]), 100 * row["mean"], stands_out))
        else:
            canvas.key[view.named(arm)] = look


def set_log_x(axes: Axes) -> None:
    """Ticks at 1, 2, 5, 10, ..., evenly spaced where the range is small, with prefixes (`5 k`, `12.5 M`)."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    locator = LogLocator(subs=(1, 2, 5)) if high / low > 6 else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    fix_ticks(axes, [x for x in locator.tick_values(low, high) if low <= x <= high], EngFormatter(sep=" "))

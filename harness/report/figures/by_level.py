"""Test accuracy by level of the study's factor: curves with a panel per training size, or rows for levels in words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes

from harness.analysis.axis import is_geometric
from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.marks_on_axes import Places, across, draw_arm, draw_baseline, interval_note
from harness.report.style import INK, Mark
from harness.report.view import Row, Size, View, accuracy, at_size, rows_of
from harness.spec.formats import count, counted, number, percent, plain
from harness.spec.palette import has_ordered_levels

_MOST_PANELS = 5


def accuracy_by_level(view: View) -> Drawing | None:
    """Test accuracy by level, every seed drawn; a panel per training size where there are several.

    Arms without a numeric level stand at the right; a baseline outside the series is a band. Words have a row each.
    """
    study, rows = view.study, view.arms()
    if not rows or (view.sizes and not study.series):
        return None
    if study.series or (has_ordered_levels(study) and any(not row["is_baseline"] for row in rows)):
        return _over_levels(view, view.spread_sizes(rows, _MOST_PANELS))
    note, runs = interval_note(view.level, view.varied), view.runs()
    canvas = Canvas(f"Test accuracy by {view.factor}", note, finding=view.finding)
    for place, row in enumerate(rows):
        if row["is_baseline"]:
            draw_baseline(canvas.axes, row, view.looks[row["arm"]], along="x")
        draw_arm(canvas.axes, place, row, runs[row["arm"]], view.looks[row["arm"]], along="x")
    names = [view.named(row["arm"]) for row in rows]
    canvas.rows(names, [percent(row["mean"]) for row in rows])
    told = [f"{name} {accuracy(row)}" for name, row in zip(names, rows, strict=True)]
    return canvas.finish("test accuracy (%)", "", told)


def _over_levels(view: View, sizes: Sequence[Size]) -> Drawing:
    (places, xs), many = _places(view), len(sizes) > 1
    crosses = any(_diverged(view, size, xs) for size in sizes)
    canvas = Canvas(
        f"Test accuracy by {view.factor}",
        interval_note(view.level, view.varied)
        + " Right of the dotted line: arms without a level on the axis." * bool(places.beside)
        + " Crosses at the foot: runs that diverged." * crosses,
        finding=view.finding,
        height=2.1 if many else 3.6,
        panels=[f"{count(size)} training images" for size in sizes] if many else ("",),
    )
    for axes, size in zip(canvas.panels, sizes, strict=True):
        _draw_curves(axes, view, size, xs)
        lines = {name: mark for name, mark, _ in _lines(view, size)}
        # Without series the axis names all but the baseline.
        canvas.key |= {name: mark for name, mark in lines.items() if view.study.series or not mark.marker}
    for axes in canvas.panels:
        places.set_on(axes)
    if crosses:
        low, high = canvas.axes.get_ylim()  # all panels share a scale
        canvas.axes.set_ylim(low - 0.14 * (high - low), high)
    told = []
    for name, _, rows in _lines(view, view.largest):
        at = [f" at {plain(row['level'])}" if len(rows) > 1 else "" for row in rows]
        told.append(from_to(name, [accuracy(row) + where for row, where in zip(rows, at, strict=True)]))
    lost = [f"{name}, {counted(times, 'run')}" for name, times in _diverged(view, view.largest, xs).items()]
    told += [f"diverged: {', '.join(lost)}"] if lost else []
    return canvas.finish(view.levels, "test accuracy (%)", told)


def _places(view: View) -> tuple[Places, dict[str, float]]:
    """The axis, and where each arm stands on it.

    A baseline in no series has no place, unless there are none and it has a level.
    """
    study, baseline = view.study, view.study.baseline
    own = baseline.series is not None or (not study.series and isinstance(baseline.level, float))
    arms = [arm for arm in study.all_arms if own or arm is not baseline]
    levels = {arm.name: arm.level for arm in arms if isinstance(arm.level, float)}
    shown = sorted(set(levels.values()))
    places = Places(shown, is_geometric(shown), [arm.name for arm in arms if arm.name not in levels])
    return places, levels | {name: places.of_arm(name) for name in places.beside}


def _lines(view: View, size: Size) -> list[tuple[str, Mark, list[Row]]]:
    """Name, look and rows of each series that has results, then of the arms outside the series."""
    study, rows = view.study, {row["arm"]: row for row in view.arms(size)}
    found = [
        (name, view.looks[name], [rows[arm.name] for arm in arms if arm.name in rows])
        for name, arms in study.series.items()
    ]
    for arm in study.all_arms:
        if arm.series is None and arm.name in rows:
            look = across(view.looks[arm.name]) if arm is study.baseline else view.looks[arm.name]
            found.append((view.named(arm.name), look, [rows[arm.name]]))
    return [line for line in found if line[2]]


def _draw_curves(axes: Axes, view: View, size: Size, xs: dict[str, float]) -> None:
    """Lines, means, intervals and seeds at one training size, and a cross at the foot for each run that diverged."""
    runs, rows = view.runs(size), [row for row in view.arms(size) if row["arm"] in xs]
    lines: list[tuple[list[Row], dict[str, Any]]] = []
    for name, mark, of_line in _lines(view, size):
        if not mark.marker:
            draw_baseline(axes, of_line[0], mark)
        elif name in view.study.series:
            lines.append((of_line, mark.line))
    for line, look in lines or [(sorted(rows, key=lambda row: xs[row["arm"]]), {"color": INK, "alpha": 0.45})]:
        axes.plot([xs[row["arm"]] for row in line], [100 * row["mean"] for row in line], linewidth=1.2, **look)
    for row in rows:
        draw_arm(axes, xs[row["arm"]], row, runs[row["arm"]], view.looks[row["arm"]])
    for name, times in _diverged(view, size, xs).items():
        heights, look = [0.05 * (1 + place) for place in range(times)], replace(view.looks[name], marker="x").point
        axes.plot([xs[name]] * times, heights, markersize=4.5, transform=axes.get_xaxis_transform(), **look)


def _diverged(view: View, size: Size, xs: dict[str, float]) -> dict[str, int]:
    """Runs that diverged by arm with a place on the axis, of the arms that have some."""
    rows = rows_of(at_size(view.findings.arms, size))
    found = {row["arm"]: int(number(row["diverged"]) or 0) for row in rows if row["arm"] in xs}
    return {name: times for name, times in found.items() if times}

"""Figures of accuracy against what it costs: multiply-accumulates per image, measured training speed."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.drawing import (
    INTERVAL_NOTE,
    column_height,
    draw_mean,
    draw_seeds,
    key_column,
    labels_of,
    percent_of,
    set_linear,
    set_log_x,
)
from harness.report.frames import Row, arms_with_results, completed_runs, largest_size
from harness.report.sheet import LABEL_SIZE, Sheet
from harness.report.style import BASELINE_COLOUR, INK, look_of_series, marks
from harness.spec.formats import count, number

_SIDES = (
    ((9, 0), "left", "center"),
    ((-9, 0), "right", "center"),
    ((0, 9), "center", "bottom"),
    ((0, -9), "center", "top"),
    ((8, 8), "left", "bottom"),
    ((-8, 8), "right", "bottom"),
    ((8, -8), "left", "top"),
    ((-8, -8), "right", "top"),
    ((14, 16), "left", "bottom"),
    ((-14, 16), "right", "bottom"),
    ((14, -16), "left", "top"),
    ((-14, -16), "right", "top"),
)
"""Where a point's label may stand: offset in points, alignment; in order of preference."""

_MOST_DIRECT = 8
"""More points than this are named by a key at the side."""


def accuracy_by_macs(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy against multiply-accumulates per image."""
    return _cost_figure(
        records, findings, "macs_per_image", "Accuracy against computation", "multiply-accumulates per image", -1
    )


def accuracy_by_speed(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy against measured training speed."""
    return _cost_figure(
        records, findings, "train_images_per_second", "Accuracy against training speed", "training images per second", 1
    )


def rows_with_cost(findings: Findings, column: str) -> list[Row]:
    """Arms that have a mean accuracy and a positive cost, at the largest training size."""
    rows = arms_with_results(findings, largest_size(findings))
    return [row for row in rows if (number(row[column]) or 0) > 0]


def pareto_front(rows: list[Row], column: str, better: int) -> list[Row]:
    """Arms that no other arm beats in accuracy at the same or a lower cost; `better` is 1 where more is cheaper."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (-better * float(row[column]), -float(row["mean"]))):
        if not front or row["mean"] > front[-1]["mean"]:
            front.append(row)
    return front


def _cost_figure(records: StudyRecords, findings: Findings, column: str, title: str, label: str, better: int) -> Figure:
    rows, size = rows_with_cost(findings, column), largest_size(findings)
    where = f"At {count(size)} training images. " if size is not None else ""
    front = " Thin line: the best accuracy at each cost." if len(pareto_front(rows, column, better)) > 1 else ""
    lines = " Lines between marks: levels of a series." if records.study.series else ""
    note = f"{where}{INTERVAL_NOTE}{front}{lines}"
    sheet = _drawn(records, findings, rows, (column, label, better), Sheet(title, note, height=3.6))
    figure = sheet.finish()
    if len(rows) <= _MOST_DIRECT and _name_points(records, sheet, rows, column):
        return figure
    names = labels_of(records.study, [row["arm"] for row in rows])
    keyed = Sheet(title, note, height=column_height(names.values(), 3.6))
    _drawn(records, findings, rows, (column, label, better), keyed)
    by_accuracy = sorted(rows, key=lambda row: -float(row["mean"]))
    keyed.column(key_column({row["arm"]: names[row["arm"]] for row in by_accuracy}, marks(records.study)))
    return keyed.finish()


def _drawn(
    records: StudyRecords, findings: Findings, rows: list[Row], cost: tuple[str, str, int], sheet: Sheet
) -> Sheet:
    column, label, better = cost
    axes, looks = sheet.axes, marks(records.study)
    runs = completed_runs(records, largest_size(findings))
    drawn: list[float | None] = []
    costs: list[float] = []
    front = pareto_front(rows, column, better)
    axes.plot(
        [row[column] for row in front],
        [100 * row["mean"] for row in front],
        color=INK if records.study.series else BASELINE_COLOUR,  # a series may be grey
        linewidth=0.9,
    )
    for name, arms in records.study.series.items():
        of_series = [row for arm in arms for row in rows if row["arm"] == arm.name]
        axes.plot(
            [row[column] for row in of_series],
            [100 * row["mean"] for row in of_series],
            color=look_of_series(records.study, name).colour,
            linewidth=1.6,
            alpha=0.55,
        )
    for row in rows:
        done = runs[row["arm"]].dropna(subset=["test_accuracy", column]) if row["arm"] in runs else None
        ys = [] if done is None else [100 * float(value) for value in done["test_accuracy"]]
        # Speed differs by seed; MACs are the same for all and would hide under the bar.
        xs = [] if done is None else [float(value) for value in done[column]]
        aside = (-6, 0) if column == "macs_per_image" else (0, 0)
        draw_seeds(axes, xs, ys, looks[row["arm"]], aside=aside)
        interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
        draw_mean(axes, (float(row[column]), 100 * row["mean"]), interval, looks[row["arm"]])
        drawn += [*ys, 100 * row["mean"], *interval]
        costs += [*xs, float(row[column])]
    set_log_x(axes, costs)
    set_linear(axes.yaxis, drawn)
    axes.set_xlabel(label)
    axes.set_ylabel("test accuracy (%)")
    return sheet


def _name_points(records: StudyRecords, sheet: Sheet, rows: list[Row], column: str) -> bool:
    """Name each point beside it where no text or mark stands; False (and no names) where one finds no place."""
    names = labels_of(records.study, [row["arm"] for row in rows])
    renderer, axes = sheet.renderer, sheet.axes
    taken = [_mark_box(axes, row, column, sheet.figure.dpi) for row in rows]
    inside = axes.get_window_extent(renderer)
    for row in rows:
        for offset, across, upright in _SIDES:
            text = axes.annotate(
                names[row["arm"]],
                (float(row[column]), 100 * float(row["mean"])),
                offset,
                textcoords="offset points",
                ha=across,
                va=upright,
                size=LABEL_SIZE,
                color=INK,
                linespacing=1.05,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5},
            )
            box = text.get_window_extent(renderer)
            if _contains(inside, box) and not any(box.padded(2).overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()
        else:
            return False
    return True


def _contains(outer: Bbox, inner: Bbox) -> bool:
    return bool(outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0 and inner.y1 <= outer.y1)


def _mark_box(axes: Axes, row: Row, column: str, dpi: float) -> Bbox:
    """Pixels that a point's marker and interval cover."""
    mean = 100 * float(row["mean"])
    low, high = percent_of(row["ci_low"]), percent_of(row["ci_high"])
    ends = [(float(row[column]), mean if low is None else low), (float(row[column]), mean if high is None else high)]
    (x, bottom), (_, top) = axes.transData.transform(ends)
    half = 5 / 72 * dpi
    return Bbox.from_extents(x - half, min(bottom, top) - half / 2, x + half, max(bottom, top) + half / 2)

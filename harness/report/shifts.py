"""Figure of tests on moved images: accuracy, and agreement with the prediction for the image as it is."""

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.drawing import draw_mean, percent_of, set_linear
from harness.report.frames import Row, at_size, rows_of, spread_sizes
from harness.report.level_axis import asides
from harness.report.panels import KEY_NAME, Panels
from harness.report.sheet import Label, fix_ticks, short_names
from harness.report.style import Mark, marks
from harness.spec.formats import count, number

METRICS = {"test_accuracy": "test accuracy (%)", "agreement": "agreement (%)"}
"""What is measured on moved images, with its axis."""
_MOST_SIZES = 3
"""Rows of panels, so that the figure fits a page; the report's table has all training sizes."""


def accuracy_by_shift(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy and agreement with the unmoved prediction by shift: two panels for each of up to three sizes."""
    study, looks = records.study, marks(records.study)
    rows = shift_rows(findings)
    present = [arm.name for arm in study.all_arms if any(row["arm"] == arm.name for row in rows)]
    marked = {name: f"{name} (baseline)" if name == study.baseline.name else name for name in present}
    names = short_names(list(marked.values()), KEY_NAME, lines=1)
    sizes = spread_sizes(findings, rows, _MOST_SIZES)
    cells = [(size, metric) for size in sizes for metric in METRICS]
    panels = Panels(
        "Test images moved by some pixels",
        "Thin lines: seeds. Bars: 95% intervals of the mean over seeds alone. "
        "Agreement: same prediction as for the unmoved image.",
        ["" if size is None or metric == "agreement" else f"{count(size)} training images" for size, metric in cells],
        label="shift (pixels)",
        key=[Label(names[marked[name]], looks[name]) for name in present],
        tall=1.7,
        own_scales=True,
    )
    shifts = sorted({float(row["shift"]) for row in rows})
    span = max(1.0, shifts[-1] - shifts[0])
    beside = [span * aside for aside in asides(len(present))]
    drawn: dict[str, list[float | None]] = {metric: [] for metric in METRICS}
    for axes, (size, metric) in zip(panels.axes, cells, strict=True):
        for place, name in enumerate(present):
            of_arm = [row for row in rows if (row["arm"], row["metric"]) == (name, metric)]
            of_cell = sorted((row for row in of_arm if size in (None, row["train_size"])), key=lambda row: row["shift"])
            _draw_seeds(axes, records, (name, size, metric), looks[name])
            drawn[metric] += _draw_means(axes, of_cell, looks[name], beside[place])
    for axes, (_, metric) in zip(panels.axes, cells, strict=True):
        set_linear(axes.xaxis, [shifts[0] + beside[0], shifts[-1] + beside[-1]])
        fix_ticks(axes.xaxis, shifts, lambda value: f"{value:.0f}")
        set_linear(axes.yaxis, drawn[metric])
        axes.set_ylabel(METRICS[metric])
    return panels.finish()


def shift_rows(findings: Findings) -> list[Row]:
    """Rows of `findings.shifts` that have a mean."""
    return [row for row in rows_of(findings.shifts) if number(row["mean"]) is not None]


def _draw_means(axes: Axes, rows: list[Row], mark: Mark, aside: float) -> list[float | None]:
    """The mean over the seeds with its interval at each shift; returns the heights drawn."""
    xs, ys = [float(row["shift"]) + aside for row in rows], [100 * float(row["mean"]) for row in rows]
    axes.plot(xs, ys, color=mark.colour, linestyle=mark.dash, linewidth=1.3)
    drawn: list[float | None] = []
    for x, y, row in zip(xs, ys, rows, strict=True):
        interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
        draw_mean(axes, (x, y), interval, mark)
        drawn += [y, *interval]
    return drawn


def _draw_seeds(axes: Axes, records: StudyRecords, cell: tuple[str, int | None, str], mark: Mark) -> None:
    name, size, metric = cell
    measured = at_size(records.shifts, size)
    of_arm = measured[measured["arm"] == name].dropna(subset=[metric]).sort_values("shift", kind="stable")
    lines = [
        list(zip(group["shift"].astype(float), 100 * group[metric].astype(float), strict=True))
        for _, group in of_arm.groupby("digest")
    ]
    axes.add_collection(LineCollection(lines, colors=mark.colour, linewidths=0.6, alpha=0.35))

"""Figure of series: accuracy of each line over the factor's levels."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.drawing import INTERVAL_NOTE, column_height, draw_mean, draw_seeds, percent_of, set_linear
from harness.report.frames import Row, arms_with_results, at_size, completed_runs, rows_of, spread_sizes
from harness.report.level_axis import LevelAxis, asides
from harness.report.panels import KEY_NAME, Panels
from harness.report.sheet import Label, Sheet, short_names
from harness.report.style import BASELINE_COLOUR, MUTED, Mark, look_of_series, marks
from harness.spec import Arm, ResolvedStudy
from harness.spec.formats import count, number, words

_MOST_PANELS = 5
_FOOT = 0.14
"""Share of the axes' height below the results, for the crosses of runs that diverged."""

Size = int | None


def series_curve(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy by level: a line per series, every seed drawn; a panel per training size where there are several.

    Arms without a numeric level stand at the right; a baseline outside the series is a band. Of more than five training
    sizes five are shown, the smallest and the largest among them.
    """
    sizes = spread_sizes(findings, arms_with_results(findings), _MOST_PANELS)
    return _one_panel(records, findings, sizes[0]) if len(sizes) == 1 else _by_size(records, findings, sizes)


def _one_panel(records: StudyRecords, findings: Findings, size: Size) -> Figure:
    study, axis = records.study, LevelAxis.of(records.study)
    ends = [*_ends(study, findings, size), *_outside(study, findings, size)]
    names = short_names([name for name, _, _ in ends], 1.2, lines=3 if len(ends) <= 10 else 1)
    sheet = Sheet(
        f"Test accuracy by {words(study.factor)}",
        _note(findings, (size,), axis),
        height=column_height(names.values(), 3.8),
    )
    axes = sheet.axes
    drawn = _draw_curves(axes, records, findings, size, axis)
    set_linear(axes.yaxis, drawn)
    axis.set_on(axes)
    if counts := _diverged(findings, size):
        _draw_diverged(axes, study, counts, axis)
    if axis.beside:  # thin lines lead from the ends past the arms without a level to the names
        last = axis.at(axis.levels[-1])
        for _, _, y in _ends(study, findings, size):
            axes.plot([last, axes.get_xlim()[1]], [y, y], color=MUTED, linewidth=0.5, zorder=1)
    sheet.column(Label(names[name], mark, at) for name, mark, at in ends)
    axes.set_xlabel(words(study.factor))
    axes.set_ylabel("test accuracy (%)")
    return sheet.finish()


def _by_size(records: StudyRecords, findings: Findings, sizes: Sequence[Size]) -> Figure:
    study, axis = records.study, LevelAxis.of(records.study)
    alone = {name: mark for size in sizes for name, mark, _ in _outside(study, findings, size)}
    looks = {name: look_of_series(study, name) for name in study.series} | alone
    names = short_names(list(looks), KEY_NAME, lines=1)
    panels = Panels(
        f"Test accuracy by {words(study.factor)}",
        _note(findings, sizes, axis),
        [f"{count(size)} training images" for size in sizes],
        label=words(study.factor),
        key=[Label(names[name], mark) for name, mark in looks.items()],
    )
    drawn: list[float | None] = []
    for axes, size in zip(panels.axes, sizes, strict=True):
        drawn += _draw_curves(axes, records, findings, size, axis)
    diverged = [_diverged(findings, size) for size in sizes]
    for place, (axes, counts) in enumerate(zip(panels.axes, diverged, strict=True)):
        set_linear(axes.yaxis, drawn)
        axis.set_on(axes)
        if any(diverged):  # all panels keep the same scale
            _draw_diverged(axes, study, counts, axis)
        axes.set_ylabel("test accuracy (%)" if place % 2 == 0 else "")
    return panels.finish()


def _draw_curves(
    axes: Axes, records: StudyRecords, findings: Findings, size: Size, axis: LevelAxis
) -> list[float | None]:
    """Lines, means, intervals and seeds at one training size; returns the heights drawn."""
    study, looks = records.study, marks(records.study)
    rows = {row["arm"]: row for row in arms_with_results(findings, size)}
    runs = completed_runs(records, size)
    drawn: list[float | None] = []
    if study.baseline.series is None and study.baseline.name in rows:
        drawn += _draw_band(axes, rows[study.baseline.name])
    places = _places(study, axis)
    for arms in study.series.values():
        line = [(places[arm.name], 100 * rows[arm.name]["mean"]) for arm in arms if arm.name in rows]
        xs, ys = [x for x, _ in line], [y for _, y in line]
        axes.plot(xs, ys, color=looks[arms[0].name].colour, linewidth=1.2)
    for name, row in rows.items():
        if name in places:
            drawn += _draw_arm(axes, places[name], row, runs, looks[name])
    return drawn


def _places(study: ResolvedStudy, axis: LevelAxis) -> dict[str, float]:
    """Where each arm stands, the series side by side; a baseline in no series has no place."""
    aside = dict(zip(study.series, asides(len(study.series)), strict=True))
    arms = [arm for arm in study.all_arms if arm is not study.baseline or arm.series is not None]
    return {arm.name: axis.place(arm, aside.get(arm.series or "", 0.0)) for arm in arms}


def _draw_arm(axes: Axes, x: float, row: Row, runs: Mapping[str, pd.DataFrame], mark: Mark) -> list[float | None]:
    of_arm = runs.get(row["arm"])
    seeds = [] if of_arm is None else [100 * float(value) for value in of_arm["test_accuracy"].dropna()]
    interval = percent_of(row["ci_low"]), percent_of(row["ci_high"])
    draw_seeds(axes, [x] * len(seeds), seeds, mark, aside=(-5.5, 0))
    draw_mean(axes, (x, 100 * row["mean"]), interval, mark)
    return [*seeds, 100 * row["mean"], *interval]


def _draw_band(axes: Axes, row: Row) -> list[float | None]:
    low, high, middle = percent_of(row["ci_low"]), percent_of(row["ci_high"]), 100 * row["mean"]
    if low is not None and high is not None:
        axes.axhspan(low, high, color=BASELINE_COLOUR, alpha=0.15, linewidth=0)
    axes.axhline(middle, color=BASELINE_COLOUR, linewidth=1.2, linestyle="--")
    return [low, middle, high]


def _draw_diverged(axes: Axes, study: ResolvedStudy, counts: Mapping[str, int], axis: LevelAxis) -> None:
    """A cross at the foot of the axes for each run that diverged."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - _FOOT * (high - low), high)
    looks, places = marks(study), _places(study, axis)
    for name in (name for name in counts if name in places):
        for place in range(counts[name]):
            up = ScaledTranslation(0, (5 + 6 * place) / 72, axes.figure.dpi_scale_trans)
            axes.plot(
                [places[name]],
                [0],
                color=looks[name].colour,
                marker="x",
                markersize=4.5,
                markeredgewidth=1.5,
                linestyle="",
                transform=axes.get_xaxis_transform() + up,
            )


def _diverged(findings: Findings, size: Size) -> dict[str, int]:
    """Runs that diverged by arm, of the arms that have some."""
    rows = rows_of(at_size(findings.arms, size))
    return {row["arm"]: int(row["diverged"]) for row in rows if (number(row["diverged"]) or 0) > 0}


def _note(findings: Findings, sizes: Sequence[Size], axis: LevelAxis) -> str:
    note = INTERVAL_NOTE
    if axis.beside:
        note += " Right of the dotted line: arms without a level on the axis."
    if any(_diverged(findings, size) for size in sizes):
        note += " Crosses at the foot: runs that diverged."
    return note


def _ends(study: ResolvedStudy, findings: Findings, size: Size) -> list[tuple[str, Mark, float]]:
    """Name, look and last mean of each series that has results."""
    means = {row["arm"]: 100 * float(row["mean"]) for row in arms_with_results(findings, size)}
    lines = {name: [means[arm.name] for arm in arms if arm.name in means] for name, arms in study.series.items()}
    return [(name, look_of_series(study, name), line[-1]) for name, line in lines.items() if line]


def _outside(study: ResolvedStudy, findings: Findings, size: Size) -> list[tuple[str, Mark, float]]:
    """Name, look and mean of each arm outside the series that has results."""
    looks = marks(study)

    def described(arm: Arm) -> tuple[str, Mark]:
        if arm is study.baseline:
            return f"{arm.name} (baseline)", Mark(BASELINE_COLOUR, "", "--")
        return arm.name, looks[arm.name]

    rows = [(study.arm(row["arm"]), 100 * float(row["mean"])) for row in arms_with_results(findings, size)]
    return [(*described(arm), mean) for arm, mean in rows if arm.series is None]

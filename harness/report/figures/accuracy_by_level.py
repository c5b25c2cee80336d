"""Accuracy by level of the factor: over an axis of numbers, in panels by training size, or in rows of words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords
from harness.report.figures.canvas import Canvas, Label, column_height, rows_height, set_rows
from harness.report.figures.drawing import BASELINE, INTERVAL_NOTE, draw_arm, draw_baseline, labels_of
from harness.report.figures.in_words import accuracies, several
from harness.report.figures.labels import short_names
from harness.report.figures.level_axis import LevelAxis, asides, placed_arms
from harness.report.figures.looks import Mark, has_ordered_levels, look_of_series, marks
from harness.report.figures.picture import Picture
from harness.report.frames import (
    Row,
    Size,
    arms_with_results,
    at_largest,
    at_size,
    largest_size,
    rows_of,
    seeds_of,
    sizes_of,
    spread_sizes,
)
from harness.report.style import INK, MUTED
from harness.spec import Arm, ResolvedStudy
from harness.spec.formats import count, number, percent, plain, words

_MOST_PANELS = 5
_FOOT = 0.14
"""Share of the axes' height below the results, for the crosses of runs that diverged."""


def _draw(records: StudyRecords, findings: Findings) -> Figure:
    """Test accuracy by level, every seed drawn; a panel per training size where there are several.

    Arms without a numeric level stand at the right; a baseline outside the series is a band. Of more than five training
    sizes five are shown, the smallest and the largest among them.
    """
    study, rows = records.study, arms_with_results(findings)
    if not study.series and not (has_ordered_levels(study) and any(not row["is_baseline"] for row in rows)):
        return _in_rows(records, rows)
    return _over_levels(records, findings, spread_sizes(findings, rows, _MOST_PANELS))


def _over_levels(records: StudyRecords, findings: Findings, sizes: Sequence[Size]) -> Figure:
    study, axis, many = records.study, LevelAxis.of(records.study), len(sizes) > 1
    ends = [end for size in sizes for end in _ends(study, findings, size)]
    looks = {name: mark for name, mark, _ in ends}
    names = short_names(list(looks), 1.75 if many else 1.2, lines=1 if many or len(looks) > 10 else 3)
    canvas = Canvas(
        f"Test accuracy by {words(study.factor)}",
        _note(findings, sizes, axis),
        height=2.1 if many else column_height(names.values()),
        panels=[f"{count(size)} training images" for size in sizes] if many else ("",),
        key={names[name]: mark for name, mark in looks.items()} if many else None,
    )
    for axes, size in zip(canvas.panels, sizes, strict=True):
        _draw_curves(axes, records, findings, size, axis)
    for axes in canvas.panels:
        axis.set_on(axes)
    for axes in canvas.panels[::2]:  # of the first column
        axes.set_ylabel("test accuracy (%)")
    diverged = [_diverged(findings, size) for size in sizes]
    if any(diverged):
        low, high = canvas.axes.get_ylim()
        canvas.axes.set_ylim(low - _FOOT * (high - low), high)  # all panels share a scale
    for axes, of_size in zip(canvas.panels, diverged, strict=True):
        _draw_diverged(axes, study, of_size, axis)
    if many:
        canvas.figure.supxlabel(words(study.factor), size=9.5)
    else:
        _name_lines(canvas, study, ends, names, axis)
    return canvas.finish()


def _name_lines(
    canvas: Canvas, study: ResolvedStudy, ends: list[tuple[str, Mark, float]], names: dict[str, str], axis: LevelAxis
) -> None:
    axes = canvas.axes
    axes.set_xlabel(words(study.factor))
    if axis.beside:  # thin lines lead from the ends past the arms without a level to the names
        axes.autoscale(enable=False)
        for name, _, y in ends:
            if name in study.series:
                axes.plot([axis.at(axis.levels[-1]), axes.get_xlim()[1]], [y, y], color=MUTED, linewidth=0.5, zorder=1)
    value = "" if study.series else "\n{}"  # the axis names all but the baseline
    canvas.beside(Label(names[name] + value.format(percent(mean / 100)), mean, mark) for name, mark, mean in ends)


def _in_rows(records: StudyRecords, rows: list[Row]) -> Figure:
    study, seeds, looks = records.study, seeds_of(records), marks(records.study)
    names = labels_of(study, [row["arm"] for row in rows], width=1.5)
    canvas = Canvas(f"Test accuracy by {words(study.factor)}", INTERVAL_NOTE, height=rows_height(names.values()))
    for place, row in enumerate(rows):
        if row["is_baseline"]:
            draw_baseline(canvas.axes, row, along="x")
        draw_arm(canvas.axes, place, row, seeds[row["arm"]], looks[row["arm"]], along="x")
    set_rows(canvas.axes, list(names.values()))
    canvas.beside(Label(percent(row["mean"]), place) for place, row in enumerate(rows))
    canvas.axes.set_xlabel("test accuracy (%)")
    return canvas.finish()


def _draw_curves(axes: Axes, records: StudyRecords, findings: Findings, size: Size, axis: LevelAxis) -> None:
    """Lines, means, intervals and seeds at one training size."""
    study, looks, seeds = records.study, marks(records.study), seeds_of(records, size)
    rows, places = {row["arm"]: row for row in arms_with_results(findings, size)}, _places(study, axis)
    if study.baseline.series is None and study.baseline.name in rows:
        draw_baseline(axes, rows[study.baseline.name])
    for name, arms in (study.series or {"": tuple(_by_level(study))}).items():
        line = [(places[arm.name], 100 * rows[arm.name]["mean"]) for arm in arms if arm.name in rows]
        colour, alpha = (looks[arms[0].name].colour, 1.0) if name else (INK, 0.45)
        axes.plot(*zip(*line, strict=True), color=colour, alpha=alpha, linewidth=1.2)
    for name, row in rows.items():
        if name in places:
            draw_arm(axes, places[name], row, seeds[name], looks[name])


def _by_level(study: ResolvedStudy) -> list[Arm]:
    return sorted(study.arms, key=lambda arm: float(arm.level or 0))


def _places(study: ResolvedStudy, axis: LevelAxis) -> dict[str, float]:
    """Where each arm stands, the series side by side."""
    aside = dict(zip(study.series, asides(len(study.series)), strict=True))
    return {arm.name: axis.place(arm, aside.get(arm.series or "", 0.0)) for arm in placed_arms(study)}


def _draw_diverged(axes: Axes, study: ResolvedStudy, diverged: Mapping[str, int], axis: LevelAxis) -> None:
    """A cross at the foot of the axes for each run that diverged."""
    looks, places = marks(study), _places(study, axis)
    for name in (name for name in diverged if name in places):
        for place in range(diverged[name]):
            up = ScaledTranslation(0, (5 + 6 * place) / 72, axes.figure.dpi_scale_trans)
            look = replace(looks[name], marker="x").point
            transform = axes.get_xaxis_transform() + up
            axes.plot([places[name]], [0], markersize=4.5, markeredgewidth=1.5, transform=transform, **look)


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
    """Name, look and last mean in percent of each series that has results, then of the arms outside the series.

    Without series, of the baseline alone.
    """
    looks = marks(study)
    means = {row["arm"]: 100 * float(row["mean"]) for row in arms_with_results(findings, size)}
    lines = {name: [means[arm.name] for arm in arms if arm.name in means] for name, arms in study.series.items()}
    found = [(name, look_of_series(study, name), line[-1]) for name, line in lines.items() if line]
    alone = [arm for arm in study.all_arms if arm.series is None and arm.name in means]
    return found + [
        (f"{arm.name} (baseline)", BASELINE, means[arm.name])
        if arm is study.baseline
        else (arm.name, looks[arm.name], means[arm.name])
        for arm in alone
        if study.series or arm is study.baseline
    ]


def _describe(records: StudyRecords, findings: Findings) -> str:
    study, size = records.study, largest_size(findings)
    rows = {row["arm"]: row for row in arms_with_results(findings, size)}
    if not study.series:
        return f"Test accuracy by {words(study.factor)}, each seed a dot. {accuracies(list(rows.values()))}"
    texts = []
    for name, arms in study.series.items():
        known = [arm for arm in arms if arm.name in rows]
        if known:
            ends = dict.fromkeys((known[0].name, known[-1].name))
            told = [f"{percent(rows[arm]['mean'])} at {plain(study.arm(arm).level)}" for arm in ends]
            texts.append(f"{name} {' and '.join(told)}")
    texts += [f"{name} {percent(row['mean'])}" for name, row in rows.items() if study.arm(name).series is None]
    lost = [row for row in rows_of(at_size(findings.arms, size)) if (number(row["diverged"]) or 0) > 0]
    crosses = [f"{row['arm']}, {row['diverged']} of {row['planned']}" for row in lost]
    diverged = f" Diverged: {several(crosses)}." if crosses else ""
    where = at_largest(findings, " With {}:")
    return f"Test accuracy by {words(study.factor)}, a line per series.{where} {several(texts)}.{diverged}"


def _applies(records: StudyRecords, findings: Findings) -> bool:
    return bool((records.study.series or not sizes_of(findings)) and arms_with_results(findings))


PICTURE = Picture("accuracy_by_level", "result", "Test accuracy by level of the factor", _draw, _describe, _applies)

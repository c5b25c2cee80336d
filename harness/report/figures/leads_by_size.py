"""The lead over the reference arm by the number of training images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from harness.analysis.leads import condition_of
from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.gaps import gaps_of
from harness.report.figures.labels import Label
from harness.report.figures.marks_on_axes import PART, Places, asides, difference_note, draw_line, is_limited
from harness.report.style import INK, PALE, Mark, ordered_marks
from harness.report.view import Row, View, difference, interval_of
from harness.spec import GapShrinks
from harness.spec.formats import count, counted, number, plain
from harness.spec.palette import family_of

_MOST_PANELS, _MOST_TOGETHER = 4, 3  # panels, one for each reference arm; lines that need none of their own
_HEIGHTS = (3.4, 2.5, 1.5)  # of a panel, of two, of each of more, inches

Line = tuple[Mark, list[Row]]
"""A look, and rows of `findings.comparisons` by training size."""


def lead_by_size(view: View) -> Drawing | None:
    """The lead over the baseline, or the reference arm, by the number of training images.

    A line per pair of arms, of many one that stands out; of series a panel per pair, and a line per level. Where a
    claim is about its slope, the fitted line.
    """
    if not view.sizes or not (panels := _of_series(view) if view.study.series else _of_pairs(view)):
        return None
    shown = [row for lines in panels.values() for _, rows in lines.values() for row in rows]
    slopes = {pair: slope for pair, slope in _slopes(view).items() if _fits(pair, slope, shown)}
    canvas = Canvas(
        f"Lead over {view.reference} by training images",
        f"{difference_note(view.level, view.varied)}; above zero: better than {view.reference}."
        + " Dotted: the straight line whose slope a claim is about." * bool(slopes)
        + " Hollow: one of the two is limited by its updates, not by its data." * any(map(is_limited, shown)),
        finding=view.finding,
        height=_HEIGHTS[min(len(panels), 3) - 1],
        panels=list(panels),
        columns=1,
    )
    places, told = Places(view.sizes, geometric=True), []
    for axes, lines in zip(canvas.panels, panels.values(), strict=True):
        for (name, (mark, rows)), aside in zip(lines.items(), asides(len(lines)), strict=True):
            end = _draw_lead(axes, view, rows, mark, places, aside)
            if view.study.series:
                canvas.key[name] = mark
            else:
                canvas.labels.append(Label(axes, name, *end, stands_out=mark.colour != PALE, end=True))
            if (slope := slopes.get((rows[0]["arm"], rows[0]["baseline"]))) is not None:
                _draw_slope(axes, rows, slope, mark)
            ends = [f"{difference(row)} at {counted(row['train_size'], 'image')}" for row in rows]
            told.append(from_to(view.compared(rows[0]), ends))
        places.set_on(axes, count)
    for axes in canvas.panels:  # as far as all lines reach, not through their names
        axes.plot(axes.get_xlim(), [0, 0], color=INK, linewidth=1, zorder=1, scalex=False)
    return canvas.finish("training images", "lead (points)", told)


def _draw_lead(
    axes: Axes, view: View, rows: list[Row], mark: Mark, places: Places, aside: float
) -> tuple[float, float]:
    """A line with its seeds; returns its end."""
    xs, heights = [places.at(row["train_size"], aside) for row in rows], [100 * row["difference"] for row in rows]
    curve = places.curve([row["train_size"] for row in rows], heights, aside, log=True)
    draw_line(axes, xs, rows, mark, of="difference", curve=curve, hollow=is_limited, seeds=view.seed_differences)
    return xs[-1], heights[-1]


def _of_series(view: View) -> dict[str, dict[str, Line]]:
    """By pair of series and by level."""
    panels = {}
    for gap in gaps_of(view):
        levels = sorted({float(row["level"]) for row in gap.rows})
        marks = ordered_marks(len(levels), family_of(view.study.series[gap.series][0].model))
        of_level = {level: [row for row in gap.rows if row["level"] == level] for level in levels}
        panels[gap.name] = {
            f"{view.factor} {plain(level)}": (mark, of_level[level]) for level, mark in zip(levels, marks, strict=True)
        }
    return panels


def _of_pairs(view: View) -> dict[str, dict[str, Line]]:
    """By panel and by name. Of many lines those that compare one model with itself under another condition stand apart.

    The others have a panel per reference arm where several arms are compared with one, else one for all. Pale are lines
    of one model with itself and, of more in a panel than can be told apart, all but one.
    """
    found = view.by_arm(view.comparisons())
    itself = [arm for arm, rows in found.items() if _is_same_model(view, rows[0])]
    others = [arm for arm in found if arm not in itself]
    groups = [list(found)]
    if len(found) > _MOST_TOGETHER:
        references = {arm: found[arm][0]["baseline"] for arm in others}
        same = [[arm for arm in others if references[arm] == other] for other in dict.fromkeys(references.values())]
        if len(same) > _MOST_PANELS or len(same) == len(others):
            same = [others]
        groups = [group for group in (*same, itself) if group]
    panels: dict[str, dict[str, Line]] = {}
    for group in groups if found else ():
        looks = view.looks_among(group) | {arm: replace(view.looks[arm], colour=PALE) for arm in itself}
        pairs = [found[arm][0] for arm in group]
        heading, names = (
            _named(view, pairs, itself=group is itself) if len(groups) > 1 else ("", _compared(view, pairs))
        )
        panels[heading] = {name: (looks[arm], found[arm]) for name, arm in zip(names, group, strict=True)}
    return panels


def _is_same_model(view: View, row: Row) -> bool:
    """Whether it compares a model with itself under another condition."""
    arm, other = (view.study.arm(row[key]) for key in ("arm", "baseline"))
    return arm.model == other.model and condition_of(view.study.data_of(arm)) != condition_of(view.study.data_of(other))


def _compared(view: View, pairs: Sequence[Row]) -> list[str]:
    return [view.compared(row) for row in pairs]


def _named(view: View, pairs: Sequence[Row], *, itself: bool) -> tuple[str, list[str]]:
    """A panel's heading, and names of its lines that leave out what this says."""
    if itself:
        return "over the same model on other images", _compared(view, pairs)
    arms, references = [str(row["arm"]) for row in pairs], {str(row["baseline"]) for row in pairs}
    if len(references) == 1:
        return f"over {references.pop()}", arms
    models = {_less_shared(str(row["baseline"]), str(row["arm"])) for row in pairs}
    if len(models) == 1:
        return f"over {models.pop()} on the same images", arms
    return "over their reference arms", _compared(view, pairs)


def _less_shared(name: str, other: str) -> str:
    """`ResNet` of `ResNet, patches moved` beside `ViT, patches moved`."""
    (model, _, how), (_, _, of_other) = name.partition(", "), other.partition(", ")
    return model if how == of_other else name


def _slopes(view: View) -> dict[tuple[str, str], float]:
    """Points per 10x training images of each pair of arms whose slope a claim is about."""
    claims = [claim for claim in view.study.claims if isinstance(claim, GapShrinks) and claim.along == "train_size"]
    asked = {frozenset((claim.leader, claim.follower)) for claim in claims}
    return {
        (row["arm"], row["baseline"]): 100 * row["slope"]
        for row in view.along(view.findings.slopes, factor=False)
        if frozenset((row["arm"], row["baseline"])) in asked and number(row["slope"]) is not None
    }


def _fits(pair: tuple[str, str], slope: float, shown: Sequence[Row]) -> bool:
    """Whether the line of a slope runs through the intervals of its points: one that does not tells of none of them."""
    rows = [row for row in shown if (row["arm"], row["baseline"]) == pair]
    intervals = [interval_of(row) for row in rows]
    return bool(rows) and all(
        interval is not None and interval[0] <= height / 100 <= interval[1]
        for interval, height in zip(intervals, _heights(rows, slope), strict=True)
    )


def _heights(rows: Sequence[Row], slope: float) -> list[float]:
    """Of the least-squares line at each of its points, whose mean it passes through; in points."""
    xs = np.log10([float(row["train_size"]) for row in rows])
    middle = 100 * float(np.mean([row["difference"] for row in rows]))
    return [middle + slope * float(x - xs.mean()) for x in xs]


def _draw_slope(axes: Axes, rows: Sequence[Row], slope: float, mark: Mark) -> None:
    label = PART.format("slope", f"{rows[0]['arm']} - {rows[0]['baseline']}")
    sizes, heights = [float(row["train_size"]) for row in rows], _heights(rows, slope)
    axes.plot(sizes, heights, color=mark.colour, linestyle=":", linewidth=1.4, zorder=1, label=label)

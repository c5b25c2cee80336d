"""Differences to the reference arm: by training size, by technique with families side by side, by arm."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.gaps import gaps_of
from harness.report.figures.labels import Label
from harness.report.figures.marks_on_axes import PART, Places, asides, draw_line, draw_mean, is_limited
from harness.report.style import INK, LABEL_SIZE, Mark, ordered_marks
from harness.report.view import MOST_COLOURED, Row, View, difference, interval_of
from harness.spec import GapShrinks
from harness.spec.formats import MINUS, count, counted, number, plain
from harness.spec.palette import FAMILIES, family_of, second_factor, shaded

MOST_PANELS, MOST_TOGETHER = 4, 3
"""Panels, one for each reference arm; of more, and of so few lines, all stand in one."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # of families


def lead_by_size(view: View) -> Drawing | None:
    """The lead over the baseline, or the reference arm, by the number of training images.

    A line per arm, of many one that stands out, or a panel per reference arm; of series a panel per pair, and a line
    per level. Where a claim is about its slope, the fitted line.
    """
    if not view.sizes or not (panels := _leads(view)):
        return None
    shown = [row for lines in panels.values() for _, rows in lines.values() for row in rows]
    slopes = {pair: slope for pair, slope in _slopes(view).items() if _fits(pair, slope, shown)}
    canvas = Canvas(
        f"Lead over {view.reference} by training images",
        f"Mean difference with its {view.level} interval over {view.varied}; above zero: better than {view.reference}."
        + " Dotted: the straight line whose slope a claim is about." * bool(slopes)
        + " Hollow: one of the two is limited by its updates, not by its data." * any(map(is_limited, shown)),
        finding=view.finding,
        height=3.4 if len(panels) == 1 else 2.3,
        panels=list(panels),
        columns=1 if len(panels) < 3 or view.study.series else 2,
    )
    places, told = Places(view.sizes, geometric=True), []
    for axes, lines in zip(canvas.panels, panels.values(), strict=True):
        axes.axhline(0, color=INK, linewidth=1)
        for (name, (mark, rows)), aside in zip(lines.items(), asides(len(lines)), strict=True):
            xs = [places.at(row["train_size"], aside) for row in rows]
            heights = [100 * row["difference"] for row in rows]
            curve = places.curve([row["train_size"] for row in rows], heights, aside, log=True)
            draw_line(axes, xs, rows, mark, of="difference", curve=curve, hollow=is_limited)
            if len(lines) > MOST_COLOURED and not view.study.series:
                end, shown = (xs[-1], 100 * rows[-1]["difference"]), rows[-1]["arm"] == view.highlighted
                canvas.labels.append(Label(axes, name, *end, stands_out=shown, end=True))
            else:
                canvas.key[name] = mark
            if (slope := slopes.get((rows[0]["arm"], rows[0]["baseline"]))) is not None:
                _draw_slope(axes, rows, slope, mark)
            ends = [f"{difference(row)} at {counted(row['train_size'], 'image')}" for row in rows]
            told.append(from_to(view.compared(rows[0]), ends))
        places.set_on(axes, count)
    return canvas.finish("training images", "lead (points)", told)


def _leads(view: View) -> dict[str, dict[str, tuple[Mark, list[Row]]]]:
    """By panel and by name: the look and the rows of each line, by training size."""
    rows = view.comparisons()
    if not view.study.series:
        found: dict[str, dict[str, list[Row]]] = defaultdict(dict)
        for of_arm in view.by_arm(rows).values():
            found[of_arm[0]["baseline"]][of_arm[0]["arm"]] = of_arm
        if 1 < len(found) <= MOST_PANELS and sum(map(len, found.values())) > MOST_TOGETHER:
            looks = {arm: look for arms in found.values() for arm, look in view.looks_among(arms).items()}
            return {f"over {name}": {arm: (looks[arm], arms[arm]) for arm in arms} for name, arms in found.items()}
        every = {arm: of_arm for arms in found.values() for arm, of_arm in arms.items()}
        looks = view.looks_among(every)
        return {"": {view.compared(row[0]): (looks[arm], row) for arm, row in every.items()}} if every else {}
    panels = {}
    for gap in gaps_of(view):
        levels = sorted({float(row["level"]) for row in gap.rows})
        marks = ordered_marks(len(levels), family_of(view.study.series[gap.series][0].model))
        of_level = {level: [row for row in gap.rows if row["level"] == level] for level in levels}
        panels[gap.name] = {
            f"{view.factor} {plain(level)}": (mark, of_level[level]) for level, mark in zip(levels, marks, strict=True)
        }
    return panels


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


def gains(view: View) -> Drawing | None:
    """What each technique gives each family of models over its own reference arm, families side by side."""
    study, places = view.study, second_factor(view.study)
    families = {arm.name: family_of(arm.model) for arm in study.all_arms}
    found: dict[tuple[int, int], dict[str, Row]] = defaultdict(dict)
    for row in view.comparisons(view.asked):
        if families[row["arm"]] == families[row["baseline"]]:
            found[places[row["arm"]], places[row["baseline"]]][families[row["arm"]]] = row
    if study.series or not any(len(of_families) > 1 for of_families in found.values()):
        return None
    shown = [family for family in FAMILIES if any(family in rows for rows in found.values())]
    looks = {family: Mark(shaded(family), _MARKERS[place]) for place, family in enumerate(shown)}
    canvas = Canvas(
        f"Gain by {view.factor}{view.at(view.asked)}",
        "Mean difference of test accuracy over paired seeds to the arm of the same model that it is compared with, "
        f"{view.level} interval, in points; right of zero: better.",
        finding=view.finding,
    )
    canvas.key |= {FAMILIES[family]: look for family, look in looks.items()}
    canvas.axes.axvline(0, color=INK, linewidth=1)
    names = _techniques(found)
    canvas.rows(list(names.values()), [""] * len(names), least=0.19 * len(shown) + 0.14)
    told = []
    for place, (technique, name) in enumerate(names.items()):
        for family, row in found[technique].items():
            at = place + 0.36 * (shown.index(family) - (len(shown) - 1) / 2)
            draw_mean(canvas.axes, at, row, looks[family], of="difference", along="x")
            canvas.axes.text(
                1.03,
                at,
                difference(row),
                transform=canvas.axes.get_yaxis_transform(),
                color=looks[family].colour,
                va="center",
                size=LABEL_SIZE,
                clip_on=False,
            )
            told.append(f"{name}, {FAMILIES[family]} {difference(row)}")
    return canvas.finish("gain (points)", "", told)


def _techniques(found: Mapping[tuple[int, int], Mapping[str, Row]]) -> dict[tuple[int, int], str]:
    """What the arms of a row share of their names, less what they gain on where that is not the bare model for all."""
    several = len({reference for _, reference in found}) > 1
    names = {}
    for key, rows in found.items():
        arm, other = (_shared([str(row[side]) for row in rows.values()]) for side in ("arm", "baseline"))
        names[key] = f"{arm or str(next(iter(rows.values()))['arm'])} {MINUS} {other}" if several and other else arm
    return names


def _shared(names: Sequence[str]) -> str:
    """The words with which all names end, if any; of one name, what follows its first comma."""
    words = [name.split(" ") for name in names]
    if len(names) == 1:
        return names[0].partition(", ")[2]
    most = min(map(len, words)) - 1
    same = next((n for n in range(most, 0, -1) if len({tuple(each[-n:]) for each in words}) == 1), 0)
    return " ".join(words[0][-same:]) if same else ""


def differences(view: View) -> Iterator[Drawing]:
    """Interval plots of the differences, one for each arm that others are compared with.

    Arms with which one alone is compared, such as the rungs of a ladder, share a figure, which comes first where it
    has most rows. Differences between series stand in figures of their own.
    """
    if view.sizes and not view.study.series:
        return
    between = {(row["arm"], row["baseline"]) for gap in gaps_of(view) if view.has_partners for row in gap.rows}
    found: dict[str, list[Row]] = defaultdict(list)
    for row in view.grouped(view.comparisons(view.largest)):
        if (row["arm"], row["baseline"]) not in between:
            found[row["baseline"]].append(row)
    pairs = [rows[0] for rows in found.values() if len(rows) == 1]
    is_ladder, most = len(pairs) > 1, max((len(rows) for rows in found.values()), default=0)
    if is_ladder and len(pairs) > most:
        yield _between_pairs(view, pairs)
    for reference, rows in found.items():
        if len(rows) > 1 or not is_ladder:
            yield _to_one_arm(view, reference, rows)
    if is_ladder and len(pairs) <= most:
        yield _between_pairs(view, pairs)


def _between_pairs(view: View, rows: list[Row]) -> Drawing:
    return _interval_plot(view, "between two arms", "the first is better", rows, list(map(view.compared, rows)))


def _to_one_arm(view: View, reference: str, rows: list[Row]) -> Drawing:
    return _interval_plot(view, f"to {reference}", f"better than {reference}", rows, [str(row["arm"]) for row in rows])


def _interval_plot(view: View, to: str, right: str, rows: list[Row], names: list[str]) -> Drawing:
    """`right`: what a difference right of zero means."""
    canvas = Canvas(
        f"Difference in test accuracy {to}{view.at_largest}",
        f"Mean over paired seeds, {view.level} interval, in points; right of zero: {right}.",
        finding=view.finding,
    )
    canvas.axes.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(rows):
        draw_mean(canvas.axes, place, row, view.looks[row["arm"]], of="difference", along="x")
    values = [difference(row) for row in rows]
    canvas.rows(names, values)
    return canvas.finish("difference (points)", "", [" ".join(pair) for pair in zip(names, values, strict=True)])

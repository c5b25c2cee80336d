"""Differences to the reference arm: by technique with families side by side, by arm."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from harness.report.figures.canvas import Canvas, Drawing
from harness.report.figures.gaps import gaps_of
from harness.report.figures.marks_on_axes import difference_note, draw_difference
from harness.report.style import INK, LABEL_SIZE, Mark
from harness.report.view import Row, View, difference
from harness.spec.formats import MINUS
from harness.spec.palette import FAMILIES, family_of, second_factor, shaded

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # of families


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
        f"{difference_note(view.level, view.varied)}, to the arm of the same model; right of zero: better.",
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
            draw_difference(canvas.axes, at, row, view.seed_differences(row), looks[family], along="x")
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
    """Interval plots of the differences, one for each arm that others are compared with, that with most rows first.

    Arms with which one alone is compared, such as the rungs of a ladder, share a figure. Differences between series
    stand in figures of their own.
    """
    if view.sizes and not view.study.series:
        return
    between = {(row["arm"], row["baseline"]) for gap in gaps_of(view) if view.has_partners for row in gap.rows}
    found: dict[str, list[Row]] = defaultdict(list)
    for row in view.grouped(view.comparisons(view.largest)):
        if (row["arm"], row["baseline"]) not in between:
            found[row["baseline"]].append(row)
    pairs = [rows[0] for rows in found.values() if len(rows) == 1]
    plots = [*found.values()] if len(pairs) < 2 else [*(rows for rows in found.values() if len(rows) > 1), pairs]
    for rows in sorted(plots, key=len, reverse=True):
        yield _between_pairs(view, rows) if rows is pairs else _to_one_arm(view, str(rows[0]["baseline"]), rows)


def _between_pairs(view: View, rows: list[Row]) -> Drawing:
    return _interval_plot(view, "between two arms", "the first is better", rows, list(map(view.compared, rows)))


def _to_one_arm(view: View, reference: str, rows: list[Row]) -> Drawing:
    return _interval_plot(view, f"to {reference}", f"better than {reference}", rows, [str(row["arm"]) for row in rows])


def _interval_plot(view: View, to: str, right: str, rows: list[Row], names: list[str]) -> Drawing:
    """`right`: what a difference right of zero means."""
    canvas = Canvas(
        f"Difference in test accuracy {to}{view.at_largest}",
        f"{difference_note(view.level, view.varied)}; right of zero: {right}.",
        finding=view.finding,
    )
    canvas.axes.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(rows):
        draw_difference(canvas.axes, place, row, view.seed_differences(row), view.looks[row["arm"]], along="x")
    values = [difference(row) for row in rows]
    canvas.rows(names, values)
    return canvas.finish("difference (points)", "", [" ".join(pair) for pair in zip(names, values, strict=True)])

"""Accuracy by class, of the main arm and the one that it is compared with."""

from harness.report.figures.canvas import Canvas, Drawing
from harness.report.figures.marks_on_axes import draw_mean, drawn_data
from harness.report.view import View
from harness.spec.formats import MINUS, points, points_interval

_MOST = 20  # classes


def accuracy_by_class(view: View) -> Drawing | None:
    """A row per class, the greatest lead at the top; of many classes those that differ most."""
    rows = view.classes(_MOST)
    if not rows:
        return None
    main, other = view.findings.by_class.arms
    canvas = Canvas(
        f"Accuracy by class{view.at_largest}",
        f"Mean with its {view.level} interval over {view.varied} of the class; at the right {main} {MINUS} {other} in "
        "points.",
        finding=view.finding,
    )
    canvas.key |= {view.named(arm): view.looks[arm] for arm in (other, main)}
    for place, row in enumerate(rows):
        for aside, of in ((-0.16, row["against"]), (0.16, row)):
            draw_mean(canvas.axes, place + aside, of, view.looks[of["arm"]], along="x")
    names = [str(row["class_name"]) for row in rows]
    canvas.rows(
        names, [points_interval(row["difference"], row["difference_low"], row["difference_high"]) for row in rows], 0.34
    )
    data = drawn_data(canvas.figure)
    data["panel"] = [names[round(place)] for place in data["y"]]
    told = [f"{name} {points(row['difference'])}" for name, row in zip(names, rows, strict=True)]
    told[0] = f"{main} {MINUS} {other} in points, {told[0]}"
    return canvas.finish("test accuracy (%)", "", told, data)

"""Test accuracy by the size of patches: of models trained for several sizes, and of those trained for one each."""

from dataclasses import replace

from harness.analysis.axis import is_geometric
from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.marks_on_axes import Places, asides, draw_arm, draw_line, draw_seeds, interval_note
from harness.report.view import View, accuracy, at_size, rows_of


def accuracy_by_patch_size(view: View) -> Drawing | None:
    """A line for each model for several sizes of patches, and beside it the arms that are trained for one alone."""
    rows = rows_of(at_size(view.findings.patches, view.largest), known="mean")
    if not rows:
        return None
    canvas = Canvas(
        f"One model for all sizes of patches, and one for each{view.at_largest}",
        f"Lines: one training, tested at every size. Marks without a line: trained for that size alone. "
        f"{interval_note(view.level, view.varied)}",
        finding=view.finding,
        height=3.4,
    )
    found, sizes = view.by_arm(rows), sorted({float(row["patch_size"]) for row in rows})
    places, told = Places(sizes, is_geometric(sizes)), []
    seeds, runs = view.by_arm(rows_of(at_size(view.records.patches, view.largest))), view.runs(view.largest)
    means = {row["arm"]: row for row in view.arms(view.largest)}
    aside, *others = asides(1 + len(found))
    for name, of_arm in found.items():
        canvas.key[view.named(name)] = look = view.looks[name]
        own = seeds.get(name, [])
        shift = others.pop(0)
        draw_seeds(
            canvas.axes, [places.at(s["patch_size"], shift) for s in own], [s["test_accuracy"] for s in own], look, name
        )
        draw_line(canvas.axes, [places.at(float(row["patch_size"]), shift) for row in of_arm], of_arm, look)
        ends = [f"{accuracy(row)} at {row['patch_size']} px" for row in of_arm]
        told.append(from_to(name, ends))
    alone = {row["alone"]: row["patch_size"] for row in rows if row["alone"] in means}
    for name, size in alone.items():
        canvas.key[view.named(name)] = replace(view.looks[name], dash=(0, (0, 1)))  # no line
        draw_arm(canvas.axes, places.at(float(size), aside), means[name], runs[name], view.looks[name])
        told.append(f"{view.named(name)} {accuracy(means[name])}")
    places.set_on(canvas.axes)
    return canvas.finish("side of a patch in the test (pixels)", "test accuracy (%)", told)

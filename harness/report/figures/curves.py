"""Validation accuracy over the course of training and by tuning budget."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from harness.analysis.learning import mean_curve
from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.marks_on_axes import PART, fix_ticks
from harness.report.style import PALE
from harness.report.view import MOST_COLOURED, View, at_size, rows_of
from harness.spec.formats import count, percent

_MOST_COURSES = 12  # arms whose courses stand in panels of their own: the most accurate at the end


def learning_curves(view: View) -> Drawing | None:
    """Validation accuracy by update at the largest training size: for each arm its course, and its last third enlarged.

    Every seed and their mean, at every evaluation, before the means of the other arms in grey.
    """
    curves = at_size(view.records.curves, view.largest).dropna(subset=["update", "validation_accuracy"])
    if curves.empty:
        return None
    of_arms = {
        name: pd.DataFrame(rows).assign(percent=lambda rows: 100 * rows["validation_accuracy"])
        for name, rows in view.by_arm(rows_of(curves.sort_values(["seed", "update"], kind="stable"))).items()
    }
    means = {name: mean_curve(of_arm, "percent") for name, of_arm in of_arms.items()}
    best = sorted(means, key=lambda name: (name != view.highlighted, -float(means[name].iloc[-1])))
    shown = {name: of_arm for name, of_arm in of_arms.items() if name in best[:_MOST_COURSES]}
    canvas = Canvas(
        f"Learning curves{view.at_largest}",
        "Of each arm the whole course, and the last third enlarged. Thin lines: seeds. Thick line: their mean. Grey: "
        "the means of the other arms."
        + f" Shown are {len(shown)} of {len(of_arms)} arms."
        * (len(shown) < len(of_arms)),
        height=1.35 if len(shown) > 1 else 2.4,
        panels=[text for name in shown for text in (view.named(name), "")],
        columns=2 if len(shown) <= MOST_COLOURED else 4,
        share="col",
    )
    last = max(float(mean.index[-1]) for mean in means.values())
    ends = [mean[mean.index >= last * 2 / 3] for mean in means.values()]
    for place, (name, of_arm) in enumerate(shown.items()):
        for axes in canvas.panels[2 * place : 2 * place + 2]:
            _draw_courses(axes, name, of_arm, means, view.looks[name].colour, label=axes is canvas.panels[2 * place])
        _enlarge(canvas.panels[2 * place + 1], last, [end for end in ends if len(end)])
        canvas.panels[2 * place].set_xlim(0, 1.03 * last)
        canvas.panels[2 * place].yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        canvas.panels[2 * place].xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    for axes in canvas.panels:
        axes.xaxis.set_major_formatter(lambda update, _: count(update))
    told = [f"{name} ends at {percent(mean.iloc[-1] / 100)}" for name, mean in means.items()]
    return canvas.finish("updates", "validation accuracy (%)", told)


def _draw_courses(
    axes: Axes, name: str, of_arm: pd.DataFrame, means: Mapping[str, pd.Series], colour: str, *, label: bool
) -> None:
    """An arm's seeds and mean before the other arms' means; with labels, which its data are read from, if so."""
    for other, mean in means.items():
        if other != name:
            axes.plot(mean.index, mean, color=PALE, alpha=0.4, linewidth=0.7, zorder=1)
    for _, seed in of_arm.groupby("seed"):
        told = PART.format("seed", name) if label else None
        axes.plot(seed["update"], seed["percent"], color=colour, alpha=0.4, linewidth=0.6, zorder=2, label=told)
    mean, told = means[name], PART.format("mean", name) if label else None
    axes.plot(mean.index, mean, color=colour, linewidth=1.6, marker=".", markersize=3, zorder=3, label=told)


def _enlarge(axes: Axes, last: float, ends: Sequence[pd.Series]) -> None:
    """Show the last third of all courses, as high as the means of all arms need."""
    axes.set_xlim(last * 2 / 3 * 0.99, 1.02 * last)
    low, high = (find(float(find(end)) for end in ends) for find in (min, max))
    margin = 0.1 * ((high - low) or 1.0)
    axes.set_ylim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 4, 5, 10]))
    low, high = axes.get_ylim()
    ticks = MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(low, high)
    # None at the upper end, where the name of the panel beside this one may stand.
    axes.set_yticks([tick for tick in ticks if low <= tick <= high - 0.15 * (high - low)])


def tuning_budget(view: View) -> Drawing | None:
    """Expected validation accuracy of the best of k trials at the largest training size."""
    budget = at_size(view.findings.budget, view.largest)
    if budget.empty or (budget := budget.dropna(subset=["trials", "expected_best"])).empty:
        return None
    note = "Expected validation accuracy of the best of k trials. Curves still rising call for more trials."
    canvas, told = Canvas(f"Accuracy by tuning budget{view.at_largest}", note), []
    found = view.by_arm(rows_of(budget.sort_values("trials", kind="stable")))
    looks, most = view.looks_among(found), max(float(row["trials"]) for rows in found.values() for row in rows)
    for name, rows in found.items():
        look, ks = looks[name], [row["trials"] for row in rows]
        ys, label = [100 * row["expected_best"] for row in rows], PART.format("expected_best", name)
        every = max(1, len(rows) // 8)
        canvas.axes.plot(ks, ys, marker=look.marker, markersize=4, markevery=every, label=label, **look.line)
        canvas.tell(view, name, looks, (ks[-1], ys[-1]))
        told.append(from_to(name, [f"{percent(row['expected_best'])} of {count(row['trials'])}" for row in rows]))
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], integer=True).tick_values(1, most)
    fix_ticks(canvas.axes, [tick for tick in ticks if 1 <= tick <= most], count)
    return canvas.finish("trials (k)", "validation accuracy (%)", told)

"""How stably arms trained, in studies whose arms differ in what that hangs on: norms, warm-up, learning rate, ..."""

import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from harness.analysis.learning import mean_curve
from harness.report.figures.canvas import Canvas, Drawing
from harness.report.figures.marks_on_axes import PART
from harness.report.view import View, at_size, rows_of
from harness.spec import ResolvedStudy
from harness.spec.formats import count, plain

_HANGS_ON = {
    *("norm", "norm_type", "qk_norm", "residual", "layer_scale"),
    *("optimizer", "learning_rate", "schedule", "warmup", "clip_norm", "sam_radius"),
}
_PANELS = {
    "largest_gradient_norm": "Largest gradient norm",
    "update_norm": "Last update's norm, by the weights'",
    "attention_entropy": "Entropy of the sharpest attention",
}


def stability(view: View) -> Drawing | None:
    """Sizes of gradients and updates, and entropy of attention, by update at the largest training size."""
    curves = at_size(view.records.curves, view.largest).dropna(subset=["update", "largest_gradient_norm"])
    if curves.empty or not _concerns(view.study):
        return None
    names = [name for name in _PANELS if curves[name].notna().any()]
    canvas = Canvas(
        f"Stability{view.at_largest}",
        "Means over seeds; the largest norm since the evaluation before; entropy 1 where attention is even. A cross: "
        "losses jumped before this evaluation, by more than five standard deviations.",
        height=1.7,
        panels=[_PANELS[name] for name in names],
        columns=1,
        share="x",
    )
    found, told = view.by_arm(rows_of(curves.sort_values(["seed", "update"], kind="stable"))), []
    looks = view.looks_among(found)
    for name, rows in found.items():
        of_arm = pd.DataFrame(rows)
        jumps = of_arm.groupby("update")["loss_spikes"].sum()
        for axes, column in zip(canvas.panels, names, strict=True):
            mean = mean_curve(of_arm.dropna(subset=[column]), column)
            if mean.empty:  # a ResNet has no attention
                continue
            if column == "update_norm" and len(mean) > 2:  # with the rate, it ends at next to nothing
                mean = mean.iloc[:-1]
            axes.plot(mean.index, mean, label=PART.format(column, name), **looks[name].line)
            at = mean[[update for update in mean.index if jumps.get(update, 0) > 0]]
            label = PART.format("loss_spikes", name)
            axes.plot(at.index, at, "x", color=looks[name].colour, markersize=5, label=label)
        ends = mean_curve(of_arm, names[0])
        canvas.tell(view, name, looks, (float(ends.index[-1]), float(ends.iloc[-1])))
        worst = plain(of_arm["largest_gradient_norm"].max(), 2)
        told.append(f"{name}: gradients of norm {worst} at most, {count(jumps.sum())} jumps of the loss in all runs")
    for axes, column in zip(canvas.panels, names, strict=True):
        if column != "attention_entropy":
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            steps = (1, 2, 3, 5) if high < 10 * low else (1, 2, 5) if high < 100 * low else (1,)
            axes.yaxis.set_major_locator(LogLocator(subs=steps))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(lambda value, _: plain(value))
    return canvas.finish("updates", "", told)


def _concerns(study: ResolvedStudy) -> bool:
    """Whether the arms differ in what stability hangs on."""
    changed = {key.rpartition(".")[2] for arm in study.all_arms for key in arm.changes}
    models = [vars(arm.model) for arm in study.arms if arm.model.kind == "vit"]
    differ = {name for name in _HANGS_ON if len({repr(model.get(name)) for model in models}) > 1}
    return bool(_HANGS_ON & changed or differ)

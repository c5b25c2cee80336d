"""Arms that did not learn, or had not finished: said beside every number of theirs, not only in the curves.

Training accuracy is not recorded (mixed labels have none), so how well an arm fits its own training images is told by
its training loss: exp(-loss) is the geometric mean of the probability given to the right class.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from harness.analysis.evidence import Evidence
from harness.analysis.wording import Cell, listed
from harness.spec import IMAGENET, NAMED_SOURCES
from harness.spec.formats import percent

LAST_SHARE = 0.2
"""The end of a training that is looked at: its last fifth."""

STEEP_FALL = 0.15
"""A training loss that in the last fifth still falls by this share of the way from chance to where it ends was cut off.

A straight line from chance to the end falls by .2; of the 148 arms of the shipped results none falls by more than .134.
"""

MUCH_LESS = 0.6
"""An arm with less than this share of what the best arm has learned something else than the task, or nothing."""

_MOST_NAMED = 4
"""Arms that the answer names."""

Cautions = Mapping[Cell, tuple[str, ...]]


def learning_cautions(evidence: Evidence) -> Cautions:
    """For each cell that seems not to have learned: why, a clause each."""
    curves, found = evidence.records.curves.dropna(subset=["update", "train_loss"]), {}
    of_cells = {cell: curves[curves["digest"].isin(evidence.digests(cell))] for cell in evidence.rows}
    losses = {cell: mean_curve(of_cell, "train_loss") for cell, of_cell in of_cells.items()}
    for cell in evidence.rows:
        classes, chance = _classes(evidence, cell)
        told = (
            _at_chance(evidence, cell, chance),
            _cut_off(losses[cell], classes),
            _far_behind(evidence, cell, losses),
        )
        if any(told):
            found[cell] = tuple(filter(None, told))
    return found


def doubtful(cautions: Cautions) -> str:
    """Which arms seem not to have learned, as a sentence at the end of the answer; empty where there are none."""
    if not cautions:
        return ""
    arms = list(dict.fromkeys(arm for arm, _ in cautions))
    told = listed(arms) if len(arms) <= _MOST_NAMED else f"{len(arms)} arms"
    return f" Caveat: {told} apparently did not learn, or did not finish learning."


def mean_curve(evaluations: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Mean of a column by update, from the evaluations of one arm at one training size.

    Only where every seed was evaluated: elsewhere the mean would jump as seeds drop out.
    """
    by_update = evaluations.groupby("update")[column].agg(["mean", "count"])
    means: pd.Series[float] = by_update.loc[by_update["count"] == by_update["count"].max(), "mean"]
    return means


def _at_chance(evidence: Evidence, cell: Cell, chance: float) -> str:
    """Whether the interval of the mean test accuracy reaches chance; below three seeds one over images alone."""
    mean = evidence.contrast({cell: 1.0})
    low = mean.ci_low
    if not mean.judgeable:
        images = [len(row) for row in evidence.predictions(cell, mean.seeds) if row is not None]
        low = mean.value - 1.96 * (math.sqrt(chance * (1 - chance) / min(images)) if images else 0.0)
    if not low <= chance:
        return ""
    return (
        f"its test accuracy of {percent(mean.value, 1)} is not significantly above chance ({percent(chance, 1)}), "
        "so it has not been shown to have learned anything"
    )


def _cut_off(losses: "pd.Series[float]", classes: float) -> str:
    """Whether the training loss still falls steeply at the end. `losses`: by update, from three evaluations on."""
    if len(losses) < 3:
        return ""
    updates = losses.index.to_numpy(dtype=np.float64)
    end = losses.iloc[-1]
    before = float(np.interp((1 - LAST_SHARE) * updates[-1], updates, losses))
    if not before - end >= STEEP_FALL * (math.log(classes) - end) > 0:
        return ""
    return (
        f"its training loss still fell from {before:.2f} to {end:.2f} in the last fifth of its updates: "
        "it was stopped before it had learned what it could"
    )


def _far_behind(evidence: Evidence, cell: Cell, losses: Mapping[Cell, "pd.Series[float]"]) -> str:
    """Whether an arm is far behind the best one of its training size, on its own training images too.

    Far behind in validation alone is no sign: an arm that knows its training images by heart has learned.
    """
    scores = {other: evidence.mean(other, "validation_accuracy") for other in evidence.rows if other[1] == cell[1]}
    best = max(scores, key=lambda other: (-math.inf if math.isnan(scores[other]) else scores[other], other[0]))
    if losses[cell].empty or losses[best].empty or not scores[cell] < MUCH_LESS * scores[best]:
        return ""
    loss, least = losses[cell].iloc[-1], losses[best].iloc[-1]
    if math.exp(-loss) >= MUCH_LESS * math.exp(-least):
        return ""
    return (
        f"it fits neither its training images (loss {loss:.2f}, {best[0]} {least:.2f}) "
        f"nor the validation images ({percent(scores[cell], 1)}, {best[0]} {percent(scores[best], 1)})"
    )


def _classes(evidence: Evidence, cell: Cell) -> tuple[float, float]:
    """Number of classes, and the share of the test part's commonest one (1 / classes where not known).

    NaN where neither the results nor the source's name tell.
    """
    kind = evidence.study.data_of(evidence.study.arm(cell[0])).kind
    facts = IMAGENET if kind == "imagenet" else NAMED_SOURCES.get(kind)
    told = (evidence.records.provenance.get(key) for key in ("classes", "largest_class_share"))
    classes, share = (float(value) if isinstance(value, int | float) else math.nan for value in told)
    classes = facts.classes if facts else classes if classes > 1 else math.nan
    return classes, share if 0 < share <= 1 else 1 / classes

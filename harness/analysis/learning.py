"""Arms that did not learn, or had not finished: said beside every number of theirs, not only in the curves.

Training accuracy is not recorded (mixed labels have none), so how well an arm fits its own training images is told by
its training loss: exp(-loss) is the geometric mean of the probability given to the right class.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import Cell, Cells, Floats
from harness.analysis.evidence import Evidence
from harness.analysis.wording import listed, place
from harness.spec import NAMED_SOURCES
from harness.spec.data import IMAGENET
from harness.spec.formats import percent

LAST_SHARE = 0.2
"""The end of a training that is looked at: its last fifth."""

STEEP_FALL = 0.15
"""A training loss that in the last fifth still falls by this share of the way from chance to where it ends was cut off.

A straight line from chance to the end falls by .2; of the 148 arms of the shipped results none falls by more than .134.
"""

MUCH_LESS = 0.6
"""An arm with less than this share of what the best arm has learned something else than the task, or nothing."""

_TWO_SIDED = 1.96
"""Standard errors of a 95% interval."""

_MOST_NAMED = 4
"""Arms that the answer names."""

Cautions = Mapping[Cell, tuple[str, ...]]


def learning_cautions(evidence: Evidence, curves: pd.DataFrame, provenance: Mapping[str, Any]) -> Cautions:
    """For each cell that seems not to have learned: why, a clause each. `curves` has CURVE_COLUMNS."""
    cells = evidence.cells
    ends = {cell: _mean_losses(cells, cell, curves) for cell in cells.rows}
    found: dict[Cell, tuple[str, ...]] = {}
    for cell in cells.rows:
        told = (
            _at_chance(evidence, cell, _chance(cells, cell, provenance)),
            _cut_off(ends[cell], _classes(cells, cell, provenance)),
            _far_behind(cells, cell, ends),
        )
        clauses = tuple(clause for clause in told if clause)
        if clauses:
            found[cell] = clauses
    return found


def learning_warnings(cautions: Cautions) -> tuple[str, ...]:
    """A sentence per cell."""
    return tuple(f"{place(cell)}: {'; '.join(clauses)}." for cell, clauses in cautions.items())


def doubtful(cautions: Cautions) -> str:
    """Which arms seem not to have learned, as a sentence at the end of the answer; empty where there are none."""
    if not cautions:
        return ""
    arms = list(dict.fromkeys(arm for arm, _ in cautions))
    named = listed(arms) if len(arms) <= _MOST_NAMED else f"{len(arms)} arms"
    return f" Caveat: {named} apparently did not learn, or did not finish learning."


def _at_chance(evidence: Evidence, cell: Cell, chance: float) -> str:
    """Whether the interval of the mean test accuracy, over seeds and test images, reaches down to chance.

    Below three seeds an interval over test images alone.
    """
    mean = evidence.contrast({cell: 1.0})
    if not mean.n or math.isnan(chance):
        return ""
    images = [len(row) for row in evidence.cells.predictions(cell, mean.seeds) if row is not None]
    by_guessing = math.sqrt(chance * (1 - chance) / min(images)) if images else 0.0
    low = mean.ci_low if mean.judgeable else mean.value - _TWO_SIDED * by_guessing
    if low > chance:
        return ""
    return (
        f"its test accuracy of {percent(mean.value, 1)} is not significantly above chance ({percent(chance, 1)}), "
        "so it has not been shown to have learned anything"
    )


def _cut_off(losses: "pd.Series[float]", classes: float) -> str:
    """Whether the training loss still falls steeply at the end. `losses`: by update, from three evaluations on."""
    if len(losses) < 3 or math.isnan(classes):
        return ""
    updates: Floats = losses.index.to_numpy(dtype=np.float64)
    begin, end = (1 - LAST_SHARE) * updates[-1], losses.iloc[-1]
    whole = math.log(classes) - end
    fall = float(np.interp(begin, updates, losses)) - end
    if whole <= 0 or fall < STEEP_FALL * whole:
        return ""
    return (
        f"its training loss still fell from {fall + end:.2f} to {end:.2f} in the last fifth of its updates: "
        "it was stopped before it had learned what it could"
    )


def _far_behind(cells: Cells, cell: Cell, ends: Mapping[Cell, "pd.Series[float]"]) -> str:
    """Whether an arm is far behind the best one of its training size, on its own training images too.

    Far behind in validation alone is no sign: an arm that knows its training images by heart has learned.
    """
    scores = {other: cells.mean(other, "validation_accuracy") for other in cells.rows if other[1] == cell[1]}
    best = max(scores, key=lambda other: (-math.inf if math.isnan(scores[other]) else scores[other], other[0]))
    if cell == best or not scores[cell] < MUCH_LESS * scores[best] or ends[cell].empty or ends[best].empty:
        return ""
    if math.exp(-ends[cell].iloc[-1]) >= MUCH_LESS * math.exp(-ends[best].iloc[-1]):
        return ""
    return (
        f"it fits neither its training images (loss {ends[cell].iloc[-1]:.2f}, {best[0]} {ends[best].iloc[-1]:.2f}) "
        f"nor the validation images ({percent(scores[cell], 1)}, {best[0]} {percent(scores[best], 1)})"
    )


def _mean_losses(cells: Cells, cell: Cell, curves: pd.DataFrame) -> "pd.Series[float]":
    """Mean training loss of the completed runs by update."""
    of_cell = curves[curves["digest"].isin(cells.digests(cell))].dropna(subset=["update", "train_loss"])
    return mean_curve(of_cell, "train_loss")


def mean_curve(evaluations: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Mean of a column by update, from the evaluations of one arm at one training size.

    Only where every seed was evaluated: elsewhere the mean would jump as seeds drop out.
    """
    by_update = evaluations.groupby("update")[column].agg(["mean", "count"])
    means: pd.Series[float] = by_update.loc[by_update["count"] == by_update["count"].max(), "mean"]
    return means


def _chance(cells: Cells, cell: Cell, provenance: Mapping[str, Any]) -> float:
    """Accuracy of always naming the test part's commonest class; 1 / classes where only these are known, or NaN."""
    known, classes = _told(provenance, "largest_class_share"), _classes(cells, cell, provenance)
    if 0 < known <= 1:
        return known
    return 1 / classes


def _classes(cells: Cells, cell: Cell, provenance: Mapping[str, Any]) -> float:
    """Number of classes; NaN where neither the results nor the source's name tell."""
    name = cells.study.data_of(cells.study.arm(cell[0])).kind
    facts = IMAGENET if name == "imagenet" else NAMED_SOURCES.get(name)
    told = _told(provenance, "classes") if facts is None else facts.classes
    return told if told > 1 else math.nan


def _told(provenance: Mapping[str, Any], key: str) -> float:
    value = provenance.get(key)
    return float(value) if isinstance(value, int | float) else math.nan

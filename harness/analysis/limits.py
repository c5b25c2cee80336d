"""What limits a cell, an arm at a training size: the number of its updates, or something else, as its data.

With endless data and as many updates, each image would be seen once, and what a training does on training images it
would do on any: its validation loss would be about its training loss. So more images can take away about the gap
between the two, and nothing where no image was seen twice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.estimate import Floats
from harness.spec import Recipe
from harness.spec.formats import number, plain

CLEAR_GAP = 0.2
"""Share of the validation loss by which the training loss is clearly below it.

The cells of the shipped results are sorted alike by any share from .18 to .28.
"""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How often a cell saw its images, and the losses that it ended with: means over completed runs, NaN if unknown."""

    passes: float  # images seen / training images
    train_loss: float  # over the last interval between evaluations
    validation_loss: float  # after the last update
    limited_by_updates: bool | None  # more updates would serve it, more images would not; None where not known

    def __str__(self) -> str:
        """`4.2 passes over the images, training loss 0.18, validation loss 0.19`."""
        told = f"{plain(self.passes)} {'pass' if f'{self.passes:.3g}' == '1' else 'passes'} over the images"
        if math.isfinite(self.train_loss) and math.isfinite(self.validation_loss):
            told += f", training loss {self.train_loss:.2f}, validation loss {self.validation_loss:.2f}"
        return told


def limit_of(recipe: Recipe, runs: Sequence[Mapping[str, Any]], curves: Sequence[pd.DataFrame | None]) -> Limit:
    """The limit of a cell from its completed runs and the evaluations of each, None where they were not kept.

    A cell is limited by its updates where neither loss had ceased to fall at the last evaluation, and either no image
    was seen twice or the training loss is not clearly below the validation loss (CLEAR_GAP). Where targets are
    smoothed, mixed or a teacher's, the training loss is of another kind, and only the first tells. Random shifts,
    erasing and the like make training images harder: they count as the further data that they stand for.
    """
    images, sizes = (
        np.array([number(run.get(name)) for run in runs], dtype=np.float64) for name in ("images_seen", "train_size")
    )
    ends = np.array([_ends(curve) for curve in curves], dtype=np.float64).reshape(-1, 2, 2)
    before, last = ends.mean(0) if len(ends) else np.full((2, 2), np.nan)
    told: bool | None = None
    if runs and np.isfinite(images / sizes).all():
        once = bool((images - sizes < recipe.batch_size).all())  # the last batch may reach into a second pass
        has_gap = bool(last[0] <= (1 - CLEAR_GAP) * last[1])
        compares = bool(np.isfinite([before, last]).all()) and not _has_other_targets(recipe)
        told = not (last >= before).any() and (once or (compares and not has_gap))
    return Limit(
        passes=float((images / sizes).mean()) if runs else math.nan,
        train_loss=float(last[0]),
        validation_loss=float(last[1]),
        limited_by_updates=told,
    )


def _has_other_targets(recipe: Recipe) -> bool:
    """Whether the training loss has other targets than the labels, which are those of the validation loss."""
    mixing = recipe.augmentation
    return bool(recipe.label_smoothing or mixing.mixup or mixing.cutmix or recipe.distillation)


def _ends(curve: pd.DataFrame | None) -> Floats:
    """(2, 2) training and validation loss at the last two evaluations of a run; NaN where there were fewer."""
    found = np.full((2, 2), np.nan)
    if curve is not None:
        last = curve[["train_loss", "validation_loss"]].tail(2).to_numpy(dtype=np.float64)
        found[2 - len(last) :] = last
    return found

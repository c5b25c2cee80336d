"""What the searches spent and found: budget curves, the audit of fairness, and values on the edge of their range."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from harness.analysis.cells import Cell, Cells, Floats, frame, number
from harness.analysis.conditions import unequal_images
from harness.analysis.wording import listed, place
from harness.records.run_table import StudyRecords
from harness.spec import Choice, InvalidInput, LogUniform, Uniform
from harness.spec.formats import plain
from harness.spec.plural import counted
from harness.spec.search import Distribution, Setting, Space

EDGE = 0.05
"""A chosen value within this share of its range from an edge asks for a wider range."""

FAILED_SCORE = 0.0
"""What a trial without a score (diverged, failed) counts with beside others that have one."""

Trials = dict[Cell, list[Mapping[str, Any]]]


def edge_distance(distribution: Distribution, value: float | str | bool) -> float:
    """Distance of a value to the nearer edge of its range, as a share of the range's width on its own scale, 0 to .5.

    Logarithmic for LogUniform; NaN for a Choice, which has no edges. Below 0 for a value outside the range.
    """
    match distribution:
        case Choice():
            return math.nan
        case LogUniform(low=low, high=high):
            if float(value) <= 0:
                return -math.inf
            position = (math.log(float(value)) - math.log(low)) / (math.log(high) - math.log(low))
        case Uniform(low=low, high=high):
            position = (float(value) - low) / (high - low)
    return min(position, 1 - position)


def at_edge(space: Mapping[str, Distribution], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the parameters whose value lies within EDGE of an edge of its range, sorted."""
    return tuple(name for name in sorted(space) if name in values and edge_distance(space[name], values[name]) <= EDGE)


def trials_of(records: StudyRecords) -> Trials:
    """The trials of each cell of the study, by number."""
    two_factor = bool(records.study.train_sizes)
    trials: Trials = {(arm.name, size): [] for arm, size in records.study.cells}
    rows = records.trials.to_dict("records")
    for row in sorted(rows, key=lambda row: (number(row["trial"]), str(row["digest"]))):
        size = number(row["train_size"])
        if two_factor and math.isnan(size):
            continue
        cell = (str(row["arm"]), int(size) if two_factor else None)
        if cell in trials:
            trials[cell].append({str(name): value for name, value in row.items()})
    return trials


def expected_best(scores: Iterable[float]) -> Floats:
    """(n,) expected maximum of k scores drawn without replacement from these n, for k = 1..n; exact.

    The maximum of k is the j-th smallest score in C(j - 1, k - 1) of C(n, k) subsets (order statistics; as in Dodge et
    al., arXiv 1909.03004, who draw with replacement).
    """
    ordered = np.sort(np.array(list(scores), dtype=np.float64))
    n = len(ordered)
    k = np.arange(1, n + 1)[:, None]
    j = np.arange(1, n + 1)[None, :]
    weights = special.comb(j - 1, k - 1) / special.comb(n, k)
    return np.asarray(weights @ ordered, dtype=np.float64)


def budget_table(cells: Cells, trials: Trials) -> pd.DataFrame:
    """Validation accuracy expected of the best of k trials: arm, train_size, trials (k), expected_best.

    No rows for a cell none of whose trials has a score.
    """
    rows = [
        (cell[0], cells.train_size(cell), k, float(score))
        for cell, of_cell in trials.items()
        if any(map(_has_score, of_cell))
        for k, score in enumerate(expected_best(_score(trial) for trial in of_cell), start=1)
    ]
    types = {"arm": "str", "train_size": "Int64", "trials": "Int64", "expected_best": "float64"}
    return frame(rows, types)


def audit_table(cells: Cells, trials: Trials) -> pd.DataFrame:
    """What each search spent and chose; see `Findings.audit`. Cells without trials have no row."""
    types = {
        "arm": "str",
        "train_size": "Int64",
        "trials": "Int64",
        "completed": "Int64",
        "images": "Int64",
        "best_validation_accuracy": "float64",
        "at_edge": "str",
    }
    rows = [_audit_row(cells, cell, of_cell) for cell, of_cell in trials.items() if of_cell]
    parameters = sorted({name for row in rows for name in row if name not in types})
    return pd.DataFrame(rows, columns=[*types, *parameters]).astype(types)


def tuning_warnings(cells: Cells, trials: Trials) -> tuple[str, ...]:
    """What the searches leave unfair or unsure, a sentence each."""
    if cells.study.search.trials == 0:
        return ("No search: every arm ran with the recipe's own settings, which may suit one arm better than another.",)
    return (*cells.study.used_up, *_unequal(cells, trials), *_fruitless(trials), *_edges(cells, trials))


def _score(trial: Mapping[str, Any]) -> float:
    return number(trial["validation_accuracy"]) if _has_score(trial) else FAILED_SCORE


def _has_score(trial: Mapping[str, Any]) -> bool:
    return trial["status"] == "completed" and not math.isnan(number(trial["validation_accuracy"]))


def _chosen(of_cell: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The trial whose settings were confirmed; while the search goes on, the best so far. None without any score."""
    for trial in of_cell:
        if trial["chosen"]:
            return trial
    return max(filter(_has_score, of_cell), key=_score, default=None)


def _chosen_values(cells: Cells, cell: Cell, of_cell: list[Mapping[str, Any]]) -> tuple[Space, dict[str, Any]]:
    """What is searched for a cell's arm, and the values that were chosen; none without a chosen trial."""
    space, trial = cells.study.search.space_of(cells.study.arm(cell[0])), _chosen(of_cell) or {}
    found = {name: trial.get(f"p.{name}") for name in sorted(space)}
    return space, {name: value for name, value in found.items() if value is not None and not pd.isna(value)}


def _audit_row(cells: Cells, cell: Cell, of_cell: list[Mapping[str, Any]]) -> dict[str, Any]:
    space, values = _chosen_values(cells, cell, of_cell)
    images: npt.NDArray[np.float64] = np.array([number(trial["images_seen"]) for trial in of_cell])
    return {
        "arm": cell[0],
        "train_size": cells.train_size(cell),
        "trials": len(of_cell),
        "completed": sum(trial["status"] == "completed" for trial in of_cell),
        "images": int(np.nansum(images)),
        "best_validation_accuracy": max(map(_score, filter(_has_score, of_cell)), default=math.nan),
        "at_edge": ", ".join(at_edge(space, values)),
        **{f"p.{name}": value for name, value in values.items()},
        **{f"edge.{name}": edge_distance(space[name], value) for name, value in values.items()},
    }


def _unequal(cells: Cells, trials: Trials) -> list[str]:
    """Arms of one training size with other numbers of trials, or trials that were planned with other lengths."""
    sentences = []
    for size in cells.sizes:
        where = "The" if size is None else f"At {counted(size, 'training image')} the"
        of_size = {cell: of_cell for cell, of_cell in trials.items() if cell[1] == size}
        numbers = {cell[0]: len(of_cell) for cell, of_cell in of_size.items()}
        if len(set(numbers.values())) > 1:
            told = listed(f"{arm} {counted(number, 'trial')}" for arm, number in numbers.items())
            sentences.append(f"{where} arms were not tuned equally: {told}.")
    planned = {cell: _images_planned(cells, cell, of_cell) for cell, of_cell in trials.items() if of_cell}
    lengths = {cell: [images] for cell, images in planned.items() if images is not None}
    return [*sentences, *unequal_images(cells, lengths, "arms' trials differ in length")]


def _fruitless(trials: Trials) -> list[str]:
    """Cells none of whose trials has a score."""
    return [
        f"{place(cell)}: none of its {counted(len(of_cell), 'trial')} has a score, so the search chose no setting."
        for cell, of_cell in trials.items()
        if of_cell and not any(map(_has_score, of_cell))
    ]


def _images_planned(cells: Cells, cell: Cell, of_cell: list[Mapping[str, Any]]) -> int | None:
    """Training images of one trial that runs to its end: of the longest completed one, else as the study plans it."""
    seen = [number(trial["images_seen"]) for trial in of_cell if trial["status"] == "completed"]
    known = [images for images in seen if not math.isnan(images)]
    if known:
        return int(max(known))
    study, size = cells.study, cells.train_size(cell)
    recipe = study.recipe_of(study.arm(cell[0]))
    if recipe.epochs is not None and size is None:
        return None
    return study.trial_updates(recipe.resolved(size or 0)) * recipe.batch_size


def _edges(cells: Cells, trials: Trials) -> list[str]:
    """Values on an edge of their range, where the recipe or model takes values beyond it."""
    sentences = []
    for cell, of_cell in trials.items():
        arm = cells.study.arm(cell[0])
        own = Setting(arm.model, cells.study.recipe_of(arm))
        space, values = _chosen_values(cells, cell, of_cell)
        for name in at_edge(space, values):
            found = space[name]
            assert isinstance(found, LogUniform | Uniform)
            if _can_be_wider(own, name, found, float(values[name])):
                sentences.append(
                    f"{place(cell)}: the chosen {name} {plain(values[name])} lies on the edge of its range "
                    f"[{plain(found.low, 6)}, {plain(found.high, 6)}]; widen the range and search again."
                )
    return sentences


def _can_be_wider(own: Setting, name: str, found: LogUniform | Uniform, value: float) -> bool:
    """Whether the field takes a value beyond the edge of the range that a value lies on."""
    is_low, step = value - found.low < found.high - value, EDGE * (found.high - found.low)
    if isinstance(found, LogUniform):
        beyond = found.low / 2 if is_low else found.high * 2
    else:
        beyond = found.low - step if is_low else found.high + step
    try:
        own.with_value(name, beyond)
    except InvalidInput:
        return False
    return True

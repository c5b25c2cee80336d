"""What the searches spent and found: budget curves, the audit of fairness, and values on the edge of their range."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from harness.analysis.estimate import Floats
from harness.analysis.evidence import Evidence, Row, number
from harness.analysis.findings import AUDIT_COLUMNS, BUDGET_COLUMNS, frame
from harness.analysis.wording import Cell, listed, place
from harness.spec import Choice, InvalidInput, LogUniform, Space, Uniform
from harness.spec.formats import plain
from harness.spec.plural import counted
from harness.spec.search import Distribution, Setting

EDGE = 0.05
"""A chosen value within this share of its range from an edge asks for a wider range."""

FAILED_SCORE = 0.0
"""What a trial without a score (diverged, failed) counts with beside others that have one."""


def edge_distance(distribution: Distribution, value: float | str | bool) -> float:
    """Distance of a value to the nearer edge of its range, as a share of the range's width on its own scale, 0 to .5.

    Logarithmic for LogUniform; NaN for a Choice, which has no edges. Below 0 for a value outside the range.
    """
    if isinstance(distribution, Choice):
        return math.nan
    ends = (distribution.low, float(value), distribution.high)
    if isinstance(distribution, LogUniform):
        ends = tuple(math.log(end) if end > 0 else -math.inf for end in ends)
    low, at, high = ends
    position = (at - low) / (high - low)
    return min(position, 1 - position)


def at_edge(space: Mapping[str, Distribution], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the parameters whose value lies within EDGE of an edge of its range, sorted."""
    return tuple(name for name in sorted(space) if name in values and edge_distance(space[name], values[name]) <= EDGE)


def expected_best(scores: Iterable[float]) -> Floats:
    """(n,) expected maximum of k scores drawn without replacement from these n, for k = 1..n; exact.

    The maximum of k is the j-th smallest score in C(j - 1, k - 1) of C(n, k) subsets (order statistics; as in Dodge et
    al., arXiv 1909.03004, who draw with replacement).
    """
    ordered = np.sort(np.array(list(scores), dtype=np.float64))
    n = len(ordered)
    k, j = np.arange(1, n + 1)[:, None], np.arange(1, n + 1)[None, :]
    return np.asarray(special.comb(j - 1, k - 1) / special.comb(n, k) @ ordered, dtype=np.float64)


def budget_table(evidence: Evidence) -> pd.DataFrame:
    """BUDGET_COLUMNS; no rows for a cell none of whose trials has a score."""
    rows = []
    for cell, trials in evidence.searches.items():
        scores = [_score(trial) for trial in trials]
        if not all(map(math.isnan, scores)):
            best = enumerate(expected_best(np.nan_to_num(scores, nan=FAILED_SCORE)), start=1)
            rows += [(cell[0], evidence.train_size(cell), k, score) for k, score in best]
    return frame(rows, BUDGET_COLUMNS)


def audit_table(evidence: Evidence) -> pd.DataFrame:
    """AUDIT_COLUMNS and those of the nuisance parameters; cells without trials have no row."""
    rows = []
    for cell, trials in evidence.searches.items():
        space, values = _chosen(evidence, cell, trials)
        best = max((_score(trial) for trial in trials if not math.isnan(_score(trial))), default=math.nan)
        completed = sum(trial["status"] == "completed" for trial in trials)
        images = int(np.nansum([number(trial["images_seen"]) for trial in trials]))
        spent = (
            cell[0],
            evidence.train_size(cell),
            len(trials),
            completed,
            images,
            best,
            ", ".join(at_edge(space, values)),
        )
        own = {f"p.{name}": value for name, value in values.items()}
        own |= {f"edge.{name}": edge_distance(space[name], value) for name, value in values.items()}
        rows += [dict(zip(AUDIT_COLUMNS, spent, strict=True)) | own] if trials else []
    parameters = sorted({name for row in rows for name in row} - set(AUDIT_COLUMNS))
    return pd.DataFrame(rows, columns=[*AUDIT_COLUMNS, *parameters]).astype(AUDIT_COLUMNS)


def tuning_warnings(evidence: Evidence) -> Iterator[str]:
    """What the searches leave unfair or unsure, a sentence each."""
    if evidence.study.search.trials == 0:
        yield "No search: every arm ran with the recipe's own settings, which may suit one arm better than another."
        return
    yield from evidence.study.used_up
    for size in evidence.sizes:
        numbers = {arm: len(trials) for (arm, of), trials in evidence.searches.items() if of == size}
        if len(set(numbers.values())) > 1:
            where = "The" if size is None else f"At {counted(size, 'training image')} the"
            told = listed(f"{arm} {counted(trials, 'trial')}" for arm, trials in numbers.items())
            yield f"{where} arms were not tuned equally: {told}."
    lengths = {
        cell: [int(trial["images_seen"]) for trial in trials if trial["status"] == "completed"]
        for cell, trials in evidence.searches.items()
    }
    longest = {cell: [max(images)] for cell, images in lengths.items() if images}
    yield from unequal_images(evidence, longest, "arms' trials differ in length")
    for cell, trials in evidence.searches.items():
        if trials and all(math.isnan(_score(trial)) for trial in trials):
            told = f"none of its {counted(len(trials), 'trial')} has a score"
            yield f"{place(cell)}: {told}, so the search chose no setting."
        yield from _edges(evidence, cell, trials)


def unequal_images(evidence: Evidence, seen: Mapping[Cell, Sequence[int]], told: str) -> Iterator[str]:
    """A sentence that opens with `told` for each training size at which the numbers of images seen differ by arm.

    Each arm is compared with those that ask for as many training images. So where arms change `data.train_size`
    themselves, a budget in epochs, which grows with the data, is not taken for unfair: the data is the question there.
    """
    study = evidence.study
    groups: dict[int | None, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for (arm, size), images in seen.items():
        groups[study.data_of(study.arm(arm), size).train_size] |= {arm: tuple(images)} if images else {}
    for size, known in groups.items():
        if len(set(known.values())) > 1:
            numbers = listed(f"{arm} {' or '.join(f'{n:,}' for n in images)} images" for arm, images in known.items())
            at = "With all training images the" if size is None else f"At {size:,} training images the"
            yield f"{at if len(groups) > 1 or study.train_sizes else 'The'} {told}: {numbers}."


def _score(trial: Row) -> float:
    """Validation accuracy of a completed trial; NaN without one."""
    return number(trial["validation_accuracy"]) if trial["status"] == "completed" else math.nan


def _chosen(evidence: Evidence, cell: Cell, trials: Sequence[Row]) -> tuple[Space, dict[str, Any]]:
    """What is searched for a cell's arm, and the values that were chosen; while the search goes on, the best so far."""
    space = evidence.study.search.space_of(evidence.study.arm(cell[0]))
    scored = [trial for trial in trials if trial["chosen"] or not math.isnan(_score(trial))]
    best = max(scored, key=lambda trial: (bool(trial["chosen"]), _score(trial)), default={})
    found = {name: best.get(f"p.{name}") for name in sorted(space)}
    return space, {name: value for name, value in found.items() if value is not None and not pd.isna(value)}


def _edges(evidence: Evidence, cell: Cell, trials: Sequence[Row]) -> Iterator[str]:
    """Values on an edge of their range, where the recipe or model takes values beyond it."""
    arm = evidence.study.arm(cell[0])
    own = Setting(arm.model, evidence.study.recipe_of(arm))
    space, values = _chosen(evidence, cell, trials)
    for name in at_edge(space, values):
        found = space[name]
        assert isinstance(found, LogUniform | Uniform)
        low, high, step = found.low, found.high, EDGE * (found.high - found.low)
        beyond = (low / 2, high * 2) if isinstance(found, LogUniform) else (low - step, high + step)
        try:
            own.with_value(name, beyond[values[name] - low > high - values[name]])
        except InvalidInput:
            continue
        yield (
            f"{place(cell)}: the chosen {name} {plain(values[name])} lies on the edge of its range "
            f"[{plain(low, 6)}, {plain(high, 6)}]; widen the range and search again."
        )

"""The study's question answered in one computed sentence."""

import math

from harness.analysis.cells import Cells
from harness.analysis.comparisons import holm
from harness.analysis.crossover import crossing, slope, statement
from harness.analysis.estimate import LEVEL, Estimate
from harness.analysis.evidence import Evidence
from harness.analysis.wording import amount, bounds, described, significant

_METRIC = "test_accuracy"


def answer(evidence: Evidence) -> str:
    """One sentence with the difference, its interval and n; what is known so far where runs are lacking.

    It speaks of the arm with the largest difference to the baseline (at the largest training size). Choosing that arm
    flatters it a little; `beats` is said only where the difference stands after Holm's correction over the arms.
    """
    cells = evidence.cells
    size = cells.sizes[-1]
    baseline = cells.study.baseline.name
    found = [(arm.name, evidence.difference(arm.name, baseline, size)) for arm in cells.study.arms]
    known = [(arm, paired) for arm, paired in found if math.isfinite(paired.value)]
    if not known:
        return _nothing_yet(cells)
    best, paired = max(known, key=lambda item: (item[1].value, item[0]))
    if cells.study.train_sizes:
        return _over_sizes(evidence, best, baseline)
    adjusted = dict(zip([arm for arm, _ in found], holm([other.p_value() for _, other in found]), strict=True))
    return _against(best, baseline, paired, adjusted[best], len(found))


def _against(best: str, baseline: str, paired: Estimate, p_holm: float, arms: int) -> str:
    told = described(_METRIC, paired, of_metric=True)
    if not paired.judgeable:
        return f"So far {best} does best of the arms, against {baseline} {told}."
    if p_holm < 1 - LEVEL:
        return f"{best} {'beats' if paired.value > 0 else 'comes closest to'} {baseline}: {told}."
    if paired.ci_low <= 0 <= paired.ci_high:
        return f"{best} does best of the arms, against {baseline} {told}, which may be no difference at all."
    chance = f"not clear of chance among {arms} arms (Holm p = {significant(p_holm, 2)})"
    return f"{best} does best, against {baseline} {told}, {chance}."


def _over_sizes(evidence: Evidence, arm: str, baseline: str) -> str:
    sizes = evidence.cells.study.train_sizes
    ends = dict.fromkeys((sizes[0], sizes[-1]))
    told = " and ".join(
        f"{described(_METRIC, evidence.difference(arm, baseline, size), of_metric=size == sizes[0])}"
        f" at {size:,} training images"
        for size in ends
    )
    fall = slope(evidence, arm, baseline)
    if fall is None or not fall.judgeable:
        return f"{arm} against {baseline}: {told}."
    change = f"{amount(_METRIC, fall.value)} {bounds(_METRIC, fall.ci_low, fall.ci_high)} per tenfold training images"
    return f"{arm} against {baseline}: {told}, a change of {change}. {statement(crossing(evidence, arm, baseline))}"


def _nothing_yet(cells: Cells) -> str:
    planned = len(cells.rows) * len(cells.study.seeds)
    done = sum(len(cells.completed(cell)) for cell in cells.rows)
    arms = "no arm shares a completed seed with the baseline" if cells.study.arms else "the study has no arm besides it"
    return f"No answer yet: {done} of {planned} runs completed, and {arms}."

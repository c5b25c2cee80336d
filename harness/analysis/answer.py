"""The study's question answered in one computed sentence."""

import math
from collections.abc import Mapping, Sequence

from harness.analysis.axis import Axis, level_axis, series_pairs, size_axis
from harness.analysis.cells import Cell, Cells
from harness.analysis.comparisons import holm
from harness.analysis.crossover import crossing, slope, statement
from harness.analysis.estimate import LEVEL, Estimate
from harness.analysis.evidence import Evidence
from harness.analysis.wording import amount, bounds, described, significant

_METRIC = "test_accuracy"


def answer(evidence: Evidence) -> str:
    """One sentence with the difference, its interval and n; what is known so far where runs are lacking.

    Where series are compared with each other, it speaks of the two whose difference changes most over the levels; else
    of the arm with the largest difference to the one it is compared with (at the largest training size). Choosing that
    arm flatters it a little; `beats` is said only where the difference stands after Holm's correction over the arms.
    """
    study, size = evidence.cells.study, evidence.cells.sizes[-1]
    axes = [axis for pair in series_pairs(study) if _known(evidence, axis := level_axis(study, *pair, size))]
    if axes:
        return _over_levels(evidence, max(axes, key=lambda axis: (_change(evidence, axis), axis.arm, axis.other)))
    against = {arm.name: study.against(arm).name for arm in study.arms}
    found = [(arm, evidence.difference(arm, other, size)) for arm, other in against.items()]
    known = [(arm, paired) for arm, paired in found if math.isfinite(paired.value)]
    if not known:
        return _nothing_yet(evidence.cells)
    best, paired = max(known, key=lambda item: (item[1].value, item[0]))
    if study.train_sizes:
        return _over_sizes(evidence, size_axis(study, best, against[best]))
    adjusted = dict(zip(against, holm([other.p_value() for _, other in found]), strict=True))
    if not _one_baseline(evidence.cells):
        told = _compared(best, against[best], paired, adjusted[best], len(found), "gains most of the arms")
        return f"{told}{_how_many(list(adjusted.values()))}"
    told = _compared(best, against[best], paired, adjusted[best], len(found), "does best of the arms")
    if not paired.judgeable:
        return told
    among = _among(evidence, {arm: paired.value for arm, paired in known})
    told += _level_with(evidence, best, [arm for arm, _ in known])
    return f"{among}; {told}" if among else told


def _level_with(evidence: Evidence, best: str, arms: Sequence[str]) -> str:
    """Which other arms may be as good as the best: their intervals of the difference to it include zero."""
    size = evidence.cells.sizes[-1]
    behind = {arm: evidence.contrast({(best, size): 1.0, (arm, size): -1.0}) for arm in arms if arm != best}
    level = [arm for arm, paired in behind.items() if paired.judgeable and paired.ci_low <= 0]
    if not level:
        return ""
    names = " and ".join(level) if len(level) < 3 else f"{len(level)} other arms"
    return f" {names} {'is' if len(level) == 1 else 'are'} not clearly behind."


def _how_many(adjusted: Sequence[float]) -> str:
    """How many of the arms differ from what they are compared with; empty where that cannot be said."""
    judged = [p_holm for p_holm in adjusted if math.isfinite(p_holm)]
    clear = sum(p_holm < 1 - LEVEL for p_holm in judged)
    return f" {clear} of {len(judged)} differences are clear of chance (Holm)." if len(judged) > 1 else ""


def _among(evidence: Evidence, values: Mapping[str, float]) -> str:
    """What the factor does to arms that are all compared with one baseline: from the first of its levels to the last.

    Where levels are no numbers, and for series at their last level, between the arms of the highest and the lowest of
    `values`; Bonferroni over all pairs allows for choosing these two. Empty where nothing can be said.
    """
    study, size = evidence.cells.study, evidence.cells.sizes[-1]
    levels = {arm.name: arm.level for arm in study.arms if isinstance(arm.level, float)}
    if study.series:  # two things change over the whole of it
        ends = {arms[-1].name for arms in study.series.values()}
        values = {arm: value for arm, value in values.items() if arm in ends}
    if not _one_baseline(evidence.cells) or len(values) < 2:
        return ""
    ordered = len(levels) == len(study.arms) and not study.series
    by: Mapping[str, float] = levels if ordered else values
    first, last = (end(values, key=by.__getitem__) for end in (min, max))
    paired = evidence.contrast({(last, size): 1.0, (first, size): -1.0})
    if not paired.judgeable:
        return ""
    told = described(_METRIC, paired, of_metric=True)
    if ordered:
        return f"From {first} to {last} {told}"
    by_chance = paired.p_value() * math.comb(len(values), 2) > 1 - LEVEL
    among = "between series at their last level" if study.series else "among the arms"
    return f"{last} against {first} {told}, the widest gap {among}{' and perhaps chance' if by_chance else ''}"


def _compared(best: str, other: str, paired: Estimate, p_holm: float, arms: int, does_best: str) -> str:
    told = described(_METRIC, paired, of_metric=True)
    if arms == 1:  # there is no best among one
        return f"{best} {_stands(paired)} {other}: {told}."
    if not paired.judgeable:
        return f"So far {best} {does_best}, against {other} {told}."
    if p_holm < 1 - LEVEL:
        return f"{best} {'beats' if paired.value > 0 else 'comes closest to'} {other}: {told}."
    if paired.ci_low <= 0 <= paired.ci_high:
        return f"{best} {does_best}, against {other} {told}, which may be no difference at all."
    chance = f"not clear of chance among {arms} arms (Holm p = {significant(p_holm, 2)})"
    return f"{best} {does_best.removesuffix(' of the arms')}, against {other} {told}, {chance}."


def _stands(paired: Estimate) -> str:
    """How one arm stands to the other, by the interval of their difference."""
    if not paired.judgeable:
        return "so far against"
    if paired.ci_low <= 0 <= paired.ci_high:
        return "is not clearly apart from"
    return "beats" if paired.value > 0 else "is behind"


def _over_sizes(evidence: Evidence, axis: Axis) -> str:
    ends = dict.fromkeys((axis.pairs[0], axis.pairs[-1]))
    told = " and ".join(
        f"{_difference(evidence, pair, of_metric=pair == axis.pairs[0])} at {pair[0][1]:,} training images"
        for pair in ends
    )
    return f"{axis.arm} against {axis.other}: {told}{_moves(evidence, axis)}"


def _over_levels(evidence: Evidence, axis: Axis) -> str:
    """The difference at both ends of the levels; with several training sizes, at the smallest of them, too."""
    sizes = evidence.cells.study.train_sizes
    first, last = axis.pairs[0], axis.pairs[-1]
    of_sizes: list[str] = []
    for size in dict.fromkeys((sizes[0], sizes[-1])) if sizes else (None,):
        (low, low_other), (high, high_other) = ((arm, other) for (arm, _), (other, _) in (first, last))
        at = "" if size is None else f"at {size:,} training images "
        of_metric = not of_sizes
        of_sizes.append(
            f"{at}{_difference(evidence, ((low, size), (low_other, size)), of_metric=of_metric)} "
            f"at {axis.told(axis.points[0])} and {_difference(evidence, ((high, size), (high_other, size)))} "
            f"at {axis.told(axis.points[-1])}"
        )
    return f"{axis.arm} against {axis.other}: {'; '.join(of_sizes)}{_moves(evidence, axis)}"


def _moves(evidence: Evidence, axis: Axis) -> str:
    """How the difference changes along the axis and where it changes sign, as the end of a sentence."""
    fall = slope(evidence, axis)
    if fall is None or not fall.judgeable:
        return "."
    change = f"{amount(_METRIC, fall.value)} {bounds(_METRIC, fall.ci_low, fall.ci_high)} {axis.per}"
    return f", a change of {change}. {statement(crossing(evidence, axis))}"


def _difference(evidence: Evidence, pair: tuple[Cell, Cell], *, of_metric: bool = False) -> str:
    return described(_METRIC, evidence.contrast({pair[0]: 1.0, pair[1]: -1.0}), of_metric=of_metric)


def _known(evidence: Evidence, axis: Axis) -> bool:
    """Whether the two series share a completed seed anywhere on the axis."""
    return any(evidence.shared_seeds(pair, _METRIC) for pair in axis.pairs)


def _change(evidence: Evidence, axis: Axis) -> float:
    fall = slope(evidence, axis)
    return -1.0 if fall is None or math.isnan(fall.value) else abs(fall.value)


def _one_baseline(cells: Cells) -> bool:
    return all(cells.study.against(arm) == cells.study.baseline for arm in cells.study.arms)


def _nothing_yet(cells: Cells) -> str:
    planned = len(cells.rows) * len(cells.study.seeds)
    done = sum(len(cells.completed(cell)) for cell in cells.rows)
    other = "the baseline" if _one_baseline(cells) else "the one it is compared with"
    arms = f"no arm shares a completed seed with {other}" if cells.study.arms else "the study has no arm besides it"
    return f"No answer yet: {done} of {planned} runs completed, and {arms}."

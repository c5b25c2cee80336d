"""The study's question answered in one computed sentence."""

import math
from collections.abc import Mapping, Sequence

from harness.analysis.axis import Axis, level_axis, series_pairs, size_axis
from harness.analysis.cells import Cell, Cells
from harness.analysis.comparisons import holm
from harness.analysis.crossover import crossing, slope, statement
from harness.analysis.estimate import LEVEL, MeanEstimate
from harness.analysis.evidence import Evidence
from harness.analysis.judgement import absent
from harness.analysis.wording import amount, bounds, described, listed
from harness.spec.formats import plain
from harness.spec.plural import counted

_METRIC = "test_accuracy"

_MOST_NAMED = 6
"""Fewer arms than this are named where they are left out."""


def answer(evidence: Evidence) -> str:
    """One sentence with the difference, its interval and n; what is known so far where runs are lacking.

    Where series are compared with each other, it speaks of the two whose difference changes most over the levels; else
    of the arm with the largest difference to the one it is compared with (at the largest training size). Choosing that
    arm flatters it a little; `beats` is said only where the difference stands after Holm's correction over the arms.

    What no claim could be judged on (`absent`: lost runs, too few seeds) is not judged here: of such arms and series it
    speaks only where there are no others, and then without a verdict; else it names them as left out.
    """
    study, size = evidence.study, evidence.cells.sizes[-1]
    axes = [level_axis(study, *pair, size) for pair in series_pairs(study)]
    if axes := [axis for axis in axes if any(evidence.shared_seeds(pair, _METRIC) for pair in axis.pairs)]:
        lost = {axis: absent(evidence, _spoken_of(evidence, axis), _METRIC) for axis in axes}
        whole = [axis for axis in axes if not lost[axis]]
        chosen = max(whole or axes, key=lambda axis: (_change(evidence, axis), axis.arm, axis.other))
        others = [f"{axis.arm} against {axis.other}" for axis in axes if axis not in whole] if whole else []
        return _over_levels(evidence, chosen, lost[chosen]) + _left_out(others)
    against = {arm.name: study.against(arm).name for arm in study.arms}
    found = {arm: evidence.difference(arm, other, size) for arm, other in against.items()}
    known = [arm for arm, paired in found.items() if math.isfinite(paired.value)]
    if not known:
        return _nothing_yet(evidence.cells)
    sizes = evidence.cells.sizes
    lost_by = {
        arm: absent(evidence, [(name, at) for at in sizes for name in (arm, other)], _METRIC)
        for arm, other in against.items()
    }
    complete = [arm for arm in known if not lost_by[arm]]
    best = max(complete or known, key=lambda arm: (found[arm].value, arm))
    left_out = _left_out([arm for arm in against if arm not in complete]) if complete else ""
    if study.train_sizes:
        return _over_sizes(evidence, size_axis(study, best, against[best]), lost_by[best]) + left_out
    if not complete:
        stands = "so far against" if len(found) == 1 else "does best of the arms so far, against"
        told = described(_METRIC, found[best], of_metric=True)
        return f"{best} {stands} {against[best]}: {told}.{_not_judged(lost_by[best])}"
    return _at_one_size(evidence, best, {arm: found[arm] for arm in complete}, found) + left_out


def _at_one_size(
    evidence: Evidence, best: str, complete: Mapping[str, MeanEstimate], found: Mapping[str, MeanEstimate]
) -> str:
    """The best of the arms that all have their runs; Holm's correction is over all of them, as in the table."""
    study = evidence.study
    other = study.against(study.arm(best)).name
    adjusted = dict(zip(found, holm([paired.p_value() for paired in found.values()]), strict=True))
    one_baseline = _one_baseline(evidence.cells)
    does_best = f"{'does best' if one_baseline else 'gains most'} of the arms"
    told = _compared(best, other, complete[best], adjusted[best], len(found), does_best)
    if not one_baseline:
        judged = [adjusted[arm] for arm in complete if math.isfinite(adjusted[arm])]
        shown = sum(p_holm < 1 - LEVEL for p_holm in judged)
        many = f" {shown} of {len(judged)} differences are significant (Holm-adjusted)." if len(judged) > 1 else ""
        return told + many
    among = _among(evidence, {arm: paired.value for arm, paired in complete.items()})
    told += _level_with(evidence, best, list(complete))
    return f"{among}; {told}" if among else told


def _left_out(names: Sequence[str]) -> str:
    """Which arms the answer does not judge, as a sentence at its end."""
    if not names:
        return ""
    told = listed(names) if len(names) < _MOST_NAMED else f"{len(names):,} arms"
    return f" Not judged, as runs have no result: {told}."


def _spoken_of(evidence: Evidence, axis: Axis) -> list[Cell]:
    """The cells that an answer over levels rests on: at the largest training size, and at the ends of the smallest."""
    sizes = evidence.study.train_sizes
    ends = [(name, sizes[0]) for pair in (axis.pairs[0], axis.pairs[-1]) for name, _ in pair] if sizes else []
    return [*axis.cells, *ends]


def _level_with(evidence: Evidence, best: str, arms: Sequence[str]) -> str:
    """Which other arms may be as good as the best: their intervals of the difference to it include zero."""
    size = evidence.cells.sizes[-1]
    behind = {arm: evidence.difference(best, arm, size) for arm in arms if arm != best}
    level = [arm for arm, paired in behind.items() if paired.judgeable and paired.ci_low <= 0]
    if not level:
        return ""
    names = " and ".join(level) if len(level) < 3 else f"{len(level)} other arms"
    return f" {names} {'is' if len(level) == 1 else 'are'} not significantly worse."


def _among(evidence: Evidence, values: Mapping[str, float]) -> str:
    """What the factor does to arms that are all compared with one baseline: from the first of its levels to the last.

    Where levels are no numbers, and for series at their last level, between the arms of the highest and the lowest of
    `values`; Bonferroni over all pairs allows for choosing these two. Empty where nothing can be said.
    """
    study, size = evidence.study, evidence.cells.sizes[-1]
    levels = {arm.name: arm.level for arm in study.arms if isinstance(arm.level, float)}
    if study.series:  # two things change over the whole of it
        ends = {arms[-1].name for arms in study.series.values()}
        values = {arm: value for arm, value in values.items() if arm in ends}
    if not _one_baseline(evidence.cells) or len(values) < 2:
        return ""
    ordered = len(levels) == len(study.arms) and not study.series
    by: Mapping[str, float] = levels if ordered else values
    first, last = (end(values, key=by.__getitem__) for end in (min, max))
    paired = evidence.difference(last, first, size)
    if not paired.judgeable:
        return ""
    told = described(_METRIC, paired, of_metric=True)
    if ordered:
        return f"From {first} to {last} {told}"
    by_chance = paired.p_value() * math.comb(len(values), 2) > 1 - LEVEL
    among = "between series at their last level" if study.series else "among the arms"
    return f"{last} against {first} {told}, the widest gap {among}{' and perhaps chance' if by_chance else ''}"


def _not_judged(trouble: str) -> str:
    return f" Not judged: {trouble}." if trouble else ""


def _compared(best: str, other: str, paired: MeanEstimate, p_holm: float, arms: int, does_best: str) -> str:
    told, includes_zero = described(_METRIC, paired, of_metric=True), paired.ci_low <= 0 <= paired.ci_high
    if arms == 1:  # there is no best among one
        stands = "beats" if paired.value > 0 else "is behind"
        return f"{best} {'is not significantly different from' if includes_zero else stands} {other}: {told}."
    if p_holm < 1 - LEVEL:
        return f"{best} {'beats' if paired.value > 0 else 'comes closest to'} {other}: {told}."
    if includes_zero:
        return f"{best} {does_best}, against {other} {told}, which may be no difference."
    chance = f"not significant among {arms} arms (Holm-adjusted p = {plain(p_holm, 2)})"
    return f"{best} {does_best.removesuffix(' of the arms')}, against {other} {told}, {chance}."


def _over_sizes(evidence: Evidence, axis: Axis, trouble: str) -> str:
    ends = dict.fromkeys((axis.pairs[0], axis.pairs[-1]))
    told = " and ".join(
        f"{_difference(evidence, pair, of_metric=pair == axis.pairs[0])} at {pair[0][1]:,} training images"
        for pair in ends
    )
    return f"{axis.arm} against {axis.other}: {told}{_moves(evidence, axis, trouble)}"


def _over_levels(evidence: Evidence, axis: Axis, trouble: str) -> str:
    """The difference at both ends of the levels; with several training sizes, at the smallest of them, too."""
    sizes = evidence.study.train_sizes
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
    return f"{axis.arm} against {axis.other}: {'; '.join(of_sizes)}{_moves(evidence, axis, trouble)}"


def _moves(evidence: Evidence, axis: Axis, trouble: str) -> str:
    """How the difference changes along the axis and where it changes sign, as the end of a sentence."""
    fall = slope(evidence, axis)
    if trouble or fall is None:
        return f".{_not_judged(trouble)}"
    change = f"{amount(_METRIC, fall.value)} {bounds(_METRIC, fall.ci_low, fall.ci_high)} {axis.per}"
    return f", a change of {change}. {statement(crossing(evidence, axis))}"


def _difference(evidence: Evidence, pair: tuple[Cell, Cell], *, of_metric: bool = False) -> str:
    return described(_METRIC, evidence.contrast({pair[0]: 1.0, pair[1]: -1.0}), of_metric=of_metric)


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
    return f"No answer yet: {done:,} of {counted(planned, 'run')} completed, and {arms}."

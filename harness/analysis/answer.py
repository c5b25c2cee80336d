"""The study's question answered in one computed sentence."""

import math
from collections.abc import Mapping, Sequence

from harness.analysis.axis import Axis, level_axis, series_pairs, size_axis
from harness.analysis.crossover import crossing, slope, statement
from harness.analysis.estimate import LEVEL, MeanEstimate, holm
from harness.analysis.evidence import Evidence
from harness.analysis.wording import Cell, amount, bounds, described, listed
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
    study, sizes = evidence.study, evidence.sizes
    axes = [level_axis(study, *pair, sizes[-1]) for pair in series_pairs(study)]
    if axes := [axis for axis in axes if any(evidence.shared_seeds(pair, _METRIC) for pair in axis.pairs)]:
        lost = {axis: evidence.absent(_spoken_of(evidence, axis), _METRIC) for axis in axes}
        whole = [axis for axis in axes if not lost[axis]]
        chosen = max(whole or axes, key=lambda axis: (_change(evidence, axis), axis.arm, axis.other))
        left_out = [f"{axis.arm} against {axis.other}" for axis in axes if lost[axis]] if whole else []
        return _along(evidence, chosen, lost[chosen]) + _left_out(left_out)
    found = {arm: evidence.difference(arm, other, sizes[-1]) for arm, other in evidence.against.items()}
    known = [arm for arm, paired in found.items() if math.isfinite(paired.value)]
    if not known:
        return _nothing_yet(evidence)
    lost_by = {
        arm: evidence.absent([(name, size) for size in sizes for name in (arm, other)], _METRIC)
        for arm, other in evidence.against.items()
    }
    complete = [arm for arm in known if not lost_by[arm]]
    best = max(complete or known, key=lambda arm: (found[arm].value, arm))
    left_out = [arm for arm in found if arm not in complete] if complete else []
    other = evidence.against[best]
    if study.train_sizes:
        told = _along(evidence, size_axis(study, best, other), lost_by[best])
    elif complete:
        told = _at_one_size(evidence, best, complete, found)
    else:
        stands = "so far against" if len(found) == 1 else "does best of the arms so far, against"
        told = f"{best} {stands} {other}: {_of_accuracy(found[best])}.{_not_judged(lost_by[best])}"
    return told + _left_out(left_out)


def _of_accuracy(estimate: MeanEstimate) -> str:
    return described(_METRIC, estimate, of_metric=True)


def _not_judged(trouble: str) -> str:
    return f" Not judged: {trouble}." if trouble else ""


def _left_out(names: Sequence[str]) -> str:
    """Which arms the answer does not judge, as a sentence at its end."""
    if not names:
        return ""
    told = listed(names) if len(names) < _MOST_NAMED else f"{len(names):,} arms"
    return f" Not judged, as runs have no result: {told}."


def _nothing_yet(evidence: Evidence) -> str:
    planned = len(evidence.rows) * len(evidence.study.seeds)
    done = sum(len(evidence.completed(cell)) for cell in evidence.rows)
    other = "the baseline" if _one_baseline(evidence) else "the one it is compared with"
    arms = f"no arm shares a completed seed with {other}" if evidence.against else "the study has no arm besides it"
    return f"No answer yet: {done:,} of {counted(planned, 'run')} completed, and {arms}."


def _one_baseline(evidence: Evidence) -> bool:
    return set(evidence.against.values()) <= {evidence.study.baseline.name}


def _at_one_size(evidence: Evidence, best: str, complete: Sequence[str], found: Mapping[str, MeanEstimate]) -> str:
    """The best of the arms that all have their runs; Holm's correction is over all of them, as in the table."""
    adjusted = dict(zip(found, holm([paired.p_value() for paired in found.values()]), strict=True))
    one_baseline = _one_baseline(evidence)
    does_best = "does best" if one_baseline else "gains most"
    told = _compared(best, evidence.against[best], found[best], adjusted[best], len(found), does_best)
    if one_baseline:
        among = _among(evidence, {arm: found[arm].value for arm in complete})
        return f"{among}{told}{_level_with(evidence, best, complete)}"
    shown = sum(adjusted[arm] < 1 - LEVEL for arm in complete)
    many = f" {shown} of {len(complete)} differences are significant (Holm-adjusted)." if len(complete) > 1 else ""
    return f"{told}{many}"


def _compared(best: str, other: str, paired: MeanEstimate, p_holm: float, arms: int, does_best: str) -> str:
    told, ahead = _of_accuracy(paired), paired.value > 0
    if arms == 1:  # there is no best among one
        stands = ("beats" if ahead else "is behind") if paired.sign else "is not significantly different from"
        return f"{best} {stands} {other}: {told}."
    if p_holm < 1 - LEVEL:
        return f"{best} {'beats' if ahead else 'comes closest to'} {other}: {told}."
    if not paired.sign:
        return f"{best} {does_best} of the arms, against {other} {told}, which may be no difference."
    chance = f"not significant among {arms} arms (Holm-adjusted p = {plain(p_holm, 2)})"
    return f"{best} {does_best}, against {other} {told}, {chance}."


def _level_with(evidence: Evidence, best: str, arms: Sequence[str]) -> str:
    """Which other arms may be as good as the best: their intervals of the difference to it include zero."""
    size = evidence.sizes[-1]
    level = [arm for arm in arms if arm != best and evidence.difference(best, arm, size).ci_low <= 0]
    if not level:
        return ""
    names = listed(level) if len(level) < 3 else f"{len(level)} other arms"
    return f" {names} {'is' if len(level) == 1 else 'are'} not significantly worse."


def _among(evidence: Evidence, values: Mapping[str, float]) -> str:
    """What the factor does to arms that are all compared with one baseline: from the first of its levels to the last.

    Where levels are no numbers, and for series at their last level, between the arms of the highest and the lowest of
    `values`; Bonferroni over all pairs allows for choosing these two. Empty where nothing can be said.
    """
    study = evidence.study
    levels = {arm.name: arm.level for arm in study.arms if isinstance(arm.level, float)}
    ordered = len(levels) == len(study.arms) and not study.series
    if study.series:  # two things change over the whole of it
        ends = {arms[-1].name for arms in study.series.values()}
        values = {arm: value for arm, value in values.items() if arm in ends}
    if len(values) < 2:
        return ""
    by = levels if ordered else values
    first, last = (end(values, key=by.__getitem__) for end in (min, max))
    paired = evidence.difference(last, first, evidence.sizes[-1])
    if ordered:
        return f"From {first} to {last} {_of_accuracy(paired)}; "
    by_chance = paired.p_value() * math.comb(len(values), 2) > 1 - LEVEL
    among = "between series at their last level" if study.series else "among the arms"
    told = f"the widest gap {among}{' and perhaps chance' if by_chance else ''}"
    return f"{last} against {first} {_of_accuracy(paired)}, {told}; "


def _spoken_of(evidence: Evidence, axis: Axis) -> list[Cell]:
    """The cells that an answer over levels rests on: at the largest training size, and at the ends of the smallest."""
    ends = level_axis(evidence.study, axis.arm, axis.other, evidence.sizes[0])
    return [*axis.cells, *ends.pairs[0], *ends.pairs[-1]]


def _change(evidence: Evidence, axis: Axis) -> float:
    change = slope(evidence, axis).value
    return -1.0 if math.isnan(change) else abs(change)


def _along(evidence: Evidence, axis: Axis, trouble: str) -> str:
    """The difference at both ends of the axis, how it changes along it, and where it changes sign.

    Along the levels of a study of several training sizes the ends at the smallest of them, too.
    """
    shown = [axis]
    if not axis.sized:
        sizes = dict.fromkeys((evidence.sizes[0], evidence.sizes[-1]))
        shown = [level_axis(evidence.study, axis.arm, axis.other, size) for size in sizes]
    told: list[str] = []
    for each in shown:
        at = "" if each.train_size is None else f"at {counted(each.train_size, 'training image')} "
        ends: list[str] = []
        for point in dict.fromkeys((axis.points[0], axis.points[-1])):
            arm, other = each.pairs[each.points.index(point)]
            difference = evidence.contrast({arm: 1.0, other: -1.0})
            ends.append(f"{described(_METRIC, difference, of_metric=not told and not ends)} at {axis.told(point)}")
        told.append(f"{at}{' and '.join(ends)}")
    change = slope(evidence, axis)
    moves = _not_judged(trouble)
    if not trouble and not math.isnan(change.value):
        interval = bounds(_METRIC, change.ci_low, change.ci_high)
        moves = f" {statement(crossing(evidence, axis))}"
        told[-1] += f", a change of {amount(_METRIC, change.value)} {interval} {axis.per}"
    return f"{axis.arm} against {axis.other}: {'; '.join(told)}.{moves}"

"""The study's question answered in one computed sentence."""

import math
from collections.abc import Mapping, Sequence

from harness.analysis.axis import Axis, crossing, level_axis, series_pairs, size_axis, slope, statement
from harness.analysis.estimate import LEVEL, MeanEstimate
from harness.analysis.evidence import Evidence
from harness.analysis.selection import chosen, level_with_best, widest
from harness.analysis.wording import amount, bounds, described, listed
from harness.spec.formats import counted, p_told

_METRIC = "test_accuracy"


def answer(evidence: Evidence) -> str:
    """One sentence with the difference, its interval and n; what is known so far where runs are lacking.

    Where series are compared with each other, it speaks of the two whose difference changes most over the levels; else
    of the arm with the largest difference to the one it is compared with (at the largest training size). What is chosen
    as the largest has an interval that allows for the choice; `beats` is said only where that excludes zero and Holm's
    correction in the table of comparisons leaves it significant. Of what no claim could be judged on
    (`Evidence.absent`) it speaks only where there is nothing else, and then without a verdict; else it names it as left
    out.
    """
    pairs = series_pairs(evidence.study)
    axes = {
        f"{arm} against {other}": level_axis(evidence.study, arm, other, evidence.sizes[-1]) for arm, other in pairs
    }
    known = {name: axis for name, axis in axes.items() if any(evidence.shared_seeds(of, _METRIC) for of in axis.pairs)}
    return _of_series(evidence, known) if known else _of_arms(evidence)


def _of_series(evidence: Evidence, axes: Mapping[str, Axis]) -> str:
    """Over the levels, at the largest training size; that the ends at the smallest are told needs their runs, too."""
    lost = {}
    for name, axis in axes.items():
        smallest = level_axis(evidence.study, axis.arm, axis.other, evidence.sizes[0])
        lost[name] = evidence.absent([*axis.cells, *smallest.pairs[0], *smallest.pairs[-1]], _METRIC)
    whole = [name for name in axes if not lost[name]]
    changes = {name: abs(slope(evidence, axes[name]).value) for name in whole or axes}
    best = max(changes, key=lambda name: (-1 if math.isnan(changes[name]) else changes[name], name))
    return _along(evidence, axes[best], lost[best], len(changes)) + _left_out(
        [name for name in axes if whole and lost[name]]
    )


def _of_arms(evidence: Evidence) -> str:
    study, against, sizes = evidence.study, evidence.against, evidence.sizes
    found = {arm: evidence.difference(arm, other, sizes[-1]) for arm, other in against.items()}
    known = [arm for arm, paired in found.items() if math.isfinite(paired.value)]
    if not known:
        planned, done = (
            len(evidence.rows) * len(study.seeds),
            sum(len(evidence.completed(cell)) for cell in evidence.rows),
        )
        other = "the baseline" if _one_baseline(evidence) else "the one it is compared with"
        arms = f"no arm shares a completed seed with {other}" if found else "the study has no arm besides it"
        return f"No answer yet: {done:,} of {counted(planned, 'run')} completed, and {arms}."
    lost = {
        arm: evidence.absent([(name, size) for size in sizes for name in (arm, other)], _METRIC)
        for arm, other in against.items()
    }
    complete = [arm for arm in known if not lost[arm]]
    best = max(complete or known, key=lambda arm: (found[arm].value, arm))
    left_out = [arm for arm in found if complete and arm not in complete]
    if study.train_sizes:
        told = _along(evidence, size_axis(study, best, against[best]), lost[best], len(complete or known))
    elif complete:
        told = _at_one_size(evidence, best, complete, found)
    else:
        stands = "so far against" if len(found) == 1 else "does best of the arms so far, against"
        difference = described(_METRIC, found[best], of_metric=True)
        told = f"{best} {stands} {against[best]}: {difference}. Not judged: {lost[best]}."
    return told + _left_out(left_out)


def _left_out(names: Sequence[str]) -> str:
    """Which arms the answer does not judge, as a sentence at its end."""
    return f" Not judged, as runs have no result: {listed(names, most=5)}." if names else ""


def _one_baseline(evidence: Evidence) -> bool:
    return set(evidence.against.values()) <= {evidence.study.baseline.name}


def _at_one_size(evidence: Evidence, best: str, complete: Sequence[str], found: Mapping[str, MeanEstimate]) -> str:
    """The best of the arms that all have their runs; Holm's p-values are those of the table of comparisons."""
    table, alpha = evidence.comparisons, 1 - LEVEL  # of a p-value, which is raised by what looks have spent
    adjusted = dict(zip(table["arm"], table["p_holm"], strict=True))
    one_baseline, other, paired = _one_baseline(evidence), evidence.against[best], chosen(found[best], len(complete))
    told, ahead = _selected(described(_METRIC, paired, of_metric=True), len(complete)), paired.value > 0
    does_best = f"{best} {'does best' if one_baseline else 'gains most'}"
    if len(found) == 1:  # there is no best among one
        stands = ("beats" if ahead else "is behind") if paired.sign else "is not significantly different from"
        stands = "against" if paired.thin else stands
        told = f"{best} {stands} {other}: {told}."
    elif adjusted[best] < alpha and paired.sign:
        told = f"{best} {'beats' if ahead else 'comes closest to'} {other}: {told}."
    elif found[best].sign:
        weak = "" if adjusted[best] < alpha else f"not significant among {len(found)} arms; "
        told = f"{does_best}, against {other} {told} ({weak}Holm-adjusted {p_told(adjusted[best])})."
    else:
        told = f"{does_best} of the arms, against {other} {told}, which may be no difference."
    if paired.thin:
        told += f" Not judged: {paired.thin}."
    if not one_baseline:
        shown = sum(adjusted[arm] < alpha and not found[arm].thin for arm in complete)
        many = f" {shown} of {len(complete)} differences are significant (Holm-adjusted)."
        return f"{told}{many if len(complete) > 1 else ''}"
    level = [arm for arm in level_with_best(complete, evidence.difference) if arm != best]
    if level:
        told += f" {listed(level, 2, 'other arm')} {'is' if len(level) == 1 else 'are'} not significantly worse."
    return f"{_among(evidence, {arm: found[arm].value for arm in complete})}{told}"


def _selected(told: str, arms: int, noun: str = "arms") -> str:
    """A difference in words, with a note that its interval allows for choosing it among several."""
    return f"{told.removesuffix(')')}, interval for the choice among {arms} {noun})" if arms > 1 else told


def _among(evidence: Evidence, values: Mapping[str, float]) -> str:
    """What the factor does to arms that are all compared with one baseline: from the first of its levels to the last.

    Where levels are no numbers, and for series at their last level, between the arms of the highest and the lowest of
    `values`, with an interval for all pairs of them. Empty where nothing can be said.
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
    paired = evidence.difference(last, first)
    if ordered:
        return f"From {first} to {last} {described(_METRIC, paired, of_metric=True)}; "
    paired = widest(paired, len(values))
    told = _selected(described(_METRIC, paired, of_metric=True), math.comb(len(values), 2), "pairs")
    chance = "" if paired.sign else " and perhaps chance"
    where = "between series at their last level" if study.series else "among the arms"
    return f"{last} against {first} {told}, the widest gap {where}{chance}; "


def _along(evidence: Evidence, axis: Axis, trouble: str, candidates: int) -> str:
    """The difference at both ends of the axis, how it changes along it, and where it changes sign.

    Along the levels of a study of several training sizes the ends at the smallest of them, too. The intervals allow for
    the choice of the axis among so many `candidates`.
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
            difference = chosen(evidence.contrast({arm: 1.0, other: -1.0}), candidates)
            ends.append(f"{described(_METRIC, difference, of_metric=not told and not ends)} at {axis.told(point)}")
        told.append(f"{at}{' and '.join(ends)}")
    change, moves = chosen(slope(evidence, axis), candidates), f" Not judged: {trouble}." if trouble else ""
    if not trouble and not math.isnan(change.value):
        interval = bounds(_METRIC, change.ci_low, change.ci_high)
        told[-1] += f", a change of {amount(_METRIC, change.value)} {interval} {axis.per}"
        moves = f" {statement(crossing(evidence, axis))}"
    choice = f", with intervals for the choice among {candidates}" if candidates > 1 and not trouble else ""
    return f"{axis.arm} against {axis.other}: {'; '.join(told)}{choice}.{moves}"

"""How the shipped types of claims are judged: by intervals, never by point estimates.

Each claim is judged on its own at level .05: with no true effect, a verdict other than `inconclusive` comes in at most
5 % of studies. A claim one of whose planned runs did not complete is inconclusive, whatever the rest says: the runs
that diverged, failed or are missing may be just those that would have decided (survivors only would flatter an arm).
Costs that the model alone decides (parameters, multiply-accumulates) are exact: that they grow (`CostGrows`), one run
per arm tells, in any status.

Each verdict has the two-sided p-value of the test that it follows from, below .05 exactly where it is decided; exact
costs have none. Verdicts are called `reproduced` and `contradicted` here, of whatever kind the claim is.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from harness.analysis.axis import TRAIN_SIZE, Axis, crossing, level_axis, size_axis, statement, trouble_along
from harness.analysis.estimate import LEVEL, MeanEstimate, holm, what_settles
from harness.analysis.evidence import Evidence, Scale
from harness.analysis.patches import at_patches
from harness.analysis.scales import METRIC, disagreement
from harness.analysis.wording import Cell, amount, at_size, described, listed, named, place
from harness.spec import METRICS, Estimate, Judgement, ResolvedStudy
from harness.spec.claims import (
    EXACT,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    GainsMore,
    GapShrinks,
    Monotone,
)
from harness.spec.formats import counted, p_told, plain
from harness.spec.verdicts import Verdict


class Undecided(Exception):
    """Nothing can be judged, for a reason given as a clause: `lost` planned runs without a result, or another."""

    def __init__(self, reason: str, lost: int = 0) -> None:
        super().__init__(reason)
        self.lost = lost


def p_of(estimate: MeanEstimate, null: float = 0.0) -> float:
    """Two-sided p-value of `mean = null`; 1 where the test set or the runs carry no verdict."""
    return 1.0 if estimate.thin else estimate.p_value(null)


def judged(verdict: Verdict, reason: str, number: Estimate, p_value: float = math.nan) -> Judgement:
    """A verdict that rests on an estimate."""
    value, low, high = number.value, number.ci_low, number.ci_high
    return Judgement(verdict=verdict, reason=reason, estimate=value, ci_low=low, ci_high=high, p_value=p_value)


def lost_runs(evidence: Evidence, cells: Iterable[Cell]) -> int:
    """How many planned runs of the cells did not complete."""
    return sum(len(evidence.seeds_at(cell[1])) - len(evidence.completed(cell)) for cell in dict.fromkeys(cells))


def _refuse(trouble: str, evidence: Evidence, cells: Iterable[Cell]) -> None:
    """Leave a claim undecided where something is amiss with the cells that it rests on."""
    if trouble:
        raise Undecided(trouble, lost_runs(evidence, cells))


def judged_by_region(
    estimate: Estimate, region: tuple[float, float], told: str, words: tuple[str, str, str]
) -> Judgement:
    """Reproduced when the interval lies within an open region, contradicted when wholly outside.

    `told` names the estimate, `words` says what an interval inside, outside, and across a bound is. The p-value is the
    largest over the bounds. Inside two of them that is the larger of the two one-sided tests, doubled as the interval
    has 95 % (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987, p. 657); outside, that of the nearer bound.
    """
    (low, high), (inside, outside, across) = region, words
    require_carried(estimate, told)
    p_value, settles = math.nan, ""
    if isinstance(estimate, MeanEstimate):
        p_value = max(p_of(estimate, bound) for bound in region if math.isfinite(bound))
    if low < estimate.ci_low and estimate.ci_high < high:
        return judged("reproduced", f"{told}: {inside}.", estimate, p_value)
    if estimate.ci_low == estimate.ci_high and estimate.value in region:  # an exact cost
        return judged("contradicted", f"{told}: exactly on the bound, not beyond it.", estimate, p_value)
    if estimate.ci_high < low or high < estimate.ci_low:
        return judged("contradicted", f"{told}: {outside}.", estimate, p_value)
    if isinstance(estimate, MeanEstimate):
        settles = f"; {what_settles(estimate, min(abs(estimate.value - bound) for bound in region))}"
    return judged("inconclusive", f"{told}: {across}{settles}.", estimate, p_value)


def require_carried(estimate: Estimate, told: str) -> None:
    """Undecided where the test set or the runs cannot carry a verdict."""
    if isinstance(estimate, MeanEstimate) and estimate.thin:
        raise Undecided(f"{told}: {estimate.thin}")


def judged_by_margin(estimate: Estimate, metric: str, margin: float, told: str) -> Judgement:
    """Reproduced when the interval lies above the margin, contradicted when below."""
    bound = "0" if margin == 0 else f"the margin of {amount(metric, margin, signed=False)}"
    words = (f"above {bound}", f"below {bound}", f"the interval includes {bound}")
    return judged_by_region(estimate, (margin, math.inf), told, words)


def _claimed_size(asked: int | str | None, study: ResolvedStudy) -> int | None:
    """The training size that a claim means."""
    sizes = study.train_sizes
    if asked is None and len(sizes) > 1:
        raise Undecided(f"the claim names no training size, and the study has {len(sizes)}")
    if isinstance(asked, int) and asked not in (sizes or (study.data.train_size,)):
        raise Undecided(f"the study has no training size {asked:,}")
    if not sizes:
        return None
    return asked if isinstance(asked, int) else sizes[-1] if asked == "largest" else sizes[0]


def _judge_contrast(claim: Better | Equivalent | GainsMore, evidence: Evidence) -> Judgement:
    """By the difference of two arms, or of two gains: an interaction, where they are steps in two factors."""
    size = _claimed_size(claim.train_size, evidence.study)
    metric = claim.metric if claim.patch_size is None else at_patches(claim.patch_size)
    sign = 1.0 if METRICS[claim.metric] == "up" or isinstance(claim, Equivalent) else -1.0
    weights = dict.fromkeys(((name, size) for name in claim.arm_names), 0.0)
    for name, weight in zip(claim.arm_names, (sign, -sign, -sign, sign), strict=False):
        weights[name, size] += weight
    # A start that both steps share cancels, and its runs do not matter.
    weights = {cell: weight for cell, weight in weights.items() if weight}
    _refuse(evidence.absent(weights, metric), evidence, weights)
    found = evidence.contrast(weights, metric)
    at, told = at_size(size), described(metric, found)
    at += "" if claim.patch_size is None else f" with patches of {claim.patch_size} px"
    match claim:
        case Equivalent():
            region = f"±{amount(metric, claim.within, signed=False)}"
            better = "better" if METRICS[claim.metric] == ("up" if found.sign > 0 else "down") else "worse"
            clearly = f", though clearly {better}" if found.sign else ""
            across = f"the interval reaches across a bound of {region}"
            words = (f"within {region}{clearly}", f"outside {region}", across)
            told = f"{claim.arm} differs from {claim.to}{at} by {told}"
            return judged_by_region(found, (-claim.within, claim.within), told, words)
        case Better():
            told = f"The advantage of {claim.arm} over {claim.than}{at} is {told}"
        case GainsMore():
            other = f"that from {claim.other_start} to {claim.other}"
            told = f"The gain from {claim.start} to {claim.arm} less {other}{at} is {told}"
    return judged_by_margin(found, metric, claim.margin, told)


def axis_of(claim: GapShrinks | Crosses, evidence: Evidence) -> Axis:
    """What a claim about a lead runs along."""
    study, names = evidence.study, (claim.leader, claim.follower)
    if claim.along == TRAIN_SIZE:
        axis = size_axis(study, *names)
    else:
        axis = level_axis(study, *names, _claimed_size(claim.train_size, study))
    _refuse(trouble_along(evidence, axis, claim.metric), evidence, axis.cells)
    return axis


def _judge_gap_shrinks(claim: GapShrinks, evidence: Evidence) -> Judgement:
    """Reproduced when the interval of the lead's slope along the axis lies below 0, contradicted when above.

    In points of accuracy, as the claim is declared; where other scales tell another story, the reason says so.
    """
    axis = axis_of(claim, evidence)
    fall = evidence.contrast(axis.slope_weights(), claim.metric)
    if METRICS[claim.metric] == "down":
        fall = fall.negated()
    lead = f"The lead of {claim.leader} over {claim.follower}{at_size(axis.train_size)}"
    told = f"{lead} changes by {described(claim.metric, fall)} {axis.per}"
    found = judged_by_region(fall, (-math.inf, 0), told, ("it shrinks", "it grows", "the interval includes 0"))
    more = [f"but {other}"] if claim.metric == METRIC and (other := disagreement(evidence, axis, fall.sign)) else []
    if turned := _where_follower_leads(axis, claim.metric, evidence):
        where = axis.told(turned[0]) if len(turned) == 1 else f"{counted(len(turned), axis.noun)} of {len(axis.points)}"
        more.append(f"at {where} {claim.follower} leads")
    return replace(found, reason="; ".join([found.reason.removesuffix("."), *more]) + ".") if more else found


def _where_follower_leads(axis: Axis, metric: str, evidence: Evidence) -> list[float]:
    """The points of an axis at which the lead is one of the follower, by its interval: there it has turned."""
    sign = 1 if METRICS[metric] == "up" else -1
    leads = (evidence.contrast({arm: 1.0, other: -1.0}, metric) for arm, other in axis.pairs)
    return [point for point, lead in zip(axis.points, leads, strict=True) if sign * lead.sign < 0]


def _judge_crosses(claim: Crosses, evidence: Evidence) -> Judgement:
    """Reproduced when the leader leads at the axis' first point and the follower at the last, each by its interval.

    Contradicted when one of them leads at every point by its interval, or when they cross the other way round, each
    time once: where the lead changes more often, neither is said. Nor is it contradicted by one that leads at every
    point where the source saw the crossing further on, on the side on which that leader would be overtaken.

    The p-value is the largest over the ends, or, where the same one leads at both, over all points; 1 where no test
    could have decided.
    """
    axis = axis_of(claim, evidence)
    found = crossing(evidence, axis.flipped(), claim.metric)
    told, tests = statement(found).removesuffix("."), [p_of(point) for point in found.differences]
    if found.shown:
        point = Estimate(found.place, found.ci_low, found.ci_high)
        ends = max(tests[0], tests[-1])
        return judged("reproduced" if found.leads[-1] > 0 else "contradicted", f"{told}.", point, ends)
    if found.changes:
        return Judgement(verdict="inconclusive", reason=f"{told}.", p_value=1.0)
    if found.open_point is not None:
        difference = found.differences[found.open_point]
        ahead = [point.value > 0 for point in found.differences]
        p_value = max(tests[0], tests[-1]) if ahead[0] != ahead[-1] else max(tests) if len(set(ahead)) == 1 else 1.0
        reason = f"{told}; {what_settles(difference, difference.value)}."
        return Judgement(verdict="inconclusive", reason=reason, p_value=p_value)
    led = found.signs[0] < 0
    told += f"; {claim.leader if led else claim.follower} leads at every one of {counted(len(axis.points), axis.noun)}"
    if claim.seen_at and (claim.seen_at[1] > axis.points[-1] if led else claim.seen_at[0] < axis.points[0]):
        reason = f"{told}; the source's crossing, at {axis.told(*claim.seen_at)}, does not lie within that range."
        return Judgement(verdict="outside the range measured", reason=reason, p_value=1.0)
    return Judgement(verdict="contradicted", reason=f"{told}.", p_value=max(tests))


def _judge_monotone(claim: Monotone, evidence: Evidence) -> Judgement:
    """By every step, above -slack. Along the factor of a study of several training sizes, at every size."""
    slack = f" by more than {amount(claim.metric, claim.slack, signed=False)}" if claim.slack else ""
    words = (f"no step goes down{slack}" if slack else "every step goes up", f"goes down{slack}")
    steps = _measured_steps(claim, evidence)
    return _judged_steps(steps, -claim.slack, words, lambda step: described(claim.metric, step))


def _judge_cost_grows(claim: CostGrows, evidence: Evidence) -> Judgement:
    """By every step, which multiplies the cost by `factor` or more (and by more than 1).

    Exact costs are compared as they are, measured ones by the intervals of their ratios.
    """
    if claim.metric in EXACT:
        return _exact_cost(claim, evidence)

    def tell(step: MeanEstimate) -> str:
        ratio, low, high = (plain(math.exp(number)) for number in (step.value, step.ci_low, step.ci_high))
        return f"a factor of {ratio} [{low}, {high}] (n = {counted(step.n, 'seed')})"

    raises = f"raises {named(claim.metric)} by a factor"
    words = (f"every step {raises} of {claim.factor:g} or more", f"{raises} below {claim.factor:g}")
    found = _judged_steps(_measured_steps(claim, evidence, scale="log"), math.log(claim.factor), words, tell)
    ratio = (float(np.exp(number)) for number in (found.estimate, found.ci_low, found.ci_high))
    return judged(found.verdict, found.reason, Estimate(*ratio), found.p_value)


def _exact_cost(claim: CostGrows, evidence: Evidence) -> Judgement:
    steps = _steps(claim, evidence.study)
    costs = {cell: evidence.median(cell, claim.metric, evidence.rows[cell]) for step in steps for cell in step}
    _require_positive(costs, claim.metric, evidence)
    start, end = min(steps, key=lambda step: (costs[step[1]] / costs[step[0]], step[0][0]))
    least = costs[end] / costs[start]
    holds = least >= claim.factor and least > 1
    factor = plain(least) if holds or plain(least) != plain(claim.factor) else f"{least:.10g}"
    told = (
        f"The smallest step, from {place(start)} to {place(end)}, raises {named(claim.metric)} by a factor of "
        f"{factor}, {'at least' if holds else 'short of'} {claim.factor:g} (exact)."
    )
    if least == claim.factor == 1:
        told = f"{place(start)} and {place(end)} do not differ in {named(claim.metric)} (exact)."
    return judged("reproduced" if holds else "contradicted", told, Estimate(least, least, least))


def _require_positive(costs: Mapping[Cell, float], metric: str, evidence: Evidence) -> None:
    if unfit := [cell for cell, cost in costs.items() if not cost > 0]:
        told = f"{listed(map(place, unfit))}: {named(metric)} not measured or not above zero, so there is no ratio"
        raise Undecided(told, lost_runs(evidence, (cell for cell in unfit if not evidence.rows[cell])))


def _steps(claim: Monotone | CostGrows, study: ResolvedStudy) -> list[tuple[Cell, Cell]]:
    """The steps that a claim is about, each in the direction in which it says that the metric rises.

    From arm to arm by increasing level, or from size to size of one arm; backwards where it is to fall (`down`).
    """
    towards, by_size = 1 if claim.direction == "up" else -1, claim.along == TRAIN_SIZE
    arms = study.series[claim.series] if claim.series else study.all_arms if by_size else study.arms
    if by_size:
        names = claim.arm_names or tuple(arm.name for arm in arms)
        lines: list[list[Cell]] = [[(name, size) for size in study.train_sizes] for name in names]
    else:
        order = sorted(arms, key=lambda arm: float(arm.level) if arm.level is not None else math.nan)
        lines = [[(arm.name, size) for arm in order] for size in study.train_sizes or (None,)]
    steps = [step for line in lines for step in pairwise(line[::towards])]
    if not steps:
        raise Undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    return steps


def _measured_steps(
    claim: Monotone | CostGrows, evidence: Evidence, *, scale: Scale = "plain"
) -> list[tuple[str, MeanEstimate]]:
    """Each step's name and its estimate (of the logarithm), positive in the claim's direction."""
    metric, steps = claim.metric, _steps(claim, evidence.study)
    cells = dict.fromkeys(cell for step in steps for cell in step)
    _refuse(evidence.absent(cells, metric), evidence, cells)
    if scale == "log":
        _require_positive({cell: float(evidence.values(cell, metric).min()) for cell in cells}, metric, evidence)
    return [
        (f"{place(start)} to {place(end)}", evidence.contrast({end: 1.0, start: -1.0}, metric, scale=scale))
        for start, end in steps
    ]


def _judged_steps(
    steps: list[tuple[str, MeanEstimate]], null: float, words: tuple[str, str], tell: Callable[[MeanEstimate], str]
) -> Judgement:
    """Reproduced when every step's interval lies above `null` (an intersection-union test, so no correction).

    Contradicted when a step's is below it, Holm-corrected. `words`: what holds of every step, what one breaks it by.
    The p-value is the largest of all steps, or, where some point against the claim, the smallest corrected of these.
    """
    held, broken = words
    for step, found in steps:
        require_carried(found, f"from {step}, {tell(found)}")
    tests = [p_of(found, null) for _, found in steps]
    against = [(p, step) for p, step in zip(holm(tests), steps, strict=True) if step[1].value < null]
    p_value, (step, worst) = min(against, key=lambda each: each[0], default=(max(tests), steps[0]))
    if against and p_value < 1 - LEVEL:
        reason = f"The step from {step} {broken}: {tell(worst)}, {p_told(p_value)} (Holm)."
        return judged("contradicted", reason, worst, p_value)
    step, weakest = min(steps, key=lambda each: each[1].ci_low)
    told = f"from {step}, {tell(weakest)}"
    if weakest.ci_low > null:
        return judged("reproduced", f"{held[0].upper()}{held[1:]}; the weakest is {told}.", weakest, p_value)
    settles = what_settles(weakest, weakest.value - null)
    return judged("inconclusive", f"The weakest step, {told}, is inconclusive; {settles}.", weakest, p_value)


SHIPPED_JUDGES: Mapping[type[Claim], Callable[[Any, Evidence], Judgement]] = {
    Better: _judge_contrast,
    CostGrows: _judge_cost_grows,
    Crosses: _judge_crosses,
    Equivalent: _judge_contrast,
    GainsMore: _judge_contrast,
    GapShrinks: _judge_gap_shrinks,
    Monotone: _judge_monotone,
}

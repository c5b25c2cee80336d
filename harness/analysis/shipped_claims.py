"""How the shipped kinds of claims are judged: by intervals, never by point estimates.

Each claim is judged on its own at level .05: with no true effect, a verdict other than `inconclusive` comes in at most
5 % of studies. A claim one of whose planned runs did not complete is inconclusive, whatever the rest says: the runs
that diverged, failed or are missing may be just those that would have decided (survivors only would flatter an arm).
Costs that the model alone decides (parameters, multiply-accumulates) are exact and need one run per arm, in any status.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from harness.analysis.axis import TRAIN_SIZE, Axis, level_axis, size_axis
from harness.analysis.crossover import Crossing, crossing, statement
from harness.analysis.estimate import LEVEL, MeanEstimate, holm
from harness.analysis.evidence import Evidence
from harness.analysis.power import what_settles
from harness.analysis.wording import Cell, amount, at_size, described, listed, named, place
from harness.spec import (
    METRICS,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    Estimate,
    GainsMore,
    GapShrinks,
    Judgement,
    Monotone,
    ResolvedStudy,
)
from harness.spec.formats import plain
from harness.spec.plural import counted
from harness.spec.verdict import Verdict

_EXACT = ("params", "macs_per_image", "attention_macs_per_image")
"""Metrics that the model alone decides."""


class Undecided(Exception):
    """Nothing can be judged, for a reason given as a clause."""


def judged(verdict: Verdict, reason: str, estimate: Estimate) -> Judgement:
    """A verdict that rests on an estimate."""
    numbers = {"estimate": estimate.value, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high}
    return Judgement(verdict=verdict, reason=reason, **numbers)


def undecided(reason: str) -> Judgement:
    """Inconclusive, for a reason given as a clause."""
    return Judgement(verdict="inconclusive", reason=f"{reason[0].upper()}{reason[1:]}.")


def judged_by_margin(estimate: Estimate, metric: str, margin: float, told: str) -> Judgement:
    """Reproduced when the interval lies above the margin, contradicted when below; `told` names the estimate."""
    bound = "0" if margin == 0 else f"the margin of {amount(metric, margin, signed=False)}"
    within = (f"above {bound}", f"below {bound}", f"the interval includes {bound}")
    return _judged_by_region(estimate, (margin, math.inf), told, within)


def _judged_by_region(
    estimate: Estimate, region: tuple[float, float], told: str, words: tuple[str, str, str]
) -> Judgement:
    """Reproduced when the interval lies within an open region, contradicted when wholly outside.

    `words`: what is said of an interval inside, outside, and across a bound.
    """
    inside, outside, across = words
    low, high = region
    if low < estimate.ci_low and estimate.ci_high < high:
        return judged("reproduced", f"{told}: {inside}.", estimate)
    if estimate.ci_high < low or high < estimate.ci_low:
        return judged("contradicted", f"{told}: {outside}.", estimate)
    gap = min(abs(estimate.value - bound) for bound in region)
    settles = f"; {what_settles(estimate, gap)}" if isinstance(estimate, MeanEstimate) else ""
    return judged("inconclusive", f"{told}: {across}{settles}.", estimate)


def _require_whole(evidence: Evidence, cells: Iterable[Cell], metric: str) -> None:
    if trouble := evidence.absent(cells, metric):
        raise Undecided(trouble)


def _claimed_size(asked: int | str | None, study: ResolvedStudy) -> int | None:
    """The training size that a claim means."""
    sizes = study.train_sizes
    if asked is None and len(sizes) > 1:
        raise Undecided(f"the claim names no training size, and the study has {len(sizes)}")
    if isinstance(asked, int) and asked not in (sizes or (study.data.train_size,)):
        told = f"has no training size {asked:,}" if sizes else f"does not vary the training size to {asked:,}"
        raise Undecided(f"the study {told}")
    if not sizes:
        return None
    return asked if isinstance(asked, int) else sizes[-1] if asked == "largest" else sizes[0]


def _sign(metric: str) -> float:
    return 1.0 if METRICS[metric] == "up" else -1.0


def _judge_better(claim: Better, evidence: Evidence) -> Judgement:
    """Reproduced when the interval of the advantage lies above the margin, contradicted when below."""
    size, sign = _claimed_size(claim.train_size, evidence.study), _sign(claim.metric)
    weights = {(claim.arm, size): sign, (claim.than, size): -sign}
    _require_whole(evidence, weights, claim.metric)
    advantage = evidence.contrast(weights, claim.metric)
    told = f"The advantage of {claim.arm} over {claim.than}{at_size(size)} is {described(claim.metric, advantage)}"
    return judged_by_margin(advantage, claim.metric, claim.margin, told)


def _judge_gains_more(claim: GainsMore, evidence: Evidence) -> Judgement:
    """As `_judge_better`, for the difference of two gains: an interaction, where they are steps in two factors."""
    size, sign = _claimed_size(claim.train_size, evidence.study), _sign(claim.metric)
    signs = dict.fromkeys(claim.arm_names, 0.0)
    for name, weight in zip(claim.arm_names, (sign, -sign, -sign, sign), strict=True):
        signs[name] += weight
    # A start that both steps share cancels, and its runs do not matter.
    weights: dict[Cell, float] = {(name, size): weight for name, weight in signs.items() if weight}
    if not weights:
        raise Undecided("the two steps are the same, so neither can gain more")
    _require_whole(evidence, weights, claim.metric)
    more = evidence.contrast(weights, claim.metric)
    told = (
        f"The gain from {claim.start} to {claim.arm} less that from {claim.other_start} to {claim.other}"
        f"{at_size(size)} is {described(claim.metric, more)}"
    )
    return judged_by_margin(more, claim.metric, claim.margin, told)


def _judge_equivalent(claim: Equivalent, evidence: Evidence) -> Judgement:
    """Reproduced when the interval lies within the region of equivalence, contradicted when wholly outside."""
    size = _claimed_size(claim.train_size, evidence.study)
    _require_whole(evidence, [(claim.arm, size), (claim.to, size)], claim.metric)
    difference = evidence.difference(claim.arm, claim.to, size, claim.metric)
    region = f"±{amount(claim.metric, claim.within, signed=False)}"
    told = f"{claim.arm} differs from {claim.to}{at_size(size)} by {described(claim.metric, difference)}"
    words = (f"within {region}", f"outside {region}", f"the interval reaches across a bound of {region}")
    return _judged_by_region(difference, (-claim.within, claim.within), told, words)


def _judge_gap_shrinks(claim: GapShrinks, evidence: Evidence) -> Judgement:
    """Reproduced when the interval of the lead's slope along the axis lies below 0, contradicted when above."""
    axis = _axis(claim, evidence, "the lead has no slope")
    fall = evidence.contrast(axis.slope_weights(), claim.metric)
    if METRICS[claim.metric] == "down":
        fall = fall.negated()
    told = (
        f"The lead of {claim.leader} over {claim.follower}{at_size(axis.train_size)} changes by "
        f"{described(claim.metric, fall)} {axis.per}"
    )
    return _judged_by_region(fall, (-math.inf, 0), told, ("it shrinks", "it grows", "the interval includes 0"))


def _judge_crosses(claim: Crosses, evidence: Evidence) -> Judgement:
    """Reproduced when the leader leads at the axis' first point and the follower at the last, each by its interval.

    Contradicted when one of them leads at every point by its interval, or when they cross the other way round, each
    time once: where the lead changes more often, neither is said.
    """
    axis = _axis(claim, evidence, "there is no range to cross in")
    found = crossing(evidence, axis.flipped(), claim.metric)
    told = statement(found)
    if found.shown:
        point = Estimate(found.median, found.ci_low, found.ci_high)
        return judged("reproduced" if found.signs[-1] > 0 else "contradicted", told, point)
    told = told.removesuffix(".")
    if set(found.signs) in ({1}, {-1}):
        leader = claim.leader if found.signs[0] < 0 else claim.follower
        told = f"{told}; {leader} leads at every one of {counted(len(axis.points), axis.noun)}."
        return Judgement(verdict="contradicted", reason=told)
    raise Undecided(told if found.changes else f"{told}; {_open_end(found)}")


def _axis(claim: GapShrinks | Crosses, evidence: Evidence, consequence: str) -> Axis:
    """What a claim about a lead runs along."""
    study = evidence.study
    if claim.along == TRAIN_SIZE:
        axis = size_axis(study, claim.leader, claim.follower)
        if len(axis.points) < 2:
            raise Undecided(f"the study has fewer than two training sizes, so {consequence}")
    else:
        axis = level_axis(study, claim.leader, claim.follower, _claimed_size(claim.train_size, study))
    _require_whole(evidence, axis.cells, claim.metric)
    return axis


def _open_end(found: Crossing) -> str:
    """What would settle the end at which no one leads, the last point first."""
    for end in (-1, 0):
        if found.signs[end] == 0:
            point, difference = found.axis.points[end], found.differences[end]
            where = f"{found.axis.number(point)} images" if found.axis.sized else found.axis.told(point)
            return f"at {where}, {what_settles(difference, difference.value)}"
    return "it is unclear which leads in between"


def _judge_monotone(claim: Monotone, evidence: Evidence) -> Judgement:
    """By every step, above -slack. Along the factor of a study of several training sizes, at every size."""
    slack = f" by more than {amount(claim.metric, claim.slack, signed=False)}" if claim.slack else ""
    return _judged_steps(
        _measured_steps(claim, evidence),
        -claim.slack,
        held=f"no step goes down{slack}" if slack else "every step goes up",
        broken=f"goes down{slack}",
        tell=lambda step: described(claim.metric, step),
    )


def _judge_cost_grows(claim: CostGrows, evidence: Evidence) -> Judgement:
    """By every step, which multiplies the cost by `factor` or more (and by more than 1).

    Exact costs are compared as they are, measured ones by the intervals of their ratios.
    """
    if claim.metric in _EXACT:
        return _exact_cost(claim, evidence)

    def tell(step: MeanEstimate) -> str:
        ratio, low, high = (plain(math.exp(number)) for number in (step.value, step.ci_low, step.ci_high))
        return f"a factor of {ratio} [{low}, {high}] (n = {counted(step.n, 'seed')})"

    found = _judged_steps(
        _measured_steps(claim, evidence, log=True),
        math.log(claim.factor),
        held=f"every step raises {named(claim.metric)} by a factor of {claim.factor:g} or more",
        broken=f"raises {named(claim.metric)} by a factor below {claim.factor:g}",
        tell=tell,
    )
    ratio = Estimate(*(float(np.exp(number)) for number in (found.estimate, found.ci_low, found.ci_high)))
    return judged(found.verdict, found.reason, ratio)


def _exact_cost(claim: CostGrows, evidence: Evidence) -> Judgement:
    lines = _lines(claim, evidence.study)
    costs = {cell: evidence.cost_of_model(cell, claim.metric) for line in lines for cell in line}
    unknown = [cell for cell, cost in costs.items() if math.isnan(cost)]
    if unrun := [place(cell) for cell in unknown if not evidence.rows[cell]]:
        raise Undecided(f"nothing is known of {named(claim.metric)} for {listed(unrun)}, which has no run")
    if unknown:
        raise Undecided(f"the runs of {listed(map(place, unknown))} have not measured {named(claim.metric)}")
    _require_positive(costs, claim.metric)
    steps = _steps(claim, lines)
    start, end = min(steps, key=lambda step: (costs[step[1]] / costs[step[0]], step[0][0]))
    least = costs[end] / costs[start]
    holds = least >= claim.factor and least > 1
    told = (
        f"The smallest step, from {place(start)} to {place(end)}, raises {named(claim.metric)} by a factor of "
        f"{plain(least)}, {'at least' if holds else 'short of'} {claim.factor:g} (exact)."
    )
    if least == claim.factor == 1:
        told = f"{place(start)} and {place(end)} do not differ in {named(claim.metric)} (exact)."
    return judged("reproduced" if holds else "contradicted", told, Estimate(least, least, least))


def _require_positive(costs: Mapping[Cell, float], metric: str) -> None:
    if low := [place(cell) for cell, cost in costs.items() if cost <= 0]:
        raise Undecided(f"{listed(low)}: {named(metric)} not above zero, so there is no ratio")


def _lines(claim: Monotone | CostGrows, study: ResolvedStudy) -> list[list[Cell]]:
    """The lines of cells that a claim follows, in the order in which it says that the metric rises.

    Arms by increasing level, or sizes of one arm; decreasing where the metric is to fall along them (`down`).
    """
    towards = 1 if claim.direction == "up" else -1
    if claim.along == TRAIN_SIZE:
        followed = study.all_arms if claim.series is None else study.series[claim.series]
        names = claim.arm_names or tuple(arm.name for arm in followed)
        return [[(name, size) for size in study.train_sizes[::towards]] for name in names]
    followed = study.arms if claim.series is None else study.series[claim.series]
    order = sorted(followed, key=lambda of: float(of.level) if of.level is not None else math.nan)
    return [[(of.name, size) for of in order[::towards]] for size in study.train_sizes or (None,)]


def _steps(claim: Monotone | CostGrows, lines: list[list[Cell]]) -> list[tuple[Cell, Cell]]:
    steps = [step for line in lines for step in pairwise(line)]
    if not steps:
        raise Undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    return steps


def _measured_steps(
    claim: Monotone | CostGrows, evidence: Evidence, *, log: bool = False
) -> list[tuple[str, MeanEstimate]]:
    """Each step's name and its estimate (of the logarithm), positive in the claim's direction."""
    metric, lines = claim.metric, _lines(claim, evidence.study)
    cells = [cell for line in lines for cell in line]
    _require_whole(evidence, cells, metric)
    if log:
        _require_positive({cell: float(evidence.values(cell, metric).min()) for cell in cells}, metric)
    return [
        (f"{place(start)} to {place(end)}", evidence.contrast({end: 1.0, start: -1.0}, metric, log=log))
        for start, end in _steps(claim, lines)
    ]


def _judged_steps(
    steps: list[tuple[str, MeanEstimate]], null: float, *, held: str, broken: str, tell: Callable[[MeanEstimate], str]
) -> Judgement:
    """Reproduced when every step's interval lies above `null` (an intersection-union test, so no correction).

    Contradicted when a step's is below it, Holm-corrected over the steps.
    """
    adjusted = holm([found.p_value(null) for _, found in steps])
    against = [(p, step) for p, step in zip(adjusted, steps, strict=True) if step[1].value < null and p < 1 - LEVEL]
    if against:
        p, (step, worst) = min(against, key=lambda each: each[0])
        reason = f"The step from {step} {broken}: {tell(worst)}, p = {plain(p, 2)} (Holm)."
        return judged("contradicted", reason, worst)
    step, weakest = min(steps, key=lambda each: each[1].ci_low)
    told = f"from {step}, {tell(weakest)}"
    if weakest.ci_low > null:
        return judged("reproduced", f"{held[0].upper()}{held[1:]}; the weakest is {told}.", weakest)
    settles = what_settles(weakest, weakest.value - null)
    return judged("inconclusive", f"The weakest step, {told}, is inconclusive; {settles}.", weakest)


SHIPPED_JUDGES: Mapping[type[Claim], Callable[[Any, Evidence], Judgement]] = {
    Better: _judge_better,
    CostGrows: _judge_cost_grows,
    Crosses: _judge_crosses,
    Equivalent: _judge_equivalent,
    GainsMore: _judge_gains_more,
    GapShrinks: _judge_gap_shrinks,
    Monotone: _judge_monotone,
}

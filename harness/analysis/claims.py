"""The verdict on each claim: by intervals, never by point estimates.

Each claim is judged on its own at level .05: with no true effect, a verdict other than `inconclusive` comes in at most
5 % of studies. A claim one of whose planned runs did not complete is inconclusive, whatever the rest says: the runs
that diverged, failed or are missing may be just those that would have decided (survivors only would flatter an arm).
Costs that the model alone decides (parameters, multiply-accumulates) are exact and need one run per arm, in any status.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from harness.analysis.axis import TRAIN_SIZE, Axis, level_axis, size_axis
from harness.analysis.cells import Cell
from harness.analysis.comparisons import holm
from harness.analysis.crossover import Crossing, crossing, statement, supported_sign
from harness.analysis.estimate import FEWEST_SEEDS, LEVEL, Estimate
from harness.analysis.evidence import Evidence, evidence_of
from harness.analysis.findings import CLAIM_COLUMNS
from harness.analysis.power import what_settles
from harness.analysis.summary import cost_of_model, unfinished
from harness.analysis.wording import amount, at_size, described, listed, place, significant
from harness.records.tables import StudyRecords
from harness.spec import (
    METRICS,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    GainsMore,
    GapShrinks,
    Monotone,
    ResolvedStudy,
)

_EXACT = ("params", "macs_per_image", "attention_macs_per_image")
"""Metrics that the model alone decides."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict with the numbers that it rests on.

    `estimate` and its interval: Better and GainsMore, the difference signed so that positive speaks for the claim;
    Equivalent, arm minus other; Monotone, the weakest step, positive in the claim's direction; GapShrinks, the slope of
    the lead, per tenfold training images or over the range of shared levels; Crosses, the point of the crossing, in
    training images or levels; CostGrows, the smallest ratio of a step in the claim's direction.
    """

    verdict: str
    reason: str
    estimate: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One step of an ordered series, signed so that positive goes in the claim's direction."""

    start: str
    end: str
    estimate: Estimate


def verdicts(records: StudyRecords, *, seed: int = 0, resamples: int = 2000) -> pd.DataFrame:
    """CLAIM_COLUMNS, a row per claim of the study, in its order; see `Judgement` for what `estimate` is."""
    return claims_table(evidence_of(records, seed=seed, resamples=resamples))


def claims_table(evidence: Evidence) -> pd.DataFrame:
    """As `verdicts`, from evidence at hand."""
    rows = []
    for position, claim in enumerate(evidence.cells.study.claims, start=1):
        found = judge(claim, evidence)
        numbers = (found.estimate, found.ci_low, found.ci_high)
        rows.append((f"{claim.kind}-{position}", claim.statement, claim.source, found.verdict, *numbers, found.reason))
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)).astype(CLAIM_COLUMNS)


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """The verdict on one claim."""
    match claim:
        case Better():
            return _better(claim, evidence)
        case Equivalent():
            return _equivalent(claim, evidence)
        case Monotone():
            return _monotone(claim, evidence)
        case GapShrinks():
            return _gap_shrinks(claim, evidence)
        case Crosses():
            return _crosses(claim, evidence)
        case GainsMore():
            return _gains_more(claim, evidence)
        case CostGrows():
            return _cost_grows(claim, evidence)


def _better(claim: Better, evidence: Evidence) -> Judgement:
    """Reproduced when the interval of the advantage lies above the margin, contradicted when below."""
    size, trouble = _size(claim.train_size, evidence.cells.study)
    trouble = trouble or _absent(evidence, [(claim.arm, size), (claim.than, size)], claim.metric)
    if trouble:
        return _undecided(trouble)
    sign = 1.0 if METRICS[claim.metric] == "up" else -1.0
    advantage = evidence.contrast({(claim.arm, size): sign, (claim.than, size): -sign}, claim.metric)
    told = f"{claim.arm} is ahead of {claim.than}{at_size(size)} by {described(claim.metric, advantage)}"
    return _judged_margin(advantage, claim.metric, claim.margin, told)


def _gains_more(claim: GainsMore, evidence: Evidence) -> Judgement:
    """As `_better`, for the difference of two gains: the interaction of two factors, where they are steps in those."""
    size, trouble = _size(claim.train_size, evidence.cells.study)
    sign = 1.0 if METRICS[claim.metric] == "up" else -1.0
    signs = {claim.arm: 0.0, claim.start: 0.0, claim.other: 0.0, claim.other_start: 0.0}
    for name, weight in ((claim.arm, 1), (claim.start, -1), (claim.other, -1), (claim.other_start, 1)):
        signs[name] += sign * weight
    # A start that both steps share cancels, and its runs do not matter.
    weights: dict[Cell, float] = {(name, size): weight for name, weight in signs.items() if weight}
    if not weights:
        return _undecided("the two steps are the same, so neither can gain more")
    trouble = trouble or _absent(evidence, list(weights), claim.metric)
    if trouble:
        return _undecided(trouble)
    more = evidence.contrast(weights, claim.metric)
    told = (
        f"From {claim.start} to {claim.arm} the gain is greater than from {claim.other_start} to {claim.other}"
        f"{at_size(size)} by {described(claim.metric, more)}"
    )
    return _judged_margin(more, claim.metric, claim.margin, told)


def _judged_margin(advantage: Estimate, metric: str, margin: float, told: str) -> Judgement:
    """Reproduced when the interval lies above the margin, contradicted when below."""
    bound = "0" if margin == 0 else f"the margin of {amount(metric, margin, signed=False)}"
    if advantage.ci_low > margin:
        return _judged("reproduced", f"{told}: above {bound}.", advantage)
    if advantage.ci_high < margin:
        return _judged("contradicted", f"{told}: below {bound}.", advantage)
    settles = what_settles(advantage, advantage.value - margin)
    return _judged("inconclusive", f"{told}: the interval includes {bound}; {settles}.", advantage)


def _equivalent(claim: Equivalent, evidence: Evidence) -> Judgement:
    """Reproduced when the interval lies within the region of equivalence, contradicted when wholly outside."""
    size, trouble = _size(claim.train_size, evidence.cells.study)
    trouble = trouble or _absent(evidence, [(claim.arm, size), (claim.to, size)], claim.metric)
    if trouble:
        return _undecided(trouble)
    difference = evidence.difference(claim.arm, claim.to, size, claim.metric)
    region = f"±{amount(claim.metric, claim.within, signed=False)}"
    told = f"{claim.arm} differs from {claim.to}{at_size(size)} by {described(claim.metric, difference)}"
    if -claim.within < difference.ci_low and difference.ci_high < claim.within:
        return _judged("reproduced", f"{told}: within {region}.", difference)
    if difference.ci_low > claim.within or difference.ci_high < -claim.within:
        return _judged("contradicted", f"{told}: outside {region}.", difference)
    settles = what_settles(difference, claim.within - abs(difference.value))
    return _judged("inconclusive", f"{told}: the interval reaches across a bound of {region}; {settles}.", difference)


def _monotone(claim: Monotone, evidence: Evidence) -> Judgement:
    """Reproduced when every step's interval lies above -slack (an intersection-union test, so no correction).

    Contradicted when a step is below -slack, Holm-corrected over the steps. Along the factor of a study with several
    training sizes, the steps of every size count.
    """
    series = _series(evidence.cells.study, claim.along, claim.arm, claim.series)
    trouble = _absent(evidence, [cell for cells in series for cell in cells], claim.metric)
    if trouble:
        return _undecided(trouble)
    steps = _steps(evidence, series, claim.metric, 1.0 if claim.direction == "up" else -1.0, log=False)
    if not steps:
        return _undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    slack = f" by more than {amount(claim.metric, claim.slack, signed=False)}" if claim.slack else ""
    return _judged_steps(
        steps,
        -claim.slack,
        held=f"every step goes {claim.direction}" if not slack else f"no step goes against {claim.direction}{slack}",
        broken=f"goes against {claim.direction}{slack}",
        tell=lambda estimate: described(claim.metric, estimate),
    )


def _gap_shrinks(claim: GapShrinks, evidence: Evidence) -> Judgement:
    """Reproduced when the interval of the lead's slope along the axis lies below 0, contradicted when above."""
    axis, trouble = _axis(claim, evidence, "the lead has no slope")
    if trouble:
        return _undecided(trouble)
    fall = evidence.contrast(axis.slope_weights(), claim.metric)
    if METRICS[claim.metric] == "down":
        fall = fall.negated()
    told = (
        f"The lead of {claim.leader} over {claim.follower}{at_size(axis.train_size)} changes by "
        f"{described(claim.metric, fall)} {axis.per}"
    )
    if fall.ci_high < 0:
        return _judged("reproduced", f"{told}: it shrinks.", fall)
    if fall.ci_low > 0:
        return _judged("contradicted", f"{told}: it grows.", fall)
    return _judged("inconclusive", f"{told}: the interval includes 0; {what_settles(fall, fall.value)}.", fall)


def _crosses(claim: Crosses, evidence: Evidence) -> Judgement:
    """Reproduced when the leader leads at the axis' first point and the follower at the last, each by its interval.

    Contradicted when one of them leads at every point by its interval, or when they cross the other way round.
    """
    axis, trouble = _axis(claim, evidence, "there is no range to cross in")
    if trouble:
        return _undecided(trouble)
    found = crossing(evidence, axis.flipped(), claim.metric)
    told = statement(found)
    if found.shown:
        verdict = "reproduced" if found.end_signs == (-1, 1) else "contradicted"
        return Judgement(
            verdict=verdict, reason=told, estimate=found.median, ci_low=found.ci_low, ci_high=found.ci_high
        )
    sign = 1 if METRICS[claim.metric] == "up" else -1
    lead = {
        sign * supported_sign(evidence.contrast({leader: 1.0, follower: -1.0}, claim.metric))
        for leader, follower in axis.pairs
    }
    if lead in ({1}, {-1}):
        leader = claim.leader if lead == {1} else claim.follower
        return Judgement(
            verdict="contradicted",
            reason=f"{told[:-1]}; {leader} leads at every one of {len(axis.points)} {axis.noun}.",
        )
    return _undecided(f"{told[:-1]}; {_open_end(found)}")


def _axis(claim: GapShrinks | Crosses, evidence: Evidence, consequence: str) -> tuple[Axis, str]:
    """What a claim about a lead runs along, and why it cannot be judged (empty where it can)."""
    study = evidence.cells.study
    if claim.along == TRAIN_SIZE:
        axis = size_axis(study, claim.leader, claim.follower)
        few = len(axis.points) < 2
        trouble = f"the study has fewer than two training sizes, so {consequence}" if few else ""
    else:
        size, trouble = _size(claim.train_size, study)
        axis = level_axis(study, claim.leader, claim.follower, size)
    return axis, trouble or _absent(evidence, list(axis.cells), claim.metric)


def _open_end(found: Crossing) -> str:
    """What would settle the end at which no one leads, the last point first."""
    assert found.ends is not None
    for end in (-1, 0):
        if found.end_signs[end] == 0:
            point = found.axis.points[end]
            where = f"{found.axis.number(point)} images" if found.axis.sized else found.axis.told(point)
            return f"at {where}, {what_settles(found.ends[end], found.ends[end].value)}"
    return "who leads in between is open"


def _cost_grows(claim: CostGrows, evidence: Evidence) -> Judgement:
    """Reproduced when every step multiplies the cost by `factor` or more (and by more than 1).

    Exact costs are compared as they are; measured ones by intervals of the ratio, as `_monotone` does for differences.
    """
    series = _series(evidence.cells.study, claim.along, None, claim.series)
    cells = [cell for line in series for cell in line]
    if claim.metric in _EXACT:
        return _exact_cost(claim, evidence, series)
    trouble = _absent(evidence, cells, claim.metric)
    if not trouble:
        low = [place(cell) for cell in cells if not (evidence.cells.values(cell, claim.metric) > 0).all()]
        trouble = f"{claim.metric} is not above zero for {listed(low)}, so it has no ratio" if low else ""
    if trouble:
        return _undecided(trouble)
    steps = _steps(evidence, series, claim.metric, 1.0 if claim.direction == "up" else -1.0, log=True)
    if not steps:
        return _undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    found = _judged_steps(
        steps,
        math.log(claim.factor),
        held=f"{claim.metric} goes {claim.direction} by a factor of {claim.factor:g} or more at every step",
        broken=f"changes {claim.metric} by a factor below {claim.factor:g} in the direction {claim.direction}",
        tell=lambda e: (
            f"a factor of {significant(math.exp(e.value))} "
            f"[{significant(math.exp(e.ci_low))}, {significant(math.exp(e.ci_high))}] (n = {e.n} seeds)"
        ),
    )
    ratios = [float(np.exp(value)) for value in (found.estimate, found.ci_low, found.ci_high)]
    return Judgement(
        verdict=found.verdict, reason=found.reason, estimate=ratios[0], ci_low=ratios[1], ci_high=ratios[2]
    )


def _exact_cost(claim: CostGrows, evidence: Evidence, series: list[list[Cell]]) -> Judgement:
    costs = {cell: cost_of_model(evidence.cells.rows[cell], claim.metric) for line in series for cell in line}
    trouble = _no_ratio(evidence, costs, claim.metric)
    if trouble:
        return _undecided(trouble)
    ratios = {
        (start, end): costs[end] / costs[start] if claim.direction == "up" else costs[start] / costs[end]
        for line in series
        for start, end in pairwise(line)
    }
    if not ratios:
        return _undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    (start, end), least = min(ratios.items(), key=lambda item: (item[1], item[0][0][0]))
    holds = least >= claim.factor and least > 1
    told = (
        f"The smallest step of {claim.metric} in the direction {claim.direction}, {place(start)} to {place(end)}, "
        f"is a factor of {significant(least)}, {'at least' if holds else 'short of'} {max(claim.factor, 1):g} (exact)."
    )
    if least == claim.factor == 1:
        told = f"{claim.metric} does not change from {place(start)} to {place(end)} (exact)."
    verdict = "reproduced" if holds else "contradicted"
    return Judgement(verdict=verdict, reason=told, estimate=least, ci_low=least, ci_high=least)


def _no_ratio(evidence: Evidence, costs: dict[Cell, float], metric: str) -> str:
    """Why exact costs have no ratio: without a run, not kept by the runs, or zero; empty where they have."""
    unknown = [cell for cell, cost in costs.items() if math.isnan(cost)]
    unrun = [place(cell) for cell in unknown if not evidence.cells.rows[cell]]
    if unrun:
        return f"{metric} is not known for {listed(unrun)}, which has no run"
    if unknown:
        return f"{metric} was not measured in the runs of {listed(map(place, unknown))}"
    zero = [place(cell) for cell, cost in costs.items() if cost <= 0]
    return f"{metric} is not above zero for {listed(zero)}, so it has no ratio" if zero else ""


def _series(study: ResolvedStudy, along: str, arm: str | None, series: str | None) -> list[list[Cell]]:
    """The ordered lines of cells that a claim follows: arms by increasing level, or sizes of one arm."""
    followed = study.arms if series is None else study.series[series]
    if along == TRAIN_SIZE:
        every = study.all_arms if series is None else followed
        names = [arm] if arm is not None else [other.name for other in every]
        return [[(name, size) for size in study.train_sizes] for name in names]
    order = sorted(followed, key=lambda of: float(of.level) if of.level is not None else math.nan)
    return [[(of.name, size) for of in order] for size in study.train_sizes or (None,)]


def _steps(evidence: Evidence, series: list[list[Cell]], metric: str, sign: float, *, log: bool) -> list[_Step]:
    return [
        _Step(
            start=place(start),
            end=place(end),
            estimate=evidence.contrast({end: sign, start: -sign}, metric, log=log),
        )
        for line in series
        for start, end in pairwise(line)
    ]


def _judged_steps(
    steps: list[_Step], null: float, *, held: str, broken: str, tell: Callable[[Estimate], str]
) -> Judgement:
    """Reproduced when every step's interval lies above `null`; contradicted when one is below it, Holm-corrected."""
    p_values = [step.estimate.p_value(null) for step in steps]
    adjusted = holm(p_values) if min(p_values) < 1 - LEVEL else p_values  # it only raises them
    against = [
        (p, step) for p, step in zip(adjusted, steps, strict=True) if step.estimate.value < null and p < 1 - LEVEL
    ]
    if against:
        p, worst = min(against, key=lambda pair: pair[0])
        told = f"The step from {worst.start} to {worst.end} {broken}: {tell(worst.estimate)}"
        return _judged("contradicted", f"{told}, p = {significant(p, 2)} (Holm).", worst.estimate)
    weakest = min(steps, key=lambda step: step.estimate.ci_low)
    told = f"from {weakest.start} to {weakest.end}, {tell(weakest.estimate)}"
    if weakest.estimate.ci_low > null:
        return _judged("reproduced", f"{held[0].upper()}{held[1:]}; the weakest is {told}.", weakest.estimate)
    settles = what_settles(weakest.estimate, weakest.estimate.value - null)
    return _judged("inconclusive", f"The weakest step, {told}, is open; {settles}.", weakest.estimate)


def _size(asked: int | str | None, study: ResolvedStudy) -> tuple[int | None, str]:
    """The training size that a claim means, or why there is none."""
    sizes = study.train_sizes
    if asked is None:
        told = f"the claim names no training size, and the study has {len(sizes)}"
        return (None, "") if not sizes else (sizes[0], "" if len(sizes) == 1 else told)
    if not sizes:
        return None, "" if isinstance(asked, str) else _only_size(asked, study)
    if isinstance(asked, str):
        return (sizes[0] if asked == "smallest" else sizes[-1]), ""
    return asked, "" if asked in sizes else f"the study has no training size {asked:,}"


def _only_size(asked: int, study: ResolvedStudy) -> str:
    return "" if study.data.train_size == asked else f"the study does not vary the training size to {asked:,}"


def _absent(evidence: Evidence, cells: list[Cell], metric: str) -> str:
    """Why the claim cannot be judged: which runs did not complete, or too few seeds; empty where nothing is amiss."""
    known = evidence.cells
    told = []
    for cell in dict.fromkeys(cells):
        for status, seeds in unfinished(known, cell).items():
            told.append(f"{place(cell)} seed{'' if len(seeds) == 1 else 's'} {listed(seeds)} {status}")
    if told:
        return f"{'; '.join(told)}: the claim rests on runs without a result"
    unmeasured = [place(cell) for cell in dict.fromkeys(cells) if not np.isfinite(known.values(cell, metric)).all()]
    if unmeasured:
        return f"{metric} was not measured in every run of {listed(unmeasured)}"
    n = len(known.study.seeds)
    if n < FEWEST_SEEDS:
        return f"{n} of at least {FEWEST_SEEDS} seeds planned: too few for an interval"
    return ""


def _judged(verdict: str, reason: str, estimate: Estimate) -> Judgement:
    return Judgement(
        verdict=verdict,
        reason=reason,
        estimate=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
    )


def _undecided(reason: str) -> Judgement:
    return Judgement(verdict="inconclusive", reason=f"{reason[0].upper()}{reason[1:]}.")

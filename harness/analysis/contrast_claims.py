"""How the shipped kinds of claims are judged: by intervals, never by point estimates.

Each claim is judged on its own at level .05: with no true effect, a verdict other than `inconclusive` comes in at most
5 % of studies. A claim one of whose planned runs did not complete is inconclusive, whatever the rest says: the runs
that diverged, failed or are missing may be just those that would have decided (survivors only would flatter an arm).
Costs that the model alone decides (parameters, multiply-accumulates) are exact and need one run per arm, in any status.
None of them draws from the claim's own generator: every contrast has one of its own.
"""

import numpy as np

from harness.analysis.axis import TRAIN_SIZE, Axis, level_axis, size_axis
from harness.analysis.cells import Cell
from harness.analysis.crossover import Crossing, crossing, statement
from harness.analysis.evidence import Evidence
from harness.analysis.judgement import absent, claimed_size, judged, judged_by_margin, undecided
from harness.analysis.power import what_settles
from harness.analysis.wording import amount, at_size, described
from harness.spec import METRICS, Better, Crosses, Equivalent, GainsMore, GapShrinks, Judgement
from harness.spec.verdict import Verdict


def judge_better(claim: Better, evidence: Evidence, _: np.random.Generator) -> Judgement:
    """Reproduced when the interval of the advantage lies above the margin, contradicted when below."""
    size, trouble = claimed_size(claim.train_size, evidence.study)
    trouble = trouble or absent(evidence, [(claim.arm, size), (claim.than, size)], claim.metric)
    if trouble:
        return undecided(trouble)
    sign = 1.0 if METRICS[claim.metric] == "up" else -1.0
    advantage = evidence.contrast({(claim.arm, size): sign, (claim.than, size): -sign}, claim.metric)
    told = f"The advantage of {claim.arm} over {claim.than}{at_size(size)} is {described(claim.metric, advantage)}"
    return judged_by_margin(advantage, claim.metric, claim.margin, told)


def judge_gains_more(claim: GainsMore, evidence: Evidence, _: np.random.Generator) -> Judgement:
    """As `judge_better`, for the difference of two gains: an interaction, where they are steps in two factors."""
    size, trouble = claimed_size(claim.train_size, evidence.study)
    sign = 1.0 if METRICS[claim.metric] == "up" else -1.0
    signs = {claim.arm: 0.0, claim.start: 0.0, claim.other: 0.0, claim.other_start: 0.0}
    for name, weight in ((claim.arm, 1), (claim.start, -1), (claim.other, -1), (claim.other_start, 1)):
        signs[name] += sign * weight
    # A start that both steps share cancels, and its runs do not matter.
    weights: dict[Cell, float] = {(name, size): weight for name, weight in signs.items() if weight}
    if not weights:
        return undecided("the two steps are the same, so neither can gain more")
    trouble = trouble or absent(evidence, list(weights), claim.metric)
    if trouble:
        return undecided(trouble)
    more = evidence.contrast(weights, claim.metric)
    told = (
        f"The gain from {claim.start} to {claim.arm} less that from {claim.other_start} to {claim.other}"
        f"{at_size(size)} is {described(claim.metric, more)}"
    )
    return judged_by_margin(more, claim.metric, claim.margin, told)


def judge_equivalent(claim: Equivalent, evidence: Evidence, _: np.random.Generator) -> Judgement:
    """Reproduced when the interval lies within the region of equivalence, contradicted when wholly outside."""
    size, trouble = claimed_size(claim.train_size, evidence.study)
    trouble = trouble or absent(evidence, [(claim.arm, size), (claim.to, size)], claim.metric)
    if trouble:
        return undecided(trouble)
    difference = evidence.difference(claim.arm, claim.to, size, claim.metric)
    region = f"±{amount(claim.metric, claim.within, signed=False)}"
    told = f"{claim.arm} differs from {claim.to}{at_size(size)} by {described(claim.metric, difference)}"
    if -claim.within < difference.ci_low and difference.ci_high < claim.within:
        return judged("reproduced", f"{told}: within {region}.", difference)
    if difference.ci_low > claim.within or difference.ci_high < -claim.within:
        return judged("contradicted", f"{told}: outside {region}.", difference)
    settles = what_settles(difference, claim.within - abs(difference.value))
    return judged("inconclusive", f"{told}: the interval reaches across a bound of {region}; {settles}.", difference)


def judge_gap_shrinks(claim: GapShrinks, evidence: Evidence, _: np.random.Generator) -> Judgement:
    """Reproduced when the interval of the lead's slope along the axis lies below 0, contradicted when above."""
    axis, trouble = _axis(claim, evidence, "the lead has no slope")
    if trouble:
        return undecided(trouble)
    fall = evidence.contrast(axis.slope_weights(), claim.metric)
    if METRICS[claim.metric] == "down":
        fall = fall.negated()
    told = (
        f"The lead of {claim.leader} over {claim.follower}{at_size(axis.train_size)} changes by "
        f"{described(claim.metric, fall)} {axis.per}"
    )
    if fall.ci_high < 0:
        return judged("reproduced", f"{told}: it shrinks.", fall)
    if fall.ci_low > 0:
        return judged("contradicted", f"{told}: it grows.", fall)
    return judged("inconclusive", f"{told}: the interval includes 0; {what_settles(fall, fall.value)}.", fall)


def judge_crosses(claim: Crosses, evidence: Evidence, _: np.random.Generator) -> Judgement:
    """Reproduced when the leader leads at the axis' first point and the follower at the last, each by its interval.

    Contradicted when one of them leads at every point by its interval, or when they cross the other way round, each
    time once: where the lead changes more often, neither is said.
    """
    axis, trouble = _axis(claim, evidence, "there is no range to cross in")
    if trouble:
        return undecided(trouble)
    found = crossing(evidence, axis.flipped(), claim.metric)
    told = statement(found)
    if found.shown:
        verdict: Verdict = "reproduced" if found.signs[-1] > 0 else "contradicted"
        return Judgement(
            verdict=verdict, reason=told, estimate=found.median, ci_low=found.ci_low, ci_high=found.ci_high
        )
    if set(found.signs) in ({1}, {-1}):
        leader = claim.leader if found.signs[0] < 0 else claim.follower
        return Judgement(
            verdict="contradicted",
            reason=f"{told[:-1]}; {leader} leads at every one of {len(axis.points)} {axis.noun}.",
        )
    return undecided(told[:-1] if found.changes else f"{told[:-1]}; {_open_end(found)}")


def _axis(claim: GapShrinks | Crosses, evidence: Evidence, consequence: str) -> tuple[Axis, str]:
    """What a claim about a lead runs along, and why it cannot be judged (empty where it can)."""
    study = evidence.study
    if claim.along == TRAIN_SIZE:
        axis = size_axis(study, claim.leader, claim.follower)
        few = len(axis.points) < 2
        trouble = f"the study has fewer than two training sizes, so {consequence}" if few else ""
    else:
        size, trouble = claimed_size(claim.train_size, study)
        axis = level_axis(study, claim.leader, claim.follower, size)
    return axis, trouble or absent(evidence, list(axis.cells), claim.metric)


def _open_end(found: Crossing) -> str:
    """What would settle the end at which no one leads, the last point first."""
    for end in (-1, 0):
        if found.signs[end] == 0:
            point, difference = found.axis.points[end], found.differences[end]
            where = f"{found.axis.number(point)} images" if found.axis.sized else found.axis.told(point)
            return f"at {where}, {what_settles(difference, difference.value)}"
    return "it is unclear which leads in between"

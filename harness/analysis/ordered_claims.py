"""Claims about every step of an ordered line of cells: levels of the factor, or training sizes of one arm."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.analysis.axis import TRAIN_SIZE
from harness.analysis.cells import Cell
from harness.analysis.comparisons import holm
from harness.analysis.estimate import LEVEL, MeanEstimate
from harness.analysis.evidence import Evidence
from harness.analysis.judgement import absent, judged, undecided
from harness.analysis.power import what_settles
from harness.analysis.summary import cost_of_model
from harness.analysis.wording import amount, described, listed, named, place
from harness.spec import CostGrows, Judgement, Monotone, ResolvedStudy
from harness.spec.claims import Direction
from harness.spec.formats import plain
from harness.spec.plural import counted
from harness.spec.verdict import Verdict

_EXACT = ("params", "macs_per_image", "attention_macs_per_image")
"""Metrics that the model alone decides."""


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One step of an ordered series, signed so that positive goes in the claim's direction."""

    start: str
    end: str
    estimate: MeanEstimate


def judge_monotone(claim: Monotone, evidence: Evidence, _: np.random.Generator) -> Judgement:
    """Reproduced when every step's interval lies above -slack (an intersection-union test, so no correction).

    Contradicted when a step is below -slack, Holm-corrected over the steps. Along the factor of a study with several
    training sizes, the steps of every size count.
    """
    series = _series(evidence.study, claim.along, claim.arm, claim.series, claim.direction)
    trouble = absent(evidence, [cell for cells in series for cell in cells], claim.metric)
    if trouble:
        return undecided(trouble)
    steps = _steps(evidence, series, claim.metric, log=False)
    if not steps:
        return undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    slack = f" by more than {amount(claim.metric, claim.slack, signed=False)}" if claim.slack else ""
    return _judged_steps(
        steps,
        -claim.slack,
        held=f"no step goes down{slack}" if slack else "every step goes up",
        broken=f"goes down{slack}",
        tell=lambda estimate: described(claim.metric, estimate),
    )


def judge_cost_grows(claim: CostGrows, evidence: Evidence, _: np.random.Generator) -> Judgement:
    """Reproduced when every step multiplies the cost by `factor` or more (and by more than 1).

    Exact costs are compared as they are, measured ones by intervals of the ratio as in `judge_monotone`.
    """
    series = _series(evidence.study, claim.along, None, claim.series, claim.direction)
    cells = [cell for line in series for cell in line]
    if claim.metric in _EXACT:
        return _exact_cost(claim, evidence, series)
    trouble = absent(evidence, cells, claim.metric)
    if not trouble:
        low = [place(cell) for cell in cells if not (evidence.cells.values(cell, claim.metric) > 0).all()]
        trouble = _not_positive(claim.metric, low)
    if trouble:
        return undecided(trouble)
    steps = _steps(evidence, series, claim.metric, log=True)
    if not steps:
        return undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    found = _judged_steps(
        steps,
        math.log(claim.factor),
        held=f"every step raises {named(claim.metric)} by a factor of {claim.factor:g} or more",
        broken=f"raises {named(claim.metric)} by a factor below {claim.factor:g}",
        tell=lambda e: (
            f"a factor of {plain(math.exp(e.value))} "
            f"[{plain(math.exp(e.ci_low))}, {plain(math.exp(e.ci_high))}] (n = {counted(e.n, 'seed')})"
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
        return undecided(trouble)
    ratios = {(start, end): costs[end] / costs[start] for line in series for start, end in pairwise(line)}
    if not ratios:
        return undecided(f"{claim.along} has fewer than two levels, so there is no step to judge")
    (start, end), least = min(ratios.items(), key=lambda item: (item[1], item[0][0][0]))
    holds = least >= claim.factor and least > 1
    told = (
        f"The smallest step, from {place(start)} to {place(end)}, raises {named(claim.metric)} by a factor of "
        f"{plain(least)}, {'at least' if holds else 'short of'} {max(claim.factor, 1):g} (exact)."
    )
    if least == claim.factor == 1:
        told = f"{place(start)} and {place(end)} do not differ in {named(claim.metric)} (exact)."
    verdict: Verdict = "reproduced" if holds else "contradicted"
    return Judgement(verdict=verdict, reason=told, estimate=least, ci_low=least, ci_high=least)


def _no_ratio(evidence: Evidence, costs: dict[Cell, float], metric: str) -> str:
    """Why exact costs have no ratio: without a run, not kept by the runs, or zero; empty where they have."""
    unknown = [cell for cell, cost in costs.items() if math.isnan(cost)]
    unrun = [place(cell) for cell in unknown if not evidence.cells.rows[cell]]
    if unrun:
        return f"nothing is known of {named(metric)} for {listed(unrun)}, which has no run"
    if unknown:
        return f"the runs of {listed(map(place, unknown))} have not measured {named(metric)}"
    zero = [place(cell) for cell, cost in costs.items() if cost <= 0]
    return _not_positive(metric, zero)


def _not_positive(metric: str, places: list[str]) -> str:
    return f"{listed(places)}: {named(metric)} not above zero, so there is no ratio" if places else ""


def _series(
    study: ResolvedStudy, along: str, arm: str | None, series: str | None, direction: Direction
) -> list[list[Cell]]:
    """The lines of cells that a claim follows, in the order in which it says that the metric rises.

    Arms by increasing level, or sizes of one arm; decreasing where the metric is to fall along them (`down`).
    """
    towards = 1 if direction == "up" else -1
    followed = study.arms if series is None else study.series[series]
    if along == TRAIN_SIZE:
        every = study.all_arms if series is None else followed
        names = [arm] if arm is not None else [other.name for other in every]
        return [[(name, size) for size in study.train_sizes[::towards]] for name in names]
    order = sorted(followed, key=lambda of: float(of.level) if of.level is not None else math.nan)
    return [[(of.name, size) for of in order[::towards]] for size in study.train_sizes or (None,)]


def _steps(evidence: Evidence, series: list[list[Cell]], metric: str, *, log: bool) -> list[_Step]:
    return [
        _Step(
            start=place(start),
            end=place(end),
            estimate=evidence.contrast({end: 1.0, start: -1.0}, metric, log=log),
        )
        for line in series
        for start, end in pairwise(line)
    ]


def _judged_steps(
    steps: list[_Step], null: float, *, held: str, broken: str, tell: Callable[[MeanEstimate], str]
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
        return judged("contradicted", f"{told}, p = {plain(p, 2)} (Holm).", worst.estimate)
    weakest = min(steps, key=lambda step: step.estimate.ci_low)
    told = f"from {weakest.start} to {weakest.end}, {tell(weakest.estimate)}"
    if weakest.estimate.ci_low > null:
        return judged("reproduced", f"{held[0].upper()}{held[1:]}; the weakest is {told}.", weakest.estimate)
    settles = what_settles(weakest.estimate, weakest.estimate.value - null)
    return judged("inconclusive", f"The weakest step, {told}, is inconclusive; {settles}.", weakest.estimate)

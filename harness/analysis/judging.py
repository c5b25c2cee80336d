"""The verdict on each claim, of shipped kinds and of a study file's own, by one door: `judge(tables, rng)`.

A judge gives an estimate, whose interval decides, or the verdict itself. What a study file's own class says needs that
file: it is kept with the results (`own_verdicts`), so that a report can be made again without it.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd

from harness.analysis.cells import frame, generator
from harness.analysis.contrast_claims import (
    judge_better,
    judge_crosses,
    judge_equivalent,
    judge_gains_more,
    judge_gap_shrinks,
)
from harness.analysis.estimate import FEWEST_SEEDS, MeanEstimate
from harness.analysis.evidence import Evidence
from harness.analysis.findings import CLAIM_COLUMNS
from harness.analysis.judgement import judged_by_margin, undecided
from harness.analysis.ordered_claims import judge_cost_grows, judge_monotone
from harness.analysis.own_code import attempt, runs_of
from harness.analysis.summary import unfinished
from harness.analysis.wording import amount, bounds, described
from harness.spec import (
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
    canonical_json,
    to_plain,
)
from harness.spec.claims import KeptClaim, is_own
from harness.spec.errors import require
from harness.spec.plural import counted
from harness.spec.verdict import Verdict

KEY = "own_claims"
"""Of the provenance: what a study file's own claims said when they were last judged."""

_NUMBERS = ("estimate", "ci_low", "ci_high")

Judge = Callable[[Any, Evidence, np.random.Generator], Estimate | Judgement]

_SHIPPED: Mapping[type[Claim], Judge] = {
    Better: judge_better,
    CostGrows: judge_cost_grows,
    Crosses: judge_crosses,
    Equivalent: judge_equivalent,
    GainsMore: judge_gains_more,
    GapShrinks: judge_gap_shrinks,
    Monotone: judge_monotone,
}


def claims_table(evidence: Evidence) -> pd.DataFrame:
    """CLAIM_COLUMNS, a row per claim of the study, in its order."""
    rows = []
    for position, claim in enumerate(evidence.study.claims, start=1):
        found = judge(claim, evidence)
        numbers = (found.estimate, found.ci_low, found.ci_high)
        rows.append((f"{claim.kind}-{position}", claim.statement, claim.source, found.verdict, *numbers, found.reason))
    return frame(rows, CLAIM_COLUMNS)


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """The verdict on one claim."""
    if isinstance(claim, KeptClaim):
        found, _ = attempt(_kept, claim, evidence)
        return found or undecided("the verdict that was kept in study.json cannot be read")
    rng = generator(evidence.seed, "claim", canonical_json(claim))
    if is_own(claim):
        return _judged_by_file(claim, evidence, rng)
    return _decided(claim, _SHIPPED[type(claim)](claim, evidence, rng))


def own_verdicts(evidence: Evidence) -> list[dict[str, Any]]:
    """The verdicts on a study file's own claims, ready for JSON, with what tells whether they are of these runs."""
    assert evidence.records is not None
    runs = runs_of(evidence.records)
    judged = [(claim, judge(claim, evidence)) for claim in evidence.study.claims if is_own(claim)]
    return [
        {
            "claim": to_plain(claim),
            "runs": runs,
            **to_plain(found),
            **{name: getattr(found, name) if math.isfinite(getattr(found, name)) else None for name in _NUMBERS},
        }
        for claim, found in judged
    ]


def _judged_by_file(claim: Claim, evidence: Evidence, rng: np.random.Generator) -> Judgement:
    """What the study file's class says; inconclusive, with the error, where it fails."""
    name, planned = type(claim).__name__, len(evidence.study.seeds)
    given, failure = attempt(claim.judge, evidence, rng)
    trouble = f"{name}.judge failed with {failure}" if failure else ""
    if planned < FEWEST_SEEDS:
        trouble = f"{planned} of at least {FEWEST_SEEDS} seeds planned: too few for an interval"
    try:
        found = undecided(trouble) if trouble else _decided(claim, given)
    except (TypeError, ValueError) as error:
        found = undecided(f"what {name}.judge gave cannot be used: {error}")
    lost = sum(
        len(seeds)
        for cell in evidence.cells.rows
        if cell[0] in claim.arm_names or not claim.arm_names
        for seeds in unfinished(evidence.cells, cell).values()
    )
    without = f" {counted(lost, 'planned run')} of these arms had no result then." if lost else ""
    return Judgement(
        **{**vars(found), "reason": f"{found.reason} Judged by the study file's own class {name}.{without}"}
    )


def _decided(claim: Claim, given: Estimate | Judgement | None) -> Judgement:
    """The verdict that follows from what a judge gave; `InvalidInput` where nothing does."""
    if isinstance(given, Judgement):
        numbers = {key: float(getattr(given, key)) for key in _NUMBERS}
        require(given.verdict in get_args(Verdict), f"the verdict is {given.verdict!r:.80}")
        require(isinstance(given.reason, str), f"the reason {given.reason!r:.80} is no text")
        require(
            not numbers["ci_low"] > numbers["ci_high"] and not any(map(math.isinf, numbers.values())),
            f"its numbers are {', '.join(f'{key} {value:g}' for key, value in numbers.items())}",
        )
        return Judgement(verdict=given.verdict, reason=given.reason, **numbers)
    require(isinstance(given, Estimate), f"{given!r:.80} is no Estimate and no Judgement")
    assert isinstance(given, Estimate)
    metric, margin = getattr(claim, "metric", None) or "", float(getattr(claim, "margin", 0.0))
    if isinstance(given, MeanEstimate):
        told = f"The estimate is {described(metric, given)}"
        return judged_by_margin(given, metric, margin, told) if given.judgeable else undecided(told)
    value, low, high = (float(number) for number in (given.value, given.ci_low, given.ci_high))
    told = f"[{low:g}, {high:g}]"
    require(all(map(math.isfinite, (value, low, high))), f"{value:g} {told} is not finite")
    require(low <= high, f"the interval {told} is upside down")
    told = f"The estimate is {amount(metric, value)} {bounds(metric, low, high)}"
    return judged_by_margin(Estimate(value, low, high), metric, margin, told)


def _kept(claim: KeptClaim, evidence: Evidence) -> Judgement:
    """The verdict that a study file's own class gave when it was last asked."""
    assert evidence.records is not None
    remedy = "give it as `patchbench report STUDY.py`"
    kept = evidence.records.provenance.get(KEY)
    found = next((item for item in kept if item["claim"] == to_plain(claim)), None) if kept else None
    if found is None:
        return undecided(f"only the study's file can judge it: {remedy}")
    if found["runs"] != runs_of(evidence.records):
        return undecided(f"it was judged on other runs, and only the study's file can judge it on these: {remedy}")
    numbers = {name: math.nan if found[name] is None else float(found[name]) for name in _NUMBERS}
    return _decided(claim, Judgement(verdict=found["verdict"], reason=str(found["reason"]), **numbers))

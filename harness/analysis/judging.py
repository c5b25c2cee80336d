"""The verdict on each claim, of shipped types and of a study file's own.

A study file's own class has a `judge(tables, rng)`, which gives an estimate, whose interval decides, or the verdict
itself. It needs that file, so what it says is kept with the results (`own_verdicts`), and a report can be made without.
"""

import contextlib
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.estimate import FEWEST_SEEDS, MeanEstimate
from harness.analysis.evidence import Evidence, generator
from harness.analysis.findings import CLAIM_COLUMNS, frame
from harness.analysis.shipped_claims import SHIPPED_JUDGES, Undecided, judged_by_margin, lost_runs
from harness.analysis.wording import amount, bounds, described
from harness.records.run_table import runs_of
from harness.spec import Claim, Estimate, Judgement, canonical_json, to_plain
from harness.spec.claims import EXACT, KeptClaim, as_kept_now, is_own
from harness.spec.errors import require
from harness.spec.formats import counted
from harness.spec.verdicts import VERDICTS, called

KEY = "own_claims"  # of the provenance: what a study file's own claims said when they were last judged

_NUMBERS = ("estimate", "ci_low", "ci_high", "p_value")


def claims_table(evidence: Evidence) -> pd.DataFrame:
    """CLAIM_COLUMNS, a row per claim of the study, in its order."""
    rows = []
    for position, claim in enumerate(evidence.study.claims, start=1):
        found = judge(claim, evidence)
        names = (f"{claim.type}-{position}", claim.kind, claim.statement, claim.source, found.verdict)
        rows.append((*names, *(getattr(found, name) for name in _NUMBERS), found.lost_runs, found.reason))
    return frame(rows, CLAIM_COLUMNS)


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """The verdict on one claim, in the words for its kind."""
    try:
        found = _JUDGES.get(type(claim), _judged_by_file)(claim, evidence)
    except Undecided as error:
        reason = str(error)
        found = Judgement(verdict="inconclusive", reason=f"{reason[0].upper()}{reason[1:]}.", lost_runs=error.lost)
    found = replace(found, verdict=called(found.verdict, claim.kind))
    if getattr(claim, "metric", None) in EXACT:
        found = replace(found, p_value=math.nan)
    if type(claim) in _JUDGES:
        return found
    lost = lost_runs(evidence, (cell for cell in evidence.rows if cell[0] in claim.arm_names or not claim.arm_names))
    without = f" {counted(lost, 'planned run')} of these arms had no result then." if lost else ""
    reason = f"{found.reason} Judged by the study file's own class {claim.type}.{without}"
    return replace(found, reason=reason, lost_runs=lost if found.verdict == "inconclusive" else 0)


def own_verdicts(evidence: Evidence) -> list[dict[str, Any]]:
    """The verdicts on a study file's own claims, ready for JSON, with what tells whether they are of these runs."""
    kept = []
    for claim in filter(is_own, evidence.study.claims):
        found = to_plain(judge(claim, evidence))
        found |= {name: None for name in _NUMBERS if math.isnan(found[name])}
        kept.append({"claim": to_plain(claim), "runs": runs_of(evidence.records), **found})
    return kept


def _kept(claim: KeptClaim, evidence: Evidence) -> Judgement:
    """The verdict that a study file's own class gave when it was last asked."""
    remedy = "give it as `patchbench report STUDY.py`"
    try:
        kept = evidence.records.provenance.get(KEY, ())
        found = next((item for item in kept if as_kept_now(item["claim"]) == to_plain(claim)), None)
        if found is None:
            raise Undecided(f"only the study's file can judge it: {remedy}")
        if found["runs"] != runs_of(evidence.records):
            raise Undecided(f"it was judged on other runs, and only the study's file can judge it on these: {remedy}")
        found = {"p_value": None, "lost_runs": 0} | found  # version 0.1 kept neither
        numbers: dict[str, Any] = {name: math.nan if found[name] is None else found[name] for name in _NUMBERS}
        told = {name: found[name] for name in ("verdict", "reason", "lost_runs")}
        return _decided(claim, Judgement(**told, **numbers))
    except (KeyError, TypeError, ValueError) as error:
        raise Undecided("the verdict that was kept in study.json cannot be read") from error


_JUDGES: Mapping[type[Claim], Callable[[Any, Evidence], Judgement]] = {KeptClaim: _kept, **SHIPPED_JUDGES}


def _judged_by_file(claim: Claim, evidence: Evidence) -> Judgement:
    """What the study file's class says; inconclusive, with the error, where it fails."""
    name, planned = type(claim).__name__, len(evidence.seeds)
    given, failure = attempt(claim.judge, evidence, generator(evidence.seed, "claim", canonical_json(claim)))
    if planned < FEWEST_SEEDS:
        raise Undecided(f"{planned} of at least {FEWEST_SEEDS} seeds planned: too few for an interval")
    if failure:
        raise Undecided(f"{name}.judge failed with {failure}")
    try:
        return _decided(claim, given)
    except (TypeError, ValueError) as error:
        raise Undecided(f"what {name}.judge gave cannot be used: {error}") from error


def _decided(claim: Claim, given: object) -> Judgement:
    """The verdict that follows from what a judge gave; a TypeError or ValueError where nothing does."""
    if not isinstance(given, Estimate | Judgement):
        raise TypeError(f"{given!r:.80} is no Estimate and no Judgement")
    metric, margin = getattr(claim, "metric", None) or "", float(getattr(claim, "margin", 0.0))
    if isinstance(given, MeanEstimate):
        told = f"The estimate is {described(metric, given)}"
        if not given.judgeable:
            raise Undecided(told)
        return judged_by_margin(given, metric, margin, told)
    first = given.estimate if isinstance(given, Judgement) else given.value
    value, low, high = numbers = [float(number) for number in (first, given.ci_low, given.ci_high)]
    told = f"its numbers are {value:g} [{low:g}, {high:g}]"
    require(not low > high and not any(map(math.isinf, numbers)), told)
    if isinstance(given, Judgement):
        known = given.verdict in VERDICTS and isinstance(given.reason, str)
        require(known, f"its verdict is {given.verdict!r:.80}, its reason {given.reason!r:.80}")
        p_value = float(given.p_value)
        require(math.isnan(p_value) or 0 <= p_value <= 1, f"its p_value is {p_value:g}")
        lost = int(given.lost_runs)
        return replace(given, estimate=value, ci_low=low, ci_high=high, p_value=p_value, lost_runs=lost)
    require(not any(map(math.isnan, numbers)), told)
    told = f"The estimate is {amount(metric, value)} {bounds(metric, low, high)}"
    return judged_by_margin(Estimate(value, low, high), metric, margin, told)


def attempt(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """What a function gives and an empty text, or None and why it failed, with the line of its own file.

    What it prints goes to standard error.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments), ""
    except (Exception, SystemExit) as error:
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f" ({Path(str(file)).name}, line {lines[-1]})" if lines else ""
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"

"""A verdict with its numbers, and what stands in the way of one."""

import numpy as np

from harness.analysis.cells import Cell
from harness.analysis.estimate import FEWEST_SEEDS, MeanEstimate
from harness.analysis.evidence import Evidence
from harness.analysis.power import what_settles
from harness.analysis.summary import unfinished
from harness.analysis.wording import amount, listed, named, place
from harness.spec import Estimate, Judgement, ResolvedStudy
from harness.spec.plural import plural
from harness.spec.verdict import Verdict

_MOST_TOLD = 4
"""Cells with lost runs that a sentence names; the report lists all of them."""


def claimed_size(asked: int | str | None, study: ResolvedStudy) -> tuple[int | None, str]:
    """The training size that a claim means, or why there is none."""
    sizes = study.train_sizes
    if asked is None:
        told = f"the claim names no training size, and the study has {len(sizes)}"
        return (None, "") if not sizes else (sizes[0], "" if len(sizes) == 1 else told)
    if not sizes:
        is_it = isinstance(asked, str) or study.data.train_size == asked
        return None, "" if is_it else f"the study does not vary the training size to {asked:,}"
    if isinstance(asked, str):
        return (sizes[0] if asked == "smallest" else sizes[-1]), ""
    return asked, "" if asked in sizes else f"the study has no training size {asked:,}"


def absent(evidence: Evidence, cells: list[Cell], metric: str) -> str:
    """Why nothing can be judged that rests on these cells, as a clause; empty where nothing is amiss.

    Runs that did not complete (those that are left would flatter an arm), or too few seeds. What a claim is refused
    for, the headline and a crossing are refused for too.
    """
    known = evidence.cells
    told = []
    for cell in dict.fromkeys(cells):
        for status, seeds in unfinished(known, cell).items():
            told.append(f"{place(cell)} {'seed' if len(seeds) == 1 else plural('seed')} {listed(seeds)} {status}")
    if told:
        more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        return f"{'; '.join(told[:_MOST_TOLD])}{more}: runs without a result may be just those that would decide"
    unmeasured = [place(cell) for cell in dict.fromkeys(cells) if not np.isfinite(known.values(cell, metric)).all()]
    if unmeasured:
        return f"not every run of {listed(unmeasured)} has measured its {named(metric)}"
    n = len(known.study.seeds)
    if n < FEWEST_SEEDS:
        return f"{n} of at least {FEWEST_SEEDS} seeds planned: too few for an interval"
    return ""


def judged(verdict: Verdict, reason: str, estimate: Estimate) -> Judgement:
    """A verdict that rests on an estimate."""
    return Judgement(
        verdict=verdict,
        reason=reason,
        estimate=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
    )


def undecided(reason: str) -> Judgement:
    """Inconclusive, for a reason given as a clause."""
    return Judgement(verdict="inconclusive", reason=f"{reason[0].upper()}{reason[1:]}.")


def judged_by_margin(estimate: Estimate, metric: str, margin: float, told: str) -> Judgement:
    """Reproduced when the interval lies above the margin, contradicted when below; `told` names the estimate."""
    bound = "0" if margin == 0 else f"the margin of {amount(metric, margin, signed=False)}"
    if estimate.ci_low > margin:
        return judged("reproduced", f"{told}: above {bound}.", estimate)
    if estimate.ci_high < margin:
        return judged("contradicted", f"{told}: below {bound}.", estimate)
    settles = f"; {what_settles(estimate, estimate.value - margin)}" if isinstance(estimate, MeanEstimate) else ""
    return judged("inconclusive", f"{told}: the interval includes {bound}{settles}.", estimate)

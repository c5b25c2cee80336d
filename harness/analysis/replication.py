"""Two runs of one study beside each other: whether other searches and seeds find the same.

Each run gives a contrast d_i with its standard error s_i of searches and seeds, of f_i degrees of freedom, and v_i of
test images. The runs are compared without pairing. Both are tested on the same images (or, where each seed draws its
own, on draws from one pool; v_i is then of what the draws have in common, and the rest is part of s_i), so what the
images do to one contrast they do to the other:

- heterogeneity: Cochran's Q = (d_2 - d_1)^2 / (s_1^2 + s_2^2), in which the images cancel. The root of Q is held
  against Student's t with Welch's degrees of freedom (s_1^2 + s_2^2)^2 / (s_1^4 / f_1 + s_2^4 / f_2), not against the
  normal distribution, as so few searches and seeds tell s_i badly;
- pooled, w_i = 1 / (s_i^2 + t^2), W = w_1 + w_2: d = (w_1 d_1 + w_2 d_2) / W, with the variance 1 / W + v^2 and v^2 the
  mean of the v_i^2 by weight: the images count once. t^2 is 0 where the runs agree (fixed effect). As the weights are
  estimates, 1 / W is then too small, and is multiplied by 1 + 4 sum(w_i / W (1 - w_i / W) / f_i) (Meier, Biometrics 9,
  1953, p. 59). Where the runs differ, t^2 = max(0, (Q - 1) / (W - (w_1^2 + w_2^2) / W)) at t^2 = 0 (DerSimonian and
  Laird, Control. Clin. Trials 7, 1986, p. 177), and the interval is Student's with one degree of freedom: two runs tell
  little of how runs vary.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.estimate import LEVEL, MeanEstimate, holm, satterthwaite, with_interval
from harness.analysis.evidence import Evidence, Scale
from harness.analysis.findings import columns, frame
from harness.analysis.judging import judge
from harness.analysis.wording import Cell, at_size, of_seeds
from harness.spec import ResolvedStudy, canonical_json, to_plain
from harness.spec.claims import is_own
from harness.spec.formats import counted, p_told
from harness.spec.verdicts import DECIDED

REPLICATION_COLUMNS = columns(
    "arm baseline train_size first first_low first_high second second_low second_high "
    "difference ci_low ci_high q p_value p_holm pooled pooled_low pooled_high model",
    model="str",
)
"""A row per row of the comparisons: the difference of test accuracy (arm - baseline) in the first run, in the second,
and `difference`, second - first, with its interval; `q`, Cochran's Q; `p_holm` corrects over the rows. `model` is
`fixed` where the runs agree, else `random`; empty, with NaN, where one of the runs has no interval."""

VERDICT_COLUMNS = columns("claim statement first second pooled reason", first="str", second="str", pooled="str")
"""A row per claim of both runs: its verdict in the first, in the second, and by both pooled, with that one's reason."""

_MOST_NAMED = 3  # differences that the result names

_PROTOCOL = ("factor", "data", "recipe", "baseline", "arms", "train_sizes", "test_shifts", "few_shot")
_SEARCHED = ("space", "by_arm", "updates")
"""Fields of a study and of its search that two runs of one study have in common; seeds and searches are their own."""


@dataclass(frozen=True, kw_only=True)
class Replication:
    """What a second run of a study says about the first."""

    contrasts: pd.DataFrame  # REPLICATION_COLUMNS
    claims: pd.DataFrame  # VERDICT_COLUMNS
    result: str  # how many differences agree and which do not, how many verdicts are the same
    cautions: tuple[str, ...]  # what makes it less of a replication, a sentence each


def is_one_study(one: ResolvedStudy, two: ResolvedStudy) -> bool:
    """Whether two results are of the same arms, data and protocol."""
    studies = [
        {name: getattr(study, name) for name in _PROTOCOL} | {name: getattr(study.search, name) for name in _SEARCHED}
        for study in (one, two)
    ]
    return canonical_json(to_plain(studies[0])) == canonical_json(to_plain(studies[1]))


def difference_of(first: MeanEstimate, second: MeanEstimate) -> MeanEstimate:
    """Second - first, unpaired, on the same test images, whose part cancels; its p-value is that of heterogeneity."""
    found = MeanEstimate(value=second.value - first.value, seeds=first.seeds, level=LEVEL)
    if not (first.judgeable and second.judgeable):
        return found
    variances = first.seed_error**2, second.seed_error**2
    df = satterthwaite(variances[0], first.seed_df, variances[1], second.seed_df)
    return with_interval(replace(found, seed_error=math.sqrt(sum(variances)), df=df))


def pooled(first: MeanEstimate, second: MeanEstimate, *, differ: bool) -> MeanEstimate:
    """Both runs' estimate; `differ`: with the variance between runs that their difference speaks for."""
    both, nan, level = (first, second), math.nan, max(first.level, second.level)
    if first.value == second.value and not first.sd and not second.sd:  # an exact cost, which needs no pooling
        return replace(first, level=level)
    found = replace(first, value=nan, ci_low=nan, ci_high=nan, sd=nan, seeds=(), level=level)
    if not (first.judgeable and second.judgeable):
        return found
    variances = np.array([each.seed_error**2 for each in both])
    weights = 1 / np.maximum(variances, np.finfo(np.float64).tiny ** 0.5)
    between = 0.0
    if differ:
        q = (second.value - first.value) ** 2 / variances.sum()
        total = weights.sum()
        between = max(0.0, (q - 1) / (total - (weights**2).sum() / total))
        weights = 1 / (variances + between)
    shares, freedom = weights / weights.sum(), np.array([each.seed_df for each in both])
    variance = float((shares**2 * (variances + between)).sum())
    df = 1.0 if differ else float(variance**2 / (shares**4 * variances**2 / freedom).sum())
    variance *= 1.0 if differ else 1 + 4 * float((shares * (1 - shares) / freedom).sum())
    images = float(shares @ [each.image_error**2 for each in both])
    image_df = math.inf if not first.images else first.images - 1.0
    return with_interval(
        replace(
            found,
            value=float(shares @ [each.value for each in both]),
            seeds=first.seeds + second.seeds,
            searches=first.searches + second.searches,
            seed_error=math.sqrt(variance),
            seed_df=df,
            image_error=math.sqrt(images),
            df=satterthwaite(variance, df, images, image_df),
            spread=math.sqrt(float(shares @ [each.spread**2 for each in both])),
            discordant=max(first.discordant, second.discordant),
        )
    )


@dataclass(frozen=True, kw_only=True)
class PooledEvidence(Evidence):
    """Both runs together: contrasts are pooled, so that claims are judged on them as on those of one run.

    `records` and `rows` are those of the first run, for what all runs have in common (costs that the model decides).
    """

    parts: tuple[Evidence, Evidence]
    differing: Mapping[frozenset[Cell], bool] = field(default_factory=dict)
    """By the pair of cells, whether the runs differ in it, corrected over the table; of others p < .05 decides."""

    def contrast(
        self, weights: Mapping[Cell, float], metric: str = "test_accuracy", *, scale: Scale = "plain"
    ) -> MeanEstimate:
        """See `Evidence`; pooled over both runs."""
        first, second = (part.contrast(weights, metric, scale=scale) for part in self.parts)
        differ = difference_of(first, second).p_value() < 1 - LEVEL
        if metric == "test_accuracy" and scale == "plain":
            differ = self.differing.get(frozenset(cell for cell, weight in weights.items() if weight), differ)
        return pooled(first, second, differ=differ)

    def absent(self, cells: Iterable[Cell], metric: str) -> str:
        """See `Evidence`; of either run."""
        cells = list(cells)
        troubles = zip(("first", "second"), (part.absent(cells, metric) for part in self.parts), strict=True)
        return "; ".join(f"in the {place} run {trouble}" for place, trouble in troubles if trouble)


def replication(one: Evidence, two: Evidence) -> Replication:
    """Set a second run of a study beside the first. Of the second, seeds with a run that the first has are left out."""
    known = {str(row["digest"]) for rows in one.rows.values() for row in rows.values()}
    again = ({seed for seed, row in rows.items() if str(row["digest"]) in known} for rows in two.rows.values())
    shared = frozenset[int]().union(*again)
    two = replace(two, left_out=two.left_out | shared, _known={}, _replicates_known={})
    pairs = [((arm, size), (other, size)) for size in one.sizes for arm, other in one.against.items()]
    found = [tuple(_judgeable(side, *pair) for side in (one, two)) for pair in pairs]
    between = [difference_of(first, second) for first, second in found]
    adjusted = holm([difference.p_value() for difference in between])
    rows, differing = [], {}
    for pair, both, difference, p_holm in zip(pairs, found, between, adjusted, strict=True):
        differ = differing[frozenset(pair)] = p_holm < 1 - LEVEL
        q = (difference.value / difference.error) ** 2 if difference.judgeable else math.nan
        model = "" if math.isnan(p_holm) else "random" if differ else "fixed"
        estimates = (*both, difference, pooled(*both, differ=differ))
        intervals = [(each.value, each.ci_low, each.ci_high) for each in estimates]
        names = (pair[0][0], pair[1][0], one.train_size(pair[0]))
        numbers = (*intervals[2], q, difference.p_value(), p_holm)
        rows.append((*names, *intervals[0], *intervals[1], *numbers, *intervals[3], model))
    level = max(one.level, two.level)
    together = PooledEvidence(records=one.records, rows=one.rows, level=level, parts=(one, two), differing=differing)
    contrasts, claims = frame(rows, REPLICATION_COLUMNS), _claims(one, two, together)
    return Replication(
        contrasts=contrasts,
        claims=claims,
        result=f"{_agreement(contrasts)} {_verdicts(claims)}".strip(),
        cautions=tuple(_cautions(one, two, shared, between, differing)),
    )


def _judgeable(side: Evidence, cell: Cell, other: Cell) -> MeanEstimate:
    """The difference of two cells; NaN where runs lack a result, as those that are left may flatter either."""
    if side.unfinished(cell) or side.unfinished(other):
        return MeanEstimate(value=math.nan)
    return side.contrast({cell: 1.0, other: -1.0})


def _claims(one: Evidence, two: Evidence, both: PooledEvidence) -> pd.DataFrame:
    known, rows = {canonical_json(to_plain(claim)) for claim in two.study.claims}, []
    for position, claim in enumerate(one.study.claims, start=1):
        if canonical_json(to_plain(claim)) not in known:
            continue
        verdicts = [judge(claim, side).verdict for side in (one, two)]
        if is_own(claim):
            verdict, reason = "", f"The study file's own class {claim.type} judges one run at a time."
        else:
            found = judge(claim, both)
            verdict, reason = found.verdict, found.reason
        rows.append((f"{claim.type}-{position}", claim.statement, *verdicts, verdict, reason))
    return frame(rows, VERDICT_COLUMNS)


def _agreement(contrasts: pd.DataFrame) -> str:
    """How many differences agree, and which do not, as a sentence."""
    known = contrasts[contrasts["p_holm"].notna()]
    if known.empty:
        return "No difference of the two runs can be compared: both need intervals."
    apart = known[known["p_holm"] < 1 - LEVEL]
    agree = len(known) - len(apart)
    told = f"{agree} of {counted(len(known), 'difference')} {'agrees' if agree == 1 else 'agree'}"
    worst = apart.sort_values("p_holm").head(_MOST_NAMED)
    sized = len(set(contrasts["train_size"])) > 1
    more = [_differing(row, at_size(row["train_size"]) if sized else "") for row in worst.to_dict("records")]
    more += [f"{len(apart) - len(worst)} more differ"] if len(apart) > len(worst) else []
    return f"{'; '.join([told, *more])}."


def _differing(row: Mapping[Any, Any], at: str) -> str:
    low, high = sorted(100 * abs(row[key]) for key in ("ci_low", "ci_high"))
    return (
        f"{row['arm']} against {row['baseline']}{at} differs by {100 * abs(row['difference']):.2f} points "
        f"[{low:.2f}, {high:.2f}], more than both intervals allow "
        f"(Holm-adjusted {p_told(row['p_holm'])})"
    )


def _verdicts(claims: pd.DataFrame) -> str:
    """How many verdicts are the same, as a sentence; empty without claims."""
    if claims.empty:
        return ""
    changed = claims[claims["first"] != claims["second"]]
    told = f"Verdicts: {len(claims) - len(changed)} the same, {len(changed)} changed"
    turned = int(changed[["first", "second"]].isin(DECIDED).all(axis=1).sum())
    return f"{told}{f', {turned} of them to the contrary' if turned else ''}."


def _cautions(
    one: Evidence, two: Evidence, shared: Iterable[int], between: Sequence[MeanEstimate], differing: Mapping[Any, bool]
) -> Iterator[str]:
    """What makes it less of a replication than it seems."""
    if shared:
        left = f"{counted(len(two.seeds), 'seed')} of the second {'is' if len(two.seeds) == 1 else 'are'} compared"
        runs = f"Runs of {of_seeds(sorted(shared))} are in both results (same digests)"
        yield f"{runs}: a run is no replication of itself, so that {left}."
    same = {str(row["digest"]) for rows in one.searches.values() for row in rows if row["chosen"]}
    chosen = [str(row["digest"]) for rows in two.searches.values() for row in rows if row["chosen"]]
    if again := sum(digest in same for digest in chosen):
        yield (
            f"{again} of {counted(len(chosen), 'chosen setting')} come from the very same trials: there the second run "
            "repeats the seeds, not the search."
        )
    if found := [estimate.smallest_detectable() for estimate in between if estimate.judgeable]:
        yield (
            "Differences that agree are not shown to be equal: with these searches and seeds, runs that truly differ "
            f"by {100 * float(np.median(found)):.2f} points would have been told apart with power .8 (median)."
        )
    if any(differing.values()):
        yield (
            "Where the runs differ, the pooled estimate allows for how runs vary, of which two runs tell little: its "
            "interval is wide, and a third run is worth more than more seeds."
        )

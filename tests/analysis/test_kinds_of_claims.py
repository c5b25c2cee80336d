"""Whose finding a claim is: what its verdict is called, what p-value it has, and which verdicts stand among many."""

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from simulate import (
    REPEATS,
    SAID,
    THREE,
    at_most,
    evidences,
    records,
    series_study,
    share,
    study,
    verdicts,
    vit_lead,
    without_accuracy,
)
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from harness.analysis import analyse
from harness.analysis.discoveries import adjusted
from harness.analysis.estimate import MeanEstimate, holm
from harness.analysis.evidence import evidence_of
from harness.analysis.judging import judge
from harness.analysis.shipped_claims import judged_by_region
from harness.spec import (
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    GainsMore,
    GapShrinks,
    Judgement,
    Monotone,
    ResolvedStudy,
)
from harness.spec.verdicts import DECIDED, KINDS, SYMBOLS, VERDICTS, called, tally_of, tally_text

SIZES = (500, 2000, 5000, 20_000)
PAIR = {"leader": "ResNet-8", "follower": "ViT/7", **SAID}

better = Better(arm="ViT/7", than="ResNet-8", **SAID)
equivalent = Equivalent(arm="ViT/7", to="ResNet-8", within=0.01, **SAID)
falls = Monotone(metric="test_accuracy", along="patch_size", direction="down", **SAID)
gains = GainsMore(arm="ViT/4", start="ViT/7", other="ViT/14", other_start="ResNet-8", **SAID)
shrinks, crosses = GapShrinks(**PAIR), Crosses(**PAIR)
slower = CostGrows(along="patch_size", direction="up", metric="train_images_per_second", **SAID)
compute = CostGrows(along="patch_size", direction="down", **SAID)


def flat(**accuracy: float):
    names = {"ResNet-8": "resnet", "ViT/4": "vit4", "ViT/7": "vit7", "ViT/14": "vit14"}
    return lambda arm, size: accuracy.get(names[arm], 0.9)


def lead(at_1000: float, per_tenfold: float):
    """A lead of the ResNet over the ViTs, linear in the logarithm of the training size."""
    return lambda arm, size: 0.9 - (arm != "ResNet-8") * (at_1000 + per_tenfold * np.log10((size or 1000) / 1000))


def found(claim: Claim, accuracy, **more) -> Judgement:
    """The verdict on a claim; about training sizes where it runs along them."""
    sizes = SIZES if getattr(claim, "along", "") == "train_size" else ()
    return judge(claim, evidence_of(records(study(THREE, claims=(claim,), sizes=sizes), accuracy, seed=1, **more)))


CASES = {
    "better": (better, flat(vit7=0.92), flat(vit7=0.88), flat()),
    "better by": (replace(better, margin=0.02), flat(vit7=0.95), flat(vit7=0.9), flat(vit7=0.92)),
    "equivalent": (equivalent, flat(), flat(vit7=0.93), flat(vit7=0.91)),
    "monotone": (
        falls,
        flat(vit4=0.93, vit7=0.92, vit14=0.91),
        flat(vit4=0.93, vit7=0.9, vit14=0.92),
        flat(vit4=0.93, vit7=0.92, vit14=0.92),
    ),
    "gains": (gains, flat(vit4=0.94), flat(vit4=0.86), flat()),
    "shrinks": (shrinks, lead(0.05, -0.05), lead(0.05, 0.05), lead(0.05, 0.0)),
    "crosses": (crosses, lead(0.03, -0.1), lead(0.05, 0.0), lead(0.0, 0.0)),
    "cost": (slower, flat(), None, None),
    "arithmetic": (compute, flat(), None, None),
}
WORDS = {
    "paper": ("reproduced", "contradicted", "inconclusive"),
    "hypothesis": ("supported", "not supported", "inconclusive"),
}


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("case", CASES)
def test_a_verdict_is_called_by_its_kind_and_its_p_value_agrees(case: str, kind: str) -> None:
    claim, *worlds = CASES[case]
    claim = replace(claim, kind=kind)
    for world, word in zip(worlds, WORDS[kind], strict=True):
        if world is None:
            continue
        got = found(claim, world)
        if case == "arithmetic":
            assert (claim.kind, got.verdict) == ("arithmetic", "reproduced")
            assert math.isnan(got.p_value)
        else:
            assert got.verdict == word, got.reason
            assert (got.p_value < 0.05) == (word != "inconclusive"), got


def test_the_p_value_of_a_difference_is_that_against_the_margin() -> None:
    of, world = study(THREE, claims=(better,)), flat(vit7=0.905)
    evidence = evidence_of(records(of, world, seed=1))
    difference = evidence.difference("ViT/7", "ResNet-8")
    for margin in (0.0, 0.004, 0.02):
        assert judge(replace(better, margin=margin), evidence).p_value == pytest.approx(difference.p_value(margin))


@pytest.mark.parametrize("shift", [-0.02, -0.006, -0.004, 0.0, 0.003, 0.009, 0.012])
def test_equivalence_has_the_p_value_of_two_one_sided_tests(shift: float) -> None:
    """Doubled, as statsmodels has them for a plain t; outside the region that of the nearer bound."""
    values = np.random.default_rng(3).normal(0, 0.004, 8)
    values += shift - values.mean()
    estimate = of_values(values)
    got = judged_by_region(estimate, (-0.01, 0.01), "It differs", ("inside", "outside", "across"))
    both = DescrStatsW(values)
    if abs(shift) < 0.01:
        expected = 2 * both.ttost_mean(-0.01, 0.01)[0]
    else:
        expected = both.ttest_mean(math.copysign(0.01, shift))[1]
    assert got.p_value == pytest.approx(min(1.0, expected))


def of_values(values: np.ndarray) -> MeanEstimate:
    """The plain t interval of the mean."""
    error, df = values.std(ddof=1) / math.sqrt(len(values)), len(values) - 1
    low, high = DescrStatsW(values).tconfint_mean()
    seeds = tuple(range(len(values)))
    return MeanEstimate(
        value=float(values.mean()), ci_low=low, ci_high=high, seeds=seeds, seed_error=float(error), df=float(df)
    )


def test_an_interval_that_looks_have_widened_decides_by_its_p_value_too() -> None:
    """`p_value` counts the looks: below .05 where the widened interval excludes the bound."""
    values = np.random.default_rng(0).normal(0.003, 0.002, 6)
    plain, level = of_values(values), 0.99
    low, high = DescrStatsW(values).tconfint_mean(1 - level)
    for bound in (low - 1e-6, low + 1e-6):
        widened = replace(plain, ci_low=low, ci_high=high, level=level)
        got = judged_by_region(widened, (bound, math.inf), "It is", ("above", "below", "across"))
        assert (got.p_value < 0.05) == (bound < low) == (got.verdict == "reproduced")


def test_steps_have_the_p_value_of_the_weakest_or_of_the_worst_by_holm() -> None:
    of = study(THREE, claims=(falls,))
    for world in (CASES["monotone"][1], CASES["monotone"][2]):
        evidence = evidence_of(records(of, world, seed=1))
        steps = [evidence.difference(*pair).p_value() for pair in (("ViT/7", "ViT/14"), ("ViT/4", "ViT/7"))]
        got = judge(falls, evidence)
        against = holm(steps)[0]  # from 14 to 7 pixels
        assert got.p_value == pytest.approx(max(steps) if got.verdict == "reproduced" else against, rel=1e-6, abs=0)


def test_a_crossing_has_the_larger_p_value_of_its_ends_and_a_leader_that_of_all_points() -> None:
    of = study(THREE, claims=(crosses,), sizes=SIZES)
    for world, places in ((CASES["crosses"][1], (0, -1)), (CASES["crosses"][2], range(4))):
        evidence = evidence_of(records(of, world, seed=1))
        points = [evidence.difference("ViT/7", "ResNet-8", size).p_value() for size in SIZES]
        assert judge(crosses, evidence).p_value == pytest.approx(max(points[place] for place in places))


def test_a_lead_that_may_change_in_between_decides_nothing_and_has_no_small_p_value() -> None:
    """At one size of four the other leads, at a level that looks at four sizes do not bear."""
    of, dip = study(THREE, claims=(crosses,), sizes=SIZES), 0.0
    verdict = "contradicted"
    while verdict == "contradicted":
        dip += 0.002

        def world(arm: str, size: int | None, dip: float = dip) -> float:
            return 0.9 if arm == "ResNet-8" else 0.89 + dip * (size == 2000)

        got = judge(crosses, evidence_of(records(of, world, seed=1)))
        assert (got.p_value < 0.05) == (got.verdict == "contradicted")
        verdict = got.verdict
    assert verdict == "inconclusive"


OUTSIDE = "outside the range measured"
SEEN = [
    ((9e6, 90e6), lead(0.05, 0.0), OUTSIDE),
    ((10_000.0, 90e6), lead(0.05, 0.0), OUTSIDE),  # partly beyond: it may lie there
    ((1000.0, 10_000.0), lead(0.05, 0.0), "contradicted"),
    ((10.0, 100.0), lead(0.05, 0.0), "contradicted"),  # there the follower would lead at every size measured
    ((9e6, 90e6), lead(-0.05, 0.0), "contradicted"),
    ((10.0, 100.0), lead(-0.05, 0.0), OUTSIDE),
    ((9e6, 90e6), lead(-0.03, 0.1), "contradicted"),  # they cross the other way round
    ((9e6, 90e6), lead(0.03, -0.1), "reproduced"),
    ((9e6, 90e6), lead(0.0, 0.0), "inconclusive"),
]


@pytest.mark.parametrize(("seen_at", "world", "expected"), SEEN)
def test_a_crossing_beyond_the_measured_range_is_not_contradicted(seen_at, world, expected: str) -> None:
    got = found(replace(crosses, seen_at=seen_at), world)
    assert got.verdict == expected, got.reason
    if expected == OUTSIDE:
        assert "in the measured range, 500 to 20,000 training images: " in got.reason
        assert f"the source's crossing, at {seen_at[0]:,.0f} to {seen_at[1]:,.0f} training images, " in got.reason
        assert got.p_value == 1
    of_own = found(replace(crosses, seen_at=seen_at, kind="hypothesis"), world)
    assert of_own.verdict == called(got.verdict, "hypothesis")


def test_a_crossing_beyond_the_measured_levels_is_told_in_levels() -> None:
    claim = Crosses(leader="ResNet", follower="ViT", along="moved_share", seen_at=(0.9, 1.5), **SAID)
    kept = records(series_study(claims=(claim,)), vit_lead(lambda *_: -0.05))
    (row,) = verdicts(kept).to_dict("records")
    assert row["verdict"] == OUTSIDE
    assert "moved share 0 to 1: " in row["reason"]
    assert "the source's crossing, at moved share 0.9 to 1.5, does not lie within that range." in row["reason"]


@pytest.mark.parametrize(
    ("changes", "world", "told"),
    [
        ({}, flat(vit7=0.895), "within ±1.00 points, though clearly worse."),
        ({}, flat(vit7=0.905), "within ±1.00 points, though clearly better."),
        ({}, flat(), "within ±1.00 points."),
        ({"metric": "test_loss"}, flat(vit7=0.895), "within ±0.01 test loss, though clearly worse."),
    ],
)
def test_as_good_as_names_a_clear_difference_within_the_margin(changes, world, told: str) -> None:
    got = found(replace(equivalent, **changes), world, seed_sd=0.001)
    assert got.verdict == "reproduced"
    assert got.reason.endswith(f" (n = 5 seeds): {told}")


def test_lost_runs_are_counted_and_told_in_the_tally() -> None:
    def changes(row):
        return without_accuracy(row, "diverged") if row["arm"] == "ViT/4" and row["seed"] < 2 else row

    claims = (better, falls, replace(gains, kind="hypothesis"), compute)
    results = analyse(records(study(THREE, claims=claims), flat(vit7=0.92), changes=changes))
    assert results.claims["lost_runs"].tolist() == [0, 2, 2, 0]
    assert tally_text(tally_of(results.claims.to_dict("records"))) == (
        "papers ✓ 1 reproduced, ? 1 inconclusive (1 for lost runs); "
        "own hypotheses ? 1 inconclusive (1 for lost runs); arithmetic ✓ 1 reproduced"
    )


def test_an_exact_cost_that_no_run_tells_is_a_lost_one() -> None:
    got = found(compute, flat(), changes=lambda row: None if row["arm"] == "ViT/7" else row)
    assert (got.verdict, got.lost_runs) == ("inconclusive", 5)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (replace(better, metric="params"), "contradicted"),  # 7,000 parameters against 1,000: fewer is better
        (replace(better, metric="params", arm="ResNet-8", than="ViT/7"), "reproduced"),
        (replace(better, metric="params", arm="ResNet-8", than="ViT/7", margin=1e6), "contradicted"),
        (replace(equivalent, metric="params", within=1e6), "reproduced"),
        (replace(equivalent, metric="params", within=1.0), "contradicted"),
        (replace(falls, metric="macs_per_image"), "reproduced"),
        (replace(falls, metric="params"), "contradicted"),
    ],
)
def test_exact_costs_that_all_seeds_share_are_judged_as_they_are(claim: Claim, expected: str) -> None:
    got = found(claim, flat())
    assert (claim.kind, got.verdict) == ("arithmetic", expected), got.reason
    assert math.isnan(got.p_value)
    assert got.ci_low == got.estimate == got.ci_high


def test_a_tally_names_each_kind_and_verdict_apart() -> None:
    rows = [{"kind": kind, "verdict": verdict, "lost_runs": 0} for kind in KINDS for verdict in VERDICTS]
    told = tally_text(tally_of([*rows, {"verdict": "reproduced"}]))
    assert told.count("; ") == len(KINDS) - 1
    assert all(told.count(f"{SYMBOLS[verdict]} 1 {verdict}") >= len(KINDS) - 1 for verdict in VERDICTS)
    assert "papers ✓ 2 reproduced, " in told  # one of an older report, without a kind
    with pytest.raises(ValueError, match="verdict is 'maybe'"):
        tally_of([{"kind": "paper", "verdict": "maybe"}])


def test_words_of_a_kind_stay_in_it() -> None:
    for verdict in VERDICTS:
        assert called(called(verdict, "hypothesis"), "hypothesis") == called(verdict, "hypothesis")
        assert called(called(verdict, "hypothesis"), "paper") == called(verdict, "paper")
    assert set(DECIDED) == {called(word, kind) for word in ("reproduced", "contradicted") for kind in KINDS}


def by_hand(p_values: list[float]) -> list[float]:
    """Benjamini and Yekutieli 2001, theorem 1.3, as an adjusted p-value."""
    m = len(p_values)
    most = sum(1 / i for i in range(1, m + 1))
    order = sorted(range(m), key=lambda i: p_values[i], reverse=True)
    stepped = accumulate((p_values[i] * m * most / (m - rank) for rank, i in enumerate(order)), min)
    return [min(1.0, p) for _, p in sorted(zip(order, stepped, strict=True))]


def test_verdicts_that_stand_are_those_of_benjamini_and_yekutieli() -> None:
    p = [0.0001, 0.012, 0.0004, 0.9, 0.03, 0.0019, 1.0, 0.0]
    known = adjusted([p[0], math.nan, *p[1:], math.nan])
    assert [value for value in known if not math.isnan(value)] == pytest.approx(by_hand(p))
    assert by_hand(p) == pytest.approx(multipletests(p, method="fdr_by")[1])
    assert sum(value <= 0.05 for value in known) == 4
    assert adjusted([]) == []
    assert all(map(math.isnan, adjusted([math.nan])))


def test_among_claims_of_which_none_is_true_a_verdict_seldom_stands() -> None:
    """Twelve claims a round, by the same runs in part, without any effect: in at most 5 % of rounds does one stand."""
    claims = (better, replace(better, arm="ViT/4"), replace(better, arm="ViT/14"), gains)
    simulated = evidences(study(THREE, claims=claims), flat(), seeds=range(3 * REPEATS))
    stands = [
        min(adjusted([judge(claim, one).p_value for one in three for claim in claims])) <= 0.05
        for three in zip(simulated, simulated, simulated, strict=True)
    ]
    assert share(stands) <= at_most(0.05, REPEATS)


@dataclass(frozen=True, kw_only=True)
class Says(Claim):
    """A type of a study file's own."""

    verdict: str
    p: float = 0.01

    def judge(self, tables: Any, rng: Any) -> Judgement:
        return Judgement(verdict=self.verdict, reason="So it is.", p_value=self.p)  # type: ignore[arg-type]


def of_own(claim: Claim) -> ResolvedStudy:
    return study(THREE, claims=(claim,))


@pytest.mark.parametrize(
    ("kind", "said", "called_here"),
    [
        ("hypothesis", "reproduced", "supported"),
        ("hypothesis", "not supported", "not supported"),
        ("paper", "supported", "reproduced"),
        ("arithmetic", "contradicted", "contradicted"),
        ("paper", OUTSIDE, OUTSIDE),
    ],
)
def test_a_type_of_ones_own_has_a_kind_too(kind: str, said: str, called_here: str) -> None:
    claim = Says(**SAID, kind=kind, verdict=said)  # type: ignore[arg-type]
    (row,) = verdicts(records(of_own(claim), flat())).to_dict("records")
    assert (row["kind"], row["verdict"], row["p_value"], row["claim"]) == (kind, called_here, 0.01, "Says-1")


def test_a_p_value_that_is_none_is_refused() -> None:
    (row,) = verdicts(records(of_own(Says(**SAID, verdict="reproduced", p=1.5)), flat())).to_dict("records")
    assert row["verdict"] == "inconclusive"
    assert "its p_value is 1.5" in row["reason"]

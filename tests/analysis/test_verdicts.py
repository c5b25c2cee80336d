"""Every kind of claim: reproduced, contradicted, inconclusive; and never wrong more often than promised."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulate import (
    REPEATS,
    SAID,
    THREE,
    World,
    at_most,
    evidences,
    records,
    share,
    study,
    verdicts,
    without_accuracy,
    without_frames,
)

from harness.analysis.evidence import Evidence
from harness.analysis.findings import CLAIM_COLUMNS
from harness.analysis.judging import judge
from harness.analysis.wording import named
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
from harness.spec.verdicts import VERDICTS

SIZES = (500, 2000, 5000, 20_000)
"""Simulations of a share that may be 5 %: `at_most` then allows 1.8 points more."""

better = Better(arm="ViT/7", than="ResNet-8", **SAID)
equivalent = Equivalent(arm="ViT/7", to="ResNet-8", within=0.01, **SAID)
falls = Monotone(metric="test_accuracy", along="patch_size", direction="down", **SAID)
shrinks = GapShrinks(leader="ResNet-8", follower="ViT/7", **SAID)
crosses = Crosses(leader="ResNet-8", follower="ViT/7", **SAID)
gains = GainsMore(arm="ViT/4", start="ViT/7", other="ViT/14", other_start="ResNet-8", **SAID)


def flat(**accuracy: float):
    """Accuracies by arm; `resnet`, `vit4`, `vit7`, `vit14`, .9 unless given."""
    names = {"ResNet-8": "resnet", "ViT/4": "vit4", "ViT/7": "vit7", "ViT/14": "vit14"}
    return lambda arm, size: accuracy.get(names[arm], 0.9)


def lead(at_1000: float, per_tenfold: float):
    """A lead of the ResNet over the ViTs, linear in the logarithm of the training size."""
    return lambda arm, size: 0.9 - (arm != "ResNet-8") * (at_1000 + per_tenfold * np.log10((size or 1000) / 1000))


def verdict(claim: Claim, accuracy, *, sizes=(), seeds: int = 5, levels=None, **more) -> tuple[str, str]:
    of = study(levels or THREE, claims=(claim,), sizes=sizes, seeds=seeds)
    table = verdicts(records(of, accuracy, seed=1, **more))
    assert list(table.columns) == list(CLAIM_COLUMNS)
    row = table.iloc[0]
    assert row["verdict"] in VERDICTS
    return row["verdict"], row["reason"]


CASES = [
    (better, flat(vit7=0.92), (), "reproduced"),
    (better, flat(vit7=0.88), (), "contradicted"),
    (better, flat(), (), "inconclusive"),
    (Better(arm="ViT/7", than="ResNet-8", margin=0.03, **SAID), flat(vit7=0.92), (), "contradicted"),
    (Better(arm="ViT/7", than="ResNet-8", metric="test_loss", **SAID), flat(vit7=0.92), (), "reproduced"),
    (Better(arm="ResNet-8", than="ViT/7", train_size="largest", **SAID), lead(0.05, -0.1), SIZES, "contradicted"),
    (Better(arm="ResNet-8", than="ViT/7", train_size="smallest", **SAID), lead(0.05, -0.1), SIZES, "reproduced"),
    (Better(arm="ResNet-8", than="ViT/7", train_size=2000, **SAID), lead(0.05, -0.1), SIZES, "reproduced"),
    (Better(arm="ResNet-8", than="ViT/7", train_size=777, **SAID), lead(0.05, -0.1), SIZES, "inconclusive"),
    (Better(arm="ResNet-8", than="ViT/7", **SAID), lead(0.05, -0.1), SIZES, "inconclusive"),
    (equivalent, flat(), (), "reproduced"),
    (equivalent, flat(vit7=0.93), (), "contradicted"),
    (equivalent, flat(vit7=0.91), (), "inconclusive"),
    (falls, flat(vit4=0.93, vit7=0.92, vit14=0.91), (), "reproduced"),
    (falls, flat(vit4=0.93, vit7=0.90, vit14=0.92), (), "contradicted"),
    (falls, flat(vit4=0.93, vit7=0.92, vit14=0.92), (), "inconclusive"),
    (
        Monotone(metric="test_accuracy", along="patch_size", direction="down", slack=0.01, **SAID),
        flat(vit4=0.93, vit7=0.92, vit14=0.92),
        (),
        "reproduced",
    ),
    (
        Monotone(metric="test_accuracy", along="train_size", direction="up", arm="ViT/7", **SAID),
        lead(0.05, -0.1),
        SIZES,
        "reproduced",
    ),
    (
        Monotone(metric="test_accuracy", along="train_size", direction="up", arm="ViT/7", **SAID),
        lead(0.05, 0.05),
        SIZES,
        "contradicted",
    ),
    (shrinks, lead(0.05, -0.05), SIZES, "reproduced"),
    (shrinks, lead(0.05, 0.05), SIZES, "contradicted"),
    (shrinks, lead(0.05, 0.0), SIZES, "inconclusive"),
    (shrinks, flat(), (), "inconclusive"),
    (crosses, lead(0.03, -0.1), SIZES, "reproduced"),
    (crosses, lead(0.05, 0.0), SIZES, "contradicted"),
    (crosses, lead(-0.05, 0.0), SIZES, "contradicted"),
    (crosses, lead(-0.03, 0.1), SIZES, "contradicted"),
    (crosses, lead(0.0, 0.0), SIZES, "inconclusive"),
    (CostGrows(along="patch_size", direction="down", **SAID), flat(), (), "reproduced"),
    (CostGrows(along="patch_size", direction="up", **SAID), flat(), (), "contradicted"),
    (CostGrows(along="patch_size", direction="down", factor=1.9, **SAID), flat(), (), "contradicted"),
    (CostGrows(along="patch_size", direction="up", metric="train_images_per_second", **SAID), flat(), (), "reproduced"),
    (
        CostGrows(along="patch_size", direction="up", metric="train_images_per_second", factor=3, **SAID),
        flat(),
        (),
        "contradicted",
    ),
    (CostGrows(along="patch_size", direction="up", metric="test_loss", **SAID), flat(), (), "inconclusive"),
    (CostGrows(along="train_size", direction="up", **SAID), flat(), SIZES, "contradicted"),
    (gains, flat(vit4=0.94, vit7=0.90, vit14=0.92, resnet=0.91), (), "reproduced"),
    (gains, flat(vit4=0.91, vit7=0.90, vit14=0.94, resnet=0.91), (), "contradicted"),
    (gains, flat(vit4=0.92, vit7=0.90, vit14=0.93, resnet=0.91), (), "inconclusive"),
    (replace(gains, margin=0.02), flat(vit4=0.92, vit7=0.90), (), "inconclusive"),
    (replace(gains, margin=0.04), flat(vit4=0.92, vit7=0.90), (), "contradicted"),
    (replace(gains, metric="test_loss"), flat(vit4=0.94, vit7=0.90, vit14=0.92, resnet=0.91), (), "reproduced"),
    (replace(gains, other_start="ViT/7"), flat(vit4=0.93, vit14=0.91), (), "reproduced"),
    (replace(gains, other="ViT/4", other_start="ViT/7"), flat(), (), "inconclusive"),
    (gains, lead(0.05, 0.0), SIZES, "inconclusive"),
    (
        GainsMore(arm="ResNet-8", start="ViT/7", other="ViT/4", other_start="ViT/14", train_size="smallest", **SAID),
        lead(0.05, -0.1),
        SIZES,
        "reproduced",
    ),
]


@pytest.mark.parametrize(("claim", "accuracy", "sizes", "expected"), CASES)
def test_verdict(claim: Claim, accuracy, sizes: tuple[int, ...], expected: str) -> None:
    found, reason = verdict(claim, accuracy, sizes=sizes)
    assert found == expected, reason
    assert reason.endswith(".")
    assert reason.count(". ") == 0


def test_a_lead_that_has_turned_is_told_of() -> None:
    """That it shrinks does not say that beyond zero it is the other's."""
    reasons = [verdict(shrinks, lead(*of), sizes=SIZES)[1] for of in ((0.05, -0.01), (0.04, -0.05), (0.02, -0.05))]
    assert "leads" not in reasons[0]
    assert re.search(r"it shrinks.*; at \d[\d,]* training images ViT/7 leads\.", reasons[1])
    assert re.search(r"it shrinks.*; at \d sizes of \d ViT/7 leads\.", reasons[2])


def test_a_reason_has_the_numbers_that_decide() -> None:
    kept = records(study(THREE, claims=(better,)), flat(vit7=0.92))
    row = verdicts(kept).iloc[0]
    numbers = f"+{100 * row['estimate']:.2f} points [+{100 * row['ci_low']:.2f}, +{100 * row['ci_high']:.2f}]"
    assert row["reason"] == f"The advantage of ViT/7 over ResNet-8 is {numbers} (n = 5 seeds): above 0."
    assert row["claim"] == "better-1"


def test_a_difference_of_gains_is_paired_by_seed() -> None:
    kept = records(study(THREE, claims=(gains,)), flat(vit4=0.94, vit14=0.91))
    row = verdicts(kept).iloc[0]
    wide = kept.runs.pivot_table(index="seed", columns="arm", values="test_accuracy")
    gains_of_seeds = (wide["ViT/4"] - wide["ViT/7"]) - (wide["ViT/14"] - wide["ResNet-8"])
    left = wide.sub(wide.mean(axis=1), axis=0).var()
    parts = np.maximum(left, 2 * (left - left.sum() * 4 / 3 / 4**2))  # of each of the four arms, from four deviations
    df = min(parts.sum() ** 2 / ((parts**2).sum() / 4), 12)
    low, high = stats.t.interval(0.95, df, loc=gains_of_seeds.mean(), scale=math.sqrt(parts.sum() / 5))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    assert row["reason"].startswith(
        "The gain from ViT/7 to ViT/4 less that from ResNet-8 to ViT/14 is "
        f"+{100 * row['estimate']:.2f} points [+{100 * row['ci_low']:.2f}, "
    )


def test_a_start_that_both_steps_share_does_not_matter() -> None:
    claims = (replace(gains, other_start="ViT/7"), Better(arm="ViT/4", than="ViT/14", **SAID))
    kept = records(
        study(THREE, claims=claims), flat(vit4=0.93), changes=lambda row: None if row["arm"] == "ViT/7" else row
    )
    found = verdicts(kept)
    assert set(found["verdict"]) == {"reproduced"}
    assert found["ci_low"].nunique() == found["ci_high"].nunique() == 1


@pytest.mark.parametrize("metric", ["shifted_accuracy", "shift_agreement", "attention_macs_per_image"])
@pytest.mark.parametrize("claim", [better, equivalent, falls, shrinks, crosses, gains], ids=lambda claim: claim.type)
def test_a_metric_that_was_not_measured_decides_nothing(claim: Claim, metric: str) -> None:
    sized = claim in (shrinks, crosses)
    found, reason = verdict(replace(claim, metric=metric), flat(), sizes=SIZES if sized else ())
    assert found == "inconclusive"
    assert re.match(rf"Not every run of .* has measured its {named(metric)}\.$", reason)


def test_shares_of_moved_images_are_told_in_points() -> None:
    def changes(row):
        return row | {"shifted_accuracy": row["test_accuracy"] - 0.1}

    found, reason = verdict(replace(better, metric="shifted_accuracy"), flat(vit7=0.92), changes=changes)
    assert found == "reproduced"
    assert " points of test accuracy at the largest shift [+" in reason


@pytest.mark.parametrize(
    ("costs", "expected", "told"),
    [
        ({"ViT/4": 900, "ViT/7": 300, "ViT/14": 100}, "reproduced", "by a factor of 3, at least 1 (exact)"),
        (
            {"ViT/4": 900, "ViT/14": 100},
            "inconclusive",
            "ViT/7: multiply-accumulates of attention per image not measured or not above zero",
        ),
        (
            {"ViT/4": 900, "ViT/7": 300, "ViT/14": 0},
            "inconclusive",
            "ViT/14: multiply-accumulates of attention per image not measured or not above zero, so there is no ratio",
        ),
    ],
)
def test_macs_of_attention_are_exact(costs: dict[str, int], expected: str, told: str) -> None:
    """One diverged run per arm is enough for a cost that the model alone decides."""

    def changes(row):
        row = row | {"attention_macs_per_image": costs.get(row["arm"])}
        return None if row["seed"] else without_accuracy(row, "diverged")

    claim = CostGrows(metric="attention_macs_per_image", along="patch_size", direction="down", **SAID)
    found, reason = verdict(claim, flat(), changes=changes)
    assert found == expected
    assert told in reason


def test_inconclusive_says_what_would_settle_it() -> None:
    _, reason = verdict(better, flat(vit7=0.9021))
    assert re.search(r"settling it takes about \d+ seeds, if the difference is what it seems", reason)


@pytest.mark.parametrize("claim", [better, equivalent, falls])
def test_missing_runs_are_named_and_nothing_is_claimed(claim: Claim) -> None:
    def changes(row):
        return None if row["arm"] == "ViT/7" and row["seed"] in (1, 3) else row

    found, reason = verdict(claim, flat(vit7=0.8), changes=changes)
    assert found == "inconclusive"
    assert "ViT/7 seeds 1 and 3 missing" in reason


@pytest.mark.parametrize("claim", [shrinks, crosses])
def test_missing_runs_are_named_with_their_size(claim: Claim) -> None:
    def changes(row):
        return None if row["arm"] == "ViT/7" and row["seed"] == 1 and row["train_size"] == 2000 else row

    found, reason = verdict(claim, lead(0.03, -0.1), sizes=SIZES, changes=changes)
    assert found == "inconclusive"
    assert "ViT/7 at 2,000 images seed 1 missing" in reason


def test_divergences_are_named() -> None:
    def changes(row):
        return without_accuracy(row, "diverged") if row["arm"] == "ViT/7" else row

    found, reason = verdict(better, flat(), changes=changes)
    assert found == "inconclusive"
    assert "ViT/7 seeds 0, 1, 2, 3 and 4 diverged" in reason


def test_an_exact_cost_needs_one_run_even_a_diverged_one() -> None:
    def changes(row):
        return without_accuracy(row, "diverged") if row["seed"] == 0 else None

    claim = CostGrows(along="patch_size", direction="down", **SAID)
    assert verdict(claim, flat(), changes=changes)[0] == "reproduced"
    found, reason = verdict(claim, flat(), changes=lambda row: None if row["arm"] == "ViT/7" else row)
    assert found == "inconclusive"
    assert "ViT/7" in reason


@pytest.mark.parametrize("claim", [better, equivalent, falls])
def test_below_three_seeds_nothing_is_claimed(claim: Claim) -> None:
    assert verdict(claim, flat(vit7=0.5), seeds=2)[0] == "inconclusive"


def simulated(accuracies: tuple[float, float], claim: Claim, *, n: int) -> list[str]:
    """Verdicts on a claim about ViT/7 and ResNet-8 in repeated worlds with predictions on 300 fresh images."""
    rng = np.random.default_rng(n)
    world = World(seed_sd=0.15)
    of = study({"ViT/7": 7.0}, seeds=n, claims=(claim,))
    found = []
    for _ in range(REPEATS):
        images, _ = world.draw(accuracies, n, 300, rng)
        # Only the difference counts, so it is put into one arm: +1, 0 or -1 against a baseline of zeros.
        found.append(judged({"ViT/7": images, "ResNet-8": 0 * images}, of, n).verdict)
    return found


def judged(correct: dict[str, np.ndarray], of: ResolvedStudy, seed: int) -> Judgement:
    """The study's one claim, judged on runs with these (seeds, images) predictions by arm."""
    kept = {f"{arm}-{s}": correct[arm][s] for arm in correct for s in of.seeds}
    rows = {
        (arm, None): {
            s: {"status": "completed", "digest": f"{arm}-{s}", "test_accuracy": kept[f"{arm}-{s}"].mean()}
            for s in of.seeds
        }
        for arm in correct
    }
    return judge(of.claims[0], Evidence(records=without_frames(of, kept), rows=rows, seed=seed))


@pytest.mark.parametrize("n", [3, 5])
def test_equal_gains_are_decided_in_at_most_5_percent_and_a_known_one_is_covered(n: int) -> None:
    """Four arms with predictions on 300 fresh images; the other gain is .02, or .03 less than the arm's .05."""
    rng = np.random.default_rng(n)
    world, of = World(seed_sd=0.15), study(THREE, claims=(gains,), seeds=n)
    decided, covered = [], []
    for gain in (0.02, 0.05):
        for _ in range(REPEATS):
            runs, _ = world.runs((0.88 + gain, 0.88, 0.92, 0.90), n, 300, rng)
            correct = dict(zip(("ViT/4", "ViT/7", "ViT/14", "ResNet-8"), map(np.float64, runs), strict=True))
            found = judged(correct, of, n)
            decided.append(found.verdict != "inconclusive")
            covered.append(found.ci_low <= gain - 0.02 <= found.ci_high)
    assert share(decided[:REPEATS]) <= at_most(0.05, REPEATS)
    assert share(decided[REPEATS:]) > share(decided[:REPEATS])
    assert 1 - share(covered) <= at_most(0.05, 2 * REPEATS)


@pytest.mark.parametrize("n", [3, 5])
def test_without_a_difference_at_most_5_percent_are_decided(n: int) -> None:
    found = simulated((0.93, 0.93), better, n=n)
    assert share([verdict != "inconclusive" for verdict in found]) <= at_most(0.05, REPEATS)


@pytest.mark.parametrize("n", [3, 5])
def test_at_the_bound_of_equivalence_at_most_5_percent_are_decided(n: int) -> None:
    claim = Equivalent(arm="ViT/7", to="ResNet-8", within=0.05, **SAID)
    found = simulated((0.95, 0.90), claim, n=n)
    assert share([verdict != "inconclusive" for verdict in found]) <= at_most(0.05, REPEATS)


@pytest.mark.parametrize("claim", [falls, shrinks, crosses], ids=["monotone", "gap_shrinks", "crosses"])
def test_without_an_effect_at_most_5_percent_of_series_are_decided(claim: Claim) -> None:
    """Levels and sizes without any effect (for `crosses`, a lead of zero at every size)."""
    of = study(THREE, claims=(claim,), seeds=3, sizes=() if claim is falls else (500, 5000, 50_000))
    found = [judge(claim, one).verdict for one in evidences(of, flat())]
    assert share([verdict != "inconclusive" for verdict in found]) <= at_most(0.05, REPEATS)

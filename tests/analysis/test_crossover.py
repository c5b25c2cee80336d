"""The planted crossing is found where it was planted, and none is claimed where none was."""

import math
from dataclasses import replace

import numpy as np
import pytest
from simulate import at_most, evidence, records, share, study

from harness.analysis import analyse
from harness.analysis.axis import crossing, sign_changes, size_axis, slope
from harness.analysis.evidence import evidence_of
from harness.analysis.learning import fit_law
from harness.spec import Crosses

SIZES = (500, 2000, 5000, 20_000, 50_000)


def planted(arm: str, size: int | None) -> float:
    """Both arms follow power laws; their difference is zero at 3,000 images."""
    assert size is not None
    ratio = size / 3000
    return 0.8 - (0.05 * ratio**-0.5 - 0.05 if arm == "ViT/7" else 0.0)


def found_in(accuracy, *, n: int, seed: int):
    of = study({"ViT/7": 7.0}, sizes=SIZES, seeds=n)
    return crossing(evidence(of, accuracy, seed=seed), size_axis(of, "ViT/7", "ResNet-8"))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_planted_crossing_is_found_and_covered(n: int) -> None:
    found = [found_in(planted, n=n, seed=seed) for seed in range(1000)]
    assert share([one.shown for one in found]) > 0.9
    shown = [one for one in found if one.shown]
    assert share([one.ci_low <= 3000 <= one.ci_high for one in shown]) >= 0.93
    assert float(np.median([one.median for one in shown])) == pytest.approx(3000, rel=0.05)


@pytest.mark.parametrize("gap", [0.0, -0.003], ids=["equal", "behind"])
def test_where_none_was_planted_none_is_claimed(gap: float) -> None:
    found = [found_in(lambda arm, _: 0.8 + gap * (arm == "ViT/7"), n=3, seed=seed) for seed in range(1000)]
    assert share([one.shown for one in found]) <= at_most(0.05, 1000)
    assert all(math.isnan(one.median) for one in found if not one.shown)


def test_predictions_widen_the_interval_by_the_image_part() -> None:
    """Hard images common to all runs of an arm: without predictions that spread would go unseen."""
    rng = np.random.default_rng(0)
    difficulty = rng.random(400)
    own = {"ViT/7": rng.random(400), "ResNet-8": rng.random(400)}
    kept = records(study({"ViT/7": 7.0}, sizes=SIZES), planted, images=400)
    for digest in kept.correct:
        arm, size, _ = digest.rsplit("-", 2)
        threshold = 1 - planted(arm, int(size))
        kept.correct[digest] = (difficulty + own[arm] > np.sqrt(2 * threshold)) ^ (rng.random(400) < 0.01)
    values = [kept.correct[digest].mean() for digest in kept.runs["digest"]]
    kept = replace(kept, runs=kept.runs.assign(test_accuracy=values))
    axis = size_axis(kept.study, "ViT/7", "ResNet-8")
    found, blind = (crossing(evidence_of(one), axis) for one in (kept, replace(kept, correct={})))
    assert found.differences[0].image_error > 2 * blind.differences[0].seed_error
    assert found.share < blind.share or found.ci_high - found.ci_low > blind.ci_high - blind.ci_low


def test_sign_changes_of_straight_curves_lie_on_the_line() -> None:
    log_sizes = np.log(np.array([500.0, 5000.0, 50_000.0]))
    at = np.log(3000.0)
    curves = np.stack([log_sizes - at, at - log_sizes, log_sizes, -log_sizes])
    found = sign_changes(log_sizes, curves)
    assert np.exp(found[:2]) == pytest.approx([3000, 3000])
    assert np.isinf(found[2:]).all()


def test_of_three_sign_changes_the_middle_one_is_taken() -> None:
    log_sizes = np.arange(4.0)
    assert sign_changes(log_sizes, np.array([[-1.0, 1.0, -1.0, 1.0]]))[0] == pytest.approx(1.5)


def test_statements_never_name_a_size_outside_the_measured_range() -> None:
    def lead(arm: str, size: int | None) -> float:
        return 0.8 - 0.02 * (arm == "ViT/7") * math.log10(200_000 / (size or 1))

    row = analyse(records(study({"ViT/7": 7.0}, sizes=SIZES), lead)).crossovers.iloc[0]
    assert row[["median", "ci_low", "ci_high"]].isna().all()
    assert row["statement"] == (
        "No crossing in the measured range, 500 to 50,000 training images: ResNet-8 leads at both ends; "
        "any crossing lies beyond it."
    )


def test_a_crossing_is_stated_with_interval_and_share() -> None:
    of = study({"ViT/7": 7.0}, sizes=SIZES)
    found = analyse(records(of, planted))
    row = found.crossovers.iloc[0]
    assert row["ci_low"] < 3000 < row["ci_high"]
    assert row["statement"].startswith("ViT/7 overtakes ResNet-8 at about ")
    assert row["statement"] in found.answer
    assert found.slopes.iloc[0]["ci_low"] > 0


@pytest.mark.parametrize("n", [3, 5])
def test_the_slope_is_covered(n: int) -> None:
    of = study({"ViT/7": 7.0}, sizes=SIZES, seeds=n)
    hits = []
    for seed in range(1000):
        simulated = evidence(of, lambda arm, size: 0.8 + 0.02 * (arm == "ViT/7") * math.log10(size or 1), seed=seed)
        found = slope(simulated, size_axis(of, "ViT/7", "ResNet-8"))
        assert found is not None
        hits.append(found.ci_low <= 0.02 <= found.ci_high)
    assert 0.93 <= share(hits) < 0.97


def test_a_size_without_all_its_runs_is_neither_dropped_nor_judged() -> None:
    """As the claim about it: the runs that are left may not be those that would decide."""

    def changes(row):
        late = row["train_size"] == 50_000 and row["seed"] > 1
        return None if late or (row["seed"] == 4 and row["arm"] == "ViT/7") else row

    claims = (Crosses(leader="ResNet-8", follower="ViT/7", statement="a", source="b"),)
    found = analyse(records(study({"ViT/7": 7.0}, sizes=SIZES, claims=claims), planted, changes=changes))
    row = found.crossovers.iloc[0]
    assert (row["smallest"], row["largest"]) == (500, 50_000)
    assert math.isnan(row["median"])
    assert row["statement"].startswith("No crossing can be judged: ViT/7 at 500 images seed 4 missing; ViT/7 at 2,000 ")
    assert found.slopes["slope"].isna().all()
    assert "Not judged: ViT/7 at 500 images seed 4 missing; " in found.answer
    assert found.claims["verdict"].item() == "inconclusive"
    assert len(found.gaps) == 6


@pytest.mark.parametrize(
    ("leads", "told"),
    [
        (
            (0.03, -0.03, -0.03, 0.03, 0.03),
            "The lead changes twice in the measured range, 500 to 50,000 training images: ViT/7 at 500, "
            "ResNet-8 at 2,000 to 5,000 and ViT/7 at 20,000 to 50,000; no single point of crossing is given.",
        ),
        (
            (0.03, -0.03, 0.03, -0.03, -0.03),
            "The lead changes 3 times in the measured range, 500 to 50,000 training images: ViT/7 at 500, ResNet-8 at "
            "2,000, ViT/7 at 5,000 and ResNet-8 at 20,000 to 50,000; no single point of crossing is given.",
        ),
        (
            (0.03, 0.03, -0.03, -0.03, 0.0),
            "The lead changes once in the measured range, 500 to 50,000 training images: ViT/7 at 500 to 2,000 and "
            "ResNet-8 at 5,000 to 20,000, no one at 50,000; no single point of crossing is given.",
        ),
        (
            (0.03, 0.0, 0.03, 0.03, 0.03),
            "No crossing is shown in the measured range, 500 to 50,000 training images: ViT/7 leads at both ends, but "
            "at 2,000 the difference is ",
        ),
    ],
)
def test_sign_changes_are_counted_over_all_sizes(leads, told) -> None:
    by_size = dict(zip(SIZES, leads, strict=True))
    claims = (Crosses(leader="ResNet-8", follower="ViT/7", statement="a", source="b"),)
    of = study({"ViT/7": 7.0}, sizes=SIZES, claims=claims)
    found = analyse(records(of, lambda arm, size: 0.8 + by_size[size] * (arm == "ViT/7"), seed=1))
    row = found.crossovers.iloc[0]
    assert row["statement"].startswith(told)
    assert math.isnan(row["median"])
    assert row["share"] > (0.95 if min(leads) < 0 else 0.2)
    assert found.claims["verdict"].item() == "inconclusive"
    assert told in found.answer
    assert found.claims["reason"].item().startswith(told[:-2])


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_give_no_crossing(seeds: int) -> None:
    found = analyse(records(study({"ViT/7": 7.0}, sizes=SIZES, seeds=seeds), planted))
    assert found.crossovers[["median", "share"]].isna().all(axis=None)
    assert found.slopes["slope"].isna().all()
    assert f"{seeds} of at least 3 seeds planned" in found.crossovers["statement"].iloc[0]


def test_a_scaling_law_is_recovered() -> None:
    n = np.array(SIZES, dtype=float)
    a, b, c, d, r2 = fit_law(np.stack([n, 3.0 * n**-0.4 + 0.05], axis=1))
    assert (a, b, c, d, r2) == pytest.approx((3.0, 0.4, 0.05, 0.0, 1.0), rel=1e-3)
    more = np.array([500, 1000, 2000, 5000, 10_000, 20_000, 50_000], dtype=float)
    points = np.stack([more, 3.0 * (more + 300) ** -0.4 + 0.05], axis=1)
    assert fit_law(points)[3] == pytest.approx(300, rel=0.05)
    assert np.isnan(fit_law(points[:2])).all()

"""The planted crossing is found where it was planted, and none is claimed where none was."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import REPEATS, at_most, evidence, evidences, records, share, study

from harness.analysis import analyse
from harness.analysis.axis import crossing, size_axis, slope
from harness.analysis.curve import Curve, zero_of
from harness.analysis.evidence import evidence_of
from harness.analysis.learning import fit_law
from harness.spec import Crosses

SIZES = (500, 2000, 5000, 20_000, 50_000)


def planted(arm: str, size: int | None) -> float:
    """Both arms follow power laws; their difference is zero at 3,000 images."""
    assert size is not None
    ratio = size / 3000
    return 0.8 - (0.05 * ratio**-0.5 - 0.05 if arm == "ViT/7" else 0.0)


def crossings(accuracy, *, n: int, sizes=SIZES, seed_sd: float = 0.004, seeds=range(REPEATS)):
    """That of each of many studies with `n` seeds."""
    of = study({"ViT/7": 7.0}, sizes=sizes, seeds=n)
    axis = size_axis(of, "ViT/7", "ResNet-8")
    return [crossing(one, axis) for one in evidences(of, accuracy, seeds=seeds, seed_sd=seed_sd)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "n"),
    [(SIZES, 3), (SIZES, 5), ((500, 5000, 50_000), 3), ((1000, 3000, 10_000, 50_000), 3)],  # the last has it at a size
)
def test_a_planted_crossing_is_found_and_covered(sizes: tuple[int, ...], n: int) -> None:
    shown = [one for one in crossings(planted, n=n, sizes=sizes) if one.shown]
    assert len(shown) > 0.9 * REPEATS
    assert 0.01 < share([not one.ci_low <= 3000 <= one.ci_high for one in shown]) <= at_most(0.05, len(shown))
    assert float(np.median([one.place for one in shown])) == pytest.approx(3000, rel=0.05)


NONE_PLANTED = {
    "equal": (0.0,) * 5,
    "behind": (-0.003,) * 5,
    "touching": (0.03, 0.01, 0.0, 0.01, 0.03),
    "convex": (0.02, 0.001, 0.0005, 0.001, 0.02),
    "equal beyond the first": (0.03, 0.0, 0.0, 0.0, 0.0),
    "equal around the middle": (0.0, 0.0, 0.03, 0.0, 0.0),
}


@pytest.mark.parametrize("leads", NONE_PLANTED.values(), ids=NONE_PLANTED)
def test_where_no_change_was_planted_none_is_claimed(leads: tuple[float, ...]) -> None:
    by_size = dict(zip(SIZES, leads, strict=True))
    found = crossings(lambda arm, size: 0.8 + by_size[size] * (arm == "ViT/7"), n=3)
    assert share([one.changes > 0 for one in found]) <= at_most(0.05, REPEATS)
    assert all(math.isnan(one.place) for one in found if not one.shown)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-0.03, 0.03]), min_size=2, max_size=6))
def test_every_clear_change_of_the_lead_is_counted_wherever_it_lies(leads: list[float]) -> None:
    """None, one, two or more; a point is told of a single one among three sizes or more."""
    sizes = (500, 1000, 2000, 5000, 20_000, 50_000)[: len(leads)]
    by_size = dict(zip(sizes, leads, strict=True))
    (found,) = crossings(
        lambda arm, size: 0.8 + by_size[size] * (arm == "ViT/7"), n=5, sizes=sizes, seed_sd=0.001, seeds=[1]
    )
    assert found.changes == sum(one != other for one, other in pairwise(leads))
    assert found.shown == (found.changes == 1)
    assert math.isnan(found.place) == (not found.shown or len(sizes) == 2)
    if found.shown:
        after = next(i for i, lead in enumerate(leads) if lead != leads[0])
        low, high = found.ci_low, found.ci_high
        assert sizes[after - 1] <= low < high <= sizes[after]
        assert len(sizes) == 2 or low < found.place < high


def test_two_sizes_bracket_a_crossing_and_give_no_point() -> None:
    claims = (Crosses(leader="ResNet-8", follower="ViT/7", statement="a", source="b"),)
    found = analyse(records(study({"ViT/7": 7.0}, sizes=(500, 50_000), claims=claims), planted))
    row, claim = found.crossovers.iloc[0], found.claims.iloc[0]
    assert math.isnan(row["crossing"])
    assert (row["ci_low"], row["ci_high"]) == (500, 50_000)
    assert row["statement"] == "ViT/7 overtakes ResNet-8 between 500 and 50,000 training images (n = 5 seeds)."
    assert claim["verdict"] == "reproduced"
    assert (claim["ci_low"], claim["ci_high"]) == (500, 50_000)
    assert math.isnan(claim["estimate"])


def test_the_interval_of_a_crossing_holds_where_that_of_the_interpolated_difference_includes_zero() -> None:
    """Between two of three sizes on a line, where the curve is that line."""
    of = study({"ViT/7": 7.0, "ViT/14": 14.0}, sizes=(500, 5000, 50_000))
    simulated = evidence(of, lambda arm, size: 0.8 + 0.02 * (arm == "ViT/7") * math.log(size / 3000), seed=3)
    axis = size_axis(of, "ViT/7", "ResNet-8")
    found = crossing(simulated, axis)
    curve = Curve(axis.positions, np.array([difference.value for difference in found.differences]))
    for bound, end in ((found.ci_low, "ci_high"), (found.ci_high, "ci_low")):
        weights = curve.weights(math.log(bound))
        assert weights.sum() == pytest.approx(1)
        assert weights @ curve.heights == pytest.approx(curve.at(math.log(bound)))
        cells = {arm: weight for (arm, _), weight in zip(axis.pairs, weights, strict=True)}
        cells |= {other: -weight for (_, other), weight in zip(axis.pairs, weights, strict=True)}
        assert getattr(simulated.contrast(cells), end) == pytest.approx(0, abs=1e-8)


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
    assert not found.shown or found.ci_high - found.ci_low > blind.ci_high - blind.ci_low


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-10, 10), min_size=3, max_size=7).filter(lambda heights: min(heights) * max(heights) < 0),
    st.floats(0.01, 5),
)
def test_the_zero_of_a_curve_lies_within_its_interval(heights: list[int], half: float) -> None:
    curve = Curve(np.arange(float(len(heights))), np.array(heights, dtype=np.float64))
    zero, low, high = zero_of(curve, lambda weights: half * float(np.abs(weights).sum()))
    assert curve.at(zero) == pytest.approx(0, abs=1e-6)
    assert not low > zero
    assert not high < zero


def test_zeros_lie_on_the_line_and_of_three_the_middle_one_is_taken() -> None:
    log_sizes = np.log(np.array([500.0, 5000.0, 50_000.0]))
    zero, low, high = zero_of(Curve(log_sizes, np.log(3000) - log_sizes), lambda weights: 0.1)
    assert np.exp([zero, low, high]) == pytest.approx([3000, 3000 * np.exp(-0.1), 3000 * np.exp(0.1)])
    assert zero_of(Curve(np.arange(4.0), np.array([-1.0, 1.0, -1.0, 1.0])), lambda _: 2.0)[0] == pytest.approx(1.5)
    above = zero_of(Curve(log_sizes, log_sizes), lambda _: 0.1)  # it lies before the first size
    assert above == pytest.approx((math.nan, math.nan, log_sizes[0]), nan_ok=True)
    below = zero_of(Curve(log_sizes, log_sizes - 11), lambda _: 1.0)  # at most 1 below it from the log of 10 on
    assert below == pytest.approx((math.nan, 10.0, math.nan), nan_ok=True)


def test_statements_never_name_a_size_outside_the_measured_range() -> None:
    def lead(arm: str, size: int | None) -> float:
        return 0.8 - 0.02 * (arm == "ViT/7") * math.log10(200_000 / (size or 1))

    row = analyse(records(study({"ViT/7": 7.0}, sizes=SIZES), lead)).crossovers.iloc[0]
    assert row[["crossing", "ci_low", "ci_high"]].isna().all()
    assert row["statement"] == (
        "No crossing in the measured range, 500 to 50,000 training images: ResNet-8 leads at both ends; "
        "any crossing lies beyond it."
    )


def test_a_crossing_is_stated_with_its_interval() -> None:
    of = study({"ViT/7": 7.0}, sizes=SIZES)
    found = analyse(records(of, planted))
    row = found.crossovers.iloc[0]
    assert row["ci_low"] < 3000 < row["ci_high"]
    assert row["statement"].startswith("ViT/7 overtakes ResNet-8 at about ")
    assert found.slopes.iloc[0]["ci_low"] > 0


@pytest.mark.parametrize("n", [3, 5])
def test_the_slope_is_covered(n: int) -> None:
    of = study({"ViT/7": 7.0}, sizes=SIZES, seeds=n)
    axis, hits = size_axis(of, "ViT/7", "ResNet-8"), []
    for one in evidences(of, lambda arm, size: 0.8 + 0.02 * (arm == "ViT/7") * math.log10(size or 1)):
        found = slope(one, axis)
        assert found is not None
        hits.append(found.ci_low <= 0.02 <= found.ci_high)
    assert 0.01 < 1 - share(hits) <= at_most(0.05, REPEATS)


def test_a_size_without_all_its_runs_is_neither_dropped_nor_judged() -> None:
    """As the claim about it: the runs that are left may not be those that would decide."""

    def changes(row):
        late = row["train_size"] == 50_000 and row["seed"] > 1
        return None if late or (row["seed"] == 4 and row["arm"] == "ViT/7") else row

    claims = (Crosses(leader="ResNet-8", follower="ViT/7", statement="a", source="b"),)
    found = analyse(records(study({"ViT/7": 7.0}, sizes=SIZES, claims=claims), planted, changes=changes))
    row = found.crossovers.iloc[0]
    assert (row["smallest"], row["largest"]) == (500, 50_000)
    assert math.isnan(row["crossing"])
    assert row["statement"].startswith("No crossing can be judged: ViT/7 at 500 images seed 4 missing; ViT/7 at 2,000 ")
    assert found.slopes["slope"].isna().all()
    assert found.answer == "Not shown: 10 runs that would decide have no result."
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
            (0.0, -0.03, -0.03, -0.03, -0.03),
            "No crossing is shown in the measured range, 500 to 50,000 training images: at 500 the difference is ",
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
    assert math.isnan(row["crossing"])
    assert found.claims["verdict"].item() == "inconclusive"
    assert found.claims["reason"].item().startswith(told[:-2])


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_give_no_crossing(seeds: int) -> None:
    found = analyse(records(study({"ViT/7": 7.0}, sizes=SIZES, seeds=seeds), planted))
    assert found.crossovers[["crossing", "ci_low"]].isna().all(axis=None)
    assert found.slopes["slope"].isna().all()
    assert f"{seeds} of at least 3 seeds planned" in found.crossovers["statement"].iloc[0]


def test_a_scaling_law_is_recovered() -> None:
    n = np.array(SIZES, dtype=float)
    a, b, c, d, r2 = fit_law(np.stack([n, 3.0 * n**-0.4 + 0.05], axis=1))
    assert (a, b, c, d, r2) == pytest.approx((3.0, 0.4, 0.05, 0.0, 1.0), rel=1e-3)
    more = np.array([500, 1000, 2000, 5000, 10_000, 20_000, 50_000], dtype=float)
    points = np.stack([more, 3.0 * (more + 300) ** -0.4 + 0.05], axis=1)
    assert fit_law(points)[3] == pytest.approx(300, rel=0.05)
    assert np.isnan(fit_law(points[:3])).all()

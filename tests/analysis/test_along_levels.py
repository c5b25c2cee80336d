"""Two series over the levels of the factor: their differences, the crossing, the frontier and the claims about them."""

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import REPEATS, SHARES, at_most, evidence, evidences, records, series_study, share, verdicts, vit_lead

from harness.analysis import Findings, analyse
from harness.analysis.axis import Crossing, crossing, is_geometric, level_axis, series_pairs, slope
from harness.analysis.findings import CROSSOVER_COLUMNS, FRONTIER_COLUMNS, SLOPE_COLUMNS
from harness.analysis.judging import judge
from harness.spec import Claim, CostGrows, Crosses, GapShrinks, Monotone

SAID = {"statement": "It holds", "source": "a paper"}
SIZES = (500, 5000, 50_000)
DEPTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
PLACE, RISE = 0.4, 0.1
"""Where `planted` changes sign, and by how much it rises over the levels."""
FRAMES = ("comparisons", "crossovers", "slopes", "frontier", "claims")

shrinks = GapShrinks(leader="ResNet", follower="ViT", along="moved_share", **SAID)
crosses = Crosses(leader="ResNet", follower="ViT", along="moved_share", **SAID)


def planted(level: float, _: int | None = None) -> float:
    return RISE * (level - PLACE)


def shifted(level: float, size: int | None) -> float:
    """The ViT's lead, which is zero where level + log10(size / 5000) / 2 is .5."""
    return 0.06 * (level + math.log10((size or 5000) / 5000) / 2 - 0.5)


def crossings(lead: Callable[[float, int | None], float], *, n: int) -> list[Crossing]:
    """That of each of many studies with `n` seeds."""
    of = series_study(seeds=n)
    axis = level_axis(of, "ViT", "ResNet", None)
    return [crossing(one, axis) for one in evidences(of, vit_lead(lead))]


def csv(findings: Findings) -> list[str]:
    return [getattr(findings, name).to_csv() for name in FRAMES] + [findings.answer]


@pytest.mark.parametrize("n", [3, 5])
def test_a_crossing_planted_along_the_levels_is_found_and_covered(n: int) -> None:
    shown = [one for one in crossings(planted, n=n) if one.shown]
    assert len(shown) > 0.9 * REPEATS
    assert share([not one.ci_low <= PLACE <= one.ci_high for one in shown]) <= at_most(0.05, len(shown))
    assert float(np.median([one.place for one in shown])) == pytest.approx(PLACE, abs=0.01)


@pytest.mark.parametrize("gap", [0.0, -0.003], ids=["equal", "behind"])
def test_where_none_was_planted_along_the_levels_none_is_claimed(gap: float) -> None:
    found = crossings(lambda *_: gap, n=3)
    assert share([one.shown for one in found]) <= at_most(0.05, REPEATS)
    assert all(math.isnan(one.place) for one in found if not one.shown)


@pytest.mark.parametrize("n", [3, 5])
def test_the_change_over_the_levels_is_covered(n: int) -> None:
    of = series_study(seeds=n)
    axis = level_axis(of, "ViT", "ResNet", None)
    hits = []
    for one in evidences(of, vit_lead(planted)):
        found = slope(one, axis)
        assert found is not None
        hits.append(found.ci_low <= RISE <= found.ci_high)
    assert 0.01 < 1 - share(hits) <= at_most(0.05, REPEATS)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=2, max_size=7, unique=True).map(sorted),
    st.floats(0.15, 0.85),
    st.sampled_from([0.05, -0.05]),
)
def test_without_noise_a_straight_difference_gives_its_own_crossing_and_change(
    levels: list[int], where: float, rise: float
) -> None:
    of = series_study(tuple(map(float, levels)), seeds=3)
    axis = level_axis(of, "ViT", "ResNet", None)
    x = axis.positions
    root = x[0] + where * (x[-1] - x[0])

    def lead(level: float, _: int | None) -> float:
        return float(rise * ((math.log(level) if axis.log else level) - root) / (x[-1] - x[0]))

    simulated = evidence(of, vit_lead(lead), seed=0, seed_sd=1e-7)
    found, change = crossing(simulated, axis), slope(simulated, axis)
    assert change is not None
    assert change.value == pytest.approx(rise, rel=1e-4)
    told = pytest.approx(math.exp(root) if axis.log else root, rel=1e-3)
    if len(levels) == 2:
        assert math.isnan(found.place)
        assert (found.ci_low, found.ci_high) == axis.points
    else:
        assert (found.place, found.ci_low, found.ci_high) == (told, told, told)
    assert (found.signs[0], found.signs[-1]) == ((-1, 1) if rise > 0 else (1, -1))
    mirrored = crossing(simulated, axis.flipped())
    assert mirrored.place == pytest.approx(found.place, nan_ok=True)
    assert mirrored.signs == tuple(-sign for sign in found.signs)


def test_a_change_of_sign_has_no_number_outside_the_measured_levels() -> None:
    row = analyse(records(series_study(), vit_lead(lambda level, _: 0.02 * (level - 1.5)))).crossovers.iloc[0]
    assert row[["crossing", "ci_low", "ci_high"]].isna().all()
    assert row["statement"] == (
        "No crossing in the measured range, moved share 0 to 1: ResNet leads at both ends; any crossing lies beyond it."
    )


def test_geometric_levels_are_interpolated_over_their_logarithm() -> None:
    assert [is_geometric(list(levels)) for levels in (DEPTHS, (4, 7, 14), SHARES, (2, 4, 6), (2, 8))] == [
        True,
        True,
        False,
        False,
        False,
    ]
    of = series_study(DEPTHS, factor="depth")
    found = analyse(records(of, vit_lead(lambda depth, _: 0.01 * math.log2(depth / 3)), seed=1))
    row = found.crossovers.iloc[0]
    assert row["ci_low"] < 3 < row["ci_high"]
    assert row["statement"].startswith("ViT overtakes ResNet at about depth ")
    assert re.search(r", interpolated over its logarithm between depth [\d.]+ and [\d.]+ \(n = ", row["statement"])
    assert found.slopes.iloc[0]["ci_low"] < 0.04 < found.slopes.iloc[0]["ci_high"]


def test_each_arm_is_compared_with_its_own_partner() -> None:
    kept = records(series_study(), vit_lead(planted))
    table = analyse(kept).comparisons.set_index("arm")
    assert list(table["baseline"]) == ["ResNet 0"] * 4 + [f"ResNet {level:g}" for level in SHARES]
    wide = kept.runs.pivot_table(index="seed", columns="arm", values="test_accuracy")
    assert table.loc["ViT 0.75", "difference"] == pytest.approx((wide["ViT 0.75"] - wide["ResNet 0.75"]).mean())


def test_sizes_by_levels_have_crossings_along_both_and_a_frontier() -> None:
    of = series_study(sizes=SIZES)
    found = analyse(records(of, vit_lead(shifted)))
    for table, columns in (
        (found.crossovers, CROSSOVER_COLUMNS),
        (found.slopes, SLOPE_COLUMNS),
        (found.frontier, FRONTIER_COLUMNS),
    ):
        assert table.dtypes.astype(str).to_dict() == columns
    along = found.crossovers[found.crossovers["along"] == "moved_share"]
    assert list(along["train_size"]) == list(SIZES)
    assert set(zip(along["arm"], along["baseline"], strict=True)) == {("ViT", "ResNet")}
    assert found.crossovers.query("along == 'train_size'")["train_size"].isna().all()
    assert list(found.crossovers.query("along == 'train_size'")["arm"]) == [arm.name for arm in of.arms]
    assert along.set_index("train_size").loc[5000, "statement"].startswith("At 5,000 training images: ViT overtakes ")
    frontier = found.frontier.set_index("level")
    assert list(frontier.index) == list(SHARES)
    for level, size in ((0.25, 15_800), (0.5, 5000), (0.75, 1580)):
        assert frontier.loc[level, "ci_low"] < size < frontier.loc[level, "ci_high"]
        assert frontier.loc[level, "train_size"] == pytest.approx(size, rel=0.5)
    same = found.crossovers.query("arm == 'ViT 0.5'").iloc[0]
    assert frontier.loc[0.5, "train_size"] == same["crossing"]


def test_one_size_or_no_pair_of_series_has_no_frontier() -> None:
    assert analyse(records(series_study(), vit_lead(planted))).frontier.empty
    of = series_study(sizes=SIZES)
    alone = replace(of, arms=tuple(replace(arm, against=None) for arm in of.arms))
    assert series_pairs(of) == [("ViT", "ResNet")]
    assert series_pairs(alone) == []
    found = analyse(records(alone, vit_lead(shifted)))
    assert found.frontier.empty
    assert set(found.crossovers["along"]) == {"train_size"}


def test_a_level_without_all_its_runs_is_neither_dropped_nor_judged() -> None:
    def changes(row):
        return None if row["arm"] == "ViT 1" and row["seed"] < 3 else row

    found = analyse(records(series_study(), vit_lead(planted), changes=changes))
    row = found.crossovers.iloc[0]
    assert row["largest"] == 1
    assert math.isnan(row["crossing"])
    assert row["statement"].startswith("No crossing can be judged: ViT 1 seeds 0, 1 and 2 missing: ")
    assert found.slopes["slope"].isna().all()


@settings(max_examples=3, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_and_arms_moves_no_number(random) -> None:
    kept = records(series_study(sizes=SIZES[1:], claims=(shrinks, crosses), seeds=3), vit_lead(shifted), images=50)
    rows, arms = list(range(len(kept.runs))), list(kept.study.arms)
    random.shuffle(rows)
    random.shuffle(arms)
    plain = analyse(kept)
    shuffled = replace(kept, runs=kept.runs.iloc[rows].reset_index(drop=True))
    assert csv(analyse(shuffled)) == csv(plain)
    reordered = analyse(replace(shuffled, study=replace(kept.study, arms=tuple(arms))))
    assert reordered.answer == plain.answer
    for name in FRAMES:
        one, other = getattr(plain, name), getattr(reordered, name)
        by = [column for column in ("arm", "baseline", "along", "train_size", "level", "claim") if column in one]
        pd.testing.assert_frame_equal(
            one.sort_values(by, ignore_index=True), other.sort_values(by, ignore_index=True), obj=name
        )


def test_predictions_widen_a_crossing_along_the_levels() -> None:
    """All ViTs find the same images hard: without predictions that spread, common to all levels, would go unseen."""
    rng = np.random.default_rng(0)
    own = {name: rng.permutation(400) / 400 for name in ("ViT", "ResNet")}
    kept = records(series_study(), vit_lead(planted), images=400)
    for digest in kept.correct:
        arm = digest.rsplit("-", 2)[0]
        kept.correct[digest] = own[arm.split()[0]] < vit_lead(planted)(arm, None)
        kept.correct[digest] ^= rng.random(400) < 0.01
    values = [kept.correct[digest].mean() for digest in kept.runs["digest"]]
    kept = replace(kept, runs=kept.runs.assign(test_accuracy=values))
    seen, blind = (analyse(one).comparisons.set_index("arm").loc["ViT 1"] for one in (kept, replace(kept, correct={})))
    assert seen["ci_high"] - seen["ci_low"] > 2 * (blind["ci_high"] - blind["ci_low"])
    seen, blind = (analyse(one).crossovers.iloc[0] for one in (kept, replace(kept, correct={})))
    assert math.isnan(seen["crossing"])
    assert blind["ci_low"] < blind["crossing"] < blind["ci_high"]


CASES = [
    (shrinks, lambda x, _: 0.04 * x - 0.05, (), "reproduced", "from moved share 0 to 1 along a straight line"),
    (shrinks, lambda x, _: -0.04 * x, (), "contradicted", "it grows"),
    (shrinks, lambda *_: -0.05, (), "inconclusive", "the interval includes 0"),
    (replace(shrinks, metric="test_loss"), lambda x, _: 0.04 * x - 0.05, (), "reproduced", "it shrinks"),
    (replace(shrinks, train_size="largest"), shifted, SIZES, "reproduced", "over ViT at 50,000 images changes by"),
    (shrinks, shifted, SIZES, "inconclusive", "names no training size, and the study has 3"),
    (replace(shrinks, train_size=77), shifted, SIZES, "inconclusive", "has no training size 77"),
    (crosses, planted, (), "reproduced", "ViT overtakes ResNet at about moved share 0."),
    (crosses, lambda x, _: planted(1 - x), (), "contradicted", "ViT falls behind ResNet at about moved share 0."),
    (crosses, lambda *_: -0.03, (), "contradicted", "ResNet leads at every one of 5 levels"),
    (crosses, lambda *_: 0.03, (), "contradicted", "ViT leads at every one of 5 levels"),
    (crosses, lambda *_: 0.0, (), "inconclusive", "at moved share 1 the difference is"),
    (replace(crosses, metric="test_loss"), planted, (), "reproduced", "overtakes"),
    (replace(crosses, train_size=5000), shifted, SIZES, "reproduced", "At 5,000 training images: ViT overtakes ResNet"),
    (
        Crosses(leader="ResNet 0.5", follower="ViT 0.5", **SAID),
        shifted,
        SIZES,
        "reproduced",
        "ViT 0.5 overtakes ResNet 0.5 at about",
    ),
]


@pytest.mark.parametrize(("claim", "lead", "sizes", "expected", "told"), CASES)
def test_verdict_along_the_levels(claim: Claim, lead, sizes: tuple[int, ...], expected: str, told: str) -> None:
    row = verdicts(records(series_study(claims=(claim,), sizes=sizes), vit_lead(lead), seed=1)).iloc[0]
    assert row["verdict"] == expected, row["reason"]
    assert told in row["reason"]
    assert row["reason"].endswith(".")
    assert row["reason"].count(". ") == 0


def test_a_claim_about_one_series_follows_its_arms_alone() -> None:
    def accuracy(arm: str, _: int | None) -> float:
        return 0.9 - 0.05 * float(arm.split()[1]) * (1 if arm.startswith("ResNet") else -1)

    falls = Monotone(metric="test_accuracy", along="moved_share", direction="down", series="ResNet", **SAID)
    costs = CostGrows(
        metric="train_images_per_second", along="moved_share", direction="up", factor=1.2, series="ViT", **SAID
    )
    claims = (falls, replace(falls, series="ViT"), costs, replace(costs, factor=1.4))
    found = verdicts(records(series_study((1.0, 1.5, 2.0), claims=claims), accuracy))
    assert list(found["verdict"]) == ["reproduced", "contradicted", "reproduced", "contradicted"]
    assert re.match(r"The step from ViT (2 to ViT 1.5|1.5 to ViT 1) goes down", found["reason"][1])


def test_a_run_missing_at_one_level_is_named() -> None:
    def changes(row):
        return None if row["arm"] == "ViT 0.5" and row["seed"] == 1 else row

    found = verdicts(records(series_study(claims=(shrinks, crosses)), vit_lead(planted), changes=changes))
    assert set(found["verdict"]) == {"inconclusive"}
    assert found["reason"].str.contains("ViT 0.5 seed 1 missing").all()


@pytest.mark.parametrize("claim", [shrinks, crosses], ids=["gap_shrinks", "crosses"])
def test_without_an_effect_at_most_5_percent_are_decided_along_the_levels(claim: Claim) -> None:
    """No lead at any level (for `gap_shrinks`, the same lead at every level)."""
    of = series_study((0.0, 0.5, 1.0), claims=(claim,), seeds=3)
    lead = -0.02 if claim is shrinks else 0.0
    found = [judge(claim, one).verdict for one in evidences(of, vit_lead(lambda *_: lead))]
    assert share([verdict != "inconclusive" for verdict in found]) <= at_most(0.05, REPEATS)

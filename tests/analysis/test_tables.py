"""The tables of arms and comparisons: values, order, seeds, partial data."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulate import records, study, without_accuracy

from harness.analysis import COMPARISON_COLUMNS, analyse
from harness.analysis.comparisons import holm
from harness.spec import Better

TRUTH = {"ResNet-8": 0.92, "ViT/14": 0.88, "ViT/7": 0.91, "ViT/4": 0.90}
FRAMES = ("arms", "comparisons", "claims", "crossovers", "laws", "slopes", "budget", "audit")


def csv(findings) -> list[str]:
    return [getattr(findings, name).to_csv() for name in FRAMES] + [findings.answer, *findings.gaps, *findings.warnings]


def test_arms_table_has_means_intervals_and_counts() -> None:
    def changes(row):
        if row["arm"] == "ViT/7" and row["seed"] == 0:
            return None
        bad = row["arm"] == "ViT/7" and row["seed"] == 1
        return without_accuracy(row, "diverged") if bad else row

    kept = records(study(), TRUTH, changes=changes)
    found = analyse(kept)
    arms = found.arms.set_index("arm")
    assert list(arms.index) == ["ResNet-8", "ViT/14", "ViT/7"]
    assert list(arms.loc["ViT/7", ["planned", "n", "diverged", "missing"]]) == [5, 3, 1, 1]
    values = kept.runs.query("arm == 'ViT/14'")["test_accuracy"]
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert list(arms.loc["ViT/14", ["mean", "sd", "ci_low", "ci_high"]]) == pytest.approx(
        [values.mean(), values.std(), low, high]
    )
    assert arms.loc["ViT/14", "train_images_per_second"] == pytest.approx(1400 * 1.002)
    assert found.gaps == ("ViT/7: 3 of 5 seeds completed; seeds 1 diverged; 0 missing.",)


def test_comparison_is_paired_by_seed() -> None:
    kept = records(study(), TRUTH, changes=lambda row: None if (row["arm"], row["seed"]) == ("ViT/7", 2) else row)
    table = analyse(kept).comparisons
    assert list(table.columns) == list(COMPARISON_COLUMNS)
    wide = kept.runs.pivot_table(index="seed", columns="arm", values="test_accuracy")
    difference = (wide["ViT/7"] - wide["ResNet-8"]).dropna()
    row = table.set_index("arm").loc["ViT/7"]
    test = stats.ttest_1samp(difference, 0)
    assert row["n"] == 4
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["p_value"] == pytest.approx(test.pvalue)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(test.confidence_interval(0.95))


def test_holm_against_a_hand_computed_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.02, math.nan, 0.03])
    assert adjusted[0] == adjusted[2] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])


def test_same_seed_same_bytes_other_seed_other_interval() -> None:
    kept = records(study(), TRUTH, images=300)
    one, same, other = analyse(kept, seed=1), analyse(kept, seed=1), analyse(kept, seed=2)
    assert csv(one) == csv(same)
    assert (one.comparisons["ci_low"] != other.comparisons["ci_low"]).all()
    assert np.allclose(one.comparisons["ci_low"], other.comparisons["ci_low"], atol=0.004)


@settings(max_examples=3, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_order_of_rows_does_not_matter(random, two_factor: bool) -> None:
    of = study({"ViT/14": 14.0, "ViT/7": 7.0}, seeds=3, sizes=(500, 5000, 50_000) if two_factor else ())
    kept = records(of, lambda arm, size: TRUTH[arm] + 0.01 * math.log10((size or 1) / 5000), images=50)
    order = list(range(len(kept.runs)))
    random.shuffle(order)
    shuffled = replace(kept, runs=kept.runs.iloc[order].reset_index(drop=True))
    assert csv(analyse(shuffled, resamples=50)) == csv(analyse(kept, resamples=50))


def test_neither_order_of_arms_nor_a_further_arm_moves_an_interval() -> None:
    levels = {"ViT/14": 14.0, "ViT/7": 7.0, "ViT/4": 4.0}
    full = records(study(levels), TRUTH, images=300)
    reordered = replace(full.study, arms=full.study.arms[::-1])
    fewer = replace(full.study, arms=full.study.arms[:1])
    columns = ["difference", "ci_low", "ci_high", "p_value", "probability_better"]
    of_full = analyse(full).comparisons.set_index("arm")
    of_reordered = analyse(replace(full, study=reordered)).comparisons.set_index("arm")
    of_fewer = analyse(replace(full, study=fewer)).comparisons.set_index("arm")
    pd.testing.assert_frame_equal(of_full.sort_index(), of_reordered.sort_index())
    pd.testing.assert_frame_equal(of_full.loc[["ViT/14"], columns], of_fewer[columns])


def test_two_seeds_give_a_difference_but_no_interval() -> None:
    found = analyse(records(study(seeds=2), TRUTH))
    assert found.comparisons["difference"].notna().all()
    assert found.comparisons[["ci_low", "ci_high", "p_value", "p_holm", "smallest_detectable"]].isna().all(axis=None)
    assert any("Only 2 seeds per arm" in warning for warning in found.warnings)
    assert "too few for an interval" in found.answer


@pytest.mark.parametrize("sizes", [(), (500, 5000)])
def test_nothing_finished_is_no_crash(sizes: tuple[int, ...]) -> None:
    claims = (Better(arm="ViT/7", than="ResNet-8", statement="a", source="b", train_size="largest" if sizes else None),)
    found = analyse(records(study(sizes=sizes, claims=claims), lambda *_: 0.9, changes=lambda row: None))
    assert found.answer.startswith("No answer yet: 0 of ")
    assert list(found.claims["verdict"]) == ["inconclusive"]
    assert found.arms["mean"].isna().all()
    assert len(found.gaps) == 3 * max(1, len(sizes))


def test_all_diverged_is_no_crash() -> None:
    found = analyse(records(study(), TRUTH, changes=lambda row: without_accuracy(row, "diverged")))
    assert (found.arms["diverged"] == 5).all()
    assert (found.arms["params"] > 0).all()
    assert found.comparisons["difference"].isna().all()


def test_no_arm_besides_the_baseline_is_no_crash() -> None:
    found = analyse(records(study({}), TRUTH))
    assert found.comparisons.empty
    assert "no arm besides" in found.answer


def test_answer_names_the_best_arm_with_interval_and_n() -> None:
    found = analyse(records(study(), TRUTH))
    row = found.comparisons.set_index("arm").loc["ViT/7"]
    low, high = 100 * row["ci_low"], 100 * row["ci_high"]
    assert found.answer == (
        f"ViT/7 comes closest to ResNet-8: {100 * row['difference']:.2f} points [{low:.2f}, {high:.2f}] (n = 5 seeds)."
    )
    assert analyse(records(study(), TRUTH | {"ViT/7": 0.95})).answer.startswith("ViT/7 beats ResNet-8: +")


def test_missing_predictions_are_said() -> None:
    kept = records(study(), TRUTH, images=100)
    partial = {digest: row for digest, row in kept.correct.items() if digest != "ViT/7-None-0"}
    warnings = analyse(replace(kept, correct=partial)).warnings
    assert any(text.startswith("Predictions are lacking for 1 of 15 completed runs") for text in warnings)
    assert not any("Predictions" in text for text in analyse(kept).warnings)


def test_mixed_training_code_is_said() -> None:
    kept = records(study(), TRUTH, changes=lambda row: row | {"code_fingerprint": "f" if row["seed"] else "g"})
    assert any("2 versions of the training code" in text for text in analyse(kept).warnings)

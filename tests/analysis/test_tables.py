"""The tables of arms and comparisons: values, order, seeds, partial data."""

import math
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulate import records, study, without_accuracy

from harness.analysis import analyse
from harness.analysis.estimate import MeanEstimate, holm
from harness.analysis.evidence import evidence_of
from harness.analysis.findings import COMPARISON_COLUMNS
from harness.analysis.selection import chosen
from harness.analysis.wording import amount, described
from harness.records.run_table import StudyRecords
from harness.spec import Answer, Better, LogUniform, Search

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
    assert found.gaps == ("ViT/7: 3 of 5 seeds completed; seed 1 diverged; seed 0 missing.",)


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


def test_no_comparison_depends_on_the_seed_of_the_analysis() -> None:
    kept = records(study(), TRUTH, images=300)
    one, other = analyse(kept, seed=1), analyse(kept, seed=2)
    assert csv(one) == csv(other)


@settings(max_examples=3, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_order_of_rows_does_not_matter(random, two_factor: bool) -> None:
    of = study({"ViT/14": 14.0, "ViT/7": 7.0}, seeds=3, sizes=(500, 5000, 50_000) if two_factor else ())
    kept = records(of, lambda arm, size: TRUTH[arm] + 0.01 * math.log10((size or 1) / 5000), images=50)
    order = list(range(len(kept.runs)))
    random.shuffle(order)
    shuffled = replace(kept, runs=kept.runs.iloc[order].reset_index(drop=True))
    assert csv(analyse(shuffled)) == csv(analyse(kept))


def test_the_order_of_arms_moves_nothing_and_a_further_arm_no_difference() -> None:
    levels = {"ViT/14": 14.0, "ViT/7": 7.0, "ViT/4": 4.0}
    full = records(study(levels), TRUTH, images=300)
    reordered = replace(full.study, arms=full.study.arms[::-1])
    fewer = replace(full.study, arms=full.study.arms[:1])
    of_full = analyse(full).comparisons.set_index("arm")
    of_reordered = analyse(replace(full, study=reordered)).comparisons.set_index("arm")
    of_fewer = analyse(replace(full, study=fewer)).comparisons.set_index("arm")
    pd.testing.assert_frame_equal(of_full.sort_index(), of_reordered.sort_index())
    pd.testing.assert_frame_equal(of_full.loc[["ViT/14"], ["difference"]], of_fewer[["difference"]])
    # Further arms tell more of how runs vary.
    assert of_full.loc["ViT/14", "ci_low"] == pytest.approx(of_fewer.loc["ViT/14", "ci_low"], abs=0.01)


def test_two_seeds_give_a_difference_but_no_interval() -> None:
    found = analyse(records(study(seeds=2), TRUTH))
    assert found.comparisons["difference"].notna().all()
    assert found.comparisons[["ci_low", "ci_high", "p_value", "p_holm", "smallest_detectable"]].isna().all(axis=None)
    assert any("Only 2 seeds per arm" in warning for warning in found.warnings)
    assert found.answer == "Not shown: 2 seeds, and an interval needs 3."


def lost(arm: str, seeds: int = 2):
    """The first seeds of an arm diverge."""
    return lambda row: without_accuracy(row, "diverged") if row["arm"] == arm and row["seed"] < seeds else row


def test_the_answer_speaks_only_of_arms_that_a_claim_could_be_judged_on() -> None:
    """ViT/7 is the better one, but two of its seeds diverged: of the others alone nothing is said."""
    told = analyse(records(study(), TRUTH, changes=lost("ViT/7"))).answer
    assert re.fullmatch(r"Worse: ViT/14 reaches [34]\.\d points less \[.*\] than ResNet-8\.", told)
    claims = (Better(arm="ViT/7", than="ResNet-8", statement="It leads.", source="b"),)
    marked = replace(study(claims=claims), answer=(Answer(claim="It leads.", says="it has {more}"),))
    found = analyse(records(marked, TRUTH, changes=lost("ViT/7")))
    assert found.answer == "Not shown: 2 runs that would decide have no result."
    for of in (study({"ViT/7": 7.0}), study()):
        alone = analyse(records(of, TRUTH, changes=lost("ResNet-8"))).answer
        assert alone == f"No answer yet: {5 * len(of.all_arms) - 2} of {5 * len(of.all_arms)} runs completed."


@pytest.mark.parametrize("sizes", [(), (500, 5000)])
def test_nothing_finished_is_no_crash(sizes: tuple[int, ...]) -> None:
    claims = (Better(arm="ViT/7", than="ResNet-8", statement="a", source="b", train_size="largest" if sizes else None),)
    found = analyse(records(study(sizes=sizes, claims=claims), lambda *_: 0.9, changes=lambda row: None))
    assert found.answer.startswith("Not shown: ")
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
    assert found.answer.startswith("No answer yet: ")


def test_without_claims_the_answer_names_the_best_arm_with_an_interval_for_the_choice() -> None:
    kept = records(study(), TRUTH)
    found, best = analyse(kept), chosen(evidence_of(kept).difference("ViT/7", "ResNet-8"), 2)
    value, low, high = (f"{-100 * number:.1f}" for number in (best.value, best.ci_high, best.ci_low))
    told = f"Worse: the best of 2 arms, ViT/7, reaches {value} points less [{low}, {high}] than ResNet-8."
    assert found.answer == told
    assert found.numbers == "n = 5 seeds; 95% intervals over seeds and test images."
    assert found.best == "Best besides the baseline: ViT/7; not significantly worse: none."
    equal = {"ResNet-8": 0.92, **dict.fromkeys("abcd", 0.9)}
    assert analyse(records(study(dict.fromkeys("abcd")), equal, seed_sd=0.01)).best.endswith(": a and c.")


def test_a_study_of_one_training_size_has_its_best_arm_too():
    found = analyse(records(study(sizes=(1000,)), {"ResNet-8": 0.8, "ViT/14": 0.7, "ViT/7": 0.9}))
    assert found.best == "Best besides the baseline: ViT/7; not significantly worse: none."


@pytest.mark.parametrize(
    ("truth", "head", "told"),
    [
        (0.88, "Worse", r"\d\.\d+ points less \[\S+, \S+\]"),
        (0.92, "Not shown", r"\d\.\d+ points less to \d\.\d+ more"),
        (0.95, "Better", r"\d\.\d+ points more \[\S+, \S+\]"),
    ],
)
def test_the_answer_of_one_arm_without_claims(truth: float, head: str, told: str) -> None:
    of = study({"ViT/7": 7.0})
    assert re.fullmatch(
        f"{head}: ViT/7 reaches {told} than ResNet-8\\.",
        analyse(records(of, {"ResNet-8": 0.92, "ViT/7": truth})).answer,
    )


def test_missing_predictions_are_said() -> None:
    kept = records(study(), TRUTH, images=100)
    partial = {digest: row for digest, row in kept.correct.items() if digest != "ViT/7-None-0"}
    warnings = analyse(replace(kept, correct=partial)).warnings
    assert any(text.startswith("Predictions are missing for 1 of 15 completed runs") for text in warnings)
    assert not any("Predictions" in text for text in analyse(kept).warnings)


def test_negative_numbers_have_a_true_minus_sign_and_zero_has_none() -> None:
    assert described(
        "test_accuracy",
        MeanEstimate(seeds=(0, 1, 2), value=-0.0123, ci_low=-0.02, ci_high=0.0000001, seed_error=0.01, df=2),
    ) == ("−1.23 points [−2.00, 0.00] (n = 3 seeds)")
    assert amount("test_loss", -0.00001234) == "−1.23e−05 test loss"
    assert amount("test_loss", 0.5, signed=False) == "0.5 test loss"


def trials(**more: Any) -> list[dict[str, Any]]:
    """Two trials per arm."""
    row = {"study": "simulated", "scale": "laptop", "train_size": 55_000, "status": "completed", "images_seen": 1280}
    row |= {"validation_accuracy": 0.5, "chosen": False, "at_edge": "", "digest": "t"}
    return [row | {"arm": arm, "trial": i} | more for arm in list(TRUTH)[:3] for i in range(2)]


SEARCHED = Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-1)}, trials=2)
GPU, CPU = "NVIDIA L4", "cpu"
DOUBT = (
    "images/s and memory are not comparable between arms, "
    "and settings that were chosen with one {} may not suit another."
)


def warnings_of(of=None, searched=(), **changes: Any) -> tuple[str, ...]:
    """Warnings of a study whose runs have columns by functions of their row."""

    def changed(row):
        return row | {name: value(row) for name, value in changes.items()}

    kept = records(of or study(), lambda arm, _: TRUTH[arm], changes=changed, trials=list(searched), images=50)
    return analyse(kept).warnings


def test_mixed_devices_are_said() -> None:
    assert warnings_of(device=lambda row: GPU if row["arm"] == "ViT/7" else CPU)[0] == (
        "The results were made with 2 devices: NVIDIA L4 (5 confirm runs) and cpu (10 confirm runs); "
        + DOUBT.format("device")
    )


def with_trials(kept: StudyRecords, searched: list[dict[str, Any]]) -> StudyRecords:
    return replace(kept, trials=pd.DataFrame(searched))


def test_trials_count_among_what_is_mixed() -> None:
    where = {"device": CPU, "precision": "fp32"}
    kept = records(study(search=SEARCHED), TRUTH, changes=lambda row: row | where, images=50)
    found = analyse(with_trials(kept, trials(device=GPU, precision="bf16"))).warnings
    assert found == (
        "The results were made with 2 devices: NVIDIA L4 (6 trials) and cpu (15 confirm runs); "
        + DOUBT.format("device"),
        "The results were made with 2 precisions: bf16 (6 trials) and fp32 (15 confirm runs); "
        + DOUBT.format("precision"),
    )
    failed = trials(device=GPU, precision="bf16", status="failed")
    silent = trials(device="", precision=None)
    for searched in (failed, silent, trials()):
        assert not any("The results" in text for text in analyse(with_trials(kept, searched)).warnings)


def test_trainings_under_other_conditions_are_told() -> None:
    """The values are joined as those of several trainings are."""
    kept = records(study(), TRUTH, images=50)

    def told(provenance: dict[str, str]) -> list[str]:
        warnings = analyse(replace(kept, provenance=provenance)).warnings
        return [text for text in warnings if text.startswith("The runs were made")]

    assert told({}) == told({"torch": "2.14.1", "threads": "1", "deterministic": "False", "cpu": "One"}) == []
    digits = "numbers may differ in their last digits."
    assert told(
        {"torch": "2.13.0, 2.14.1", "threads": "1, 2", "deterministic": "False, True", "cpu": "One, Other"}
    ) == [
        f"The runs were made with torch 2.13.0 and 2.14.1; {digits}",
        f"The runs were made with 1 and 2 threads per run; images/s are not comparable, and {digits}",
        f"The runs were made with and without deterministic kernels; images/s are not comparable, and {digits}",
        f"The runs were made on several processors (One; Other); images/s are not comparable, and {digits}",
    ]


def test_precisions_that_the_arms_ask_for_are_no_mixture() -> None:
    of = study()
    arms = (replace(of.arms[0], changes={"recipe.precision": "bf16"}), *of.arms[1:])

    def precision(row):
        return "bf16" if row["arm"] == "ViT/14" else "fp32"

    assert any("2 precisions" in text for text in warnings_of(of, precision=precision))
    assert warnings_of(replace(of, arms=arms), precision=precision) == warnings_of(of)


def test_confirm_runs_of_unequal_length_are_said_with_and_without_a_search() -> None:
    def images(row):
        return 640 if row["arm"] == "ViT/7" else 1280

    told = (
        "The arms were trained on different numbers of images in the confirm runs: "
        "ResNet-8 1,280 images, ViT/14 1,280 images and ViT/7 640 images."
    )
    assert told in warnings_of(images_seen=images)
    assert warnings_of(study(search=SEARCHED), trials(), images_seen=images) == (told,)
    assert warnings_of(study(search=SEARCHED), trials(), images_seen=lambda row: 1280) == ()


def test_budgets_that_grow_with_the_training_size_are_not_unequal() -> None:
    def images(row):
        return 10 * row["train_size"]

    assert not any("images" in text for text in warnings_of(study(sizes=(500, 2000)), images_seen=images))
    told = warnings_of(study(sizes=(500, 2000)), images_seen=lambda row: images(row) + (row["arm"] == "ViT/7"))
    assert told[0].startswith("At 500 training images the arms were trained on different numbers of images in")


def test_arms_that_change_the_training_size_are_compared_with_their_like() -> None:
    of = study()
    arms = (replace(of.arms[0], changes={"data.train_size": 1000}), *of.arms[1:])

    def images(row):
        return 1280 if row["arm"] == "ViT/14" else 70_400

    assert warnings_of(replace(of, arms=arms), images_seen=images) == warnings_of(of, images_seen=lambda row: 1280)
    told = warnings_of(replace(of, arms=arms), images_seen=lambda row: 640 if row["arm"] == "ViT/7" else images(row))
    assert told[0] == (
        "With all training images the arms were trained on different numbers of images in the confirm runs: "
        "ResNet-8 70,400 images and ViT/7 640 images."
    )


def test_runs_of_one_arm_of_very_different_speed_are_told_of() -> None:
    kept = records(study(seeds=3), lambda arm, size: 0.8)
    assert not [text for text in analyse(kept).warnings if "in speed" in text]
    slow = (kept.runs["arm"] == "ViT/7") & (kept.runs["seed"] == 1)
    speeds = kept.runs["train_images_per_second"].where(~slow, 200.0)
    (told,) = [
        text
        for text in analyse(replace(kept, runs=kept.runs.assign(train_images_per_second=speeds))).warnings
        if "in speed" in text
    ]
    assert told.startswith("Runs of one arm differ in speed by up to 3.5 times (ViT/7: 200 to 70")

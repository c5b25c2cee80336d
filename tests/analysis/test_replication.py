"""Two runs of one study: agreement is held to its level, pooling to its coverage, and shared runs count once."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulate import at_most, records, study
from whole_studies import Design, LuckyWorld, draw_twice, stairs

from harness.analysis.across import across
from harness.analysis.estimate import estimate_mean
from harness.analysis.replication import difference_of, is_one_study, pooled, replication
from harness.spec import Better, Equivalent

ACCURACIES = {"ResNet-8": 0.90, "ViT/14": 0.86, "ViT/7": 0.90}
CLAIMS = (
    Better(statement="The ResNet is ahead.", source="none", arm="ResNet-8", than="ViT/14"),
    Better(statement="ViT/7 is ahead.", source="none", arm="ViT/7", than="ResNet-8", margin=0.005),
)


def run_of(accuracies=ACCURACIES, *, seeds=range(5), name="", seed=0, claims=CLAIMS, images=2000, **more):
    """One run of a study, `name` in its digests."""
    of = replace(study(claims=claims, **more), seeds=tuple(seeds))
    found = records(of, accuracies, seed=seed, images=images)
    changed = found.runs.assign(digest=found.runs["digest"] + name)
    return replace(found, runs=changed, correct={f"{key}{name}": row for key, row in found.correct.items()})


def test_runs_of_one_study_are_told_by_what_they_ask_not_by_seeds_or_name():
    one = run_of().study
    assert is_one_study(one, replace(one, seeds=(7, 8, 9), name="copy", claims=()))
    assert not is_one_study(one, replace(one, recipe=replace(one.recipe, updates=11)))
    assert not is_one_study(one, replace(one, claims=(), arms=one.arms[:1]))


def test_runs_that_agree_are_pooled_and_counted():
    found = across(run_of(), run_of(name="again", seed=1)).replication
    assert found.result == "2 of 2 differences agree. Verdicts: 2 the same, 0 changed."
    for row in found.contrasts.itertuples():
        assert min(row.first, row.second) <= row.pooled <= max(row.first, row.second)
        assert row.pooled_high - row.pooled_low < min(row.first_high - row.first_low, row.second_high - row.second_low)
        assert row.model == "fixed"
    assert list(found.claims["pooled"]) == ["reproduced", "inconclusive"]


def test_runs_that_differ_are_named_and_pooled_widely():
    second = run_of(ACCURACIES | {"ViT/7": 0.93}, name="again", seed=1)
    found = across(run_of(), second).replication
    assert found.result.startswith("1 of 2 differences agrees; ViT/7 against ResNet-8 differs by ")
    assert "more than both intervals allow (Holm-adjusted p < 0.001). Verdicts: 1 the same, 1 changed." in found.result
    row = found.contrasts.set_index("arm").loc["ViT/7"]
    assert row["model"] == "random"
    assert row["pooled_low"] < min(row["first_low"], row["second_low"])
    assert row["pooled_high"] > max(row["first_high"], row["second_high"])
    assert row["q"] == pytest.approx((row["difference"] / 0.004) ** 2, rel=3)
    claim = found.claims.iloc[1]
    assert (claim["first"], claim["second"], claim["pooled"]) == ("inconclusive", "reproduced", "inconclusive")
    assert any("two runs tell little" in caution for caution in found.cautions)


def test_two_undecided_runs_can_decide_together():
    claims = (Equivalent(statement="As good.", source="none", arm="ViT/7", to="ResNet-8", within=0.015),)
    runs = [run_of(seed=seed, name=f"-{seed}", claims=claims, seeds=range(3)) for seed in range(12)]
    pairs = [across(one, two).replication.claims.iloc[0] for one, two in zip(runs[::2], runs[1::2], strict=True)]
    assert any(row["first"] == row["second"] == "inconclusive" and row["pooled"] == "reproduced" for row in pairs)


def test_exact_costs_are_pooled_as_they_are():
    claims = (
        Better(statement="It has fewer weights.", source="none", metric="params", arm="ViT/14", than="ViT/7"),
        Equivalent(statement="It has as many.", source="none", metric="params", arm="ViT/7", to="ViT/14", within=1.0),
    )
    one, two = run_of(claims=claims), run_of(claims=claims, seeds=range(5, 10), name="b", seed=1)
    params = {"ResNet-8": 1000, "ViT/14": 2000, "ViT/7": 3000}
    one, two = (replace(run, runs=run.runs.assign(params=run.runs["arm"].map(params))) for run in (one, two))
    found = across(one, two)
    assert found.replication is not None
    assert found.replication.claims["pooled"].tolist() == ["reproduced", "contradicted"]


def test_a_run_that_both_have_is_no_replication():
    longer = run_of(seeds=range(8))
    found = across(run_of(), longer).replication
    caution = "Runs of seeds 0, 1, 2, 3 and 4 are in both results (same digests)"
    assert [text for text in found.cautions if text.startswith(caution) and "3 seeds of the second" in text]
    second = run_of(seeds=range(8)).runs.query("seed > 4").groupby("arm")["test_accuracy"].mean()
    differences = found.contrasts.set_index("arm")["second"]
    assert differences["ViT/7"] == pytest.approx(second["ViT/7"] - second["ResNet-8"])
    same = across(run_of(), run_of()).replication
    assert same.contrasts[["second", "difference", "pooled", "p_holm"]].isna().all(axis=None)
    assert same.result.startswith("No difference of the two runs can be compared")


def test_seeds_that_are_left_out_leave_the_searches_as_they_are():
    """Seed 3 belongs to search 1 of 2, whether or not the seeds before it count."""
    found = Design(searches=2, seeds=6).study()
    evidence = draw_twice(found, stairs(3), LuckyWorld(), 200, np.random.default_rng(0))[0]
    fewer = replace(evidence, left_out=frozenset({0, 2}), _known={}, _replicates_known={})
    estimate = fewer.difference("ViT/1", "ResNet-8")
    assert (estimate.seeds, estimate.searches) == ((1, 3, 4, 5), 2)
    assert fewer.replicates(fewer.seeds) == (1, 1, 0, 1)
    assert fewer.absent(fewer.rows, "test_accuracy") == ""


def test_the_same_trials_are_no_second_search():
    trials = [
        {"arm": arm, "train_size": 55_000, "trial": 0, "status": "completed", "chosen": True, "digest": f"t-{arm}"}
        for arm in ACCURACIES
    ]
    one, two = (replace(run_of(name=name), trials=pd.DataFrame(trials)) for name in ("", "again"))
    (caution,) = [text for text in across(one, two).cautions if "trials" in text]
    assert caution.startswith("3 of 3 chosen settings come from the very same trials")


def test_runs_without_a_result_leave_their_differences_out():
    second = run_of(name="again", seed=1)
    second = replace(second, runs=second.runs.query("not (arm == 'ViT/7' and seed == 2)"))
    found = across(run_of(), second).replication
    assert list(found.contrasts["p_holm"].isna()) == [False, True]
    assert found.claims["reason"].iloc[1].startswith("In the second run ViT/7 seed 2 missing")


def test_the_images_count_once_and_cancel_between_the_runs():
    rng = np.random.default_rng(0)
    of_image = rng.normal(0, 1, 500)
    one, two = (
        estimate_mean(tuple(range(5)), images.mean(1), images)
        for images in (of_image + rng.normal(0, 0.3, (5, 500)) + rng.normal(0, 0.01, (5, 1)) for _ in range(2))
    )
    both, between = pooled(one, two, differ=False), difference_of(one, two)
    assert between.image_error == 0
    assert between.error == pytest.approx(np.hypot(one.seed_error, two.seed_error))
    assert both.image_error == pytest.approx(one.image_error, rel=0.05)
    assert both.seed_error < min(one.seed_error, two.seed_error)


def test_the_other_order_has_the_other_sign_and_the_same_pool():
    one, two = run_of(), run_of(name="again", seed=1)
    first, second = (across(*pair).replication.contrasts for pair in ((one, two), (two, one)))
    assert np.allclose(first["difference"], -second["difference"])
    assert np.allclose(first["p_holm"], second["p_holm"])
    assert np.allclose(first[["pooled", "pooled_low"]], second[["pooled", "pooled_low"]])


@pytest.mark.slow
@pytest.mark.parametrize(("searches", "seeds", "luck"), [(1, 3, 0.0), (3, 6, 1.0), (4, 8, 0.2)])
def test_runs_of_one_world_agree_and_their_pool_covers_the_truth(searches: int, seeds: int, luck: float) -> None:
    design = Design(searches=searches, seeds=seeds, world=LuckyWorld(luck=(luck,)), images=1000)
    rng, of, accuracies = np.random.default_rng(seeds), replace(design.study(), claims=()), stairs(design.arms)
    alarms, single, covered = [], [], []
    for _ in range(100):
        one, two = draw_twice(of, accuracies, design.world, design.images, rng)
        found = replication(one, two).contrasts
        alarms.append((found["p_holm"] < 0.05).any())
        single += (found["p_value"] < 0.05).tolist()
        truth = np.array([accuracies[arm] - accuracies["ResNet-8"] for arm in found["arm"]])
        covered += ((found["pooled_low"] <= truth) & (truth <= found["pooled_high"])).tolist()
    print(f"\n{searches} x {seeds}: any {np.mean(alarms):.3f}, each {np.mean(single):.3f}, pool {np.mean(covered):.4f}")
    assert np.mean(alarms) <= at_most(0.05, 100)
    assert np.mean(single) <= at_most(0.05, 100)
    assert np.mean(covered) >= 0.95 - 0.015 - 0.02

"""What is said where runs are lost, a cost is exact, a metric is of moved images, or a difference is none."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from class_records import with_classes
from simulate import SAID, evidences, records, study, verdicts, without_accuracy

from harness.analysis import analyse
from harness.analysis.answer import level_arms
from harness.analysis.axis import size_axis
from harness.analysis.estimate import MeanEstimate, what_settles
from harness.analysis.evidence import evidence_of
from harness.analysis.fronts import fronts_table
from harness.analysis.scales import images_needed
from harness.analysis.wording import compared
from harness.spec import Answer, Better, Crosses, DataSpec, Estimate, Monotone
from harness.spec.few_shot import FewShot

ARMS = {"ViT/4": 4.0, "ViT/7": 7.0, "ViT/14": 14.0}
TRUTH = {"ResNet-8": 0.80, "ViT/4": 0.90, "ViT/7": 0.88, "ViT/14": 0.82}


def without_one_of(arm: str, status: str = "diverged") -> Any:
    return lambda row: without_accuracy(row, status) if (row["arm"], row["seed"]) == (arm, 0) else row


def test_an_arm_that_lost_runs_may_be_the_best_so_that_none_is_marked() -> None:
    whole, less = (
        evidence_of(records(study(ARMS), TRUTH, changes=changes)) for changes in (dict, without_one_of("ViT/4"))
    )
    assert level_arms(whole) == ("ViT/4",)
    assert level_arms(less) == ()
    never = records(
        study(ARMS), TRUTH, changes=lambda row: without_accuracy(row, "diverged") if row["arm"] == "ViT/4" else row
    )
    assert level_arms(evidence_of(never)) == ("ViT/7",)  # none of its runs can be the best
    told = analyse(less.records).best
    assert told.startswith("Best besides the baseline: ViT/7; ")
    assert told.endswith("; left out, as runs have no result: ViT/4.")


def test_neither_fronts_nor_classes_are_told_from_those_that_are_left() -> None:
    found = fronts_table(evidence_of(records(study(ARMS), TRUTH, changes=without_one_of("ViT/4"))))
    assert "ViT/4" not in set(found["arm"])
    kept = with_classes(study({"ViT/7": 7.0}), {"ResNet-8": (0.9, 0.8), "ViT/7": (0.8, 0.6)}, (1000, 1000))
    assert analyse(kept).by_class.lines
    lost = kept.runs.apply(lambda row: without_one_of("ViT/7")(row.to_dict()), axis=1, result_type="expand")
    assert analyse(replace(kept, runs=lost[list(kept.runs.columns)])).by_class.lines == ()


def test_exact_costs_cross_or_do_not_and_a_tie_is_no_gain() -> None:
    def told(claim: Any, costs: dict[str, dict[int, int]]) -> str:
        kept = records(study({"ViT/7": 7.0}, sizes=(500, 5000), claims=(claim,)), {"ResNet-8": 0.8, "ViT/7": 0.8})
        params = [costs[arm][size] for arm, size in zip(kept.runs["arm"], kept.runs["train_size"], strict=True)]
        return verdicts(replace(kept, runs=kept.runs.assign(params=params)))["verdict"].item()

    crosses = Crosses(leader="ResNet-8", follower="ViT/7", metric="params", **SAID | {"kind": "arithmetic"})
    assert told(crosses, {"ResNet-8": {500: 100, 5000: 300}, "ViT/7": {500: 200, 5000: 200}}) == "reproduced"
    assert told(crosses, {"ResNet-8": {500: 100, 5000: 100}, "ViT/7": {500: 200, 5000: 200}}) == "contradicted"
    fewer = Better(arm="ViT/7", than="ResNet-8", metric="params", train_size=5000, **SAID | {"kind": "arithmetic"})
    level = {"ResNet-8": {500: 100, 5000: 100}, "ViT/7": {500: 100, 5000: 100}}
    assert told(fewer, level) == "contradicted"


def test_what_falls_along_levels_is_said_to_fall() -> None:
    claim = Monotone(metric="test_accuracy", along="patch_size", direction="down", **SAID)
    of = replace(study(ARMS, claims=(claim,)), answer=(Answer(claim=claim.statement, says="a step gives {more}"),))
    assert re.fullmatch(r"Yes: a step gives \d\.\d points less \[.*\]\.", analyse(records(of, TRUTH)).answer)


def test_of_moved_images_more_are_needed_but_nobody_knows_how_many() -> None:
    found = MeanEstimate(
        seeds=(0, 1, 2), value=0.009, ci_low=-0.004, ci_high=0.02, seed_error=0.001, image_error=0.0064, df=8
    )
    assert what_settles(found, 0.009) == "settling it takes more test images; more seeds alone are not enough"


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (("shifted_accuracy",), "200 test images; 95% intervals over seeds and test images."),
        (("test_loss",), "200 test images; 95% intervals over seeds, for fixed test images."),
        (("test_accuracy", "test_loss"), "200 test images; 95% intervals over seeds, for fixed test images."),
        (("few_shot_accuracy",), "n = 5 seeds; 95% intervals over seeds, for fixed test images."),
    ],
)
def test_intervals_hold_the_test_images_that_the_answer_is_about(metrics: tuple[str, ...], told: str) -> None:
    claims = tuple(
        Better(arm="ViT/7", than="ResNet-8", metric=metric, statement=f"Better by {metric}", source="a paper")
        for metric in metrics
    )
    marked = tuple(Answer(claim=claim.statement, says="it has {more}") for claim in claims)
    of = replace(
        study({"ViT/7": 7.0}, claims=claims),
        answer=marked,
        few_shot=FewShot(data=DataSpec(source="digits", train_size=100)),
    )
    assert told in analyse(records(of, TRUTH, images=200)).numbers


def test_a_difference_of_nothing_is_not_written_as_one_of_tenths() -> None:
    assert compared("test_accuracy", Estimate(0.0000125, -0.0058, 0.0059)) == "0.58 points less to 0.59 more"
    assert compared("test_accuracy", Estimate(-0.012, -0.02, -0.004)) == "1.2 points less [0.4, 2.0]"


def test_how_many_more_images_are_needed_at_least_holds_the_luck_at_the_largest_size() -> None:
    """Of an arm that ends about level with the other's smallest size, which that is not shown to be below."""
    sizes = (500, 1000, 2000)
    of, axis = study({"ViT/7": 7.0}, sizes=sizes), size_axis(study({"ViT/7": 7.0}, sizes=sizes), "ViT/7", "ResNet-8")

    def level_at_the_end(arm: str, size: int | None) -> float:
        return 0.8 if arm == "ResNet-8" else {500: 0.6, 1000: 0.7, 2000: 0.7999}[size or 0]

    bounds = []
    for found in evidences(of, level_at_the_end, seeds=range(40), seed_sd=0.004):
        told = images_needed(found, axis).told[0]
        if match := re.fullmatch(r"more than ([\d.]+)", told):
            bounds.append(float(match[1]))
    assert len(bounds) > 5
    assert np.mean([bound < 4 for bound in bounds]) > 0.9  # 4 is where the measured range ends

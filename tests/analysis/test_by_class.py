"""Accuracy by class, and the metrics that are made from predicted classes."""

import re
from dataclasses import replace

import numpy as np
import pytest
from class_records import with_classes
from simulate import SAID, study, verdicts

from harness.analysis import analyse
from harness.analysis.estimate import estimate_mean
from harness.analysis.evidence import evidence_of
from harness.records.correctness import Classes
from harness.spec import Better

ARMS = {"ViT/7": 7.0}
EVEN, UNEVEN = (100, 100, 100), (200, 80, 20)
TRUTH = {"ResNet-8": (0.9, 0.8, 0.5), "ViT/7": (0.6, 0.8, 0.6)}


def test_balanced_accuracy_counts_the_classes_that_there_are_alike() -> None:
    classes = Classes(np.array([0, 0, 0, 2], np.uint16), np.array([0, 0, 1, 2], np.uint16))
    assert classes.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert classes.correct.tolist() == [True, True, False, True]


def test_of_even_classes_it_is_accuracy_with_the_same_interval() -> None:
    evidence = evidence_of(with_classes(study(ARMS), TRUTH, EVEN, jitter=0.01))
    plain, balanced = (
        evidence.difference("ViT/7", "ResNet-8", metric=metric) for metric in ("test_accuracy", "balanced_accuracy")
    )
    assert plain.image_error > 0
    assert (balanced.value, balanced.ci_low, balanced.ci_high) == pytest.approx(
        (plain.value, plain.ci_low, plain.ci_high)
    )


@pytest.mark.parametrize(
    ("metric", "lead"),
    [("test_accuracy", (60 - 2) / 300), ("balanced_accuracy", (0.3 - 0.1) / 3), ("top5_accuracy", (30 - 1) / 300)],
)
def test_intervals_hold_the_choice_of_images(metric: str, lead: float) -> None:
    """Half of what only one is right about has its label among the other's five likeliest classes."""
    kept = with_classes(study(ARMS), TRUTH, UNEVEN)
    found = evidence_of(kept).difference("ResNet-8", "ViT/7", metric=metric)
    assert found.value == pytest.approx(lead)
    assert found.images == 300
    assert found.image_error > 0.005
    without = evidence_of(replace(kept, correct={}, classes={}, top5={})).difference("ResNet-8", "ViT/7", metric=metric)
    assert without.value == pytest.approx(lead)
    assert without.image_error == 0


@pytest.mark.parametrize("metric", ["balanced_accuracy", "top5_accuracy"])
def test_a_claim_may_be_about_them_and_older_results_decide_nothing(metric: str) -> None:
    claim = Better(arm="ResNet-8", than="ViT/7", metric=metric, **SAID)
    kept = with_classes(study(ARMS, claims=(claim,)), TRUTH, (2000, 800, 200), jitter=0.005)
    found = verdicts(kept)
    assert found["verdict"].tolist() == ["reproduced"]
    assert f"points of {'top-5' if metric == 'top5_accuracy' else 'balanced'} accuracy [+" in found["reason"].item()
    older = replace(kept, runs=kept.runs.assign(**{metric: np.nan}), classes={}, top5={})
    assert verdicts(older)["verdict"].tolist() == ["inconclusive"]


def test_accuracy_by_class_and_where_the_lead_lies() -> None:
    """Of 58 images of 300 that the ResNet leads by, 60 lie in the first class and -2 in the last."""
    of = study({**ARMS, "ViT/14": 14.0})
    kept = with_classes(of, TRUTH | {"ViT/14": (0.5, 0.5, 0.5)}, (2000, 800, 200), jitter=0.001)
    own = replace(kept.study, data=replace(kept.study.data, source="npz:own.npz"))
    facts = {"data": [named("npz:own.npz", ("bag", "coat", "boot"))]}
    found = analyse(replace(kept, study=own, provenance=facts)).by_class
    assert found.arms == ("ViT/7", "ResNet-8")
    table = found.table.set_index(["arm", "class_name"])
    assert table["images"].tolist() == [2000, 800, 200] * 3
    assert table.loc[("ResNet-8", "coat"), "mean"] == pytest.approx(0.8)
    assert table.loc[("ViT/14", "boot"), "mean"] == pytest.approx(0.5)
    assert table.loc["ViT/7", "difference"].tolist() == pytest.approx([-0.3, 0, 0.1])
    assert table.loc["ViT/7", "share"].tolist() == pytest.approx([600 / 580, 0, -20 / 580], abs=1e-9)
    first = table.loc[("ViT/7", "bag")]
    assert first["difference_low"] < -0.3 < first["difference_high"] < 0
    assert found.lines[0].startswith("ResNet-8 leads ViT/7 by 19 points of accuracy [")
    assert found.lines[0].endswith("; all of that, and more, lies in 1 of 3 classes: bag.")
    assert "ViT/7 less ResNet-8, by class: from −30.0 points (bag) to +10.0 (boot)" in found.lines[1]


def test_a_lead_in_all_classes_is_not_said_to_lie_in_few() -> None:
    kept = with_classes(study(ARMS), {"ResNet-8": (0.9,) * 5, "ViT/7": (0.8,) * 5}, (1000,) * 5, jitter=0.001)
    assert "two thirds of it lie in no fewer than 4 of 5 classes." in analyse(kept).by_class.lines[0]
    level = with_classes(study(ARMS), {"ResNet-8": (0.9, 0.8), "ViT/7": (0.8, 0.9)}, (1000, 1000), jitter=0.001)
    found = analyse(level).by_class
    assert found.lines[0] == "ViT/7 and ResNet-8 are not significantly apart."
    assert found.table["share"].isna().all()


def test_what_is_taken_for_what() -> None:
    kept = with_classes(study(ARMS), TRUTH, (100, 50, 10))
    found = analyse(kept).by_class.confusions
    pairs = found[["class_name", "taken_for", "share", "baseline_share"]].to_numpy().tolist()
    assert pairs[0] == ["T-shirt/top", "Trouser", pytest.approx(0.4), pytest.approx(0.1)]
    assert pairs[1] == ["Trouser", "Pullover", pytest.approx(0.2), pytest.approx(0.2)]
    assert pairs[2] == ["Pullover", "T-shirt/top", pytest.approx(0.4), pytest.approx(0.5)]
    assert len(pairs) == 3


def test_the_interval_of_one_class_is_that_of_a_study_of_its_images_alone() -> None:
    kept = with_classes(study(ARMS), TRUTH, EVEN, jitter=0.02)
    row = analyse(kept).by_class.table.set_index(["arm", "label"]).loc[("ViT/7", 0)]
    runs = {arm: [kept.correct[digest][:100] for digest in of["digest"]] for arm, of in kept.runs.groupby("arm")}
    images = np.array(runs["ViT/7"], dtype=float) - np.array(runs["ResNet-8"])
    alone = estimate_mean(tuple(range(5)), images.mean(1), images)
    found = (row["difference"], row["difference_low"], row["difference_high"])
    assert found == pytest.approx((alone.value, alone.ci_low, alone.ci_high))


def test_without_classes_of_both_arms_there_is_nothing() -> None:
    kept = with_classes(study(ARMS), TRUTH, EVEN)
    lacking = {digest: pair for digest, pair in kept.classes.items() if digest != "ViT/7-None-0"}
    assert len(lacking) < len(kept.classes)
    for classes in (lacking, {}):
        found = analyse(replace(kept, classes=classes)).by_class
        assert (found.arms, found.lines) == ((), ())
        assert found.table.empty
        assert found.confusions.empty


def named(source: str, names: tuple[str, ...]) -> dict[str, object]:
    """What a study keeps of data whose classes are known by name."""
    classes = [{"name": name, "train": 10, "validation": 5, "test": 5} for name in names]
    return {"source": source, "data_hash": "0" * 64, "train": 30, "validation": 15, "test": 15, "classes": classes}


def test_of_many_classes_a_few_are_named() -> None:
    other = (0.5,) * 7 + (0.9,) * 13
    kept = with_classes(study(ARMS), {"ResNet-8": (0.9,) * 20, "ViT/7": other}, (100,) * 20, jitter=0.01)
    assert re.search(r"lies in [4-7] of 20 classes: class \d", analyse(kept).by_class.lines[0])
    even = with_classes(study(ARMS), {"ResNet-8": (0.9,) * 40, "ViT/7": (0.5,) * 10 + (0.9,) * 30}, (100,) * 40)
    found = analyse(even).by_class.lines[0]
    assert found.endswith("lies in 7 of 40 classes: class 0, class 1, class 2, class 3, class 4, class 5 and 1 more.")


def test_of_very_many_classes_only_the_two_arms_have_rows() -> None:
    arms = {"ResNet-8": (0.9,) * 101, "ViT/7": (0.8,) * 101, "ViT/14": (0.7,) * 101}
    kept = with_classes(study({**ARMS, "ViT/14": 14.0}, seeds=3), arms, (10,) * 101)
    found = analyse(kept).by_class
    assert found.arms == ("ViT/7", "ResNet-8")
    assert found.table["arm"].value_counts().to_dict() == {"ResNet-8": 101, "ViT/7": 101}

"""Accuracy by class, and the metrics that are made from predicted classes."""

from dataclasses import replace

import numpy as np
import pytest
from class_records import with_classes
from simulate import SAID, study, verdicts

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

"""An arm that did not learn, or not to the end, is said to be so; one that learned is not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from simulate import records, study

from harness.analysis import analyse
from harness.analysis.learning import MUCH_LESS, STEEP_FALL
from harness.records.run_table import CURVE_COLUMNS, with_columns
from harness.spec import DataSpec

UPDATES = np.array([20, 40, 60, 80, 100])
CONVERGED = (1.2, 0.6, 0.4, 0.31, 0.30)
STRAIGHT = (2.0, 1.7, 1.4, 1.1, 0.8)
FLAT = (2.3, 2.29, 2.29, 2.29, 2.29)
BY_HEART = (1.0, 0.3, 0.05, 0.01, 0.01)


def analysed(
    accuracies: dict[str, float], losses: dict[str, Any], *, seeds: int = 3, origin=None, source="fashion_mnist"
):
    of = replace(study(dict.fromkeys(name for name in accuracies if name != "ResNet-8"), seeds=seeds))
    kept = records(replace(of, data=DataSpec(source=source)), accuracies, images=500, seed_sd=0.001)
    curves = [
        {"arm": row["arm"], "train_size": row["train_size"], "seed": row["seed"], "digest": row["digest"]}
        | {"update": update, "train_loss": loss}
        for row in kept.runs.to_dict("records")
        for update, loss in zip(UPDATES, losses.get(row["arm"], CONVERGED), strict=True)
    ]
    return analyse(replace(kept, curves=with_columns(curves, CURVE_COLUMNS), provenance=origin or {}))


@pytest.mark.parametrize(
    ("accuracy", "losses", "more", "told"),
    [
        (0.85, CONVERGED, {}, ""),
        (0.85, STRAIGHT, {}, "its training loss still fell from 1.10 to 0.80 in the last fifth of its updates"),
        (0.11, CONVERGED, {}, "is not significantly above chance (10.0%)"),
        (0.11, CONVERGED, {"seeds": 1}, "is not significantly above chance (10.0%)"),
        (0.20, CONVERGED, {"seeds": 1}, ""),
        (0.20, FLAT, {}, "it fits neither its training images (loss 2.29, ResNet-8 0.30) nor the validation images ("),
        (0.40, BY_HEART, {}, ""),  # few images, known by heart: behind in validation, and yet it learned
        (0.85, CONVERGED, {"origin": {"classes": 2, "largest_class_share": 0.84}}, "chance (84.0%)"),
        (0.40, FLAT, {"source": "imagefolder:photographs"}, "it fits neither"),
        (0.11, CONVERGED, {"source": "imagefolder:photographs"}, ""),  # chance is not known
        (0.5, CONVERGED, {"source": "imagefolder:photographs", "origin": {"classes": 2}}, "chance (50.0%)"),
    ],
)
def test_an_arm_that_did_not_learn_is_said_to_be_so(accuracy, losses, more, told) -> None:
    found = analysed({"ResNet-8": 0.92, "ViT/7": accuracy}, {"ViT/7": losses}, **more)
    said = [text for text in found.warnings if text.startswith("ViT/7: it")]
    caution = found.arms.set_index("arm").loc["ViT/7", "caution"]
    assert not found.arms.set_index("arm").loc["ResNet-8", "caution"]
    if told:
        assert told in said[0]
        assert told in caution
        assert found.numbers.endswith(" Caveat: ViT/7 apparently did not learn, or did not finish learning.")
    else:
        assert (said, caution) == ([], "")
        assert "Caveat" not in found.numbers


def test_thresholds_lie_where_they_are_said_to() -> None:
    """Just below and just above: the fall from chance, ln 10, to the end; the probability of the right class."""
    end, whole = 0.3, np.log(10) - 0.3
    for share, fires in ((STEEP_FALL - 0.01, False), (STEEP_FALL + 0.01, True)):
        losses = (2.0, 1.5, 1.2, end + share * whole, end)
        found = analysed({"ResNet-8": 0.92, "ViT/7": 0.85}, {"ViT/7": losses})
        assert bool(found.arms["caution"].iloc[-1]) == fires
    for ratio, fires in ((MUCH_LESS + 0.02, False), (MUCH_LESS - 0.02, True)):
        losses = (*CONVERGED[:3], 0.3 - np.log(ratio), 0.3 - np.log(ratio))
        found = analysed({"ResNet-8": 0.92, "ViT/7": 0.4}, {"ViT/7": losses})
        assert bool(found.arms["caution"].iloc[-1]) == fires


def test_without_curves_nothing_is_said_of_them() -> None:
    found = analyse(records(study(), {"ResNet-8": 0.92, "ViT/14": 0.3, "ViT/7": 0.9}))
    assert (found.arms["caution"] == "").all()


@pytest.mark.parametrize(("values", "is_told"), [((0.2, 0.45, 0.7), False), ((0.1, 0.45, 0.7), True)])
def test_searches_that_differ_widely_have_learned_where_every_run_has(values, is_told) -> None:
    """The interval of the mean reaches chance either way, and does not reach beyond what an accuracy can be."""
    of = study({"ViT/7": 7.0}, seeds=3)
    found = analyse(
        records(
            of,
            {"ResNet-8": 0.9, "ViT/7": 0.9},
            images=500,
            changes=lambda row: row | ({"test_accuracy": values[row["seed"]]} if row["arm"] == "ViT/7" else {}),
        )
    )
    row = found.arms[found.arms["arm"] == "ViT/7"].iloc[0]
    assert row["ci_low"] == 0.0
    assert row["ci_high"] == 1.0
    assert ("not significantly above chance" in row["caution"]) == is_told

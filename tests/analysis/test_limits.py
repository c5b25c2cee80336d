"""Whether an arm at a training size is limited by its updates, in numbers, sentences and the picture's leads."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from simulate import records, study

from harness.analysis import analyse
from harness.analysis.evidence import evidence_of
from harness.analysis.leads import lines_of
from harness.analysis.limits import CLEAR_GAP, limit_of
from harness.records.run_table import CURVE_COLUMNS, StudyRecords, with_columns
from harness.spec import Augmentation, Recipe

PLAIN = Recipe(updates=10, batch_size=100)
FALLS = ((0.6, 0.7), (0.5, 0.6))  # training and validation loss at the last two evaluations
GAP = ((0.6, 0.7), (0.2, 0.6))
OVERFITS = ((0.6, 0.55), (0.5, 0.6))
AT_REST = ((0.5, 0.6), (0.5, 0.6))


def limit(recipe: Recipe, losses: tuple[tuple[float, float], ...], *passes: float):
    """The limit of a cell of 1,000 images, with a run for each number of passes."""
    runs = [{"images_seen": int(1000 * times), "train_size": 1000} for times in passes]
    curve = pd.DataFrame(losses, columns=["train_loss", "validation_loss"])
    return limit_of(recipe, runs, [curve] * len(runs))


@pytest.mark.parametrize(
    ("recipe", "losses", "passes", "by_updates"),
    [
        (PLAIN, FALLS, 5.0, True),
        (PLAIN, GAP, 5.0, False),
        (PLAIN, GAP, 1.0, True),  # no image was seen twice: more of them would be as these
        (PLAIN, GAP, 1.05, True),  # the last batch reaches into a second pass
        (PLAIN, GAP, 1.2, False),
        (PLAIN, OVERFITS, 5.0, False),
        (PLAIN, AT_REST, 1.0, False),  # neither updates nor data
        (PLAIN, FALLS[1:], 1.0, True),
        (PLAIN, FALLS[1:], 5.0, False),  # of one evaluation the training loss is that of the whole training
        (replace(PLAIN, label_smoothing=0.1), FALLS, 5.0, False),
        (replace(PLAIN, label_smoothing=0.1), FALLS, 0.5, True),
        (replace(PLAIN, augmentation=Augmentation(mixup=0.2)), FALLS, 5.0, False),
        (replace(PLAIN, augmentation=Augmentation(shift=2)), FALLS, 5.0, True),
    ],
)
def test_what_counts_as_limited_by_updates(recipe, losses, passes, by_updates) -> None:
    found = limit(recipe, losses, passes, passes)
    assert found.limited_by_updates is by_updates
    assert found.passes == pytest.approx(passes)
    assert (found.train_loss, found.validation_loss) == pytest.approx(losses[-1])


def test_the_threshold_lies_where_it_is_said_to() -> None:
    for gap, is_limited in ((CLEAR_GAP - 0.01, True), (CLEAR_GAP + 0.01, False)):
        assert limit(PLAIN, ((2.0, 2.0), (1 - gap, 1.0)), 3.0).limited_by_updates is is_limited


def test_a_cell_without_runs_or_curves_is_not_judged() -> None:
    assert limit(PLAIN, FALLS).limited_by_updates is None
    runs = [{"images_seen": 5000, "train_size": 1000}]
    assert limit_of(PLAIN, runs, [None]).limited_by_updates is False
    assert limit_of(PLAIN, [{"images_seen": pd.NA, "train_size": 1000}], [None]).limited_by_updates is None


def trained(losses: dict[tuple[str, int], tuple[tuple[float, float], ...]]) -> StudyRecords:
    """Two sizes of ResNet-8 and ViT/7, 8,000 images seen; losses of cells by arm and size."""
    kept = records(
        study({"ViT/7": 7.0}, sizes=(1000, 8000)),
        {"ResNet-8": 0.9, "ViT/7": 0.8},
        changes=lambda row: row | {"images_seen": 8000},
    )
    curves: list[dict[str, Any]] = [
        {name: row[name] for name in ("arm", "train_size", "seed", "digest")}
        | {"update": update, "images_seen": 40 * update, "validation_accuracy": 0.8}
        | {"train_loss": train, "validation_loss": validation}
        for row in kept.runs.to_dict("records")
        for update, (train, validation) in zip((100, 200), losses[row["arm"], row["train_size"]], strict=True)
    ]
    return replace(kept, curves=with_columns(curves, CURVE_COLUMNS))


def test_tables_caveats_and_leads_say_it() -> None:
    kept = trained({("ResNet-8", 1000): GAP, ("ViT/7", 1000): FALLS, ("ResNet-8", 8000): FALLS, ("ViT/7", 8000): GAP})
    found = analyse(kept)
    arms = found.arms.set_index(["arm", "train_size"])["limited_by_updates"].to_dict()
    assert arms == {
        ("ResNet-8", 1000): False,
        ("ViT/7", 1000): True,
        ("ResNet-8", 8000): True,
        ("ViT/7", 8000): True,
    }
    table = found.comparisons.set_index("train_size")
    assert table["passes"].to_dict() == {1000: 8.0, 8000: 1.0}
    assert table["baseline_limited_by_updates"].to_dict() == {1000: False, 8000: True}
    assert table.loc[1000, ["train_loss", "validation_loss"]].tolist() == pytest.approx([0.5, 0.6])
    assert [text for text in found.warnings if "limited by" in text] == [
        "At 1,000 images ViT/7 is limited by its updates, not by its data: 8 passes over the images, training loss "
        "0.50, validation loss 0.60.",
        "At 8,000 images 2 arms are limited by their updates, not by their data: ResNet-8 (1 pass over the images, "
        "training loss 0.50, validation loss 0.60); ViT/7 (1 pass over the images, training loss 0.20, validation "
        "loss 0.60).",
    ]
    (line,) = lines_of(evidence_of(kept))
    assert [lead.limited for lead in line.leads] == [("ViT",), ("ResNet", "ViT")]


def test_a_study_of_one_size_says_it_of_its_arms() -> None:
    kept = trained(dict.fromkeys([(arm, size) for arm in ("ResNet-8", "ViT/7") for size in (1000, 8000)], FALLS))
    runs, curves = (frame[frame["train_size"] == 8000] for frame in (kept.runs, kept.curves))
    found = analyse(replace(kept, study=replace(kept.study, train_sizes=()), runs=runs, curves=curves))
    assert found.arms["limited_by_updates"].all()
    (told,) = (text for text in found.warnings if "limited by" in text)
    assert told.startswith("2 arms are limited by their updates, not by their data: ResNet-8 (1 pass over the images, ")

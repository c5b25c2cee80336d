"""A seed that ended far below the others of its cell is named; normal seeds are not."""

import numpy as np
import pytest
from simulate import evidences, records, study, without_accuracy

from harness.analysis import analyse
from harness.analysis.learning import mixture_warnings

ARMS = {f"ViT/{patch}": float(patch) for patch in range(2, 11)}  # ten cells with the baseline


def with_low(seeds: int, low: dict[int, float], **more):
    """A study in which seeds of ViT/4 ended at other accuracies."""
    of = study({"ViT/7": 7.0, "ViT/4": 4.0}, seeds=seeds)

    def change(row):
        is_low = row["arm"] == "ViT/4" and row["seed"] in low
        return row | {"test_accuracy": low[row["seed"]]} if is_low else row

    return records(of, {"ResNet-8": 0.88, "ViT/7": 0.82, "ViT/4": 0.845}, changes=change, **more)


@pytest.mark.parametrize(
    ("seeds", "low", "told"),
    [
        (10, {3: 0.612}, "ViT/4: seed 3 reached 61.20%, the other 9 seeds 84."),
        (10, {3: 0.612, 7: 0.31}, "ViT/4: seeds 3 and 7 reached 31.00% to 61.20%, the other 8 seeds 84."),
        (3, {1: 0.8}, "ViT/4: seed 1 reached 80.00%, the other 2 seeds 84."),
        (10, {3: 0.83}, ""),  # not 2 points
        (4, {0: 0.6, 1: 0.61}, "ViT/4: seeds 0 and 1 reached 60.00% to 61.00%, the other 2 seeds 84."),
        (2, {0: 0.6}, ""),
    ],
)
def test_a_collapsed_seed_is_told_with_the_other_warnings(seeds, low, told) -> None:
    said = [text for text in analyse(with_low(seeds, low)).warnings if "mixture" in text]
    assert len(said) == bool(told)
    assert "".join(said).startswith(told)


def test_runs_without_a_result_are_passed_over() -> None:
    kept = records(
        study(seeds=4),
        lambda arm, size: 0.9,
        changes=lambda row: without_accuracy(row, "diverged") if row["seed"] == 0 else row,
    )
    assert not [text for text in analyse(kept).warnings if "mixture" in text]


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("seed_sd", [0.006, 0.02])  # below, the least distance of 2 points alone keeps alarms away
def test_normal_seeds_alarm_in_fewer_than_1_percent_of_studies(seeds: int, seed_sd: float) -> None:
    of = study(ARMS, seeds=seeds)
    simulated = evidences(of, lambda *_: 0.85, seeds=range(300), seed_sd=seed_sd)
    alarms = [any(mixture_warnings(one)) for one in simulated]
    assert np.mean(alarms) < 0.01


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_arms_of_unequal_spread_do_not_alarm(seeds: int) -> None:
    """Nine arms with .2 points between their seeds, and one with 1.5."""
    of, alarms = study(ARMS, seeds=seeds), []
    for drawn in evidences(of, lambda *_: 0.85, seed_sd=0.002):
        for row in drawn.rows["ViT/4", None].values():
            row["test_accuracy"] = 0.85 + (row["test_accuracy"] - 0.85) * 7.5
        alarms.append(any(mixture_warnings(drawn)))
    assert np.mean(alarms) < 0.05


@pytest.mark.parametrize(("seeds", "fall"), [(3, 0.2), (5, 0.04), (10, 0.04)])
def test_a_fall_is_found(seeds: int, fall: float) -> None:
    of, found = study(ARMS, seeds=seeds), []
    for drawn in evidences(of, lambda *_: 0.85, seeds=range(50), seed_sd=0.002):
        drawn.rows["ViT/4", None][1]["test_accuracy"] -= fall
        found.append(list(mixture_warnings(drawn)))
    assert all(len(warnings) == 1 and warnings[0].startswith("ViT/4: seed 1 reached") for warnings in found)

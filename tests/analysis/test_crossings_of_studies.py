"""Crossings in whole studies, with luck of the search and fresh test images: how often they are covered and made up."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from simulate import at_most, share, study, without_frames
from whole_studies import LuckyWorld, searches_of

from harness.analysis.axis import crossing, size_axis
from harness.analysis.evidence import Evidence
from harness.analysis.judging import judge
from harness.spec import Crosses, LogUniform, ResolvedStudy, Search

SIZES = (500, 2000, 6000, 20_000, 55_000)
PLACE = 3000
SEARCHED = Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-2)}, trials=4, repeats=3)
STUDIES = 120
CLAIM = Crosses(leader="ResNet-8", follower="ViT/7", statement="a", source="b")


def drawn(of: ResolvedStudy, lead: Callable[[int], float], rng: np.random.Generator) -> Evidence:
    """A study in which all arms gain from images by one law, with a lead of ViT/7 over it."""
    accuracies = {
        (arm.name, size): 1 - 0.5 * (size / 500) ** -0.3 + (lead(size) if arm.name == "ViT/7" else 0.0)
        for arm, size in of.cells
        if size
    }
    answers = LuckyWorld(luck=(0.3,)).answers(
        {str(cell): a for cell, a in accuracies.items()}, searches_of(of), 1500, rng
    )
    rows, correct = {}, {}
    for cell, right in zip(accuracies, answers, strict=True):
        digests = [f"{cell}-{seed}" for seed in of.seeds]
        correct |= dict(zip(digests, right, strict=True))
        rows[cell] = {
            seed: {"status": "completed", "digest": digest, "test_accuracy": float(row.mean()), "train_size": cell[1]}
            for seed, digest, row in zip(of.seeds, digests, right, strict=True)
        }
    return Evidence(records=without_frames(of, correct), rows=rows)


def studies(lead: Callable[[int], float]):
    """The crossing of each study and the verdict on the claim that ViT/7 overtakes."""
    of, rng = study({"ViT/7": 7.0, "ViT/14": 14.0}, sizes=SIZES, seeds=6, search=SEARCHED), np.random.default_rng(0)
    axis = size_axis(of, "ViT/7", "ResNet-8")
    for _ in range(STUDIES):
        found = drawn(of, lead, rng)
        yield crossing(found, axis), judge(CLAIM, found).verdict


@pytest.mark.slow
def test_a_crossing_is_covered_over_fresh_searches_seeds_and_images() -> None:
    found = [crossed for crossed, _ in studies(lambda size: 0.012 * math.log(size / PLACE)) if crossed.shown]
    assert len(found) > STUDIES / 2
    assert 0.01 < share([not crossed.ci_low <= PLACE <= crossed.ci_high for crossed in found]) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "lead",
    [
        lambda _: 0.0,
        lambda size: 0.02 * abs(math.log10(size / 6000)),
        lambda size: -0.03 * (size == 500),
    ],
    ids=["level everywhere", "touching", "level but at the first"],
)
def test_a_crossing_that_is_not_there_is_seldom_claimed(lead: Callable[[int], float]) -> None:
    found = list(studies(lead))
    assert share([crossed.changes > 0 for crossed, _ in found]) <= at_most(0.05, STUDIES)
    assert share([verdict == "reproduced" for _, verdict in found]) <= at_most(0.05, STUDIES)

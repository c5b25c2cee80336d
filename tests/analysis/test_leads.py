"""What the picture of data against bias says: leads by condition, crossings, and their words."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from simulate import evidence

from harness.analysis.leads import Line, clauses, findings, lines_of, published_line
from harness.spec import Arm, DataSpec, Recipe, ResNetSpec, ResolvedStudy, ViTSpec

SIZES = (1000, 4000, 16_000, 64_000)
MOVED = {
    "patches permuted": {"data.moved_share": 1.0, "data.moved_patch": 4},
    "pixels permuted": {"data.moved_share": 1.0},
}
CHANGES = {"as they are": {}, **MOVED}
RECIPE = Recipe(updates=10)
WIDE = (0.2, 0.1, 0.05, 0.02)
CROSSING = (0.06, -0.02, -0.06, -0.08)
PUBLISHED = (Path(__file__).resolve().parents[2] / "studies" / "published.csv").read_text()


def study(conditions: tuple[str, ...], seeds: int = 5, recipe: Recipe = RECIPE) -> ResolvedStudy:
    families = {"ResNet": ResNetSpec(depth=8, width=8), "ViT": ViTSpec(patch_size=4, width=8, depth=1, heads=1)}
    arms = [
        Arm(
            f"{family}: {condition}",
            model,
            against=f"ResNet: {condition}" if family == "ViT" else None,
            changes=CHANGES[condition],
        )
        for family, model in families.items()
        for condition in conditions
    ]
    return ResolvedStudy(
        name="simulated",
        scale="laptop",
        question="Does data beat bias?",
        source="none",
        factor="moved",
        data=DataSpec(),
        recipe=recipe,
        baseline=arms[0],
        arms=tuple(arms[1:]),
        train_sizes=SIZES,
        seeds=tuple(range(seeds)),
    )


def drawn(
    leads: Mapping[str, tuple[float, ...]], seeds: int = 5, seed_sd: float = 0.004, recipe: Recipe = RECIPE
) -> tuple[Line, ...]:
    """Lines of a study in which the ResNet leads by `leads` at each size, its accuracy .8 everywhere."""

    def accuracy(arm: str, size: int | None) -> float:
        family, condition = arm.split(": ")
        assert size is not None
        return 0.8 - (leads[condition][SIZES.index(size)] if family == "ViT" else 0.0)

    return lines_of(evidence(study(tuple(leads), seeds, recipe), accuracy, seed=1, seed_sd=seed_sd))


def test_a_planted_crossing_is_found_and_told_with_its_interval():
    whole, moved = drawn({"as they are": WIDE, "patches permuted": CROSSING})
    assert (whole.condition, whole.resnet, whole.vit) == ("as they are", "ResNet: as they are", "ViT: as they are")
    assert [lead.accuracy.value for lead in whole.leads] == pytest.approx(WIDE, abs=0.01)
    assert [lead.ratio.value for lead in whole.leads] == pytest.approx([1 + lead / 0.2 for lead in WIDE], abs=0.05)
    assert all(lead.accuracy.ci_low < lead.accuracy.value < lead.accuracy.ci_high for lead in whole.leads)
    assert all(lead.ratio.ci_low < lead.ratio.value < lead.ratio.ci_high and lead.n == 5 for lead in whole.leads)
    assert math.isnan(whole.crossing.value)
    place = moved.crossing
    assert 1000 < place.ci_low < place.value < place.ci_high < 4000
    low, value, high = (f"{float(f'{x:.2g}'):,.0f}" for x in (place.ci_low, place.value, place.ci_high))
    last = f"{100 * whole.leads[-1].accuracy.value:.1f}"
    assert findings((whole, moved)) == (
        f"the ResNet leads by 20 points with 1,000 images and by {last} with 64,000",
        f"the ViT overtakes at about {value} images [{low}, {high}]",
    )
    assert clauses((whole, moved)) == (
        f"from 1,000 to 64,000 images: on images as they are the ResNet's lead goes from 20 points to {last}",
        f"with patches permuted the ViT overtakes at about {value}",
    )


@pytest.mark.parametrize(
    ("leads", "finding"),
    [
        (WIDE, "the ResNet leads by 20 points with 1,000 images and by B with 64,000"),
        (tuple(-lead for lead in WIDE), "the ViT leads by 20 points with 1,000 images and by B with 64,000"),
        ((0.2, 0.1, 0.05, 0.0), "the ResNet leads by 20 points with 1,000 images, neither significantly with 64,000"),
        (
            (0.0, -0.1, -0.1, -0.2),
            "neither leads significantly with 1,000 images, the ViT by B points with 64,000",
        ),
        ((0.0, 0.1, 0.1, 0.0), "neither leads significantly with 1,000 images or with 64,000"),
        ((0.1, -0.1, 0.1, -0.1), "the lead changes more than once"),
    ],
)
def test_what_is_told_without_a_crossing(leads: tuple[float, ...], finding: str):
    (line,) = drawn({"as they are": leads}, seed_sd=0.006)
    last = f"{100 * abs(line.leads[-1].accuracy.value):.{1 if abs(leads[-1]) < 0.1 else 0}f}"
    assert line.finding() == finding.replace("B", last)
    assert math.isnan(line.crossing.value)


def test_no_difference_is_told_as_such():
    (line,) = drawn({"as they are": (0.0, 0.0, 0.0, 0.0)}, seed_sd=0.02)
    assert line.finding() == "neither leads significantly with 1,000 images or with 64,000"


def test_a_resnet_that_comes_from_behind_overtakes():
    (line,) = drawn({"pixels permuted": tuple(-lead for lead in CROSSING)})
    assert line.finding().startswith("the ResNet overtakes at about ")


def test_few_seeds_judge_nothing_but_are_drawn():
    (line,) = drawn({"as they are": WIDE}, seeds=2)
    assert line.finding().startswith("nothing can be judged (2 of at least 3 seeds")
    assert len(line.leads) == len(SIZES)


def test_sizes_are_told_once():
    moved = {"patches permuted": (-0.2, -0.1, -0.1, -0.12), "pixels permuted": (0.0, -0.1, -0.1, -0.2)}
    lines = drawn({"as they are": WIDE, **moved}, seed_sd=0.001)
    first, second, third = clauses(lines)
    assert first == "from 1,000 to 64,000 images: on images as they are the ResNet's lead goes from 20 points to 2.0"
    assert second == "with patches permuted the ViT's lead goes from 20 points to 12"
    assert third == "with pixels permuted neither leads significantly, then the ViT by 20"
    assert findings(lines)[0] == "the ResNet leads by 20 points with 1,000 images and by 2.0 with 64,000"
    assert findings(lines)[1:] == ("the ViT leads by 20 and by 12", "neither leads significantly, then the ViT by 20")


@pytest.mark.parametrize(
    ("least_epochs", "told"), [(None, ""), (1.0, " (50 times the updates)"), (0.05, " (2.5 times the updates)")]
)
def test_more_updates_at_the_last_size_are_told(least_epochs: float | None, told: str):
    (line,) = drawn({"as they are": WIDE}, recipe=Recipe(updates=10, batch_size=128, least_epochs=least_epochs))
    assert line.leads[0].updates == 10
    assert line.finding().endswith(f"with 64,000{told}")
    assert "updates" not in line.finding(brief=True)


def test_updates_that_differ_between_the_two_are_not_told():
    whole = study(("as they are",))
    more = replace(whole.arms[0], changes={"recipe.updates": 20})
    (line,) = lines_of(evidence(replace(whole, arms=(more,)), lambda arm, _: 0.8 - 0.1 * (arm[0] == "V"), seed=1))
    assert {lead.updates for lead in line.leads} == {None}
    assert "updates" not in line.finding()


def test_published_curves_cross_at_204_million_images():
    line = published_line(PUBLISHED)
    assert (line.resnet, line.vit) == ("BiT-R50x1", "ViT-B/16")
    assert line.crossing.value == pytest.approx(204e6, abs=1e6)
    assert line.finding() == "cross at about 204,000,000 images seen"
    assert line.leads[0].accuracy.value > 0 > line.leads[-1].accuracy.value
    assert {lead.n for lead in line.leads} == {0}
    assert all(math.isnan(lead.accuracy.ci_low) for lead in line.leads)


def test_published_curves_that_do_not_cross():
    line = published_line("model,images_seen,error\nA,10,.5\nA,100,.2\nA,1000,.1\nB,10,.6\nB,100,.4\nB,1000,.3\n")
    assert line.finding() == "do not cross once"
    assert [lead.accuracy.value for lead in line.leads] == pytest.approx([0.1, 0.2, 0.2])

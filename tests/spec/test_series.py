"""Studies of several lines: which arm is compared with which, ranges of single arms, and what is refused at load."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.spec import (
    Arm,
    Better,
    CostGrows,
    Crosses,
    DataSpec,
    Distillation,
    GainsMore,
    GapShrinks,
    InvalidInput,
    LogUniform,
    Monotone,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    Search,
    ViTSpec,
    find_study,
)

SAID = {"statement": "It holds.", "source": "Fig. 1"}
VIT, RESNET = ViTSpec(patch_size=2, width=32, depth=2, heads=2), ResNetSpec(depth=8, width=8)
RATES = LogUniform(low=1e-3, high=1e-1)


def arms(shares: tuple[float, ...] = (0.0, 0.5, 1.0)) -> tuple[Arm, ...]:
    return tuple(
        Arm(
            f"{family} {share:g}",
            model,
            level=share,
            series=family,
            against=f"ResNet {share:g}" if family == "ViT" else None,
            changes={"data.moved_share": share, "data.moved_patch": 2} if share else {},
        )
        for family, model in (("ResNet", RESNET), ("ViT", VIT))
        for share in shares
    )


def study(**changes):
    baseline, *others = arms()
    content = {
        "name": "locality",
        "scale": "smoke",
        "question": "Does it?",
        "source": "arXiv",
        "factor": "moved_share",
        "data": DataSpec(source="digits"),
        "recipe": Recipe(updates=10),
        "baseline": baseline,
        "arms": tuple(others),
    }
    return ResolvedStudy(**content | changes)


def test_arms_are_compared_with_the_arm_they_name_and_else_with_the_baseline():
    found = study()
    assert [found.against(arm).name for arm in found.arms] == [
        "ResNet 0",
        "ResNet 0",
        "ResNet 0",
        "ResNet 0.5",
        "ResNet 1",
    ]
    assert {name: [arm.level for arm in line] for name, line in found.series.items()} == {
        "ResNet": [0, 0.5, 1],
        "ViT": [0, 0.5, 1],
    }


def test_a_series_is_in_order_of_its_levels_whatever_the_order_of_the_arms():
    found = study()
    assert study(arms=found.arms[::-1]).series == found.series


def refused(**changes) -> str:
    with pytest.raises(InvalidInput) as caught:
        study(**changes)
    return str(caught.value)


def with_arm(**changes) -> tuple[Arm, ...]:
    *others, last = study().arms
    return (*others, replace(last, **changes))


def test_who_is_compared_must_be_there():
    assert refused(arms=with_arm(against="ResNet 2")).startswith("No arm is called 'ResNet 2'. Did you mean")
    assert "name another arm" in refused(arms=with_arm(against="ViT 1"))
    assert "name another arm, and none for the baseline" in refused(baseline=replace(study().baseline, against="ViT 1"))


def test_a_series_needs_a_number_of_its_own_for_every_arm():
    assert "each arm needs a number of its own" in refused(arms=with_arm(level="all"))
    assert "each arm needs a number of its own" in refused(arms=with_arm(level=0.5))


@pytest.mark.parametrize("kind", [GapShrinks, Crosses])
def test_claims_along_the_factor_name_series_that_share_levels(kind):
    along = {**SAID, "leader": "ResNet", "along": "moved_share"}
    study(claims=(kind(follower="ViT", **along),))
    assert "No arm is in the series 'VIT'. Did you mean 'ViT'?" in refused(claims=(kind(follower="VIT", **along),))
    assert "must share at least two levels" in refused(
        arms=tuple(arm for arm in study().arms if arm.series == "ResNet" or arm.level == 0),
        claims=(kind(follower="ViT", **along),),
    )
    assert "along" in refused(claims=(kind(**{**SAID, "leader": "ResNet", "follower": "ViT", "along": "depth"}),))


@pytest.mark.parametrize(
    "claim",
    [
        Monotone(**SAID, metric="test_accuracy", along="moved_share", direction="down", series="ResNets"),
        CostGrows(**SAID, along="moved_share", direction="up", series="ResNets"),
    ],
)
def test_claims_about_one_series_name_one_of_the_study(claim):
    study(claims=(replace(claim, series="ResNet"),))
    assert "Did you mean 'ResNet'?" in refused(claims=(claim,))


def test_a_claim_about_two_steps_names_four_arms_of_the_study():
    claim = GainsMore(**SAID, arm="ViT 1", start="ViT 0", other="ResNet 1", other_start="ResNet 0")
    study(claims=(claim,))
    assert "No arm is called 'ViT 2'" in refused(claims=(replace(claim, arm="ViT 2"),))


@pytest.mark.parametrize(
    "claim",
    [
        Better(**SAID, arm="ViT 1", than="ViT 1"),
        GapShrinks(**SAID, leader="ViT", follower="ViT", along="moved_share"),
        GainsMore(**SAID, arm="ViT 1", start="ViT 1", other="ResNet 1", other_start="ResNet 0"),
    ],
)
def test_nothing_is_compared_with_itself(claim):
    assert "with itself; name two different ones" in refused(claims=(claim,))


def test_ranges_of_an_arm_replace_those_of_its_family_and_of_all():
    search = Search(
        space={"learning_rate": RATES, "weight_decay": RATES},
        by_family={"vit": {"weight_decay": LogUniform(low=0.1, high=1.0)}},
        by_arm={"ViT 1": {"learning_rate": LogUniform(low=0.5, high=1.0)}, "ViT 0.5": {"learning_rate": None}},
        trials=2,
    )
    found = study(search=search)
    ranges = {arm.name: found.search.space_of(arm) for arm in found.all_arms}
    assert ranges["ResNet 1"] == {"learning_rate": RATES, "weight_decay": RATES}
    assert ranges["ViT 0.5"].keys() == {"weight_decay"}
    assert ranges["ViT 1"]["learning_rate"].low == 0.5
    assert ranges["ViT 1"]["weight_decay"].low == 0.1
    assert "No arm is called 'ViT 7'" in refused(search=replace(search, by_arm={"ViT 7": {}}))


def test_families_with_ranges_of_their_own_may_start_from_other_values_and_arms_of_one_may_not():
    found = study()
    search = Search(space={"learning_rate": RATES}, by_family={"resnet": {"learning_rate": RATES}}, trials=2)
    changed = [
        replace(arm, changes=arm.changes | {"recipe.learning_rate": 0.5}) if arm.model.kind == "resnet" else arm
        for arm in found.all_arms
    ]
    assert study(baseline=changed[0], arms=tuple(changed[1:]), search=search).search == search
    assert "differ in learning_rate" in refused(baseline=changed[0], search=search)


def test_an_arm_may_enter_a_range_of_its_own_where_it_likes():
    space = {"learning_rate": RATES}
    changed = with_arm(changes={"recipe.learning_rate": 0.5})
    assert "Give them ranges of their own in search.by_arm" in refused(
        arms=changed, search=Search(space=space, trials=2)
    )
    own = {"ViT 1": {"learning_rate": LogUniform(low=0.1, high=1.0)}}
    found = study(arms=changed, search=Search(space=space, by_arm=own, trials=2))
    assert found.recipe_of(found.arms[-1]).learning_rate == 0.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data.moved_share": 0.5, "data.moved_patch": 3}, "data.moved_patch is 3; it must divide the image side of 8"),
        ({"data.moved_share": 0.1, "data.moved_patch": 4}, "at least two must move"),
        ({"data.moved_share": 1.5}, "data.moved_share"),
    ],
)
def test_patches_that_cannot_be_moved_are_refused(changes, told):
    message = refused(arms=with_arm(changes=changes))
    assert "'ViT 1'" in message
    assert told in message


def test_an_image_that_patches_do_not_tile_is_refused_when_the_study_is_loaded(tmp_path: Path):
    path = tmp_path / "torn.py"
    path.write_text(
        "from harness.spec import *\n"
        "def vit(p):\n"
        "    return ViTSpec(patch_size=p, width=32, depth=2, heads=2)\n"
        "STUDY = Study(question='Is it?', source='me', factor='patch', scales={'smoke': Scale(\n"
        "    data=DataSpec(source='digits'), recipe=Recipe(updates=9),\n"
        "    baseline=Arm('R', ResNetSpec(depth=8)),\n"
        "    arms=(Arm('even', vit(2)),\n"
        "          Arm('odd', vit(3))))})\n"
    )
    with pytest.raises(InvalidInput, match=r"torn\.py: scale 'smoke': Arm 'odd': patch_size 3 does not divide"):
        find_study(str(path))


def test_shifts_ascend():
    assert study(test_shifts=(1, 2)).test_shifts == (1, 2)
    assert "they must ascend" in refused(test_shifts=(2, 1))
    assert "test_shifts is 0" in refused(test_shifts=(0,))
    assert "Arm 'ResNet 0': test_shifts is (1, 8); images have 8 pixels" in refused(test_shifts=(1, 8))


def test_a_teacher_must_see_the_images():
    teacher = Distillation(teacher=ResNetSpec(depth=18, stem="imagenet"), learning_rate=0.1)
    message = refused(arms=with_arm(changes={"recipe.distillation": teacher}))
    assert "Arm 'ViT 1': image_size (for ResNet-18, stem 'imagenet')" in message


def test_a_distillation_token_needs_a_teacher():
    model = replace(VIT, pool="cls", distillation_token=True)
    assert "set recipe.distillation" in refused(arms=(Arm("learner", model),))

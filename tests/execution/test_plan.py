from dataclasses import replace

import pytest
from tiny_studies import RESNET, SPACE, VIT, tiny_study

from harness.execution.plan import make_plan
from harness.spec import TUNE_SEED, Arm, Choice, DataSpec, InvalidInput, Recipe, Search


def test_every_cell_gets_the_same_trials_images_and_seeds() -> None:
    study = tiny_study(search=Search(space=SPACE, trials=4, updates=5), train_sizes=(50, 100))
    plan = make_plan(study)
    assert [cell.key for cell in plan.cells] == [("ResNet", 50), ("ViT/4", 50), ("ResNet", 100), ("ViT/4", 100)]
    assert {(cell.trials, cell.trial_updates, cell.seeds, cell.images_planned) for cell in plan.cells} == {
        (4, 5, (0, 1, 2), (4 * 5 + 3 * 8) * 16)
    }
    assert plan.runs == 4 * (4 + 3)


def test_arms_differ_in_their_model_only() -> None:
    baseline, arm = (cell.confirm(1, cell.own_values).config for cell in make_plan(tiny_study()).cells)
    assert baseline.model == RESNET
    assert arm.model == VIT
    assert replace(baseline, model=VIT) == arm


def test_tuning_and_confirm_runs_share_no_seed() -> None:
    cell = make_plan(tiny_study(search=Search(space=SPACE, trials=1))).cells[0]
    assert cell.trial(0, cell.own_values).config.seed == TUNE_SEED
    with pytest.raises(InvalidInput, match="seed"):
        tiny_study(seeds=(0, TUNE_SEED))


def test_trial_0_is_the_recipes_own_setting() -> None:
    cell = make_plan(tiny_study(search=Search(space=SPACE, trials=2))).cells[0]
    assert cell.own_values == {"learning_rate": 3e-3, "label_smoothing": 0.0}
    assert cell.trial(0, cell.own_values).config.recipe == cell.recipe


def test_values_reach_the_configuration() -> None:
    cell = make_plan(tiny_study()).cells[0]
    run = cell.confirm(0, {"learning_rate": 0.5, "augmentation.strength": 2.0})
    assert run.config.recipe.learning_rate == 0.5
    assert run.config.recipe.augmentation.strength == 2.0


def test_an_arms_changes_hold_against_the_studys_recipe() -> None:
    sgd = Arm("ViT sgd", VIT, level=1, changes={"recipe.optimizer": "sgd", "data.train_size": 60})
    cell = make_plan(tiny_study(arms=(sgd,), recipe=Recipe(updates=3, batch_size=4))).cells[1]
    assert (cell.recipe.optimizer, cell.recipe.updates, cell.data.train_size) == ("sgd", 3, 60)


def test_epochs_become_updates_of_each_training_size() -> None:
    recipe = Recipe(epochs=2, batch_size=10)
    plan = make_plan(tiny_study(recipe=recipe, train_sizes=(50, 100)))
    assert [cell.recipe.updates for cell in plan.cells] == [10, 10, 20, 20]


def test_a_digest_depends_on_the_configuration_alone() -> None:
    one, other = (make_plan(tiny_study(name=name)).cells[0].confirm(0, {}) for name in ("a", "b"))
    assert one.digest == other.digest
    assert one.digest != make_plan(tiny_study()).cells[0].confirm(1, {}).digest


def test_patches_that_do_not_tile_the_image_are_refused() -> None:
    with pytest.raises(InvalidInput) as error:
        make_plan(tiny_study(arms=(Arm("ViT/3", replace(VIT, patch_size=3), level=3),)))
    assert str(error.value) == ("Arm 'ViT/3': patch_size 3 does not divide image_size 8. Valid: [1, 2, 4, 8].")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataSpec(source="digits", train_size=5), "5"),
        (DataSpec(source="digits", train_size=100_000), "100,?000"),
        (DataSpec(source="imagefolder:/nowhere"), "/nowhere"),
        (DataSpec(source="imagenet:/nowhere"), "/nowhere"),
    ],
)
def test_data_that_cannot_be_had_is_refused(data: DataSpec, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make_plan(tiny_study(data=data))


def test_an_arms_change_may_not_be_tuned_away() -> None:
    slow = Arm("slow", VIT, level=1, changes={"recipe.learning_rate": 1e-4})
    with pytest.raises(InvalidInput, match=r"'slow' differ in learning_rate, which the search would undo"):
        tiny_study(arms=(slow,))


def test_a_search_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"search\.trials is 3, but arm .* has nothing to search"):
        tiny_study(search=Search(trials=3))


def test_values_that_the_recipe_refuses_are_found_before_the_search() -> None:
    with pytest.raises(InvalidInput, match="lion"):
        tiny_study(search=Search(space={"optimizer": Choice(values=("adamw", "lion"))}))


def test_trials_of_another_batch_size_see_as_many_images() -> None:
    wide = Arm("wide", VIT, level=1, changes={"recipe.batch_size": 64})
    cells = make_plan(tiny_study(arms=(wide,), search=Search(space=SPACE, trials=2, updates=4))).cells
    assert {cell.trial_updates * cell.recipe.batch_size for cell in cells} == {4 * 16}

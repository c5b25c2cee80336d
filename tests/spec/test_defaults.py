"""What a specification means where a study says nothing: good for small data; the published models are presets."""

from dataclasses import replace

import pytest

from harness.spec import InvalidInput, Recipe, ResNetSpec, Search, ViTSpec, find_study
from harness.spec.recipe import DEFAULT_UPDATES, USUAL_SETTINGS


def test_bare_specifications_are_whole() -> None:
    recipe = Recipe()
    assert (recipe.updates, recipe.epochs, recipe.images) == (DEFAULT_UPDATES, None, None)
    assert recipe.optimizer == "muon"
    assert (ViTSpec().pool, ViTSpec().initialisation, ViTSpec().zero_head) == ("mean", "xavier", True)
    for side in (8, 28, 32, 224):  # digits, Fashion-MNIST, CIFAR, ImageNet
        ViTSpec().check_image(side)
        ResNetSpec().check_image(side)


@pytest.mark.parametrize(("unit", "value"), [("epochs", 2.0), ("images", 640), ("updates", 7)])
def test_a_budget_of_ones_own_takes_the_place_of_the_usual_one(unit: str, value: float) -> None:
    given = Recipe(**{unit: value})  # type: ignore[arg-type]
    assert {name: getattr(given, name) for name in ("updates", "epochs", "images")} == {
        "updates": None,
        "epochs": None,
        "images": None,
    } | {unit: value}


def test_a_budget_beside_the_usual_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"given as updates=1000, epochs=2.0\. Set one, and the others to None"):
        replace(Recipe(), epochs=2.0)


@pytest.mark.parametrize("optimizer", USUAL_SETTINGS)
def test_rate_and_decay_are_those_usual_with_the_optimiser(optimizer: str) -> None:
    schedule = "constant" if optimizer == "schedule_free" else "cosine"
    left_open = replace(Recipe(schedule=schedule), optimizer=optimizer)  # as an arm or an override changes it
    assert (left_open.rate, left_open.decay) == USUAL_SETTINGS[optimizer]
    written = left_open.resolved(100)
    assert (written.learning_rate, written.weight_decay, written.updates) == (*USUAL_SETTINGS[optimizer], 1000)
    assert replace(left_open, learning_rate=0.5, weight_decay=0.0).resolved(1).learning_rate == 0.5


def test_a_published_size_has_the_published_start() -> None:
    base = ViTSpec.preset("B", patch_size=16)
    assert (base.width, base.depth, base.heads, base.mlp_ratio) == (768, 12, 12, 4.0)
    assert (base.pool, base.initialisation, base.zero_head) == ("cls", "truncated_normal", False)
    assert ViTSpec.preset("S", patch_size=16, pool="mean").pool == "mean"


def test_a_budget_grows_to_the_least_number_of_passes() -> None:
    recipe = Recipe(updates=100, batch_size=10, least_epochs=2.0)
    assert [recipe.resolved_updates(size) for size in (0, 100, 500, 510, 5000)] == [100, 100, 100, 102, 1000]
    assert Recipe(images=1000, batch_size=10, least_epochs=2.0).resolved_updates(5000) == 1000
    resolved = recipe.resolved(5000)
    assert resolved == replace(recipe.written_out(), updates=1000, least_epochs=None)


def test_trials_may_be_a_share_of_the_training() -> None:
    study = find_study("data_scale")[1].resolve("data_scale", "gpu")
    recipes = [study.recipe_of(study.baseline).resolved(size) for size in (1000, 10_240_000)]
    assert [(recipe.total_updates, study.trial_updates(recipe)) for recipe in recipes] == [(8000, 4000), (10_000, 5000)]
    with pytest.raises(InvalidInput, match=r"search\.updates is 5 and search\.share 0\.5; .* Set one"):
        Search(updates=5, share=0.5)

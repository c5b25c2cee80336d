from dataclasses import replace
from typing import Any

import pytest
from tiny_studies import SPACE, tiny_study

from harness.execution.overrides import override, resolve_study
from harness.spec import Augmentation, InvalidInput, Search


def test_values_get_their_declared_types() -> None:
    pairs = [
        "recipe.updates=5",
        "recipe.learning_rate=1e-2",
        "recipe.optimizer=sgd",
        "recipe.clip_norm=none",
        "recipe.augmentation.flip=true",
        "seeds=3,4",
        "train_sizes=50,100",
        "data.source=digits",
        "search.trials=7",
    ]
    study = override(tiny_study(), pairs)
    assert (study.recipe.updates, study.recipe.learning_rate, study.recipe.optimizer) == (5, 0.01, "sgd")
    assert study.recipe.clip_norm is None
    assert study.recipe.augmentation.flip is True
    assert (study.seeds, study.train_sizes, study.search.trials) == ((3, 4), (50, 100), 7)


def test_a_budget_replaces_the_budget_in_another_unit() -> None:
    study = override(tiny_study(), ["recipe.epochs=3"])
    assert (study.recipe.updates, study.recipe.epochs) == (None, 3.0)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("recipe.updates", "not of the form key=value"),
        ("recipe.learning_rat=1", "Did you mean 'learning_rate'"),
        ("recipe.updates=many", "recipe.updates is 'many'; it must be int or None."),
        ("recipe.updates=1.5", "recipe.updates is '1.5'"),
        ("recipe.updates=-1", "recipe.updates"),
        ("recipe.optimizer=lion", "one of 'adamw', 'adam', 'sgd', 'muon'"),
        ("recipe=x", "group of fields"),
        ("seeds=1,1", "each once"),
        ("seeds=", "at least one"),
        ("train_sizes=100,50", "ascend"),
        ("arms=x", "cannot be overridden"),
        ("seeds.x=1", "field of a plain value"),
        ("data.source=mnist", "fashion_mnist"),
    ],
)
def test_a_wrong_override_names_value_rule_and_remedy(pair: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message.replace("(", r"\(").replace(".", r"\.")):
        override(tiny_study(), [pair])


@pytest.mark.parametrize(
    ("changes", "pair", "message"),
    [
        ({"train_sizes": (50, 100)}, "data.train_size=60", "which varies the training size. Give train_sizes=60."),
        ({}, "recipe.warmup=0.5", "each of its arms sets recipe.warmup itself."),
        ({}, "recipe.augmentation.shift=1", "each of its arms sets recipe.augmentation.shift itself."),
    ],
)
def test_an_override_that_would_change_nothing_is_refused(changes: dict[str, Any], pair: str, message: str) -> None:
    study, own = tiny_study(**changes), {"recipe.warmup": 0.25, "recipe.augmentation": Augmentation()}
    baseline, *arms = (replace(arm, changes=own) for arm in study.all_arms)
    with pytest.raises(InvalidInput, match="would change nothing in study 'tiny'") as error:
        override(replace(study, baseline=baseline, arms=tuple(arms)), [pair])
    assert message in str(error.value)
    some = override(replace(study, arms=tuple(arms), train_sizes=()), [pair])  # the baseline has it
    assert some != study


def test_two_budgets_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two units: updates, epochs"):
        override(tiny_study(), ["recipe.updates=5", "recipe.epochs=1"])


def test_overrides_are_judged_together_whatever_their_order() -> None:
    study = tiny_study(search=Search(space=SPACE, trials=2, repeats=3))
    for pairs in (["seeds=0,1", "search.repeats=2"], ["search.repeats=2", "seeds=0,1"]):
        changed = override(study, pairs)
        assert (changed.seeds, changed.search.repeats) == ((0, 1), 2)
    with pytest.raises(InvalidInput, match=r"repeats is 3, but with 2 seeds .* or set search\.repeats=2"):
        override(study, ["seeds=0,1"])


def test_a_study_of_repeated_searches_can_be_run_without_any() -> None:
    study = tiny_study(search=Search(space=SPACE, trials=3, repeats=3))
    assert override(study, ["trials=0"]).search.repeats == override(study, ["trials=1"]).search.repeats == 1
    assert override(study, ["trials=2"]).search.repeats == 3
    with pytest.raises(InvalidInput, match=r"or search\.repeats=1"):
        override(study, ["search.trials=0"])


def test_the_other_task_of_a_study_may_be_another_one():
    study = resolve_study("pretraining", "smoke", ["few_shot.data.source=classes:0-4:digits", "few_shot.shots=1,2"])
    assert (study.few_shot.data.source, study.few_shot.shots) == ("classes:0-4:digits", (1, 2))
    with pytest.raises(InvalidInput, match="study 'depth' evaluates on no other task"):
        resolve_study("depth", "smoke", ["few_shot.draws=3"])

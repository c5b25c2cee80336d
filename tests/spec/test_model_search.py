"""A search over fields of the arms' models: what is refused when the study is made, and what identities stay."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.execution.plan import make_plan
from harness.spec import (
    Arm,
    Choice,
    DataSpec,
    InvalidInput,
    LogUniform,
    Module,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    Search,
    Uniform,
    ViTSpec,
)
from harness.spec.checks import replace_at, value_at

VIT = ViTSpec(patch_size=4, width=16, depth=1, heads=2)
RATE = {"learning_rate": LogUniform(low=1e-3, high=1e-1)}


def study(*arms: Arm, **search: Any) -> ResolvedStudy:
    return ResolvedStudy(
        name="searched",
        scale="smoke",
        question="Does it?",
        source="a test",
        factor="dropout",
        data=DataSpec(source="digits", train_size=100),
        recipe=Recipe(updates=8, batch_size=16),
        baseline=Arm("ResNet", ResNetSpec(width=4)),
        arms=arms or (Arm("ViT", VIT),),
        search=Search(trials=2, **search),
    )


def of_vits(**ranges: Any) -> dict[str, Any]:
    return {"space": RATE, "by_family": {"vit": {f"model.{name}": found for name, found in ranges.items()}}}


def test_a_trial_has_the_model_that_its_values_say_and_trial_0_the_arms_own() -> None:
    cells = {
        cell.arm.name: cell
        for cell in make_plan(study(**of_vits(dropout=Uniform(low=0, high=0.2), depth=Choice(values=(1, 2))))).cells
    }
    cell = cells["ViT"]
    assert cell.own_values == {"learning_rate": 0.02, "model.depth": 1, "model.dropout": 0.0}
    run = cell.trial(1, {"learning_rate": 0.01, "model.depth": 2, "model.dropout": 0.1})
    assert run.config.model == replace(VIT, depth=2, dropout=0.1)
    assert run.config.recipe.learning_rate == 0.01
    assert cell.confirm(0, run.values).config.model == run.config.model
    assert cells["ResNet"].own_values == {"learning_rate": 0.02}
    plain = {cell.arm.name: cell for cell in make_plan(study(space=RATE)).cells}["ViT"]
    assert plain.trial(0, plain.own_values).digest == cell.trial(0, cell.own_values).digest


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"space": RATE | {"model.dropout": Uniform(low=0, high=0.2)}},
            r"'model.dropout', which arm 'ResNet' does not have: 'dropout' is not a field of ResNetSpec\. "
            r".*Name it in search.by_family",
        ),
        (
            {"space": RATE, "by_family": {"vitt": RATE}},
            "family is 'vitt'; it must be one of 'vit', 'resnet'",
        ),
        (of_vits(dropuot=Uniform(low=0, high=0.2)), "arm 'ViT' does not have: .*Did you mean 'dropout'"),
        (of_vits(dropout=Uniform(low=0, high=1.5)), "ViTSpec.dropout is 1.5; it must lie in"),
        (of_vits(depth=Uniform(low=1, high=3)), "ViTSpec.depth is 1.0"),
        (of_vits(kind=Choice(values=("vit", "swin"))), "tunes 'model.kind'"),
        (of_vits(patch_size=Choice(values=(4, 3))), "Arm 'ViT': patch_size 3 does not divide image_size 8"),
        (
            of_vits(width=Choice(values=(16, 24)), heads=Choice(values=(2, 16))),
            "The search of arm 'ViT' tries an impossible model: ViTSpec is of width 24 with 16 heads",
        ),
    ],
)
def test_what_an_arm_lacks_or_cannot_be_is_refused(search: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        study(**search)


def test_a_search_does_not_undo_what_the_arms_differ_in() -> None:
    arms = (Arm("one", VIT, level=1), Arm("two", replace(VIT, depth=2), level=2))
    with pytest.raises(InvalidInput, match=r"Arms 'one' and 'two' differ in model\.depth, which the search would undo"):
        study(*arms, **of_vits(depth=Choice(values=(1, 2))))
    own = {name: {"model.depth": Choice(values=(1, 2))} for name in ("one", "two")}
    assert study(*arms, space=RATE, by_arm=own).trials_of(arms[0]) == 2


@dataclass(frozen=True, kw_only=True)
class Foreign:
    arguments: Mapping[str, Any]


def test_arguments_of_a_foreign_model_are_fields_too() -> None:
    spec = Foreign(arguments={"width": 8, "drop": 0.0})
    assert value_at(spec, "arguments.width") == 8
    assert replace_at(spec, "arguments.drop", 0.5) == Foreign(arguments={"width": 8, "drop": 0.5})
    with pytest.raises(InvalidInput, match=r"'arguments.widht' is not a field.*Did you mean 'width'"):
        value_at(spec, "arguments.widht")


def build(image_size: int, channels: int, classes: int, width: int) -> None:
    """Stands for a model of a user's own: its arguments are searched, and nothing is built."""


def test_arguments_of_a_model_of_ones_own_are_searched() -> None:
    own = study(
        Arm("own", Module(build=build, arguments={"width": 8})),
        space=RATE,
        by_family={"module": {"model.arguments.width": Choice(values=(8, 16))}},
    )
    (cell,) = (cell for cell in make_plan(own).cells if cell.arm.name == "own")
    model = cell.trial(1, {"learning_rate": 0.01, "model.arguments.width": 16}).config.model
    assert isinstance(model, Module)
    assert model.arguments == Module(build=build, arguments={"width": 16}).arguments
    with pytest.raises(InvalidInput, match=r"'model\.arguments\.depth', which arm 'own' does not have"):
        study(own.arms[0], space=RATE, by_family={"module": {"model.arguments.depth": Choice(values=(8, 16))}})
    with pytest.raises(InvalidInput, match=r"values are no whole numbers; arm 'own' has 8\. Take Choice"):
        study(own.arms[0], space=RATE, by_family={"module": {"model.arguments.width": LogUniform(low=8, high=64)}})

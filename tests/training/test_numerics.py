"""The numbers of small trainings are those that are kept: what changes them is told, and raises NUMERICS."""

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from golden_losses import ALIKE, KEPT, configurations, losses

from harness.spec import Augmentation, DataSpec, Distillation, Recipe, ResNetSpec, RunConfig, SwinSpec, ViTSpec
from harness.spec.checks import value_at
from harness.training.numerics import HISTORY, NUMERICS

GOLDEN: dict[str, list[float]] = json.loads(KEPT.read_text())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunConfig]:
    return dict(configurations(tmp_path_factory.mktemp("golden")))


def tolerance(config: RunConfig) -> float:
    """Sums differ between processors in their last digits: more of them in Muon's bf16 and in deep, wide layers."""
    if config.recipe.optimizer == "muon":
        return 2e-3
    return 2e-4 if isinstance(config.model, ResNetSpec) and config.model.depth == 18 else 1e-5


@pytest.mark.parametrize("name", GOLDEN)
def test_a_training_has_the_losses_that_are_kept(cases: dict[str, RunConfig], name: str) -> None:
    assert losses(cases[name]) == pytest.approx(GOLDEN[name], rel=tolerance(cases[name])), (
        "The same training gives other numbers now. If that is not meant, mend it. If it is: raise NUMERICS in "
        "harness/training/numerics.py with a line of HISTORY, and renew the kept losses with `make numerics`."
    )


def test_every_case_has_losses_of_its_own(cases: dict[str, RunConfig]) -> None:
    """A field that a case changes shows in its losses, so that a change of what the field does would show, too."""
    assert list(cases) == list(GOLDEN)
    names = list(GOLDEN)
    for at, one in enumerate(names):
        for other in names[:at]:
            same_length = len(GOLDEN[one]) == len(GOLDEN[other])
            assert not (same_length and np.allclose(GOLDEN[one], GOLDEN[other], rtol=2e-5, atol=0)), (one, other)


@pytest.mark.parametrize(
    ("part", "spec"),
    [
        ("model", ViTSpec),
        ("model", ResNetSpec),
        ("model", SwinSpec),
        ("recipe", Recipe),
        ("recipe.augmentation", Augmentation),
        ("recipe.distillation", Distillation),
        ("data", DataSpec),
    ],
)
def test_the_cases_cover_every_field(cases: dict[str, RunConfig], part: str, spec: type) -> None:
    specs = [found for config in cases.values() if isinstance(found := value_at(config, part), spec)]
    for field in fields(spec):
        values: set[Any] = {getattr(found, field.name) for found in specs}
        assert len(values) > 1 or field.name in ALIKE, f"{spec.__name__}.{field.name} is {values} in every case"


def test_every_number_has_its_line_of_history() -> None:
    assert list(HISTORY) == list(range(1, NUMERICS + 1))

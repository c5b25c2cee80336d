"""Every shipped study, at every scale: it resolves, its arms build, and where data is at hand it takes one update."""

import ast
import importlib
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from harness.execution.plan import Cell, Plan, make_plan
from harness.models import build, macs_per_image
from harness.records.runs import RunFolder
from harness.records.status import _place as place_of_run
from harness.spec import SCALES, ResolvedStudy, find_study, study_names
from harness.training import WorkerSettings
from harness.training.perform import perform

EVERY = [(name, scale) for name in study_names() for scale in find_study(name)[1].scales]
AXES = {
    "architectures", "compute", "d2l", "data_scale", "dataset_size", "depth", "from_scratch",
    "hybrid", "image_size", "implementations", "locality", "model_shape", "modern", "norm", "optimizer",
    "patch_size", "pooling", "position_embedding", "pretraining", "receptive_field", "recipe", "soft_bias",
    "transfer", "translation",
}  # fmt: skip


@cache
def resolved(name: str, scale: str) -> ResolvedStudy:
    return find_study(name)[1].resolve(name, scale)


@cache
def plan_of(name: str, scale: str) -> Plan:
    return make_plan(resolved(name, scale))


def test_every_axis_has_its_study() -> None:
    assert set(study_names()) >= AXES


@pytest.mark.parametrize("name", study_names())
def test_a_study_says_what_it_asks_and_costs(name: str) -> None:
    study = find_study(name)[1]
    assert tuple(study.scales) == SCALES
    assert all(study.scales[scale].minutes for scale in ("smoke", "laptop", "gpu"))
    assert study.scales["smoke"].minutes <= 1
    assert study.scales["laptop"].minutes <= (120 if name == "data_scale" else 45)
    for scale in SCALES:
        assert resolved(name, scale).claims, "a study without claims puts nothing to the test"


@pytest.mark.parametrize("name", study_names())
def test_the_docstring_states_source_expectation_and_the_cost_of_the_file(name: str) -> None:
    study, path = find_study(name)[1], importlib.import_module(f"studies.{name}").__file__
    assert path is not None
    told = ast.get_docstring(ast.parse(Path(path).read_text(encoding="utf-8"))) or ""
    assert "Source: " in told
    assert "Expected: " in told
    cost = re.search(r"Cost: smoke (\d+) s, laptop (\d+) min on 2 cores; `make study NAME=(\w+)", told)
    assert cost, "the line `Cost: ...` is missing or has another form"
    seconds, minutes = (float(study.scales[scale].minutes or 0) for scale in ("smoke", "laptop"))
    assert int(cost[1]) == pytest.approx(60 * seconds, abs=6)
    assert (int(cost[2]), cost[3]) == (minutes, name)


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_arm_is_planned_and_builds(name: str, scale: str) -> None:
    plan = plan_of(name, scale)
    assert plan.study.baseline.model.kind == "resnet"
    assert len({(cell.key[1], cell.seeds) for cell in plan.cells}) == len({cell.key[1] for cell in plan.cells})
    assert len(plan.study.seeds) >= 3
    assert len({cell.trials for cell in plan.cells}) == 1
    for cell in {cell.arm.name: cell for cell in plan.cells}.values():
        assert parameters_of(cell) > 1000


MADE: dict[str, int] = {}
"""Parameters of the models that were built; many arms have the same one."""


def parameters_of(cell: Cell) -> int:
    """The number of parameters of a cell's model, which is built for it."""
    assert cell.data.image_size is not None
    size, facts = cell.data.image_size, cell.facts
    key = repr((cell.arm.model, size, facts.channels, facts.classes))
    if key not in MADE:
        with torch.device("meta"):
            model = build(cell.arm.model, image_size=size, channels=facts.channels, classes=facts.classes)
        MADE[key] = sum(parameter.numel() for parameter in model.parameters())
    return MADE[key]


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_every_arm_takes_an_update(name: str, tmp_path: Path) -> None:
    plan = plan_of(name, "smoke")
    cells: dict[str, Cell] = {cell.arm.name: cell for cell in plan.cells}
    for cell in cells.values():
        short = replace(cell, recipe=replace(cell.recipe, updates=1))
        run = short.confirm(0, short.own_values)
        result = perform(run, RunFolder(tmp_path / run.digest), WorkerSettings())
        assert (result.status, result.updates) == ("completed", 1)
        assert len(result.shifts) == len(plan.study.test_shifts)


@pytest.mark.parametrize("name", study_names())
def test_status_finds_every_run_in_the_plan(name: str, tmp_path: Path) -> None:
    """Also of arms that start from a pre-training, or whose images are made."""
    plan = plan_of(name, "smoke")
    for cell in plan.cells:
        run = cell.confirm(plan.study.seeds[0], cell.own_values)
        folder = RunFolder(tmp_path / run.digest)
        folder.write_config(run)
        assert place_of_run(plan.study, folder.config()) == (*cell.key, plan.study.seeds[0], None)


@pytest.mark.parametrize("scale", SCALES)
def test_the_models_of_compute_cost_what_their_level_says(scale: str) -> None:
    for cell in plan_of("compute", scale).cells:
        assert cell.data.image_size is not None
        macs = macs_per_image(
            cell.arm.model,
            image_size=cell.data.image_size,
            channels=cell.facts.channels,
            classes=cell.facts.classes,
        )
        assert macs / 1e6 == pytest.approx(cell.arm.level, rel=0.2), cell.arm.name


def test_locality_changes_nothing_but_where_patches_lie() -> None:
    study = resolved("locality", "laptop")
    for arm in study.arms:
        other = study.against(arm)
        assert study.recipe_of(arm) == study.recipe_of(other)
        if arm.series == "ViT":
            assert study.data_of(arm) == study.data_of(other)
            assert arm.level == other.level
    moved = {arm.name: study.data_of(arm).moved_share for arm in study.all_arms}
    assert (moved["ResNet"], moved["ViT, 50 % moved"], moved["ResNet, pixels moved"]) == (0, 0.5, 1)


@pytest.mark.parametrize("name", study_names())
def test_trials_at_scale_laptop_are_at_least_half_as_long_as_the_training(name: str) -> None:
    """Settings that shorter trials choose need not suit the training: rates come out too high for it.

    A training that is longer only to see each of its images once may be longer than that: its images are fresh ones.
    """
    study = resolved(name, "laptop")
    for cell in plan_of(name, "laptop").cells:
        assert cell.recipe.updates is not None
        shared = study.recipe_of(cell.arm).updates or 0
        passes = cell.recipe.updates * cell.recipe.batch_size / cell.key[1]
        is_one_pass = passes < 1.1 and 2 * cell.trial_updates >= shared
        assert is_one_pass or 2 * cell.trial_updates + 1 >= cell.recipe.updates, cell.key


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
@pytest.mark.parametrize("name", study_names())
def test_every_search_has_settings_of_its_own_and_as_many_seeds_as_the_others(name: str, scale: str) -> None:
    study = resolved(name, scale)
    assert study.search.sampler == "qmc"
    assert study.search.repeats >= 3
    assert 1 + study.search.repeats * (study.search.trials - 1) >= 5  # settings that an arm tries
    assert len(study.seeds) % study.search.repeats == 0

"""Every shipped study, at every scale: it resolves, its arms build, and where data is at hand it takes one update."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.execution.plan import Cell, make_plan
from harness.models import build
from harness.records.runs import RunFolder
from harness.spec import SCALES, family, find_study, study_names
from harness.training.perform import perform
from harness.training.settings import WorkerSettings

EVERY = [(name, scale) for name in study_names() for scale in find_study(name)[1].scales]


@pytest.mark.parametrize("name", study_names())
def test_a_study_says_what_it_asks_and_costs(name: str) -> None:
    study = find_study(name)[1]
    assert tuple(study.scales) == SCALES
    assert all(study.scales[scale].minutes for scale in ("smoke", "laptop", "gpu"))
    assert study.scales["smoke"].minutes <= 1
    assert study.scales["laptop"].minutes <= 45
    for scale in SCALES:
        assert study.resolve(name, scale).claims, "a study without claims puts nothing to the test"


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_arm_is_planned_and_builds(name: str, scale: str) -> None:
    plan = make_plan(find_study(name)[1].resolve(name, scale))
    assert family(plan.study.baseline.model) == "resnet"
    assert len({cell.seeds for cell in plan.cells}) == 1
    assert len(plan.study.seeds) >= 3
    assert len({cell.trials for cell in plan.cells}) == 1
    for cell in {cell.arm.name: cell for cell in plan.cells}.values():
        assert cell.data.image_size is not None
        with torch.device("meta"):
            model = build(
                cell.arm.model,
                image_size=cell.data.image_size,
                channels=cell.facts.channels,
                classes=cell.facts.classes,
            )
        assert sum(parameter.numel() for parameter in model.parameters()) > 1000


@pytest.mark.parametrize("name", study_names())
def test_every_arm_takes_an_update(name: str, tmp_path: Path) -> None:
    plan = make_plan(find_study(name)[1].resolve(name, "smoke"))
    cells: dict[str, Cell] = {cell.arm.name: cell for cell in plan.cells}
    for cell in cells.values():
        short = replace(cell, recipe=replace(cell.recipe, updates=1))
        run = short.confirm(0, short.own_values)
        result = perform(run, RunFolder(tmp_path / run.digest), WorkerSettings())
        assert (result.status, result.updates) == ("completed", 1)

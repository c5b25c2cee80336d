"""Studies of made images: how they are planned, trained on by both engines, and gone on with after a stop."""

from dataclasses import replace

import pandas as pd
import pytest
from finished_study import tables_only
from tiny_studies import Witness, tiny_study

from harness.data import made
from harness.execution.options import Options
from harness.execution.plan import make_plan
from harness.execution.runner import run_study
from harness.records.run_table import load_records
from harness.records.runs import RunFolder
from harness.spec import DataSpec, Recipe, Search
from harness.spec.procedural import Cued, Scattered
from harness.training import WorkerSettings
from harness.training.perform import perform
from harness.training.state import Interrupted

DATA = DataSpec(source="scattered", validation_size=40, scattered=Scattered(test_images=50))
RECIPE = Recipe(updates=8, batch_size=16, learning_rate=3e-3, evaluations=2, precision="fp32")
STUDY = tiny_study(data=DATA, recipe=RECIPE, search=Search(), seeds=(0, 1))


def test_an_unlimited_set_has_the_images_that_a_training_sees():
    plan = make_plan(STUDY)
    assert {cell.key for cell in plan.cells} == {("ResNet", 128), ("ViT/4", 128)}
    asked = replace(STUDY, data=replace(DATA, train_size="unlimited"), recipe=replace(RECIPE, updates=None, images=320))
    (cell, *_) = make_plan(asked).cells
    assert (cell.key, cell.recipe.updates) == (("ResNet", 320), 20)
    assert cell.confirm(0, {}).config.data.train_size == 320


def test_sets_that_are_made_in_other_ways_are_other_sets():
    changes = {"data.scattered.clutter": 0}
    other = replace(STUDY, arms=(replace(STUDY.arms[0], changes=changes),))
    one, two = make_plan(other).cells
    assert one.data_hash != two.data_hash
    assert one.confirm(0, {}).digest != two.confirm(0, {}).digest
    assert len(make_plan(other).data) == 2
    assert len(make_plan(other).surveyed) == 1


@pytest.mark.parametrize("held", [made.HELD_BYTES, 0])
def test_a_stopped_training_ends_as_an_undisturbed_one(tmp_path, monkeypatch, held):
    monkeypatch.setattr(made, "HELD_BYTES", held)
    cell = make_plan(STUDY).cells[1]
    run = cell.confirm(0, {})
    whole = perform(run, RunFolder(tmp_path / "whole"), WorkerSettings())
    seen: list[int] = []
    with pytest.raises(Interrupted):
        perform(run, RunFolder(tmp_path / "cut"), WorkerSettings(), heartbeat=seen.append, stop=lambda: max(seen) >= 5)
    gone_on = perform(run, RunFolder(tmp_path / "cut"), WorkerSettings())
    for name in ("test_loss", "train_loss", "validation_loss", "test_accuracy"):
        assert getattr(gone_on, name) == getattr(whole, name)


@pytest.mark.slow
def test_both_engines_train_on_the_same_images(tmp_path):
    cued = DataSpec(source="cued", train_size=64, validation_size=40, cued=Cued(test_images=50))
    one = replace(STUDY, seeds=(0,))
    for name, study in (("scattered", one), ("cued", replace(one, data=cued)), ("own", resplit())):
        tables = []
        for engine in ("inline", "processes"):
            options = Options(results=tmp_path / name / engine, engine=engine, workers=1, command="a test")
            with tables_only():
                run_study(study, options, Witness())
            records = load_records(tmp_path / name / engine / "tiny" / "smoke")
            assert records.runs["status"].eq("completed").all()
            tables.append(records.runs.sort_values(["arm", "seed"])[["arm", "seed", "digest", "test_loss"]])
        pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables), rtol=0.02)


def resplit():
    """Of two seeds, each with images of its own."""
    return replace(STUDY, data=replace(DATA, resplit=True))

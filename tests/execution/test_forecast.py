"""The forecast times a few images of each model, however large the model, its batch and its number of classes are."""

from dataclasses import replace

import pytest
import torch
from tiny_studies import tiny_study

from harness.execution import rehearsal as module
from harness.execution.plan import make_plan
from harness.execution.rehearsal import TIMED_UPDATES, Forecast, forecast, probe_size
from harness.training.device import Placement

CPU = Placement(device=torch.device("cpu"), autocast_dtype=None)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def probes(monkeypatch):
    """Every training that a forecast has made, and the sizes of the splits it was evaluated on."""
    made, evaluated = [], []
    prepare, evaluate = module.prepare_training, module.evaluate

    def preparing(config, dataset, placement, **more):
        made.append(prepare(config, dataset, placement, **more))
        return made[-1]

    def evaluating(training, split):
        evaluated.append(len(split))
        return evaluate(training, split)

    monkeypatch.setattr(module, "prepare_training", preparing)
    monkeypatch.setattr(module, "evaluate", evaluating)
    return made, evaluated


@pytest.mark.parametrize(
    ("macs", "batch_size", "device", "expected"),
    [
        (1_000_000, 128, "cpu", (128, TIMED_UPDATES)),
        (4_089_184_256, 4096, "cpu", (2, TIMED_UPDATES)),  # ResNet-50
        (17_563_828_224, 4096, "cpu", (1, TIMED_UPDATES // 2)),  # ViT-B/16
        (17_563_828_224, 4096, "cuda", (28, TIMED_UPDATES)),
        (17_563_828_224, 4096, "xpu", (1, TIMED_UPDATES // 2)),
    ],
)
def test_a_probe_is_small_where_images_are_costly(macs, batch_size, device, expected):
    assert probe_size(macs, batch_size, device) == expected


def test_a_probe_sees_a_batch_and_no_more_even_with_more_classes(probes):
    made, evaluated = probes
    study = tiny_study()
    study = replace(study, recipe=replace(study.recipe, batch_size=3))  # digits have ten classes
    forecast(make_plan(study), CPU, threads=1)
    assert [len(training.batches.split) for training in made] == [3, 3]
    assert set(evaluated) == {3}
    assert [training.update for training in made] == [1 + TIMED_UPDATES] * 2


def test_a_cut_probe_keeps_no_state_of_an_optimiser(probes, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_PROBE_MACS", {"cpu": 1.0})
    study = tiny_study()
    study = replace(study, recipe=replace(study.recipe, optimizer="adamw", ema_decay=0.9, accumulate=2))
    found = forecast(make_plan(study), CPU, threads=1)
    assert all(item.seconds_per_image > 0 and item.evaluation_seconds_per_image > 0 for item in found)
    for training in probes[0]:
        assert len(training.batches.split) == 1
        assert not any(optimizer.state for optimizer in training.optimizers)
        assert training.average is None


def test_a_whole_batch_is_timed_with_its_own_optimiser(probes):
    study = tiny_study()
    study = replace(study, recipe=replace(study.recipe, optimizer="adamw", ema_decay=0.9))
    forecast(make_plan(study), CPU, threads=1)
    for training in probes[0]:
        assert [type(optimizer) for optimizer in training.optimizers] == [torch.optim.AdamW]
        assert training.optimizers[0].state
        assert training.average is not None


def test_a_model_is_timed_once_for_all_training_sizes(probes):
    found = forecast(make_plan(replace(tiny_study(), train_sizes=(50, 100))), CPU, threads=1)
    assert len(found) == 4
    assert len(probes[0]) == 2
    assert found[0].seconds_per_image == found[2].seconds_per_image


def test_the_time_of_a_cell_counts_training_evaluation_and_starts():
    cell = make_plan(tiny_study()).cells[0]
    item = Forecast(cell=cell, macs_per_image=1, seconds_per_image=1e-2, evaluation_seconds_per_image=1e-3)
    runs = cell.trials + 3
    trained = (cell.trials * cell.trial_updates + 3 * 8) * 16 * 1e-2
    evaluated = (runs * 2 * 180 + 3 * 360) * 1e-3
    assert item.seconds == pytest.approx(trained + evaluated + runs * module.START_SECONDS)

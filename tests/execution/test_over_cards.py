"""A run over several cards, on a CPU over several processes, gives what one process gives."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_studies import tiny_study

from harness.execution.engines import Outcome
from harness.execution.engines.processes import ProcessEngine
from harness.execution.engines.slots import Room
from harness.execution.launch import check_shared, make_room
from harness.execution.options import Options
from harness.execution.plan import make_plan
from harness.records.runs import RunFolder
from harness.spec import Augmentation, InvalidInput, ResNetSpec, Run, ViTSpec
from harness.training import WorkerSettings

SETTINGS = WorkerSettings(device="cpu", checkpoint_seconds=1e9)
OPTIONS = Options(results=Path("results"), device="cpu", cards_per_run=2)
CARDS = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
EVERYTHING = {
    "updates": 50,
    "evaluations": 50,
    "batch_size": 32,
    "accumulate": 2,
    "clip_norm": 0.5,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "augmentation": Augmentation(shift=1, flip=True, erase=0.2, mixup=0.2, cutmix=1.0),
    "precision": "fp32",
}
VIT = ViTSpec(patch_size=4, width=16, depth=2, heads=2, mlp_ratio=2.0, zero_head=False)
# At a rate of .005 some of the ResNet's 100,000 rectified values change their sign for a difference in the last bit,
# and losses part by 1e-3: sums in another order, not another training. At this rate they stay within 5e-7.
MODELS = {
    "vit": (VIT, {"optimizer": "adamw", "learning_rate": 3e-3}),
    "resnet": (ResNetSpec(depth=8, width=8), {"optimizer": "sgd", "learning_rate": 5e-4}),
    "flexible": (replace(VIT, flexible_patches=(2, 4, 8)), {"optimizer": "adamw", "learning_rate": 3e-3}),
}


def a_run(model, **recipe):
    config = make_plan(tiny_study()).cells[0].confirm(0, {}).config
    return Run(arm="x", config=replace(config, model=model, recipe=replace(config.recipe, **recipe)))


def carried_out(run, root, *, ranks=2, settings=SETTINGS, act=lambda engine, calls: None):
    """How an attempt ends; `act` is called once it has kept a checkpoint."""
    folder = RunFolder(root / run.digest)
    before = set(folder.path.glob("checkpoint-*.pt"))
    engine = ProcessEngine(settings, Room(devices=("cpu",)), ranks=ranks, patience_seconds=300)
    engine.start(run, folder)
    try:
        while True:
            for event in engine.wait(0.02):
                if isinstance(event, Outcome):
                    return event, folder
            if set(folder.path.glob("checkpoint-*.pt")) - before:
                act(engine, engine._workers[run.digest].calls)
    finally:
        engine.close()


def losses(folder):
    told = ("train_loss", "validation_loss")
    return [event[name] for event in folder.journal() if event["event"] == "evaluated" for name in told]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_two_processes_give_the_losses_of_one(tmp_path, name):
    model, own = MODELS[name]
    run = a_run(model, **EVERYTHING | own)
    one, two = (carried_out(run, tmp_path / str(ranks), ranks=ranks) for ranks in (1, 2))
    assert [len(losses(folder)) for _, folder in (one, two)] == [100, 100]
    assert losses(two[1]) == pytest.approx(losses(one[1]), rel=0, abs=1e-5)
    assert two[0].result.test_loss == pytest.approx(one[0].result.test_loss, rel=0, abs=1e-5)
    assert two[0].result.patches == one[0].result.patches  # accuracies at every size of patches
    assert [outcome.result.environment["cards_per_run"] for outcome, _ in (one, two)] == [1, 2]


def kill(rank):
    return lambda engine, calls: calls[rank].process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "optimizer"),
    [(replace(VIT, dropout=0.1, stochastic_depth=0.2), "adamw"), (ResNetSpec(depth=8, width=8), "sgd")],
    ids=["vit", "resnet"],
)
def test_a_run_that_loses_a_process_or_all_of_them_ends_as_an_undisturbed_one(tmp_path, model, optimizer):
    """Each process draws its dropout from a generator of its own, and has a batch's statistics: both are kept, too."""
    run = a_run(model, **EVERYTHING | {"optimizer": optimizer, "updates": 30, "evaluations": 3})
    often = replace(SETTINGS, checkpoint_seconds=0)
    _, whole = carried_out(run, tmp_path / "whole")
    for rank in (1, 0):
        outcome, _ = carried_out(run, tmp_path / "disturbed", settings=often, act=kill(rank))
        assert outcome.result is None
        assert outcome.error
        assert not outcome.interrupted
    outcome, _ = carried_out(run, tmp_path / "disturbed", settings=often, act=lambda engine, calls: engine.stop())
    assert outcome.interrupted
    outcome, folder = carried_out(run, tmp_path / "disturbed")
    assert folder.log_path.read_text().count("Resumed after update") == 3
    assert losses(folder) == losses(whole)
    assert outcome.result.test_loss == whole.result().test_loss


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"engine": "inline"}, "the engine processes"),
        ({"profile": True}, "without --profile"),
        ({"cards_per_run": 3}, r"over 3 cards it must be a multiple of 3"),
    ],
)
def test_what_cannot_be_shared_is_refused(changed, told):
    with pytest.raises(InvalidInput, match=told):
        check_shared(make_plan(tiny_study()), replace(OPTIONS, **changed))
    check_shared(make_plan(tiny_study()), OPTIONS)


@pytest.mark.parametrize(
    ("devices", "asked", "number"),
    [(CARDS, "auto", 5), (("cpu",), "auto", 2), (("mps",), "mps", 2), (("cuda:1",), "cuda:1", 2)],
)
def test_more_cards_than_there_are_are_refused(devices, asked, number):
    there = sum(device.startswith("cuda") for device in devices)
    with pytest.raises(InvalidInput, match=f"--cards-per-run is {number}, and of cards there are {there}"):
        make_room(devices, replace(OPTIONS, device=asked, cards_per_run=number), 10)


def test_room_for_runs_over_several_cards():
    options = replace(OPTIONS, device="auto")
    assert make_room(CARDS, options, 10).capacity() == 2
    assert make_room(CARDS, replace(options, cards_per_run=3), 10).capacity() == 1
    assert make_room(CARDS, replace(options, per_device=2), 10).capacity() == 4
    assert make_room(CARDS, replace(options, workers=4), 10).capacity() == 4
    assert make_room(("cpu",), OPTIONS, 10).capacity() == 1

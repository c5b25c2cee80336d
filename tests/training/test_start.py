"""Starting from trained weights: made once and kept, what is frozen stays, and a run that is cut off goes on."""

import copy
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from training_cases import CPU, RESNET, SETTINGS, VIT, DieAt, Killed, carry_out, make_config, same

from harness.data import content_hash, resolve
from harness.data.splits import prepare
from harness.models import build
from harness.models.transfer import HEADS
from harness.records.files import open_to_append, try_lock
from harness.records.kept_models import ModelFolder, with_hash
from harness.records.runs import RunFolder
from harness.spec import DataSpec, InvalidInput, Pretraining, Recipe, StartFrom, WeightsFile
from harness.spec.run import pretraining_config
from harness.training import loop, state
from harness.training.start import of_file, stand_in

BEFORE, FACTS = resolve(DataSpec(source="digits", image_size=12, train_size=80, validation_size=60))
RECIPE = Recipe(updates=6, batch_size=16, optimizer="adamw", learning_rate=3e-3, evaluations=2, precision="fp32")


def started(model=VIT, trained="all", recipe=RECIPE, **changes):
    """A fine-tuning on digits of 8 pixels, of a model that was trained on digits of 12."""
    made = Pretraining(
        data=BEFORE, recipe=recipe.resolved(80), model=model, data_hash=content_hash(BEFORE), channels=1, classes=10
    )
    start = StartFrom(pretraining=made, trained=trained)
    usual = {"optimizer": "sgd", "learning_rate": 1e-2, "weight_decay": 0.0, "clip_norm": 1.0}
    return make_config(model, start_from=start, **(usual | changes))


def body(tensors):
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}


def before_of(config, root):
    return RunFolder(root / pretraining_config(config).digest)


def weights_of(folder):
    return safetensors.torch.load_file(ModelFolder.of_run(folder).weights_path)


@pytest.mark.parametrize("model", [VIT, RESNET], ids=["vit", "resnet"])
def test_the_first_update_is_of_the_loaded_body_under_a_head_of_zeros(digits, model):
    config = started(model)
    start = stand_in(config)
    training = loop.prepare_training(config, digits, CPU, start=start)
    first = copy.deepcopy(training.model)
    loaded = {name: tensor for name, tensor in body(first.state_dict()).items() if not name.startswith("position")}
    assert all(torch.equal(tensor, start.tensors[name]) for name, tensor in loaded.items())
    images, _ = next(digits.validation.chunks(9))
    logits = first.eval()(prepare(images, training.inputs.mean, training.inputs.std))
    assert torch.equal(logits, torch.zeros(9, 10))
    updates = loop.run_updates(training)
    next(updates)
    assert training.last_loss.item() == pytest.approx(torch.tensor(10.0).log().item(), rel=1e-6)
    next(updates)  # the body learns once the head is not zero
    assert not same(body(training.model.state_dict()), body(first.state_dict()))


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
@pytest.mark.parametrize("model", [replace(VIT, dropout=0.3, stem="hybrid"), RESNET], ids=["vit", "resnet"])
def test_a_linear_head_learns_and_the_body_stays_to_the_bit(digits, model, optimizer):
    config = started(model, "head", optimizer=optimizer, ema_decay=0.5, weight_decay=0.1)
    training = loop.prepare_training(config, digits, CPU, start=stand_in(config))
    before = copy.deepcopy(training.model.state_dict())
    done = loop.train(config, digits, CPU, emit=lambda event, **told: None, start=stand_in(config))
    for model_ in (done.model, done.average):
        found = model_.state_dict()
        torch.testing.assert_close(body(found), body(before), rtol=1e-6, atol=1e-7)
        assert not same(found, before)
    assert same(body(done.model.state_dict()), body(before))  # BatchNorm's running statistics too
    assert [part.training for part in done.frozen] == [False] * len(done.frozen)


def test_weights_are_given_where_the_recipe_asks_for_them_and_only_there(digits):
    for config, start in ((started(), None), (make_config(), stand_in(started()))):
        with pytest.raises(AssertionError, match="weights to start from are given where the recipe asks for them"):
            loop.prepare_training(config, digits, CPU, start=start)


def test_the_pretraining_is_made_once_and_shared(tmp_path, monkeypatch):
    configs = [started(), replace(started(), seed=1), started(trained="head"), started(learning_rate=2e-2)]
    done = [carry_out(config, tmp_path, monkeypatch) for config in configs]
    (folder,) = {before_of(config, tmp_path).path for config in configs}
    kept = RunFolder(folder)
    assert [each.result.status for each in done] == ["completed"] * 4
    result = kept.result()
    assert [each.journal[0] for each in done] == [
        {"event": "started_from", "digest": folder.name, "test_accuracy": result.test_accuracy}
    ] * 4
    assert (result.status, result.updates) == ("completed", 6)
    assert kept.log_path.read_text().count("pre-training") == 1  # of the line at its start
    assert len({config.digest for config in configs}) == 4
    frozen = done[2].training.model.state_dict()
    of_upstream = {name: it for name, it in body(weights_of(kept)).items() if not name.startswith("position")}
    assert all(torch.equal(frozen[name], tensor) for name, tensor in of_upstream.items())


def test_seeds_take_turns_with_the_pretrainings():
    config = started()
    start = config.recipe.start_from
    several = replace(start, pretraining=replace(start.pretraining, seeds=2))
    config = replace(config, recipe=replace(config.recipe, start_from=several))
    assert [pretraining_config(replace(config, seed=seed)).seed for seed in (0, 1, 2, 1_000_001)] == [0, 1, 0, 1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("undisturbed")
        return carry_out(started(), root, patch).everything, weights_of(before_of(started(), root))


@pytest.mark.parametrize("beat", [1, 4, 7, 9, 12, 18])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path, monkeypatch, undisturbed, beat):
    """The pre-training has 6 updates, 2 evaluations on validation and a test; then the run begins."""
    with pytest.raises(Killed):
        carry_out(started(), tmp_path, monkeypatch, replace(SETTINGS, checkpoint_seconds=0), heartbeat=DieAt(beat))
    done = carry_out(started(), tmp_path, monkeypatch)
    upstream = before_of(started(), tmp_path)
    assert (done.everything, weights_of(upstream).keys()) == (undisturbed[0], undisturbed[1].keys())
    assert same(weights_of(upstream), undisturbed[1])
    if 1 < beat < 7:  # it goes on with the pre-training rather than beginning again
        assert "Resumed after update" in upstream.log_path.read_text()


def test_a_stop_is_heard_in_the_pretraining(tmp_path, monkeypatch, undisturbed):
    beats = []
    with pytest.raises(state.Interrupted):
        carry_out(started(), tmp_path, monkeypatch, heartbeat=beats.append, stop=lambda: len(beats) >= 2)
    assert beats == [0, 0]
    assert carry_out(started(), tmp_path, monkeypatch).everything == undisturbed[0]


def test_who_waits_for_anothers_pretraining_hears_a_stop_and_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.training.start.WAIT_SECONDS", 0)
    beats, upstream = [], before_of(started(), tmp_path).path
    with open_to_append(upstream.with_suffix(".lock")) as held:
        assert try_lock(held, upstream)
        with pytest.raises(state.Interrupted):
            carry_out(started(), tmp_path, monkeypatch, heartbeat=beats.append, stop=lambda: len(beats) >= 3)
    assert beats == [0, 0, 0]
    assert not upstream.exists()
    assert carry_out(started(), tmp_path, monkeypatch).result.status == "completed"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damaged", ["model/model.safetensors", "result.json", "journal.jsonl", "model/model.json"])
def test_a_damaged_pretraining_is_set_aside_and_made_again(tmp_path, monkeypatch, undisturbed, damaged):
    carry_out(replace(started(), seed=1), tmp_path, monkeypatch)
    upstream = before_of(started(), tmp_path)
    flip(upstream.path / damaged)
    assert carry_out(started(), tmp_path, monkeypatch).everything == undisturbed[0]
    assert same(weights_of(upstream), undisturbed[1])
    assert (tmp_path / "set_aside" / f"{upstream.path.name}.0").exists()


def test_a_pretraining_that_diverges_is_named(tmp_path, monkeypatch):
    config = started(recipe=replace(RECIPE, optimizer="sgd", warmup=0.0, learning_rate=1e30))
    for seed in (0, 1):  # kept as it is: it would diverge again
        result = carry_out(replace(config, seed=seed), tmp_path, monkeypatch).result
        assert (result.status, result.updates) == ("diverged", 0)
        assert result.reason.startswith("the pre-training diverged: the ")


def test_weights_of_a_file_are_those_that_were_planned(tmp_path, digits):
    path = tmp_path / "w.safetensors"
    torch.manual_seed(5)
    model = build(VIT, image_size=8, channels=1, classes=3)
    safetensors.torch.save_file(model.state_dict(), path)
    file = with_hash(WeightsFile(path=str(path)))
    config = make_config(VIT, start_from=StartFrom(file=file))
    training = loop.prepare_training(config, digits, CPU, start=of_file(file))
    assert same(body(training.model.state_dict()), body(model.state_dict()))
    with pytest.raises(InvalidInput, match=r"has the SHA-256 .*; it must be 00.*\. Get the file itself\."):
        with_hash(replace(file, sha256="00" * 32))
    flip(path)
    with pytest.raises(InvalidInput, match=r"w\.safetensors has changed since the study was planned"):
        of_file(file)
    path.write_text("no weights")
    with pytest.raises(InvalidInput, match=r"is no safetensors file \(.*\)\. Save the weights as one\."):
        of_file(with_hash(replace(file, sha256=None)))
    path.unlink()
    with pytest.raises(
        InvalidInput, match=r"start_from\.file\.path is '.*w\.safetensors', which is no file\. It must be"
    ):
        with_hash(file)

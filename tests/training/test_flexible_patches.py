"""Models for patches of several sizes: what training draws, that a resumed one goes on with it, the tests at each."""

from dataclasses import replace

import pytest
import torch
from training_cases import VIT, StopAt, carry_out, folder_of, make_config, train

from harness.data import derive
from harness.models import macs_per_image
from harness.training import loop
from harness.training.state import Interrupted

FLEXIBLE = replace(VIT, flexible_patches=(2, 4, 8), patch_size=4, dropout=0.1)
TOKENS = {2: 1 + 16, 4: 1 + 4, 8: 1 + 1}  # of digits' 8 pixels, and a class token


def sizes_seen(digits, monkeypatch, **recipe):
    """The sizes of patches of every forward pass in training, and those that the run's own generator draws."""
    config, seen = make_config(FLEXIBLE, seed=3, evaluations=1, **recipe), []
    prepare = loop.prepare_training

    def watched(*given, **named):
        training = prepare(*given, **named)
        block = training.model.blocks[0]
        block.register_forward_hook(lambda block, inputs, _: seen.append((block.training, inputs[0].shape[1])))
        return training

    monkeypatch.setattr(loop, "prepare_training", watched)
    train(config, digits)
    generator = torch.Generator().manual_seed(derive(3, "dropout"))
    drawn = [(2, 4, 8)[int(torch.randint(3, (), generator=generator))] for _ in range(12)]
    return [tokens for is_training, tokens in seen if is_training], [TOKENS[size] for size in drawn]


@pytest.mark.parametrize(
    ("recipe", "passes"), [({}, 1), ({"accumulate": 2}, 2), ({"sam_radius": 0.1}, 2)], ids=["plain", "parts", "SAM"]
)
def test_an_update_draws_one_size_for_all_its_passes(digits, monkeypatch, recipe, passes):
    seen, drawn = sizes_seen(digits, monkeypatch, **recipe)
    assert set(drawn) == set(TOKENS.values())
    assert seen == [tokens for tokens in drawn for _ in range(passes)]


def test_a_run_is_tested_at_every_size_and_a_resumed_one_is_the_same(tmp_path, monkeypatch, digits):
    config = make_config(FLEXIBLE, updates=40, learning_rate=1e-2, optimizer="muon", ema_decay=0.5)
    whole = carry_out(config, tmp_path / "whole", monkeypatch)
    stop = StopAt(5)
    with pytest.raises(Interrupted):
        carry_out(config, tmp_path / "stopped", monkeypatch, heartbeat=stop.heartbeat, stop=stop)
    assert len(list(folder_of(config, tmp_path / "stopped").path.glob("checkpoint-*.pt"))) == 1
    resumed = carry_out(config, tmp_path / "stopped", monkeypatch)
    assert resumed.everything == whole.everything
    tests = {test.patch_size: test for test in whole.result.patches}
    assert list(tests) == [2, 4, 8]
    assert tests[4].accuracy == whole.result.test_accuracy
    correct = resumed.folder.correct_at_patches()
    for size, test in tests.items():
        alone = make_config(replace(FLEXIBLE, patch_size=size))
        training = loop.prepare_training(alone, digits, whole.training.placement)
        training.model.load_state_dict(whole.training.average.state_dict())
        found = loop.evaluate(training, digits.test)
        assert found.accuracy == test.accuracy == correct[size].mean()
        assert test.macs_per_image == macs_per_image(alone.model, **alone.shape)
    assert len({test.accuracy for test in tests.values()}) > 1


def test_models_for_one_size_have_no_such_test(tmp_path, monkeypatch):
    done = carry_out(make_config(), tmp_path, monkeypatch)
    assert done.result.patches == ()
    assert done.folder.correct_at_patches() == {}

"""What is kept of a training's stability at each evaluation, by what it is computed from; and which block fails."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import RESNET, VIT, make_config, prepared, train

from harness.models import build, family_of
from harness.spec import ViTSpec
from harness.training import loop
from harness.training.stability import LEAST, Watch
from harness.training.state import Diverged

NAMES = ("gradient_norm", "largest_gradient_norm", "update_norm", "attention_entropy", "loss_spikes", "loss_curve")


def watch_of(spec: ViTSpec) -> tuple[nn.Module, Watch]:
    torch.manual_seed(0)
    model, inside = build(spec, image_size=8, channels=1, classes=10), family_of(spec).inside
    assert inside is not None
    return model, Watch(model, inside(model, spec), torch.device("cpu"), hears_blocks=True, updates=100)


def test_norms_are_those_of_the_updates(digits, monkeypatch):
    """Of gradients before they are clipped; of the last update, by that of the weights before it."""
    norms, plain = [], torch.nn.utils.get_total_norm
    monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda *a, **k: norms.append(plain(*a, **k)) or norms[-1])
    config = make_config(clip_norm=1e-3, updates=6, evaluations=2)
    training, told = prepared(config, digits), []
    for _ in loop.run_updates(training):
        if training.update == 5:
            before = [parameter.detach().clone() for parameter in training.model.parameters()]
        if training.update in (3, 6):
            told.append(loop._validate(training, digits, lambda: None))
    for at, events in enumerate(told):
        of_part = torch.stack(norms[3 * at : 3 * at + 3])
        assert events["gradient_norm"] == pytest.approx(of_part.mean().item(), rel=1e-3)
        assert events["largest_gradient_norm"] == pytest.approx(of_part.max().item(), rel=1e-3)
    steps = [now.detach() - then for now, then in zip(training.model.parameters(), before, strict=True)]
    size, weights = (math.sqrt(sum(float(part.square().sum()) for part in parts)) for parts in (steps, before))
    assert told[1]["update_norm"] == pytest.approx(size / weights, rel=1e-3)


@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_what_is_watched_changes_no_number(digits, monkeypatch, clip_norm):
    one = train(make_config(clip_norm=clip_norm), digits)
    monkeypatch.setattr(Watch, "updated", lambda *given: None)
    monkeypatch.setattr(Watch, "told", lambda *given: {})
    other = train(make_config(clip_norm=clip_norm), digits)
    assert [{k: v for k, v in event.items() if k not in NAMES} for event in one.events] == other.events
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_a_resnet_has_no_attention(digits):
    event = train(make_config(RESNET, updates=2, evaluations=1), digits).events[0]
    assert event["attention_entropy"] is None
    assert event["gradient_norm"] > 0
    assert event["update_norm"] > 0


def test_entropy_is_that_of_the_sharpest_block_by_even_attention():
    model, watch = watch_of(VIT)
    images = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        model.blocks[1].attention.qkv.weight[:32].mul_(30)
        x = model.position(torch.cat([model.class_token.expand(4, -1, -1), model.stem(images)], dim=1))
        x = model.blocks[0](x)
        weights = model.blocks[1].attention.weights(model.blocks[1].norm1(x)).numpy()
    found = watch.told(1, images)["attention_entropy"]
    assert found == pytest.approx(-(weights * np.log(weights)).sum(-1).mean() / np.log(5), rel=1e-3)
    with torch.no_grad():
        for block in model.blocks:
            block.attention.qkv.weight.zero_()
    assert watch.told(1, images)["attention_entropy"] == pytest.approx(1)


def test_jumps_of_the_loss_are_counted_and_its_fall_is_not():
    _, watch = watch_of(VIT)
    rng, images = np.random.default_rng(0), torch.randn(2, 1, 8, 8)
    for update in range(300):
        watch.loss(2.3 * 0.99**update + 0.02 * rng.standard_normal())
    assert watch.told(300, images)["loss_spikes"] == 0
    watch.loss(2.0)
    for _ in range(100):
        watch.loss(0.2 + 0.02 * rng.standard_normal())
    assert watch.told(100, images)["loss_spikes"] == 1
    assert watch.told(1, images)["loss_spikes"] == 0


def test_the_first_losses_are_no_spikes():
    _, watch = watch_of(VIT)
    for loss in [1.0] * (LEAST - 1) + [9.0]:
        watch.loss(loss)
    assert watch.spikes == 0


def test_losses_are_told_as_the_means_of_a_few_updates_each():
    watch = Watch(nn.Linear(1, 1), None, torch.device("cpu"), hears_blocks=False, updates=101)
    told = []
    for update in range(1, 101):  # the last update's loss is heard by nobody
        watch.loss(float(update))
        if update in (4, 100):
            told.append(watch.told(1, torch.zeros(1, 1))["loss_curve"])
    assert told[0] == [(3, 2.0)]
    assert told[1][:2] == [(6, 5.0), (9, 8.0)]
    assert len(told[0] + told[1]) == 33


@pytest.mark.parametrize("block", [0, 1])
def test_a_divergence_names_the_first_block_that_failed(digits, block):
    """The one whose output was the first that was not finite in the update whose loss is told."""

    def fail(_module, _inputs, output):
        return output * math.inf if training.update == 2 else output

    training = prepared(make_config(), digits)
    training.model.blocks[block].mlp.register_forward_hook(fail)
    with pytest.raises(Diverged, match=rf"nan at update 3; .* not finite is block {block + 1} of 2$"):
        list(loop.run_updates(training))


def test_a_head_that_fails_is_no_block(digits):
    training = prepared(make_config(), digits)
    training.model.head.register_forward_hook(lambda *given: given[2] * math.inf)
    with pytest.raises(Diverged, match=r"nan at update 1$"):
        list(loop.run_updates(training))


def test_a_divergence_in_the_last_update_is_told_as_well(digits):
    training = prepared(make_config(updates=1, evaluations=1), digits)
    training.model.blocks[1].register_forward_hook(lambda *given: given[2] * math.nan, prepend=True)
    with pytest.raises(Diverged, match=r"nan at update 1; .* block 2 of 2$"):
        list(loop.run_updates(training))

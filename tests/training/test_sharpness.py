"""SAM beside its formula, and what its second pass costs and leaves alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from training_cases import RECIPE, RESNET, VIT, make_config, prepared, train

from harness.training import loop
from harness.training.sharpness import at_the_worst


def test_gradients_are_those_at_the_worst_point_nearby():
    """w + rho g / |g| (arXiv 2010.01412, equation 2), by hand; the weights are as before."""
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3).double(), torch.randn(5, 4, dtype=torch.float64)
    start = {name: value.clone() for name, value in model.state_dict().items()}

    def loss(module):
        return module(x).tanh().square().sum()

    first = torch.autograd.grad(loss(model), list(model.parameters()))
    norm = math.sqrt(sum(float(g.square().sum()) for g in first))
    moved = nn.Linear(4, 3).double()
    with torch.no_grad():
        for parameter, (name, value), g in zip(moved.parameters(), start.items(), first, strict=True):
            assert name in ("weight", "bias")
            parameter.copy_(value + 0.3 * g / norm)
    expected = torch.autograd.grad(loss(moved), list(moved.parameters()))
    loss(model).backward()
    with at_the_worst(model, 0.3):
        assert all(parameter.grad is None for parameter in model.parameters())
        loss(model).backward()
    for parameter, g in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, g)
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_of_the_first_pass_alone(momentum):
    torch.manual_seed(0)
    model, plain = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, momentum=momentum)) for _ in range(2))
    plain.load_state_dict(model.state_dict())
    x = torch.randn(4, 1, 6, 6)
    for each in (model, plain):
        each(x).square().mean().backward()
    with at_the_worst(model, 1.0):
        seen = model(x)
    assert model[1].momentum == plain[1].momentum
    assert not torch.allclose(seen, plain(x))
    model(x)
    later = torch.randn(4, 1, 6, 6)
    for each in (model, plain):
        each(later)
    torch.testing.assert_close(model[1].running_mean, plain[1].running_mean)


def test_an_update_goes_through_its_images_twice_and_tells_the_first_loss(digits, monkeypatch):
    calls = []
    backward = loop._backward
    monkeypatch.setattr(loop, "_backward", lambda *given: calls.append(backward(*given)) or calls[-1])
    config = make_config(VIT, sam_radius=0.1, updates=1, evaluations=1)
    told = train(config, digits).events[0]["train_loss"]
    assert len(calls) == 2
    assert told == pytest.approx(calls[0].item())
    assert calls[1] > calls[0]  # up the gradient
    assert (config.recipe.passes, RECIPE.passes) == (2, 1)


def test_without_a_radius_nothing_changes(digits):
    one, other = (train(make_config(RESNET, sam_radius=radius, updates=3), digits).events for radius in (0.0, 1e-12))
    assert one[0]["train_loss"] == pytest.approx(other[0]["train_loss"], rel=1e-4)


def test_gradients_are_clipped_after_the_second_pass(digits):
    training = prepared(
        make_config(VIT, sam_radius=5.0, clip_norm=1e-3, optimizer="sgd", weight_decay=0.0, warmup=0.0), digits
    )
    before = [parameter.detach().clone() for parameter in training.model.parameters()]
    next(loop.run_updates(training))
    steps = [parameter.detach() - start for parameter, start in zip(training.model.parameters(), before, strict=True)]
    moved = torch.stack([step.norm() for step in steps]).norm().item()
    assert moved == pytest.approx(training.recipe.rate * 1e-3, rel=0.01)


def test_parts_of_a_batch_are_moved_together(digits):
    whole, parts = (
        train(make_config(replace(VIT, depth=1), sam_radius=0.05, updates=2, accumulate=count), digits).events
        for count in (1, 4)
    )
    assert F.l1_loss(*(torch.tensor([e["train_loss"] for e in events]) for events in (whole, parts))) < 1e-4

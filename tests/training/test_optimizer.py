"""Optimisers and schedules: what is decayed, that each parameter is updated once, rates by hand."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_cases import RECIPE, RESNET, VIT

from harness.models import build
from harness.spec import ResNetSpec, ViTSpec
from harness.training.optimizer import KernelMuon, build_optimizers, learning_rates

MODELS = {
    "vit": VIT,
    "relative": replace(VIT, patch_size=2, position="relative", layer_scale=0.1, head_hidden=8),
    "2d": replace(VIT, patch_size=2, position="learned_2d", pool="mean", qkv_bias=False),
    "conv": replace(VIT, stem="conv"),
    "hybrid": ViTSpec(patch_size=4, width=16, depth=1, heads=2, stem="hybrid", norm="post"),
    "resnet": RESNET,
    "torchvision": ResNetSpec(depth=18),
}
OPTIMIZERS = ["adamw", "adam", "sgd", "muon"]
cases = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def built(spec, channels_last=True):
    torch.manual_seed(0)
    model = build(spec, image_size=8, channels=1, classes=10)
    last = channels_last and isinstance(spec, ResNetSpec)
    return model.to(memory_format=torch.channels_last if last else torch.contiguous_format)


def recipe_of(optimizer, **changes):
    return replace(RECIPE, optimizer=optimizer, **{"learning_rate": 0.1, "weight_decay": 0.5} | changes)


def is_decayed(model, name):
    """By hand: the weights of linear maps and convolutions, and nothing else."""
    owner, _, leaf = name.rpartition(".")
    return leaf == "weight" and isinstance(model.get_submodule(owner), nn.Linear | nn.Conv2d)


@cases
@optimizers
def test_every_parameter_is_in_exactly_one_group_of_one_optimizer(spec, optimizer):
    model = built(spec)
    groups = [group for each in build_optimizers(model, recipe_of(optimizer)) for group in each.param_groups]
    storages = [parameter.untyped_storage().data_ptr() for group in groups for parameter in group["params"]]
    assert len(storages) == len(set(storages))
    assert set(storages) == {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(p.numel() for p in model.parameters())


@cases
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_without_a_gradient_only_weights_of_layers_decay(spec, optimizer):
    model = built(spec)
    before = copy.deepcopy(model.state_dict())
    built_optimizers = build_optimizers(model, recipe_of(optimizer))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for each in built_optimizers:
        each.step()
    assert any(is_decayed(model, name) for name, _ in model.named_parameters())
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if is_decayed(model, name) else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor, msg=name)


@cases
@optimizers
def test_a_step_moves_every_parameter_that_has_a_gradient(spec, optimizer):
    model = built(spec)
    before = copy.deepcopy(model.state_dict())
    each = build_optimizers(model, recipe_of(optimizer, weight_decay=0.0))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    for one in each:
        one.step()
        one.zero_grad()
    assert [name for name, value in model.named_parameters() if torch.equal(value, before[name])] == []
    assert [name for name, value in model.named_parameters() if value.grad is not None] == []


@pytest.mark.parametrize("kernel_format", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
@pytest.mark.parametrize("gradient_format", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
def test_a_kernel_is_updated_as_the_matrix_that_it_is(kernel_format, gradient_format):
    generator = torch.Generator().manual_seed(0)

    def drawn(memory_format):
        return torch.randn(8, 4, 3, 3, generator=generator).contiguous(memory_format=memory_format)

    order = (0, 2, 3, 1) if kernel_format == torch.channels_last else (0, 1, 2, 3)
    kernel = nn.Parameter(drawn(kernel_format))
    matrix = nn.Parameter(kernel.detach().permute(order).reshape(8, 36).clone())
    settings = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9, "adjust_lr_fn": "match_rms_adamw"}
    ours, theirs = KernelMuon([kernel], **settings), torch.optim.Muon([matrix], **settings)
    for _ in range(3):
        gradient = drawn(gradient_format)
        kernel.grad, matrix.grad = gradient, gradient.permute(order).reshape(8, 36)
        ours.step()
        theirs.step()
    assert torch.equal(kernel.detach().permute(order).reshape(8, 36), matrix.detach())


def test_a_kernel_without_a_gradient_stays():
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3))
    before = kernel.detach().clone()
    muon = KernelMuon([kernel], lr=0.1, weight_decay=0.1)
    kernel.grad = torch.randn_like(kernel)
    muon.zero_grad()
    muon.step()
    assert torch.equal(kernel, before)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("wsd", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 0.5]),
        ("cosine", [0.5, 1, 1, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060]),
    ],
)
def test_rates_by_hand(schedule, expected):
    found = learning_rates(replace(RECIPE, schedule=schedule, warmup=0.2, learning_rate=2.0), 10)
    assert found == pytest.approx([2 * factor for factor in expected], abs=2e-6)


@given(st.sampled_from(["cosine", "constant", "wsd"]), st.integers(1, 400), st.floats(0, 1))
def test_rates_rise_to_the_peak_and_never_rise_again(schedule, updates, warmup):
    rates = learning_rates(replace(RECIPE, schedule=schedule, warmup=warmup, learning_rate=0.3), updates)
    rising = round(warmup * updates)
    assert len(rates) == updates
    assert all(0 < rate <= 0.3 for rate in rates)
    assert rates[:rising] == pytest.approx([0.3 * (at + 1) / rising for at in range(rising)])
    assert rates[rising:] == sorted(rates[rising:], reverse=True)
    if rising and schedule != "wsd":  # wsd may start to fall before a long warm-up is over
        assert max(rates) == 0.3


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_the_next_rate_would_be_zero(schedule):
    rates = learning_rates(replace(RECIPE, schedule=schedule, warmup=0.0, learning_rate=1.0), 1000)
    assert rates[-1] < 6e-3
    assert rates[0] == 1.0

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
from harness.training.optimizer import Muon, build_optimizers, learning_rates

MODELS = {
    "vit": VIT,
    "relative": replace(VIT, patch_size=2, position="relative", layer_scale=0.1, head_hidden=8),
    "2d": replace(VIT, patch_size=2, position="learned_2d", pool="mean", qkv_bias=False),
    "conv": replace(VIT, stem="conv"),
    "hybrid": ViTSpec(patch_size=4, width=16, depth=1, heads=2, stem="hybrid", norm="post"),
    "resnet": RESNET,
    "torchvision": ResNetSpec(depth=18),
}
OPTIMIZERS = ["adamw", "adam", "sgd", "muon", "schedule_free"]
cases = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def built(spec, channels_last=True):
    torch.manual_seed(0)
    model = build(spec, image_size=8, channels=1, classes=10)
    last = channels_last and isinstance(spec, ResNetSpec)
    return model.to(memory_format=torch.channels_last if last else torch.contiguous_format)


def recipe_of(optimizer, **changes):
    changes |= {"schedule": "constant"} if optimizer == "schedule_free" else {}
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
    built_optimizers = build_optimizers(model, recipe_of(optimizer), copy.deepcopy(model))
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
    each = build_optimizers(model, recipe_of(optimizer, weight_decay=0.0), copy.deepcopy(model))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    for one in each:
        one.step()
        one.zero_grad()
    assert [name for name, value in model.named_parameters() if torch.equal(value, before[name])] == []
    assert [name for name, value in model.named_parameters() if value.grad is not None] == []


@optimizers
@pytest.mark.parametrize("frozen", [{"0"}, {"0", "2"}, {"1", "2"}, set()], ids=["0", "0 and 2", "1 and 2", "none"])
def test_what_is_frozen_stays_and_all_else_moves(optimizer, frozen):
    """Whichever groups are left: with one linear map alone Muon has nothing to do."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    steps = build_optimizers(model, recipe_of(optimizer), copy.deepcopy(model))
    model(torch.randn(8, 4)).square().sum().backward()
    for each in steps:
        each.step()
    stayed = {name.partition(".")[0] for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert stayed == frozen


SETTINGS = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9}


def reference(matrices):
    return torch.optim.Muon(matrices, **SETTINGS, adjust_lr_fn="match_rms_adamw")


def assert_same_updates(ours, theirs, start):
    """To the rounding of bfloat16, relative to how far the updates went."""
    moved = (theirs - start).norm()
    assert moved > 0
    assert (ours - theirs).norm() < 0.02 * moved


@pytest.mark.parametrize("kernel_format", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
@pytest.mark.parametrize("gradient_format", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
def test_a_kernel_is_updated_as_the_matrix_that_it_is(kernel_format, gradient_format):
    generator = torch.Generator().manual_seed(0)

    def drawn(memory_format):
        return torch.randn(8, 4, 3, 3, generator=generator).contiguous(memory_format=memory_format)

    def as_matrix(kernel):
        return kernel.permute((0, 2, 3, 1) if kernel_format == torch.channels_last else (0, 1, 2, 3)).reshape(8, 36)

    kernel = nn.Parameter(drawn(kernel_format))
    start = as_matrix(kernel.detach()).clone()
    matrix = nn.Parameter(start.clone())
    ours, theirs = Muon({1: [kernel]}, **SETTINGS), reference([matrix])
    for _ in range(3):
        kernel.grad = drawn(gradient_format)
        matrix.grad = as_matrix(kernel.grad)
        ours.step()
        theirs.step()
    assert_same_updates(as_matrix(kernel.detach()), matrix.detach(), start)


def test_each_matrix_is_updated_by_itself_whatever_it_is_batched_with():
    """Wide, tall and fused weights: those that share a shape, or its transpose, are orthogonalised together."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "wide": (16, 48, 1),
        "tall": (48, 16, 1),
        "fused": (48, 16, 3),
        "square": (16, 16, 1),
        "alone": (8, 24, 1),
    }
    weights = {name: nn.Parameter(torch.randn(o, i, generator=generator)) for name, (o, i, _) in shapes.items()}
    starts = {name: weight.detach().clone() for name, weight in weights.items()}
    split = {
        name: [nn.Parameter(part.clone()) for part in starts[name].chunk(parts)]
        for name, (_, _, parts) in shapes.items()
    }
    by_parts = {parts: [weights[name] for name in shapes if shapes[name][2] == parts] for parts in (1, 3)}
    ours, theirs = Muon(by_parts, **SETTINGS), reference([part for parts in split.values() for part in parts])
    for _ in range(3):
        for name, weight in weights.items():
            weight.grad = torch.randn(weight.shape, generator=generator)
            for part, gradient in zip(split[name], weight.grad.chunk(len(split[name])), strict=True):
                part.grad = gradient
        ours.step()
        theirs.step()
    for name, weight in weights.items():
        assert_same_updates(weight.detach(), torch.cat(split[name]).detach(), starts[name])


def test_queries_keys_and_values_are_three_matrices():
    model = built(VIT)
    by_name = dict(model.named_parameters())
    muon = build_optimizers(model, recipe_of("muon"))[1]
    fused = [group["params"] for group in muon.param_groups if group["parts"] == 3]
    assert [[id(weight) for weight in weights] for weights in fused] == [
        [id(parameter) for name, parameter in by_name.items() if name.endswith("qkv.weight")]
    ]


def test_a_kernel_without_a_gradient_stays():
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3))
    before = kernel.detach().clone()
    muon = Muon({1: [kernel]}, **SETTINGS)
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

"""Swin: torchvision's functions and size, any channels and small images; what is counted and what is optimised."""

from dataclasses import replace
from math import ceil

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F  # noqa: N812
from torchvision.models.swin_transformer import SwinTransformer

from harness.models import (
    attention_macs_per_image,
    build,
    macs_per_image,
    parameters,
)
from harness.models.family import parameter_groups
from harness.models.swin_transformer import WindowAttention
from harness.spec import InvalidInput, Recipe, SwinSpec
from harness.training.optimizer import build_optimizers

SWIN_T = SwinSpec(patch_size=4, width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), stochastic_depth=0.2)
SMALL = SwinSpec(patch_size=2, width=12, depths=(2, 3), heads=(2, 4), window=3, mlp_ratio=2.0)
IMAGENET = {"image_size": 224, "channels": 3, "classes": 1000}
SIZES = {
    "digits": (SwinSpec(patch_size=2, width=8, depths=(1, 1), heads=(2, 2)), 8),  # one padded window, then another
    "windows that fit": (replace(SMALL, window=2), 8),
    "windows that do not": (SMALL, 16),
    "odd grids": (replace(SMALL, depths=(2, 2, 2, 2), heads=(1, 2, 3, 4)), 28),  # 14, 7, 4, 2
    "one token": (replace(SMALL, patch_size=4, depths=(1, 2, 1), heads=(1, 1, 1)), 4),
    "a window of one token": (replace(SMALL, window=1), 8),
}
sizes = pytest.mark.parametrize(("spec", "image_size"), SIZES.values(), ids=SIZES)


def small(spec=SMALL, image_size=16, channels=3, classes=5):
    torch.manual_seed(0)
    return build(spec, image_size=image_size, channels=channels, classes=classes)


def torchvisions(spec, classes):
    return SwinTransformer(
        [spec.patch_size] * 2,
        spec.width,
        list(spec.depths),
        list(spec.heads),
        [spec.window] * 2,
        mlp_ratio=spec.mlp_ratio,
        stochastic_depth_prob=spec.stochastic_depth,
        num_classes=classes,
    )


@sizes
def test_logits_equal_torchvisions(spec, image_size):
    theirs = torchvisions(spec, 5).double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    ours = small(spec, image_size).double().eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, image_size, image_size, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-9, rtol=1e-9)


def test_logits_and_size_of_swin_t_are_torchvisions():
    theirs = torchvision.models.swin_t().eval()
    with torch.device("meta"):
        ours = build(SWIN_T, **IMAGENET).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    assert parameters(ours) == 28_288_354
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-4, rtol=1e-4)


def test_stochastic_depth_is_torchvisions():
    spec = replace(SMALL, stochastic_depth=0.5)
    theirs, ours = torchvisions(spec, 5), small(spec)
    ours.load_state_dict(theirs.state_dict())
    images, logits = torch.randn(4, 3, 16, 16), []
    for model in (theirs, ours):
        torch.manual_seed(3)
        logits.append(model.train()(images))
    torch.testing.assert_close(*logits)
    assert not torch.equal(ours(images), ours(images))


def test_the_start_is_torchvisions():
    torch.manual_seed(0)
    theirs = torchvisions(SMALL, 5)
    for expected, found in zip(theirs.parameters(), small().parameters(), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize("channels", [1, 4])
@sizes
def test_every_size_trains(spec, image_size, channels):
    model = small(replace(spec, stochastic_depth=0.1), image_size, channels, 3)
    logits = model(torch.randn(4, channels, image_size, image_size))
    assert logits.shape == (4, 3)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_autocast_keeps_the_residual_stream_in_float32():
    model, seen = small(), []
    for stage in (1, 3):
        for block in model.features[stage]:
            block.register_forward_hook(lambda _block, inputs, out: seen.append((inputs[0].dtype, out.dtype)))
    images = torch.randn(4, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    logits.float().sum().backward()
    assert seen == [(torch.float32, torch.float32)] * 5
    torch.testing.assert_close(logits.float(), model(images), atol=0.1, rtol=0.1)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_gradients_are_the_same_each_time(two_threads):
    """Indexing's backward pass may add up in any order on a CPU of several cores, from 14 heads of 7 x 7 windows on."""
    torch.manual_seed(0)
    attention = WindowAttention(48, [7, 7], [0, 0], 24)
    gradient, table, found = torch.randn(1, 49, 49, 24).permute(0, 3, 1, 2), attention.relative_position_bias_table, []
    for _ in range(5):
        attention.zero_grad()
        attention.get_relative_position_bias().backward(gradient)
        found.append(table.grad.clone())
    assert all(torch.equal(found[0], each) for each in found)


def test_forward_creates_every_tensor_on_the_models_device(monkeypatch):
    monkeypatch.setattr("torch.nn.init.trunc_normal_", lambda parameter, **_: parameter)  # looks at what it drew
    with FakeTensorMode(allow_non_fake_inputs=False):
        with torch.device("cuda"):
            model = build(replace(SMALL, stochastic_depth=0.5), image_size=16, channels=1, classes=3)
            images = torch.empty(2, 1, 16, 16)
        assert model(images).device.type == "cuda"


def test_a_stack_of_models_runs_under_vmap():
    models = [small(image_size=8, classes=classes).eval() for classes in (3, 3)]
    state = torch.func.stack_module_state(models)
    images = torch.randn(2, 3, 8, 8)

    def forward(parameters_, buffers):
        return torch.func.functional_call(models[0], (parameters_, buffers), (images,))

    together = torch.func.vmap(forward)(*state)
    torch.testing.assert_close(together, torch.stack([model(images) for model in models]), atol=1e-5, rtol=1e-5)


# --- costs ---


def macs(spec, image_size, channels, classes):
    """All multiply-accumulates, and those of attention alone: equation 2 of arXiv 2103.14030, with whole windows."""
    side = image_size // spec.patch_size
    total, attention = side**2 * channels * spec.patch_size**2 * spec.width, 0
    for stage, depth in enumerate(spec.depths):
        width = spec.width << stage
        if stage:
            side = ceil(side / 2)
            total += side**2 * (2 * width) * width
        filled = (ceil(side / spec.window) * spec.window) ** 2
        attention += depth * 2 * spec.window**2 * filled * width
        total += depth * (4 * filled * width**2 + 2 * side**2 * width * int(width * spec.mlp_ratio))
    return total + attention + width * classes, attention


@st.composite
def specs(draw):
    stages = draw(st.integers(1, 3))
    return SwinSpec(
        patch_size=draw(st.integers(1, 3)),
        width=12 * draw(st.integers(1, 2)),
        depths=tuple(draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages))) if stages > 1 else (2,),
        heads=tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=stages, max_size=stages))),
        window=draw(st.integers(1, 8)),
        mlp_ratio=draw(st.sampled_from([0.5, 2.0, 4.0])),
    )


@settings(deadline=None, max_examples=12)
@given(specs(), st.integers(1, 15), st.integers(1, 4))
def test_multiply_accumulates_are_those_of_the_formula(spec, grid, channels):
    """Whatever the grid: one token, odd, not a multiple of the window, smaller than it."""
    data = {"image_size": grid * spec.patch_size, "channels": channels, "classes": 7}
    total, attention = macs(spec, **data)
    assert macs_per_image(spec, **data) == total
    assert attention_macs_per_image(spec, **data) == attention


def test_swin_t_has_its_published_cost():
    assert (macs_per_image(SWIN_T, **IMAGENET), attention_macs_per_image(SWIN_T, **IMAGENET)) == macs(
        SWIN_T, **IMAGENET
    )
    assert macs_per_image(SWIN_T, **IMAGENET) / 1e9 == pytest.approx(4.491, abs=0.001)  # torchvision's 'GFLOPs'


# --- which parameters are treated apart ---


def test_matrices_are_the_linear_maps_but_the_head_and_only_weights_decay():
    model = small()
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    weights = {f"{name}.weight" for name in layers}
    groups = parameter_groups(model)
    hidden = groups.hidden
    assert set(hidden) == weights - {"features.0.0.weight", "head.weight"}
    assert hidden["features.2.reduction.weight"] == 1
    assert hidden["features.1.0.attn.qkv.weight"] == 3
    assert groups.undecayed == {name for name, _ in model.named_parameters()} - weights


def test_muon_moves_every_parameter_once():
    model = small()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizers = build_optimizers(model, Recipe(updates=1, optimizer="muon", learning_rate=0.1, weight_decay=0.0))
    updated = [parameter for each in optimizers for group in each.param_groups for parameter in group["params"]]
    assert sorted(map(id, updated)) == sorted(map(id, model.parameters()))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    for each in optimizers:
        each.step()
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []


# --- what is refused ---


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"Expected images \(B, 3, 16, 16\) of .*; found \(2, 1, 16, 16\) "):
        small()(torch.zeros(2, 1, 16, 16))


def test_an_image_that_patches_do_not_tile_is_refused():
    with pytest.raises(InvalidInput, match=r"^patch_size 2 does not divide image_size 15\."):
        small(image_size=15)

import itertools
import math
from functools import partial
from unittest.mock import Mock

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F  # noqa: N812
from weight_maps import load, randomise, renamed, timm_weights, torchvision_weights

from harness.models import build, parameters, vit
from harness.models.family import parameter_groups
from harness.models.position import RelativePosition
from harness.models.stem import PatchStem
from harness.models.vit import Branch, ViT, explicit_attention
from harness.spec import ViTSpec
from harness.spec.errors import InvalidInput

TINY = {
    "patch_size": 4, "width": 16, "depth": 2, "heads": 2,
    "pool": "cls", "initialisation": "truncated_normal", "zero_head": False,
}  # fmt: skip
POSITIONS = ("none", "learned_1d", "learned_2d", "sincos_2d", "relative")


def tiny(image_size=8, channels=1, classes=3, **changes) -> ViT:
    torch.manual_seed(0)
    spec = ViTSpec(**(TINY | changes))
    model = build(spec, image_size=image_size, channels=channels, classes=classes)
    assert isinstance(model, ViT)
    return model


# --- the same mathematics as published code ---


def assert_same_as_torchvision(theirs: nn.Module, ours: ViT, images: Tensor) -> None:
    randomise(theirs)
    theirs, ours = theirs.double().eval(), ours.double().eval()
    load(ours, torchvision_weights(theirs))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("most_explicit", [512, 0])
def test_logits_equal_torchvisions(monkeypatch, most_explicit):
    monkeypatch.setattr(vit, "EXPLICIT_TOKENS", most_explicit)
    theirs = torchvision.models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=3, num_heads=2, hidden_dim=24, mlp_dim=48, num_classes=5
    )
    ours = tiny(16, 3, 5, width=24, depth=3, mlp_ratio=2)
    assert_same_as_torchvision(theirs, ours, torch.randn(2, 3, 16, 16, dtype=torch.float64))


def test_logits_at_full_width_equal_torchvisions():
    theirs = torchvision.models.VisionTransformer(
        image_size=224, patch_size=16, num_layers=1, num_heads=12, hidden_dim=768, mlp_dim=3072
    )
    ours = build(ViTSpec.preset("B", patch_size=16, depth=1), image_size=224, channels=3, classes=1000)
    assert isinstance(ours, ViT)
    assert_same_as_torchvision(theirs, ours, torch.randn(1, 3, 224, 224, dtype=torch.float64))


TIMM = {"img_size": 16, "patch_size": 4, "in_chans": 2, "num_classes": 5, "embed_dim": 24, "depth": 2, "num_heads": 3}
TIMM_MEAN = {"class_token": False, "global_pool": "avg"}


@pytest.mark.parametrize(
    ("how", "changes"),
    [
        ({}, {}),
        (TIMM_MEAN | {"fc_norm": False}, {"pool": "mean"}),
        (TIMM_MEAN | {"fc_norm": True}, {"pool": "mean", "pool_norm": "after"}),
        ({"qkv_bias": False}, {"qkv_bias": False}),
        ({"proj_bias": False}, {"output_bias": False, "mlp_bias": False}),
        ({"norm_layer": partial(nn.LayerNorm, eps=1e-6, bias=False)}, {"norm_bias": False}),
        ({"norm_layer": timm.layers.RmsNorm}, {"norm_type": "rms"}),
        ({"qk_norm": True}, {"qk_norm": True}),
        ({"qk_norm": True, "norm_layer": timm.layers.RmsNorm}, {"qk_norm": True, "norm_type": "rms"}),
        (TIMM_MEAN | {"reg_tokens": 3, "fc_norm": False}, {"pool": "mean", "registers": 3}),
        (TIMM_MEAN | {"global_pool": "map"}, {"pool": "map"}),
    ],
    ids=str,
)
def test_logits_equal_timms(how, changes):
    theirs = timm.models.vision_transformer.VisionTransformer(**TIMM | how | {"no_embed_class": "reg_tokens" in how})
    assert_same_as_timm(theirs, tiny(16, 2, 5, width=24, heads=3, **changes))


def assert_same_as_timm(theirs: nn.Module, ours: ViT) -> None:
    randomise(theirs)
    theirs, ours = theirs.double().eval(), ours.double().eval()
    load(ours, timm_weights(theirs))
    assert parameters(ours) == parameters(theirs)
    images = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("residual", ["full", "branch"])
def test_residual_sums_are_the_documented_ones(residual):
    block = tiny(residual=residual).blocks[0].eval()
    x = torch.randn(2, 5, 16)
    y = block.attention(block.norm1(x))
    expected = (y + x if residual == "full" else y) + block.mlp(block.norm2(y + x))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("pool_norm", ["before", "after"])
def test_pool_all_averages_patches_and_class_token(pool_norm):
    model = tiny(pool="all", pool_norm=pool_norm).eval()
    randomise(model)
    tokens = []
    model.blocks[-1].register_forward_hook(lambda _block, _inputs, out: tokens.append(out))
    logits = model(torch.randn(2, 1, 8, 8))
    assert tokens[0].shape == (2, 5, 16)
    pooled = model.norm(tokens[0]).mean(1) if pool_norm == "before" else model.norm(tokens[0].mean(1))
    torch.testing.assert_close(logits, model.head(pooled))


def test_projection_dropout_acts_on_the_attentions_output_alone():
    block = tiny(projection_dropout=0.5).blocks[0]
    x = torch.randn(2, 5, 16)
    torch.manual_seed(0)
    found = block(x)
    torch.manual_seed(0)
    y = x + F.dropout(block.attention(block.norm1(x)), 0.5)
    torch.testing.assert_close(found, y + block.mlp(block.norm2(y)))


def test_post_norm_block_equals_the_encoder_layer_of_torch():
    ours = tiny(norm="post").double().eval()
    theirs = nn.TransformerEncoderLayer(16, 2, 64, activation="gelu", layer_norm_eps=1e-6, batch_first=True).double()
    randomise(theirs)
    names = {
        "norm1": "norm1",
        "attention.qkv": "self_attn.in_proj",
        "attention.output": "self_attn.out_proj",
        "norm2": "norm2",
        "mlp.0": "linear1",
        "mlp.3": "linear2",
    }
    ours.load_state_dict(ours.state_dict() | renamed(theirs.state_dict(), names, {}, ""))
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(ours.blocks[0](x), theirs.eval()(x), atol=1e-9, rtol=1e-9)


def test_post_norm_has_no_final_norm():
    assert isinstance(tiny(norm="post").norm, nn.Identity)
    assert isinstance(tiny(norm="pre").norm, nn.LayerNorm)


# --- parts ---


def test_patch_stem_equals_a_strided_convolution_and_unfold():
    stem = PatchStem(ViTSpec(patch_size=4, width=10, heads=2), 3).double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    weight, bias = stem.projection.weight, stem.projection.bias
    convolved = F.conv2d(images, weight.view(10, 3, 4, 4), bias, stride=4).flatten(2).mT
    unfolded = F.linear(F.unfold(images, 4, stride=4).mT, weight, bias)
    torch.testing.assert_close(stem(images), convolved)
    torch.testing.assert_close(stem(images), unfolded)


@pytest.mark.parametrize("stem", ["conv", "hybrid"])
@pytest.mark.parametrize("patch_size", [2, 4, 8])
def test_convolution_stems_give_one_token_per_patch(stem, patch_size):
    model = tiny(16, stem=stem, patch_size=patch_size)
    assert model.stem(torch.randn(2, 1, 16, 16)).shape == (2, (16 // patch_size) ** 2, 16)


@pytest.mark.parametrize("biased", [False, True])
def test_explicit_attention_equals_fused_forward_and_backward(biased):
    torch.manual_seed(0)
    shapes = [(2, 3, 5, 4)] * 3 + ([(3, 5, 5)] if biased else [])
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    seed = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    results = []
    for attend in (explicit_attention, F.scaled_dot_product_attention):
        out = attend(*inputs[:3], inputs[3] if biased else None, 0.0)
        results.append([out, *torch.autograd.grad(out, inputs, seed)])
    for explicit, fused in zip(*results, strict=True):
        torch.testing.assert_close(explicit, fused, atol=1e-12, rtol=1e-9)


def test_attention_is_explicit_for_few_tokens_on_a_cpu_and_in_outline(monkeypatch):
    spy = Mock(wraps=explicit_attention)
    monkeypatch.setattr(vit, "explicit_attention", spy)
    model = tiny(depth=1)
    model(torch.zeros(1, 1, 8, 8))  # 5 tokens
    assert spy.call_count == 1
    monkeypatch.setattr(vit, "EXPLICIT_TOKENS", 4)
    model(torch.zeros(1, 1, 8, 8))
    assert spy.call_count == 1
    model.to("meta")(torch.zeros(1, 1, 8, 8, device="meta"))
    assert spy.call_count == 2


@pytest.mark.parametrize("position", ["learned_1d", "relative"])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_models_with_explicit_and_fused_attention_agree(monkeypatch, position, pool):
    images, results = torch.randn(3, 1, 8, 8, dtype=torch.float64), []
    for most_explicit in (512, 0):
        monkeypatch.setattr(vit, "EXPLICIT_TOKENS", most_explicit)
        model = tiny(position=position, pool=pool).double()
        randomise(model)
        loss = model(images).square().sum()
        results.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    for explicit, fused in zip(*results, strict=True):
        torch.testing.assert_close(explicit, fused, atol=1e-10, rtol=1e-8)


def test_explicit_softmax_in_bf16_is_as_exact_as_the_inputs_allow():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 9, 8, dtype=torch.bfloat16) for _ in range(3))
    exact = explicit_attention(q.double(), k.double(), v.double(), None, 0.0)
    found = explicit_attention(q, k, v, None, 0.0)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, atol=0.02, rtol=0.02)


def test_attention_dropout_keeps_the_expectation():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 6, 4).unbind()
    v = torch.rand(1, 1, 6, 4)
    many = [part.expand(20_000, -1, -1, -1) for part in (q, k, v)]
    mean = explicit_attention(*many, None, 0.5).mean(0, keepdim=True)
    torch.testing.assert_close(mean, explicit_attention(q, k, v, None, 0.0), atol=0.02, rtol=0.02)


def test_relative_bias_depends_on_the_offset_only():
    position = RelativePosition(ViTSpec(**(TINY | {"position": "relative", "pool": "mean"})), grid=3)
    nn.init.normal_(position.table)
    bias = position()
    cells = list(itertools.product(range(3), repeat=2))
    by_offset: dict[tuple[int, int], Tensor] = {}
    for (i, (a, b)), (j, (c, d)) in itertools.product(enumerate(cells), repeat=2):
        first = by_offset.setdefault((a - c, b - d), bias[:, i, j])
        assert torch.equal(first, bias[:, i, j])
    assert len(by_offset) == 25
    assert len({tuple(value.tolist()) for value in by_offset.values()}) == 25


def test_relative_bias_leaves_the_class_token_alone():
    position = RelativePosition(ViTSpec(**TINY, position="relative"), grid=2)
    nn.init.ones_(position.table)
    expected = torch.ones(2, 5, 5)
    expected[:, 0, :] = expected[:, :, 0] = 0
    assert torch.equal(position(), expected)


@pytest.mark.parametrize("position", POSITIONS)
def test_without_position_the_order_of_patches_does_not_matter_else_it_does(position):
    model = tiny(12, position=position, pool="mean", position_sd=1.0).double().eval()
    randomise(model)
    images = torch.randn(2, 1, 12, 12, dtype=torch.float64)
    patches = images.view(2, 3, 4, 3, 4).transpose(2, 3).reshape(2, 9, 4, 4)
    moved = patches[:, torch.randperm(9, generator=torch.Generator().manual_seed(3))]
    moved = moved.view(2, 3, 3, 4, 4).transpose(2, 3).reshape(2, 1, 12, 12)
    difference = (model(images) - model(moved)).abs().max()
    assert difference < 1e-12 if position == "none" else difference > 1e-4


def test_learned_2d_shares_rows_and_columns():
    model = tiny(12, position="learned_2d", pool="mean", position_sd=1.0)
    table = model.position(torch.zeros(1, 9, 16)).view(3, 3, 16)
    assert torch.equal(table[1, :, :8], table[1, :1, :8].expand(3, -1))
    assert torch.equal(table[:, 2, 8:], table[:1, 2, 8:].expand(3, -1))
    assert not torch.equal(table[0, 0], table[1, 1])


def test_sincos_is_fixed_and_tells_every_patch_apart():
    model = tiny(16, position="sincos_2d")
    added = model.position(torch.zeros(1, 17, 16))[0]
    assert not added[0].any()  # the class token
    assert not [name for name, _ in model.named_parameters() if "position" in name]
    assert torch.cdist(added[1:], added[1:]).add(torch.eye(16)).min() > 0.5
    torch.testing.assert_close(added[1 + 4 * 2 + 1][:4], torch.tensor([2, 2e-1, 2e-2, 2e-3]).sin())


def test_stochastic_depth_keeps_the_expectation_and_drops_whole_images():
    torch.manual_seed(0)
    branch = Branch(ViTSpec(**(TINY | {"depth": 5}), stochastic_depth=0.4), index=4, dropout=0.0)
    x = torch.ones(20_000, 2, 3)
    out = branch(x)
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    assert sorted(set(out.flatten(1).mean(1).tolist())) == pytest.approx([0, 1 / 0.6])
    assert torch.equal(branch.eval()(x), x)


def test_stochastic_depth_grows_linearly():
    model = tiny(depth=5, stochastic_depth=0.4)
    assert [block.branch2.keep for block in model.blocks] == pytest.approx([1, 0.9, 0.8, 0.7, 0.6])


@pytest.mark.parametrize(
    "field", ["dropout", "attention_dropout", "mlp_dropout", "projection_dropout", "stochastic_depth"]
)
def test_randomness_is_on_in_training_and_off_in_evaluation(field):
    model = tiny(**{field: 0.5})
    images = torch.randn(16, 1, 8, 8)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


# --- initialisation ---


@pytest.mark.parametrize("initialisation", ["truncated_normal", "xavier", "torch"])
def test_the_same_seed_gives_the_same_parameters(initialisation):
    torch.manual_seed(5)
    spec = ViTSpec(**(TINY | {"initialisation": initialisation}))
    first, second, other = (build(spec, image_size=8, channels=1, classes=3) for _ in range(3))
    torch.manual_seed(5)
    second = build(spec, image_size=8, channels=1, classes=3)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.blocks[0].mlp[0].weight, other.blocks[0].mlp[0].weight)


@pytest.mark.parametrize(
    ("initialisation", "linear"),
    [
        ("truncated_normal", 0.0176),  # sd .02, cut at two sd, has sd .88 * .02
        ("xavier", math.sqrt(2 / (256 + 256))),
        ("torch", math.sqrt(1 / (3 * 256))),  # uniform up to 1 / sqrt(inputs)
    ],
)
def test_initial_spread_of_linear_maps_is_the_documented_one(initialisation, linear):
    model = tiny(32, width=256, initialisation=initialisation)
    for part in model.blocks[0].attention.qkv.weight.chunk(3):
        assert part.std().item() == pytest.approx(linear, rel=0.05)
    biases = [model.stem.projection.bias, model.blocks[0].attention.qkv.bias, model.blocks[1].mlp[3].bias]
    expected = [1 / 4, 1 / 16, 1 / 32] if initialisation == "torch" else [0, 0, 0]
    assert [bias.abs().max().item() for bias in biases] == pytest.approx(expected, rel=0.05)
    assert model.head.linear.weight.any()


@pytest.mark.parametrize("pool", ["cls", "all"])
@pytest.mark.parametrize("initialisation", ["truncated_normal", "xavier", "torch"])
def test_position_and_tokens_have_the_deviations_of_the_spec(initialisation, pool):
    model = tiny(32, width=256, initialisation=initialisation, pool=pool, position_sd=0.5, class_token_sd=2.0)
    assert model.position.table.std().item() == pytest.approx(0.5, rel=0.05)
    assert model.class_token.std().item() == pytest.approx(2, rel=0.15)
    distilled = tiny(32, width=256, initialisation=initialisation, class_token_sd=2.0, distillation_token=True)
    assert distilled.distillation_token.std().item() == pytest.approx(2, rel=0.15)
    assert not torch.equal(distilled.distillation_token, distilled.class_token)
    zeros = tiny(initialisation=initialisation, pool=pool, position_sd=0.0, class_token_sd=0.0)
    assert not zeros.position.table.any()
    assert not zeros.class_token.any()


@pytest.mark.parametrize("initialisation", ["truncated_normal", "torch"])
@pytest.mark.parametrize("head_hidden", [None, 7])
def test_a_head_of_zeros_predicts_alike_and_changes_nothing_else(initialisation, head_hidden):
    plain, zero = (tiny(initialisation=initialisation, head_hidden=head_hidden, zero_head=z) for z in (False, True))
    assert not zero(torch.randn(2, 1, 8, 8)).any()
    for (name, a), b in zip(plain.named_parameters(), zero.parameters(), strict=True):
        assert name.startswith("head.linear") or torch.equal(a, b), name


# --- distillation token ---


def test_distilled_logits_equal_timms_in_evaluation_and_in_training():
    theirs = timm.models.deit.VisionTransformerDistilled(**TIMM)
    theirs.set_distilled_training()
    ours = tiny(16, 2, 5, width=24, heads=3, distillation_token=True)
    assert_same_as_timm(theirs, ours)
    images = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    assert ours(images).shape == (2, 5)
    both = ours.train()(images)
    assert both.shape == (2, 2, 5)
    torch.testing.assert_close(both, torch.stack(theirs.train()(images), dim=1), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("size", "count"), [("Ti", 5_910_800), ("S", 22_436_432), ("B", 87_338_192)])
def test_distilled_models_have_their_published_size(size, count):
    spec = ViTSpec.preset(size, patch_size=16, distillation_token=True)
    with torch.device("meta"):
        assert parameters(build(spec, image_size=224, channels=3, classes=1000)) == count


def test_each_distillation_head_has_a_hidden_layer_of_its_own():
    model = tiny(distillation_token=True, head_hidden=7, zero_head=True)
    assert not torch.equal(model.head.hidden.weight, model.distillation_head.hidden.weight)
    for head in (model.head, model.distillation_head):
        assert head.hidden.weight.std().item() == pytest.approx(0.88 / 4, rel=0.2)
        assert not head.linear.weight.any()
    assert {"class_token", "distillation_token"} <= parameter_groups(model).undecayed


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_distillation_token_works_with_every_position(position, norm):
    model = tiny(position=position, norm=norm, distillation_token=True, initialisation="torch", class_token_sd=1.0)
    both = model(torch.randn(4, 1, 8, 8))
    assert both.shape == (4, 2, 3)
    both.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert ("token" not in name and "head" not in name) or parameter.grad.any(), name
    model.eval()
    images = torch.randn(4, 1, 8, 8)
    before = model(images)
    assert before.shape == (4, 3)
    with torch.no_grad():
        model.distillation_token.add_(torch.randn(16))
    assert not torch.equal(model(images), before)


def test_relative_bias_leaves_both_tokens_alone():
    position = RelativePosition(ViTSpec(**TINY, position="relative", distillation_token=True), grid=2)
    nn.init.ones_(position.table)
    expected = torch.ones(2, 6, 6)
    expected[:, :2, :] = expected[:, :, :2] = 0
    assert torch.equal(position(), expected)


# --- every combination works ---


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stem", ["patch", "conv", "hybrid"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("pool", ["cls", "mean", "all"])
def test_every_combination_trains(position, stem, norm, pool):
    rest = {"dropout": 0.1, "attention_dropout": 0.1, "mlp_dropout": 0.1, "stochastic_depth": 0.1, "layer_scale": 0.1}
    extra = rest | {"qkv_bias": False, "head_hidden": 7} if norm == "post" else {}
    model = tiny(position=position, stem=stem, norm=norm, pool=pool, **extra)
    logits = model(torch.randn(4, 1, 8, 8))
    assert logits.shape == (4, 3)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 15, "heads": 5, "position": "learned_2d"},
        {"width": 1, "heads": 1, "mlp_ratio": 0.1},
        {"width": 6, "heads": 3, "mlp_ratio": 1.6, "patch_size": 8, "position": "relative"},
        {"width": 3, "heads": 1, "stem": "hybrid", "patch_size": 8},
        {"patch_size": 1, "position": "sincos_2d", "depth": 1, "stochastic_depth": 0.5},
    ],
)
def test_odd_sizes_work(changes):
    logits = tiny(**changes)(torch.randn(4, 1, 8, 8))
    assert logits.shape == (4, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_bf16_parameters_work(position, stem):
    model = tiny(position=position, stem=stem, stochastic_depth=0.5, layer_scale=0.1, dropout=0.1).bfloat16()
    logits = model(torch.randn(4, 1, 8, 8, dtype=torch.bfloat16))
    assert logits.dtype == torch.bfloat16
    logits.float().square().sum().backward()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stem", ["patch", "conv", "hybrid"])
def test_forward_creates_every_tensor_on_the_models_device(position, stem, monkeypatch):
    monkeypatch.setattr(vit, "initialise", lambda *_: None)  # reads values, which fake tensors have none of
    options = {"stochastic_depth": 0.5, "dropout": 0.1, "attention_dropout": 0.1, "layer_scale": 0.1}
    spec = ViTSpec(**(TINY | {"position": position, "stem": stem} | options))
    with FakeTensorMode(allow_non_fake_inputs=False):
        with torch.device("cuda"):
            model = build(spec, image_size=8, channels=1, classes=3)
            images = torch.empty(2, 1, 8, 8)
        assert model(images).device.type == "cuda"


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_autocast_keeps_the_residual_stream_in_float32(position, stem):
    model = tiny(position=position, stem=stem, pool="mean", stochastic_depth=0.1)
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda _block, _inputs, out: seen.append(out.dtype))
    images = torch.randn(4, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    logits.float().sum().backward()
    assert seen == [torch.float32] * 2
    torch.testing.assert_close(logits.float(), model(images), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_stack_of_models_runs_under_vmap(position):
    models = [build(ViTSpec(**TINY, position=position), image_size=8, channels=1, classes=3).eval() for _ in range(3)]
    state = torch.func.stack_module_state(models)
    images = torch.randn(2, 1, 8, 8)

    def forward(parameters, buffers):
        return torch.func.functional_call(models[0], (parameters, buffers), (images,))

    together = torch.func.vmap(forward)(*state)
    torch.testing.assert_close(together, torch.stack([model(images) for model in models]), atol=1e-5, rtol=1e-5)


# --- what is refused ---


@pytest.mark.parametrize("shape", [(2, 1, 12, 12), (2, 3, 8, 8), (1, 8, 8), (2, 1, 8, 4)])
def test_images_of_another_shape_are_refused(shape):
    model = tiny()
    with pytest.raises(ValueError, match=r"Expected images \(B, 1, 8, 8\) of .*; found \(") as error:
        model(torch.zeros(shape))
    assert str(error.value).endswith(f"found {shape} torch.float32.")


def test_integer_images_are_refused():
    model = tiny()
    with pytest.raises(
        ValueError, match=r"^Expected images .* of a floating-point type, normalised; found .* torch.uint8\.$"
    ):
        model(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 10}, "patch_size 4 does not divide image_size 10"),
        ({"channels": 0}, r"channels is 0; it must be 1 or more"),
        ({"classes": 1}, r"classes is 1; it must be 2 or more"),
    ],
)
def test_impossible_models_are_refused(change, message):
    with pytest.raises(InvalidInput, match=message):
        tiny(**change)

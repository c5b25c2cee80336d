"""The parts of a vision transformer that came after the first one, each beside a reference: see also `test_vit`."""

import math

import pytest
import timm
import torch
import vit_pytorch.vit_5
from timm.layers import resample_patch_embed
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F  # noqa: N812
from weight_maps import load, randomise, timm_weights

from harness.models import activation_bytes, attention_macs_per_image, build, family_of, macs_per_image, parameters, vit
from harness.models.family import parameter_groups
from harness.models.position import RotaryPosition
from harness.models.transfer import start_from
from harness.models.vit import ViT
from harness.spec import ViTSpec
from harness.spec.errors import InvalidInput

ALL_PARTS = {
    "rotary": 100.0, "registers": 2, "norm_type": "rms", "qk_norm": True, "mlp": "swiglu", "mlp_bias": False,
    "residual": "parallel", "patch_dropout": 0.3,
}  # fmt: skip
SHAPE = {"image_size": 16, "channels": 2, "classes": 5}
TIMM = {"img_size": 16, "patch_size": 4, "in_chans": 2, "num_classes": 5, "embed_dim": 24, "depth": 2, "num_heads": 3}


def small(**changes) -> ViT:
    torch.manual_seed(0)
    spec = ViTSpec(
        **({"patch_size": 4, "width": 24, "depth": 2, "heads": 3, "pool": "cls", "zero_head": False} | changes)
    )
    model = build(spec, **SHAPE)
    assert isinstance(model, ViT)
    return model


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 2, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# --- the same mathematics as published code ---


@pytest.mark.parametrize("position", ["learned_1d", "none"])
@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
def test_rotary_positions_and_swiglu_equal_timms_eva(position, mlp):
    """EVA-02 with both, beside learned positions and without them."""
    changes = {"use_rot_pos_emb": True, "rope_temperature": 100.0, "use_abs_pos_emb": position != "none"}
    hidden = {"mlp_ratio": 64 / 24} if mlp == "swiglu" else {}  # two thirds of 96
    theirs = Eva(
        **TIMM, **changes, **hidden, qkv_bias=False, swiglu_mlp=mlp == "swiglu", swiglu_align_to=8, global_pool="token"
    )
    randomise(theirs)
    ours = small(rotary=100.0, position=position, mlp=mlp, qkv_bias=False).double().eval()
    load(ours, timm_weights(theirs))
    torch.testing.assert_close(ours(images()), theirs.double().eval()(images()), atol=1e-9, rtol=1e-9)


def test_the_set_of_vit_5_equals_vit_pytorchs():
    """RMSNorm, QK-norm, layer scale, both positions, no bias of queries, keys, values. (Registers turn there alone.)"""
    theirs = vit_pytorch.vit_5.ViT(
        image_size=16, patch_size=4, num_classes=5, dim=24, depth=2, heads=3, dim_head=8, mlp_dim=96, channels=2,
        num_registers=0,
    )  # fmt: skip
    randomise(theirs)
    parts = {"rotary": 1e5, "norm_type": "rms", "qk_norm": True, "layer_scale": 1e-4, "qkv_bias": False}
    ours = small(**parts, norm_eps=1e-24).double().eval()
    found = {
        "stem.projection.weight": theirs.to_patch_embedding[1].weight.view(24, 16, 2).mT.flatten(1),
        "stem.projection.bias": theirs.to_patch_embedding[1].bias,
        "class_token": theirs.cls_token[None],
        "position.table": theirs.pos_embedding[None],
        "norm.weight": theirs.transformer.norm.g,
        "head.linear.weight": theirs.mlp_head.weight,
        "head.linear.bias": theirs.mlp_head.bias,
    }
    scales = zip(theirs.transformer.ls1, theirs.transformer.ls2, strict=True)
    for index, ((attention, mlp), both) in enumerate(zip(theirs.transformer.layers, scales, strict=True)):
        own = {"norm1": attention.norm.g, "attention.qkv": attention.to_qkv.weight, "norm2": mlp.net[0].g}
        own |= {"attention.norms.0": attention.q_norm.g, "attention.norms.1": attention.k_norm.g}
        own |= {"attention.output": attention.to_out[0].weight, "mlp.0": mlp.net[1].weight, "mlp.3": mlp.net[4].weight}
        found |= {f"blocks.{index}.{name}.weight": tensor for name, tensor in own.items()}
        maps = {"attention.output": attention.to_out[0], "mlp.0": mlp.net[1], "mlp.3": mlp.net[4]}
        found |= {f"blocks.{index}.{name}.bias": linear.bias for name, linear in maps.items()}
        found |= {f"blocks.{index}.branch{n}.layer_scale": scale for n, scale in enumerate(both, 1)}
    load(ours, found)
    torch.testing.assert_close(ours(images()), theirs.double().eval()(images()), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_parallel_block_equals_timms(qk_norm):
    theirs = ParallelScalingBlock(24, 3, qkv_bias=True, qk_norm=qk_norm, norm_layer=timm.layers.LayerNorm)
    randomise(theirs)
    model = small(residual="parallel", qk_norm=qk_norm).double().eval()
    block, tensors = model.blocks[0], theirs.double().state_dict()
    found = {}
    for kind in ("weight", "bias"):
        found[f"mlp.0.{kind}"], found[f"attention.qkv.{kind}"] = tensors[f"in_proj.{kind}"].split([96, 72])
        names = {"norm1": "in_norm", "attention.output": "attn_out_proj", "mlp.3": "mlp_out_proj"}
        names |= {"attention.norms.0": "q_norm", "attention.norms.1": "k_norm"} if qk_norm else {}
        found |= {f"{ours}.{kind}": tensors[f"{other}.{kind}"] for ours, other in names.items()}
    block.load_state_dict(found)
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    torch.testing.assert_close(block(x), theirs.eval()(x), atol=1e-9, rtol=1e-9)


def test_patch_dropout_equals_timms():
    theirs = VisionTransformer(**TIMM, patch_drop_rate=0.4)
    randomise(theirs)
    ours = small(patch_dropout=0.4).double()
    load(ours, timm_weights(theirs))
    found = []
    for model in (ours, theirs.double()):
        torch.manual_seed(4)
        found.append(model.train()(images()))
    torch.testing.assert_close(*found, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(ours.eval()(images()), theirs.eval()(images()), atol=1e-9, rtol=1e-9)


# --- properties ---


def test_rotary_scores_depend_on_the_offset_of_patches_only():
    """As complex numbers that turn by row and by column; a token that is no patch is not turned."""
    spec = ViTSpec(width=24, heads=3, patch_size=4, pool="cls", rotary=100.0, registers=2)
    rotary = RotaryPosition(spec, 100.0, grid=3).double()
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64).expand(2, 1, 12, 8)
    turned = [rotary(part[None], None)[0, 0] for part in (q, k)]
    scores = (turned[0] @ turned[1].mT)[3:, 3:]
    q_pairs, k_pairs = (torch.view_as_complex(part[0, 0].reshape(4, 2)) for part in (q, k))
    pairs = q_pairs * k_pairs.conj()
    frequencies = torch.tensor([1, 100**-0.5], dtype=torch.float64)
    for i in range(9):
        for j in range(9):
            down, right = i // 3 - j // 3, i % 3 - j % 3
            angles = torch.cat([down * frequencies, right * frequencies])
            expected = (pairs * torch.polar(torch.ones(4, dtype=torch.float64), angles)).real.sum()
            torch.testing.assert_close(scores[i, j], expected)
    assert torch.equal(turned[0][:3], q[0, :3])


def test_a_frozen_body_drops_no_patches():
    """Under a head that is trained alone the body is in evaluation mode, and the model as a whole is not."""
    model = small(patch_dropout=0.5)
    randomise(model)
    expected = model.eval()(images().float())
    model.train()
    for part in model.children():
        part.eval()
    torch.testing.assert_close(model(images().float()), expected)


def test_dropped_patches_are_as_if_they_were_not_there():
    """With rotary positions, registers and a class token: as attention that does not see them."""
    model = small(patch_dropout=0.5, rotary=100.0, registers=2, depth=1).double()
    randomise(model)
    torch.manual_seed(4)
    found = model(images())
    torch.manual_seed(4)
    kept = model._kept(torch.empty(2, 2 + 1 + 16, 1, dtype=torch.float64))
    assert kept.shape == (2, 3 + 8)
    assert kept[:, :3].tolist() == [[0, 1, 2]] * 2
    model.eval()
    block, expected = model.blocks[0], []
    for image, chosen in zip(images(), kept, strict=True):
        x = model.position(torch.cat([model.class_token, model.stem(image[None])], dim=1))
        x = torch.cat([model.registers, x], dim=1)
        q, k, v, _ = block.attention._projected(block.norm1(x))
        seen = torch.zeros(19, dtype=torch.bool)
        seen[chosen] = True
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen.expand(19, 19)).transpose(1, 2).flatten(2)
        x = x + block.attention.output(y)
        x = x + block.mlp(block.norm2(x))
        expected.append(model.head(model.norm(x[:, 2])))
    torch.testing.assert_close(found, torch.cat(expected))


@pytest.mark.parametrize("pool", ["cls", "mean", "all", "map"])
def test_registers_change_what_is_computed_but_are_not_read(pool):
    model = small(pool=pool, registers=2, depth=1).double().eval()
    before = model(images())
    with torch.no_grad():
        model.registers.copy_(torch.randn(1, 2, 24))
    assert not torch.allclose(model(images()), before)
    with torch.no_grad():
        model.blocks[0].attention.qkv.weight.zero_()  # nothing flows between tokens
        changed = model(images())
        model.registers.copy_(torch.randn(1, 2, 24))
    torch.testing.assert_close(model(images()), changed, atol=0, rtol=0)


def test_registers_change_no_other_parameter_of_the_start():
    plain, more = small().state_dict(), small(registers=4).state_dict()
    assert more.pop("registers").std().item() == pytest.approx(0.02, rel=0.3)
    assert plain.keys() == more.keys()
    assert all(torch.equal(plain[name], more[name]) for name in plain)


# --- patches of several sizes ---


@pytest.mark.parametrize("size", [8, 4, 2])
def test_the_map_of_flexible_patches_is_resized_as_timms(size):
    model = small(flexible_patches=(2, 4, 8), patch_size=size).eval()
    kernel = model.stem.projection.weight.detach().view(24, 2, 8, 8)
    expected = resample_patch_embed(kernel, [size, size], interpolation="bilinear", antialias=True)
    torch.testing.assert_close(model.stem.filters(), expected, atol=1e-5, rtol=1e-5)
    pixels = images().float()
    convolved = F.conv2d(pixels, expected, model.stem.projection.bias, stride=size).flatten(2).mT
    torch.testing.assert_close(model.stem(pixels), convolved, atol=1e-5, rtol=1e-5)


def test_the_positions_of_flexible_patches_are_resized_and_the_class_tokens_is_not():
    model = small(flexible_patches=(2, 4, 8), position_sd=1.0)
    table = model.position.table.detach()
    assert table.shape == (1, 1 + 64, 24)
    for side in (8, 4, 2):
        added = model.position(torch.zeros(1, 1 + side**2, 24))
        as_image = table[:, 1:].mT.view(1, 24, 8, 8)
        expected = F.interpolate(as_image, size=(side, side), mode="bilinear", antialias=True).flatten(2).mT
        torch.testing.assert_close(added[:, 1:], expected)
        assert torch.equal(added[:, 0], table[:, 0])


def test_training_takes_the_size_that_is_drawn_and_evaluation_its_own():
    """The size that is evaluated changes no training."""
    models = [small(flexible_patches=(2, 4, 8), patch_size=size) for size in (2, 8)]
    for drawn, tokens in ((8, 1 + 4), (4, 1 + 16), (2, 1 + 64)):
        outputs = []
        for model in models:
            model.train().stem.drawn = drawn
            assert model.stem(images().float()).shape[1] == tokens - 1
            outputs.append(model(images().float()))
        assert torch.equal(*outputs)
    assert [model.eval().stem(images().float()).shape[1] for model in models] == [64, 4]


def test_a_flexible_model_costs_what_one_of_its_patch_size_does():
    for size in (2, 4):
        flexible, fixed = (
            ViTSpec(patch_size=size, width=24, heads=3, flexible_patches=sizes) for sizes in ((2, 4), ())
        )
        assert macs_per_image(flexible, **SHAPE) == macs_per_image(fixed, **SHAPE)
    trained = [
        activation_bytes(ViTSpec(patch_size=size, width=24, heads=3, flexible_patches=(2, 4)), training=True, **SHAPE)
        for size in (2, 4)
    ]
    assert trained[0] == trained[1]
    state = torch.get_rng_state()
    activation_bytes(ViTSpec(patch_size=2, width=24, heads=1, flexible_patches=(2, 4)), training=True, **SHAPE)
    assert torch.equal(torch.get_rng_state(), state)


# --- what else must know of them ---


def test_cost_is_counted():
    base = {"patch_size": 4, "width": 24, "depth": 2, "heads": 3, "pool": "mean"}
    plain = macs_per_image(ViTSpec(**base), **SHAPE)
    for free in (
        {"rotary": 100.0},
        {"qk_norm": True},
        {"norm_type": "rms"},
        {"residual": "parallel"},
        {"patch_dropout": 0.5},
    ):
        assert macs_per_image(ViTSpec(**base, **free), **SHAPE) == plain, free
    assert macs_per_image(ViTSpec(**base, mlp="swiglu"), **SHAPE) == plain  # 3 * 64 for 2 * 96
    tokens = 16 + 2
    per_block = 12 * 24**2 * tokens + 2 * 24 * tokens**2
    assert macs_per_image(ViTSpec(**base, registers=2), **SHAPE) == 16 * 32 * 24 + 2 * per_block + 24 * 5
    pool = 24**2 * (1 + 2 * 16 + 1 + 8)  # query; keys and values; output; MLP
    spec = ViTSpec(**base | {"pool": "map"})
    assert macs_per_image(spec, **SHAPE) == plain + pool + 2 * 16 * 24
    assert attention_macs_per_image(spec, **SHAPE) == 2 * 2 * 24 * 16**2 + 2 * 16 * 24


def test_every_parameter_has_its_role():
    model = small(**ALL_PARTS | {"pool": "map", "layer_scale": 0.1})
    groups = parameter_groups(model)
    blocks = {f"blocks.{i}.{part}.weight" for i in range(2) for part in ("attention.output", "mlp.gate", "mlp.value")}
    blocks |= {f"blocks.{i}.mlp.output.weight" for i in range(2)}
    pool = {f"attention_pool.{part}.weight" for part in ("query", "key", "value", "output")}
    pool |= {f"attention_pool.mlp.{part}.weight" for part in ("gate", "value", "output")}
    qkv = {f"blocks.{i}.attention.qkv.weight": 3 for i in range(2)}
    assert groups.hidden == dict.fromkeys(blocks | pool, 1) | qkv
    assert groups.decayed == {"stem.projection.weight", "head.linear.weight"}
    assert {"registers", "attention_pool.latent", "blocks.0.attention.norms.1.weight"} <= groups.undecayed


def test_without_biases_there_are_none():
    names = ("qkv_bias", "output_bias", "mlp_bias", "norm_bias")
    model = small(**dict.fromkeys(names, False), qk_norm=True)
    biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    assert biases == {"stem.projection.bias", "head.linear.bias"}
    assert parameters(small(mlp="swiglu", mlp_bias=False)) == parameters(small(mlp_bias=False))


@pytest.mark.parametrize("flexible", [False, True])
def test_a_model_starts_from_one_for_other_images(flexible):
    """Positions are resized; registers, norms of queries and pooling are as they were; rotary positions go on."""
    changes = ALL_PARTS | {"pool": "map", "width": 24, "heads": 3, "depth": 2, "patch_size": 4}
    changes |= {"flexible_patches": (2, 4), "rotary": None} if flexible else {}
    spec = ViTSpec(**changes)
    torch.manual_seed(0)
    given, larger = (build(spec, image_size=side, channels=2, classes=5) for side in (16, 24))
    randomise(given)
    start_from(larger, given.state_dict(), "these")
    assert torch.equal(larger.registers, given.registers)
    assert torch.equal(larger.attention_pool.latent, given.attention_pool.latent)
    assert larger.position.table.shape[1] == (144 if flexible else 36)
    assert larger.position.table.std().item() == pytest.approx(given.position.table.std().item(), rel=0.3)
    assert not larger.eval()(torch.randn(2, 2, 24, 24)).any()  # a head of zeros


def test_what_can_be_looked_into_has_no_registers():
    spec = ViTSpec(**ALL_PARTS, patch_size=4, width=24, heads=3, pool="all")
    found = family_of(spec).inside
    assert found is not None
    inside = found(build(spec, **SHAPE), spec)
    assert inside.pooled == slice(2, None)
    assert inside.positions is not None
    assert inside.positions.shape == (16, 24)
    flexible = ViTSpec(patch_size=4, width=24, heads=3, flexible_patches=(2, 4))
    inside = found(build(flexible, **SHAPE), flexible)
    assert inside.filters is not None
    assert inside.positions is not None
    assert (inside.filters.shape, inside.positions.shape) == ((24, 2, 4, 4), (16, 24))


# --- every combination works ---


@pytest.mark.parametrize("most_explicit", [512, 0])
@pytest.mark.parametrize("pool", ["cls", "map"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_all_together_train(monkeypatch, pool, norm, most_explicit):
    monkeypatch.setattr(vit, "EXPLICIT_TOKENS", most_explicit)
    model = small(**ALL_PARTS | {"pool": pool, "norm": norm} | ({"residual": "full"} if norm == "post" else {}))
    F.cross_entropy(model(images(4).float()), torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("flexible", [(), (2, 4)])
def test_lower_precision_works(flexible):
    changes = ALL_PARTS | {"pool": "map", "flexible_patches": flexible, "rotary": None if flexible else 100.0}
    model = small(**changes)
    seen = []
    model.blocks[0].register_forward_hook(lambda _block, _inputs, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(images().float()).float().sum().backward()
    assert seen == [torch.float32]
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(images().float())
    torch.testing.assert_close(found.float(), model(images().float()), atol=0.1, rtol=0.1)
    assert model.bfloat16()(images().bfloat16()).dtype == torch.bfloat16


def test_tensors_are_made_on_the_models_device(monkeypatch):
    monkeypatch.setattr(vit, "initialise", lambda *_: None)  # reads values, which fake tensors have none of
    spec = ViTSpec(**ALL_PARTS, patch_size=4, width=24, heads=3, pool="map")
    with FakeTensorMode(allow_non_fake_inputs=False):
        with torch.device("cuda"):
            model, pixels = build(spec, **SHAPE), torch.empty(2, 2, 16, 16)
        assert model(pixels).device.type == "cuda"
        assert model.eval()(pixels).device.type == "cuda"


def test_a_stack_of_models_runs_under_vmap():
    spec = ViTSpec(**ALL_PARTS, patch_size=4, width=24, heads=3, pool="map")
    models = [build(spec, **SHAPE).eval() for _ in range(2)]
    state = torch.func.stack_module_state(models)
    pixels = images().float()

    def forward(tensors, buffers):
        return torch.func.functional_call(models[0], (tensors, buffers), (pixels,))

    together = torch.func.vmap(forward)(*state)
    torch.testing.assert_close(together, torch.stack([model(pixels) for model in models]), atol=1e-5, rtol=1e-5)


# --- what is refused ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 18, "rotary": 100.0}, "ViTSpec.width is 18 with 3 heads; rotary positions turn pairs of numbers"),
        (
            {"patch_dropout": 0.5, "position": "relative"},
            "ViTSpec.patch_dropout is 0.5; a relative position bias is of",
        ),
        (
            {"pool": "map", "distillation_token": True},
            "ViTSpec.pool is 'map'; a distillation token needs a class token",
        ),
        ({"norm": "post", "residual": "parallel"}, "ViTSpec.residual is 'parallel'; post-norm blocks have no choice"),
        ({"flexible_patches": (2, 8)}, r"ViTSpec.flexible_patches is \(2, 8\); patch_size, 4, must be one of them"),
        ({"flexible_patches": (4, 8), "rotary": 9.0}, r"flexible_patches is \(4, 8\) with rotary 9.0; only the linear"),
        (
            {"flexible_patches": (4, 8), "position": "sincos_2d"},
            r"with position 'sincos_2d'; .*: use one of \('none', ",
        ),
        ({"flexible_patches": (4, 6)}, "patch_size 6 does not divide image_size 16"),
        ({"registers": -1}, "ViTSpec.registers is -1; it must be 0 or more"),
        ({"patch_dropout": 1.0}, "ViTSpec.patch_dropout is 1.0; it must lie in"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(InvalidInput, match=message):
        small(**changes)


def test_heads_of_any_width_do_without_rotary_positions():
    assert math.isfinite(small(width=15, qk_norm=True, registers=1, pool="map")(images().float()).sum().item())


def test_a_norm_of_queries_bounds_their_product():
    attention = small(qk_norm=True).blocks[0].attention
    assert isinstance(attention.norms[0], nn.LayerNorm)
    q, k, _, _ = attention._projected(1e3 * torch.randn(2, 5, 24))
    assert (q @ k.mT).abs().max() <= 8 * 1.001

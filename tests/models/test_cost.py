import pytest
import torch

from harness.models import (
    activation_bytes,
    attention_macs_per_image,
    build,
    macs_per_image,
    parameters,
)
from harness.models.family import parameter_groups
from harness.spec import ResNetSpec, SwinSpec, ViTSpec

IMAGENET = {"image_size": 224, "channels": 3, "classes": 1000}
SMALL = {"image_size": 28, "channels": 1, "classes": 10}


def on_meta(spec, **data):
    with torch.device("meta"):
        return build(spec, **data)


def vit_macs(spec: ViTSpec, image_size: int, channels: int, classes: int) -> int:
    """C p^2 D per patch + L (12 t D^2 + 2 t^2 D) + D K per head, for an MLP of ratio 4."""
    patches, width = (image_size // spec.patch_size) ** 2, spec.width
    embedding = patches * channels * spec.patch_size**2 * width
    linear = 12 * tokens(spec, image_size) * width**2
    heads = 1 + spec.distillation_token
    return embedding + spec.depth * linear + vit_attention_macs(spec, image_size) + heads * width * classes


def vit_attention_macs(spec: ViTSpec, image_size: int) -> int:
    """L * 2 t^2 D."""
    return spec.depth * 2 * tokens(spec, image_size) ** 2 * spec.width


def tokens(spec: ViTSpec, image_size: int) -> int:
    return (image_size // spec.patch_size) ** 2 + (spec.pool != "mean") + spec.distillation_token


@pytest.mark.parametrize(
    ("size", "patch_size", "count", "giga"),
    [
        ("Ti", 16, 5_717_416, 1.25),
        ("S", 16, 22_050_664, 4.60),
        ("B", 16, 86_567_656, 17.56),
        ("B", 32, 88_224_232, 4.41),
        ("L", 16, 304_326_632, 61.55),
        ("L", 32, 306_535_400, 15.38),
        ("H", 14, 632_045_800, 167.30),
    ],
)
def test_published_vits_have_their_published_size(size, patch_size, count, giga):
    spec = ViTSpec.preset(size, patch_size=patch_size)
    assert parameters(on_meta(spec, **IMAGENET)) == count
    macs = macs_per_image(spec, **IMAGENET)
    assert attention_macs_per_image(spec, **IMAGENET) == vit_attention_macs(spec, 224)
    assert macs == vit_macs(spec, **IMAGENET)
    assert macs / 1e9 == pytest.approx(giga, abs=0.006)


def test_a_model_is_counted_once(monkeypatch):
    spec = ViTSpec(patch_size=4, width=24, depth=5, heads=3)
    first = macs_per_image(spec, **SMALL)
    monkeypatch.delattr("harness.models.build")
    assert macs_per_image(spec, **SMALL) == first
    assert attention_macs_per_image(spec, **SMALL) == vit_attention_macs(spec, 28)


@pytest.mark.parametrize("position", ["none", "learned_1d", "learned_2d", "sincos_2d", "relative"])
@pytest.mark.parametrize("pool", ["cls", "mean", "all"])
def test_position_adds_no_multiplications(position, pool):
    spec = ViTSpec(patch_size=4, width=24, depth=2, heads=3, position=position, pool=pool)
    assert macs_per_image(spec, **SMALL) == vit_macs(spec, **SMALL)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pool": "all", "pool_norm": "after"},
        {"pool": "mean", "position": "relative", "heads": 1},
        {"qkv_bias": False, "output_bias": False, "attention_dropout": 0.1},
        {"norm": "post", "stem": "hybrid"},
        {"pool": "cls", "distillation_token": True},
    ],
)
def test_attention_alone_is_counted(changes):
    """Whatever else multiplies matrices: linear maps without a bias, a stem, two heads."""
    spec = ViTSpec(**{"patch_size": 4, "width": 24, "depth": 2, "heads": 3} | changes)
    assert attention_macs_per_image(spec, **SMALL) == vit_attention_macs(spec, 28)


@pytest.mark.parametrize("spec", [ResNetSpec(depth=8), ResNetSpec(depth=18)])
def test_a_resnet_has_no_attention(spec):
    assert attention_macs_per_image(spec, **SMALL) == 0


@pytest.mark.parametrize("position", ["learned_1d", "relative"])
def test_both_tokens_and_heads_of_a_distilled_model_are_counted(position):
    spec = ViTSpec(patch_size=4, width=24, depth=2, heads=3, position=position, pool="cls", distillation_token=True)
    assert macs_per_image(spec, **SMALL) == vit_macs(spec, **SMALL)


def stem_macs(stem: str) -> int:
    spec = ViTSpec(patch_size=4, width=16, depth=1, heads=2, pool="mean", stem=stem)
    data = {"image_size": 8, "channels": 3, "classes": 2}
    patch = 4 * 3 * 16 * 16
    return macs_per_image(spec, **data) - vit_macs(spec, **data) + patch


def test_stems_are_counted():
    projection = 4 * 16 * 16
    assert stem_macs("patch") == 4 * 48 * 16
    assert stem_macs("conv") == 9 * (16 * 3 * 8 + 4 * 8 * 16) + projection
    assert stem_macs("hybrid") == 9 * (64 * 3 * 8 + 16 * (8 * 8 + 8 * 8) + 4 * (8 * 16 + 16 * 16)) + projection


def test_head_with_a_hidden_layer_is_counted():
    spec = ViTSpec(patch_size=4, width=16, depth=1, heads=2, head_hidden=5)
    data = {"image_size": 8, "channels": 1, "classes": 3}
    assert macs_per_image(spec, **data) == vit_macs(spec, **data) - 16 * 3 + 16 * 5 + 5 * 3


@pytest.mark.parametrize(
    ("depth", "published"),
    [(18, 1_814_073_344), (34, 3_663_761_408), (50, 4_089_184_256)],  # torchvision prints 1.81, 3.66, 4.09 'GFLOPs'
)
def test_resnets_are_counted(depth, published):
    assert macs_per_image(ResNetSpec(depth=depth, stem="imagenet"), **IMAGENET) == published


def test_a_small_resnet_is_counted():
    w, data = 4, {"image_size": 8, "channels": 1, "classes": 3}
    stages = [64 * (w * w + w * w), 16 * (2 * w * w + 4 * w * w), 4 * (8 * w * w + 16 * w * w)]
    assert macs_per_image(ResNetSpec(depth=8, width=w), **data) == 9 * (64 * w + sum(stages)) + 4 * w * 3


def test_embeddings_norms_biases_and_scales_have_no_decay():
    spec = ViTSpec(patch_size=4, width=16, depth=1, heads=2, layer_scale=0.1, position="learned_2d")
    model = on_meta(spec, image_size=8, channels=1, classes=3)
    decayed = {name for name, _ in model.named_parameters()} - parameter_groups(model).undecayed
    assert decayed == {"stem.projection.weight", "head.linear.weight", *parameter_groups(model).hidden}
    relative = on_meta(ViTSpec(patch_size=4, width=16, depth=1, heads=2, position="relative"), **IMAGENET)
    assert "blocks.0.attention.relative_position.table" in parameter_groups(relative).undecayed


@pytest.mark.parametrize("position", ["learned_1d", "relative"])
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_hidden_weights_of_a_vit_are_the_matrices_of_its_blocks(position, stem):
    spec = ViTSpec(patch_size=4, width=16, depth=2, heads=2, position=position, stem=stem, head_hidden=4)
    model = on_meta(spec, image_size=8, channels=1, classes=3)
    parts = {"attention.qkv": 3, "attention.output": 1, "mlp.0": 1, "mlp.3": 1}
    hidden = parameter_groups(model).hidden
    assert hidden == {f"blocks.{i}.{name}.weight": parts[name] for i in range(2) for name in parts}


@pytest.mark.parametrize(("spec", "kernels"), [(ResNetSpec(depth=8), 6), (ResNetSpec(depth=18), 19)])
def test_hidden_weights_of_a_resnet_are_its_kernels_but_the_first(spec, kernels):
    model = on_meta(spec, image_size=32, channels=3, classes=10)
    weights = parameter_groups(model).hidden
    assert len(weights) == kernels
    assert "conv1.weight" not in weights
    assert set(weights.values()) == {1}
    undecayed = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    assert parameter_groups(model).undecayed == undecayed


@pytest.mark.parametrize(
    "spec",
    [
        ResNetSpec(depth=8),
        ResNetSpec(depth=18),
        ViTSpec(patch_size=4, width=32, depth=3, heads=2),
        ViTSpec(patch_size=7, width=32, depth=2, heads=2, stem="patch", pool="mean"),
        SwinSpec(patch_size=2, width=16, depths=(2, 2), heads=(2, 4), window=7),
    ],
    ids=str,
)
def test_activations_of_training_are_those_that_autograd_keeps(spec):
    """And a few more, which a pass holds beside them; an evaluation keeps one layer's, whatever the depth."""
    model = build(spec, **SMALL).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(torch.randn(8, 1, 28, 28))
    saved = sum(size for place, size in kept.items() if place not in own) / 8
    del output
    trained, evaluated = (activation_bytes(spec, training=training, **SMALL) for training in (True, False))
    assert saved <= trained < 1.5 * saved
    assert 28 * 28 * 4 < evaluated < trained / 2


def test_activations_grow_with_the_pixels_and_not_with_the_depth_in_evaluation():
    specs = ((ResNetSpec(depth=14), 32), (ResNetSpec(depth=14), 64), (ResNetSpec(depth=20), 32))
    (one, four, deep), (one_trained, four_trained, deep_trained) = (
        [activation_bytes(spec, training=training, image_size=size, channels=3, classes=10) for spec, size in specs]
        for training in (False, True)
    )
    assert (four / one, four_trained / one_trained) == (pytest.approx(4, rel=0.01),) * 2
    assert deep == one
    assert deep_trained > 1.3 * one_trained

"""Learned weights in a new model: what is loaded, resized, zeroed and frozen, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.models import build
from harness.models.transfer import HEADS, freeze_body, of_timm, resized_positions, start_from
from harness.spec import InvalidInput, ResNetSpec, SwinSpec, ViTSpec

VIT = ViTSpec(patch_size=4, width=24, depth=2, heads=3, pool="cls", zero_head=False, initialisation="truncated_normal")
RESNET = ResNetSpec(depth=8, width=4)
SWIN = SwinSpec(patch_size=2, width=8, depths=(1, 1), heads=(1, 2), window=2)


def model_of(spec: Any, side: int = 16, classes: int = 10, channels: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(spec, image_size=side, channels=channels, classes=classes).eval()


def learned(spec: Any, **shape: int) -> dict[str, Tensor]:
    """Weights that no start has, BatchNorm's statistics too."""
    model = model_of(spec, seed=1, **shape)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return model.state_dict()


def refused(model: nn.Module, tensors: dict[str, Tensor], **options: Any) -> str:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InvalidInput) as caught:
        start_from(model, tensors, "w.safetensors", **options)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    return str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        VIT,
        replace(VIT, position="learned_2d", stem="hybrid", pool="mean", layer_scale=0.1),
        replace(VIT, position="relative"),
        replace(VIT, position="sincos_2d", distillation_token=True, head_hidden=6),
        RESNET,
        ResNetSpec(depth=18),
        SWIN,
    ],
    ids=lambda spec: f"{spec.kind} {getattr(spec, 'position', '')}",
)
def test_the_body_is_loaded_to_the_bit_and_the_head_predicts_nothing(spec: Any) -> None:
    tensors, model = learned(spec, classes=7), model_of(spec)
    start_from(model, tensors, "w")
    body = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(HEADS)}
    assert len(body) > 5
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in body.items())
    predicted = model(torch.randn(3, 3, 16, 16)).softmax(-1)
    assert torch.equal(predicted, torch.full_like(predicted, 0.1))


@pytest.mark.parametrize(("before", "after"), [((4, 4), (7, 7)), ((2, 5), (4, 4)), ((6, 6), (3, 3)), ((1, 4), (3, 2))])
def test_positions_are_resized_as_torch_resizes_images(before: tuple[int, int], after: tuple[int, int]) -> None:
    grid = torch.randn(1, 5, *before)
    vectors = grid[0].flatten(1).T
    expected = F.interpolate(grid, size=after, mode="bicubic", align_corners=False)
    torch.testing.assert_close(resized_positions(vectors, before, after), expected[0].flatten(1).T)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize(("side", "new"), [(16, 24), (24, 16)])
def test_a_model_of_another_resolution_keeps_all_but_the_patches_positions(pool: Any, side: int, new: int) -> None:
    spec = replace(VIT, pool=pool)
    tensors, model = learned(spec, side=side), model_of(spec, side=new)
    start_from(model, tensors, "w")
    table, given, tokens = model.state_dict()["position.table"], tensors["position.table"], int(pool == "cls")
    assert torch.equal(table[:, :tokens], given[:, :tokens])
    grids = (side // 4,) * 2, (new // 4,) * 2
    torch.testing.assert_close(table[0, tokens:], resized_positions(given[0, tokens:], *grids))
    same = {name for name in tensors if not name.startswith((*HEADS, "position."))}
    assert all(torch.equal(model.state_dict()[name], tensors[name]) for name in same)


def test_rows_and_columns_are_resized_as_their_whole_table() -> None:
    spec = replace(VIT, position="learned_2d")
    tensors, model = learned(spec, side=16), model_of(spec, side=28)
    start_from(model, tensors, "w")

    def table(of: dict[str, Tensor], side: int) -> Tensor:
        rows, columns = of["position.rows"], of["position.columns"]
        return torch.cat([rows.expand(-1, side, -1), columns.expand(side, -1, -1)], dim=2).flatten(0, 1)

    expected = resized_positions(table(tensors, 4), (4, 4), (7, 7))
    torch.testing.assert_close(table(model.state_dict(), 7), expected, rtol=1e-4, atol=1e-5)


def test_positions_of_a_grid_that_is_no_square_need_its_rows_and_columns() -> None:
    model, tensors = model_of(VIT), learned(VIT)
    tensors["position.table"] = torch.randn(1, 1 + 2 * 8, 24)  # as many as the model's, of another grid
    start_from(model, tensors, "w", grid=(2, 8))
    expected = resized_positions(tensors["position.table"][0, 1:], (2, 8), (4, 4))
    torch.testing.assert_close(model.state_dict()["position.table"][0, 1:], expected)
    tensors["position.table"] = torch.randn(1, 1 + 15, 24)
    assert "has position embeddings of 15 patches, not 3 rows of 3. Name the rows" in refused(model, tensors)
    assert "of 15 patches, not 4 rows of 4" in refused(model, tensors, grid=(4, 4))


def without(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors.items() if key != name}


BAD: dict[str, tuple[Any, Any, str]] = {
    "channels": (VIT, lambda: learned(VIT, channels=1), "has stem.projection.weight of shape (24, 16), the model (24"),
    "width": (VIT, lambda: learned(replace(VIT, width=48)), "class_token of shape (1, 1, 48), the model (1, 1, 24)"),
    "family": (VIT, lambda: learned(RESNET), "w.safetensors lacks blocks.0.attention.output.bias, "),
    "depth": (VIT, lambda: learned(replace(VIT, depth=3)), "has blocks.2.attention.output.bias, "),
    "no class token": (replace(VIT, pool="mean"), lambda: learned(VIT), "has class_token; the tensors must be those"),
    "relative": (
        replace(VIT, position="relative"),
        lambda: learned(replace(VIT, position="relative"), side=24),
        "has blocks.0.attention.relative_position.table of shape (3, 121), the model (3, 49); the shapes must be",
    ),
    "a missing tensor": (RESNET, lambda: without("bn1.running_mean", learned(RESNET)), "lacks bn1.running_mean; the"),
    "positions of another width": (
        replace(VIT, pool="mean"),
        lambda: learned(replace(VIT, pool="mean")) | {"position.table": torch.zeros(1, 16, 12)},
        "has position.table of shape (1, 16, 12), the model (1, 16, 24); position embeddings are resized",
    ),
}


@pytest.mark.parametrize(("spec", "tensors", "told"), BAD.values(), ids=BAD)
def test_weights_that_do_not_fit_are_refused_before_any_is_loaded(spec: Any, tensors: Any, told: str) -> None:
    assert told in refused(model_of(spec), tensors())


@pytest.mark.parametrize(
    ("arguments", "spec"),
    [
        ({}, replace(VIT, patch_size=4, heads=2)),
        ({"class_token": False, "global_pool": "avg", "fc_norm": False}, replace(VIT, heads=2, pool="mean")),
        ({"class_token": False, "global_pool": "avg"}, replace(VIT, heads=2, pool="mean", pool_norm="after")),
        ({"init_values": 0.1, "qkv_bias": False}, replace(VIT, heads=2, layer_scale=0.1, qkv_bias=False)),
    ],
    ids=["class token", "mean", "norm after the mean", "layer scale"],
)
def test_a_transformer_of_timm_answers_as_ours_with_its_weights(arguments: Any, spec: ViTSpec) -> None:
    torch.manual_seed(3)
    theirs = timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=2, num_classes=10, **arguments
    ).eval()
    nn.init.normal_(theirs.head.weight)
    ours = model_of(spec)
    start_from(ours, of_timm(theirs.state_dict()), "timm")
    ours.head.linear.load_state_dict(theirs.head.state_dict())  # type: ignore[union-attr]
    images = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_a_resnet_of_timm_answers_as_ours_with_its_weights() -> None:
    torch.manual_seed(3)
    theirs, ours = (
        timm.create_model("resnet18", num_classes=10).eval(),
        model_of(ResNetSpec(depth=18, stem="imagenet"), 64),
    )
    start_from(ours, of_timm(theirs.state_dict()), "timm")
    ours.fc.load_state_dict(theirs.fc.state_dict())  # type: ignore[union-attr]
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_what_our_transformer_does_not_have_is_named() -> None:
    theirs = timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=2, num_classes=10, reg_tokens=4
    )
    assert "has reg_token; the tensors must be those of the model" in refused(
        model_of(VIT), of_timm(theirs.state_dict())
    )


@pytest.mark.parametrize("spec", [replace(VIT, dropout=0.5), RESNET, SWIN], ids=["vit", "resnet", "swin"])
def test_a_frozen_body_is_all_but_the_head(spec: Any) -> None:
    model = model_of(spec)
    frozen = freeze_body(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if name.startswith(HEADS)}
    assert {id(part) for part in frozen} == {
        id(part) for name, part in model.named_children() if name not in ("head", "fc")
    }

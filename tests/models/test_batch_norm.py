"""Where BatchNorm has one number per channel, which torch refuses in training: known before a model is built."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.models import build
from harness.spec import (
    Arm,
    Choice,
    DataSpec,
    Distillation,
    InvalidInput,
    ModelSpec,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    Search,
    SwinSpec,
    ViTSpec,
)

VIT = ViTSpec(patch_size=4, width=8, depth=1, heads=2)
HYBRID = replace(VIT, stem="hybrid")
CONVOLUTIONS = replace(VIT, stem="conv")
SWIN = SwinSpec(patch_size=2, width=4, depths=(1, 1), heads=(2, 2), window=2)
RESNET8 = ResNetSpec(depth=8, width=2)
RESNET18 = ResNetSpec(depth=18)
IMAGENET18 = ResNetSpec(depth=18, stem="imagenet")


@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize(
    ("spec", "image_size"),
    [
        *[(RESNET8, size) for size in (4, 5, 8)],
        *[(RESNET18, size) for size in (8, 9)],
        *[(IMAGENET18, size) for size in (32, 33)],
        *[(spec, size) for spec in (HYBRID, CONVOLUTIONS, VIT, SWIN) for size in (4, 8)],
    ],
    ids=str,
)
def test_the_side_of_the_last_map_tells_what_torch_refuses(spec: ModelSpec, image_size: int, part: int) -> None:
    side = spec.batch_norm_side(image_size)
    expected: AbstractContextManager[Any] = nullcontext()
    if side is not None and part * side**2 == 1:
        expected = pytest.raises(ValueError, match="more than 1 value per channel")
    model = build(spec, image_size=image_size, channels=1, classes=2).train()
    with expected:
        model(torch.randn(part, 1, image_size, image_size))


def study(model: ModelSpec, image_size: int, search: Search | None = None, **recipe: Any) -> ResolvedStudy:
    return ResolvedStudy(
        name="tiny",
        scale="smoke",
        question="?",
        source="a test",
        factor="model",
        data=DataSpec(source="digits", image_size=image_size),
        recipe=Recipe(updates=1, **recipe),
        baseline=Arm("the vit", VIT),
        arms=(Arm("the other", model, level=1),),
        search=search or Search(),
    )


TEACHER = Distillation(teacher=RESNET8, learning_rate=1e-3)
TUNED = Search(space={"batch_size": Choice(values=(1, 16))}, trials=2)
PARTS = Search(space={"accumulate": Choice(values=(2, 16))}, trials=2)


@pytest.mark.parametrize(
    ("model", "recipe", "search"),
    [
        (RESNET8, {"batch_size": 1}, None),
        (RESNET8, {"batch_size": 31, "accumulate": 16}, None),  # fifteen parts of two images and one of one
        (RESNET8, {"batch_size": 16}, TUNED),
        (RESNET8, {"batch_size": 16}, PARTS),
        (HYBRID, {"batch_size": 1}, None),
        (CONVOLUTIONS, {"batch_size": 1}, None),
        (replace(VIT, depth=2), {"batch_size": 1, "distillation": TEACHER}, None),
    ],
    ids=["small batch", "uneven parts", "tuned batch", "tuned parts", "hybrid", "convolutions", "teacher"],
)
def test_a_part_of_one_image_is_refused_where_batch_norm_sees_one_pixel(
    model: ModelSpec, recipe: dict[str, Any], search: Search | None
) -> None:
    with pytest.raises(InvalidInput, match=r"Arm 'the .*': recipe.batch_size is \d+ .* or take larger images"):
        study(model, 4, search, **recipe)
    study(model, 8, search, **recipe)  # the last map is 2 x 2
    study(model, 4, None, **recipe | {"batch_size": 2 * recipe.get("accumulate", 1)})


def test_models_without_batch_norm_take_single_images() -> None:
    study(replace(VIT, depth=2), 4, batch_size=1)
    study(replace(SWIN, window=1), 4, batch_size=1)

"""Small vision transformers, and inputs for them, that tests look into."""

import torch
from torch import Tensor

from harness.models import build, family_of
from harness.models.family import Inside
from harness.models.vit import ViT
from harness.spec import ViTSpec

SIDE, GRID = 12, 3


def vit(**fields: object) -> tuple[ViT, Inside]:
    """Of three blocks on images of 12 pixels, 3 x 3 patches of 4, with weights that differ from their start."""
    spec = ViTSpec(**({"patch_size": 4, "width": 16, "depth": 3, "heads": 2, "zero_head": False} | fields))  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = build(spec, image_size=SIDE, channels=3, classes=4).eval()
    inside = family_of(spec).inside
    assert isinstance(model, ViT)
    assert inside is not None
    return model, inside(model, spec)


def inputs(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))

"""From a specification to a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.models.family import Family
from harness.models.foreign import MODULE, TIMM, TORCHVISION
from harness.models.resnet import RESNET
from harness.models.swin import SWIN
from harness.models.vit import VIT
from harness.spec import ModelSpec
from harness.spec.errors import require_within
from harness.spec.model import Architecture

FAMILIES = (VIT, RESNET, SWIN, MODULE, TIMM, TORCHVISION)
"""Every family of models; a new one is a file with its record, and its name here."""

_BY_SPEC = {family.spec: family for family in FAMILIES}


def family_of(spec: Architecture) -> Family:
    """The record of a specification's family."""
    return _BY_SPEC[type(spec)]


def build(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> nn.Module:
    """A model with fresh parameters: images (B, channels, image_size, image_size), normalised, to logits (B, classes).

    Parameters come from torch's global CPU generator: seed it for the same model again. A ViT with a distillation token
    returns the logits of both its heads, (B, 2, classes), while it is in training mode.

    Raises InvalidInput if the image does not fit the spec, `channels` is below 1 or `classes` below 2; the model raises
    ValueError for other images.
    """
    spec.check_image(image_size)
    require_within("channels", channels, 1)
    require_within("classes", classes, 2)
    family = family_of(spec)
    model = family.build(spec, image_size=image_size, channels=channels, classes=classes)
    if family.parts is not None:
        object.__setattr__(model, "parts", family.parts)  # they decide the groups of its parameters
        model.register_forward_pre_hook(partial(_check_images, (channels, image_size, image_size)))
    return model


def _check_images(expected: tuple[int, int, int], _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    (images,) = inputs
    if images.ndim != 4 or tuple(images.shape[1:]) != expected or not images.is_floating_point():
        shape, found = ", ".join(map(str, expected)), f"{tuple(images.shape)} {images.dtype}"
        raise ValueError(f"Expected images (B, {shape}) of a floating-point type, normalised; found {found}.")


@contextmanager
def outline(spec: ModelSpec) -> Iterator[None]:
    """Inside, models of a specification are built, and run, for their shapes alone; leaves torch's generators alone.

    Our own are on the meta device, where nothing is allocated or computed. Others may look at numbers: they are on the
    CPU, and their attention is made of plain matrix products, which can be counted.
    """
    if family_of(spec).parts is not None:
        with torch.device("meta"):
            yield
        return
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

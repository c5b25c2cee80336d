"""The models under study: one vision transformer, ResNets and a Swin transformer to compare it with, and others'.

`build` makes a model from its specification; other functions count what it holds and computes.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from harness.models.family import Family
from harness.models.foreign import MODULE, TIMM, TORCHVISION
from harness.models.resnet import RESNET
from harness.models.swin import SWIN
from harness.models.vit import VIT
from harness.spec import ModelSpec
from harness.spec.errors import require_within
from harness.spec.model import Architecture

FAMILIES = {family.spec: family for family in (VIT, RESNET, SWIN, MODULE, TIMM, TORCHVISION)}
"""Every family of models; a new one is a file with its record, and its name here."""


def family_of(spec: Architecture) -> Family:
    """The record of a specification's family."""
    return FAMILIES[type(spec)]


def build(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> nn.Module:
    """A model with fresh parameters: images (B, channels, image_size, image_size), normalised, to logits (B, classes).

    Parameters come from torch's global CPU generator. A ViT with a distillation token returns the logits of both its
    heads, (B, 2, classes), while it is in training mode. Raises InvalidInput if the image does not fit the spec,
    `channels` is below 1 or `classes` below 2; the model raises ValueError for other images.
    """
    spec.check_image(image_size)
    require_within("channels", channels, 1)
    require_within("classes", classes, 2)
    family = family_of(spec)
    model = family.build(spec, image_size=image_size, channels=channels, classes=classes)
    if family.parts is not None:
        object.__setattr__(model, "parts", family.parts)  # they decide the groups of its parameters
        model.register_forward_pre_hook(partial(_check_images, channels, image_size))
    return model


def _check_images(channels: int, side: int, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    (images,) = inputs
    if images.ndim != 4 or images.shape[1:] != (channels, side, side) or not images.is_floating_point():
        expected, found = f"(B, {channels}, {side}, {side})", f"{tuple(images.shape)} {images.dtype}"
        raise ValueError(f"Expected images {expected} of a floating-point type, normalised; found {found}.")


@contextmanager
def outline(spec: ModelSpec) -> Iterator[None]:
    """Inside, models of a specification are built, and run, for their shapes alone; leaves torch's generators alone.

    Our own are on the meta device. Others may look at numbers: they are on the CPU, and their attention is made of
    plain matrix products, which can be counted.
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


def parameters(model: nn.Module) -> int:
    """Number of numbers in a model's parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_per_image(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> int:
    """Multiply-accumulates of one forward pass of one image, in all matrix products and convolutions.

    Norms, activations, softmax and sums are left out, as is usual. A Swin's windows and grids count as they are
    computed, with the tokens that fill them.
    """
    return sum(_macs(spec, image_size=image_size, channels=channels, classes=classes).values())


def attention_macs_per_image(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> int | None:
    """Those of `macs_per_image` that grow with the square of the tokens: q times k and weights times v; 0 in a ResNet.

    L * 2 t^2 D in a ViT of L blocks, t tokens and width D. None for models of others, of which nothing tells attention
    from other products.
    """
    if family_of(spec).parts is None:
        return None
    return _macs(spec, image_size=image_size, channels=channels, classes=classes).get(torch.ops.aten.bmm, 0)


@cache
def _macs(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> dict[Any, int]:
    """Multiply-accumulates of one image by operation: in our models attention alone multiplies batches (`bmm`)."""
    with outline(spec):
        model = build(spec, image_size=image_size, channels=channels, classes=classes).eval()
        image = torch.zeros(1, channels, image_size, image_size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(image)
    flops = counter.get_flop_counts().get("Global", {})
    return {operation: count // 2 for operation, count in flops.items()}


@cache
def activation_bytes(spec: ModelSpec, *, training: bool, image_size: int, channels: int, classes: int) -> int:
    """Most bytes of float32 that a forward pass holds per image, itself included; in `training` for a backward pass."""
    with outline(spec):
        model = build(spec, image_size=image_size, channels=channels, classes=classes)
        images = torch.zeros(2, channels, image_size, image_size)  # one alone would not do for BatchNorm
        with torch.set_grad_enabled(training), _LiveBytes(model) as live:
            model.train(training)(images)
    return int(images.nbytes + live.most) // len(images)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch publishes no types for it
    """Counts the bytes of what is computed while it is on and is still there, without the model's own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known = {id(tensor.untyped_storage()) for tensor in chain(model.parameters(), model.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
            if id(storage) not in self._known:  # a storage has one Python object for as long as it lives
                self._known.add(id(storage))
                weakref.finalize(storage, self._forget, id(storage), storage.nbytes())
                self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        return result

    def _forget(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.now -= size

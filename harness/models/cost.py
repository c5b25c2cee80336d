"""What a model holds and computes."""

import weakref
from collections.abc import Mapping
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from harness.models.factory import build, family_of, outline
from harness.spec import ModelSpec


def parameters(model: nn.Module) -> int:
    """Number of numbers in parameters, tokens, position tables and frozen ones included; on the meta device, too."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_per_image(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> int:
    """Multiply-accumulates of one forward pass of one image, in all matrix products and convolutions.

    Norms, activations, softmax and sums are left out, as is usual. The first call for a spec takes a fraction of a
    second, later ones nothing. A Swin's windows and grids count as they are computed, with the tokens that fill them.
    """
    return sum(_macs(spec, image_size=image_size, channels=channels, classes=classes).values())


def attention_macs_per_image(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> int | None:
    """Those of `macs_per_image` that grow with the square of the tokens: q times k and weights times v; 0 in a ResNet.

    L * 2 t^2 D in a ViT of L blocks, t tokens and width D; projections to q, k and v and of the output are not counted.
    None for models of others, of which nothing tells attention from other products.
    """
    if family_of(spec).parts is None:
        return None
    return _macs(spec, image_size=image_size, channels=channels, classes=classes).get(torch.ops.aten.bmm, 0)


@cache
def _macs(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> Mapping[Any, int]:
    """Multiply-accumulates of one image by operation, counted in outline.

    Attention alone multiplies batches of matrices (`bmm`) in our models: every linear map has one weight for a batch.
    """
    with outline(spec):
        model = build(spec, image_size=image_size, channels=channels, classes=classes).eval()
        image = torch.zeros(1, channels, image_size, image_size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(image)
    flops = counter.get_flop_counts().get("Global", {})
    return MappingProxyType({operation: count // 2 for operation, count in flops.items()})


@cache
def activation_bytes(spec: ModelSpec, *, training: bool, image_size: int, channels: int, classes: int) -> int:
    """Most bytes of activations per image that a forward pass holds in float32, the image included.

    In `training` most of them wait for the backward pass. Counted in outline, like `macs_per_image`.
    """
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

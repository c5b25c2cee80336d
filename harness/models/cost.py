"""What a model holds and computes, and which of its parameters an optimiser treats apart."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.models.factory import build
from harness.spec import ModelSpec


def parameters(model: nn.Module) -> int:
    """Number of learned numbers, class token and position tables included; a model on the meta device will do."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_per_image(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> int:
    """Multiply-accumulates of one forward pass of one image, in all matrix products and convolutions.

    Norms, activations, softmax and sums are left out, as is usual. The first call for a spec takes a fraction of a
    second, later ones nothing. A Swin's windows and grids count as they are computed, with the tokens that fill them.
    """
    return sum(_macs(spec, image_size=image_size, channels=channels, classes=classes).values())


def attention_macs_per_image(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> int:
    """Those of `macs_per_image` that grow with the square of the tokens: q times k and weights times v; 0 in a ResNet.

    L * 2 t^2 D in a ViT of L blocks, t tokens and width D; projections to q, k and v and of the output are not counted.
    """
    return _macs(spec, image_size=image_size, channels=channels, classes=classes).get(torch.ops.aten.bmm, 0)


@cache
def _macs(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> Mapping[Any, int]:
    """Multiply-accumulates of one image by operation, counted on the meta device, without computing anything.

    Attention alone multiplies batches of matrices (`bmm`): every linear map has one weight for the whole batch.
    """
    with torch.device("meta"):
        # Explicit attention, because the counter does not see into every fused kernel.
        model = build(spec, image_size=image_size, channels=channels, classes=classes, attention="explicit").eval()
        image = torch.empty(1, channels, image_size, image_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    flops = counter.get_flop_counts().get("Global", {})
    return MappingProxyType({operation: count // 2 for operation, count in flops.items()})

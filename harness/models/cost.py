"""What a model holds and computes, and which of its parameters an optimiser treats apart."""

from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.models.factory import build
from harness.spec import ModelSpec


def parameters(model: nn.Module) -> int:
    """Number of learned numbers, class token and position tables included; a model on the meta device will do."""
    return sum(parameter.numel() for parameter in model.parameters())


@cache
def macs_per_image(spec: ModelSpec, *, image_size: int, channels: int, classes: int) -> int:
    """Multiply-accumulates of one forward pass of one image, in all matrix products and convolutions.

    Counted on the meta device, without computing anything. Norms, activations, softmax and sums are left out, as is
    usual. The first call for a spec takes a fraction of a second, later ones nothing.
    """
    with torch.device("meta"):
        # Explicit attention, because the counter does not see into every fused kernel.
        model = build(spec, image_size=image_size, channels=channels, classes=classes, attention="explicit").eval()
        image = torch.empty(1, channels, image_size, image_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    flops: int = counter.get_total_flops()
    return flops // 2


def no_decay(model: nn.Module) -> set[str]:
    """Names of the parameters without weight decay: norms, biases, layer scales, class token, position tables."""
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1 or "class_token" in name or "position" in name
    }


def hidden_matrices(model: nn.Module) -> list[str]:
    """Names of the weights (2-D) of a ViT's encoder blocks: what Muon updates. None in a ResNet.

    Left out are stem, head, class token and position tables (a relative bias too, though it is 2-D).
    """
    return [
        name
        for name, parameter in model.named_parameters()
        if name.startswith("blocks.") and name.endswith(".weight") and parameter.ndim == 2
    ]


def hidden_kernels(model: nn.Module) -> list[str]:
    """Names of the convolution kernels (4-D) of a ResNet but the first: Muon may update them as (out, in * k * k).

    None in a ViT: the convolutions there belong to the stem.
    """
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim == 4 and name != "conv1.weight" and not name.startswith("stem.")
    ]

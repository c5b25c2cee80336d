"""The effective receptive field of a model (arXiv 1701.04128): what the middle of its last block depends on."""

from math import ceil

import torch
from torch import Tensor, nn

from harness.models.hooks import heard


def squared_gradients(
    model: nn.Module, block: nn.Module, inputs: Tensor, tokens: int | None, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Squared gradients of the block's output in its middle by pixel, float64 (r, r), and where its middle is, pixels.

    They are summed over the images and channels of `inputs` (B, C, r, r) and the output's channels.
    `tokens`: how many patches per side the block's tokens have; None for feature maps. The gradient is that of the
    output's channels with random signs, an image each, so that its square is that of all channels in expectation;
    that of their plain sum would vanish behind a LayerNorm.
    """
    with heard([block], "output") as found, torch.enable_grad():
        pixels = inputs.clone().requires_grad_()
        model(pixels)
        (output,) = found
        if tokens:
            output = output[:, -(tokens**2) :].mT.reshape(len(output), -1, tokens, tokens)  # (B, D, g, g)
        centre = output[:, :, output.shape[2] // 2, output.shape[3] // 2]
        signs = torch.randint(2, centre.shape, generator=generator) * 2 - 1
        (gradient,) = torch.autograd.grad((centre * signs).sum(), pixels)
    outputs, side = output.shape[2], inputs.shape[2]
    # A token is seen at the middle of its patch; convolutions of stride 2, padded by one, at the first of their pixels.
    at = (outputs // 2 + 0.5) * side / outputs - 0.5 if tokens else outputs // 2 * ceil(side / outputs)
    return gradient.double().square().sum((0, 1)), float(at)


def half_side(field: Tensor, at: float) -> float:
    """Side, pixels, of the smallest square around (at, at) that holds half of a field (r, r), at most 2 r - 1."""
    apart = (torch.arange(len(field), dtype=torch.float64) - at).abs()
    rings = torch.maximum(apart[:, None], apart).flatten()
    order = rings.argsort(stable=True)
    inside = field.flatten()[order].cumsum(0)
    return float(2 * rings[order][inside >= inside[-1] / 2][0] + 1)

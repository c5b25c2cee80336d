"""Where a vision transformer attends: mean attention distance, and attention rollout.

Letters: B images, H heads, N tokens, of which the last P = g * g are patches, row by row; g patches per side.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from harness.models.family import Inside
from harness.models.hooks import heard


@torch.inference_mode()
def attention_maps(model: nn.Module, inside: Inside, inputs: Tensor) -> list[Tensor]:
    """The attention weights (B, H, N, N) of each block, from query to key, for a batch of inputs (B, C, r, r)."""
    with heard((module for module, _ in inside.attentions), "input") as found:
        model(inputs)
    return [weights(x) for (_, weights), x in zip(inside.attentions, found, strict=True)]


def attention_distances(weights: Tensor, grid: int, patch_size: int) -> Tensor:
    """How far each head attends, float64 (B, H), pixels of the image (arXiv 2010.11929, Fig. 11).

    The distance between the centres of a query's patch and a key's, averaged over keys by attention weight and then
    over queries. What goes to or from other tokens than patches is left out.
    """
    of_patches = weights[..., -(grid**2) :, -(grid**2) :].double()
    of_patches = of_patches / of_patches.sum(-1, keepdim=True).clamp_min(1e-300)
    return (of_patches * distances(grid, patch_size)).sum(-1).mean(-1)


def distances(grid: int, patch_size: int) -> Tensor:
    """Between the centres of all patches, float64 (P, P), pixels; its mean is the distance of even attention."""
    line = torch.arange(grid, dtype=torch.float64) * patch_size
    places = torch.cartesian_prod(line, line)  # (P, 2), row by row
    return (places[:, None] - places).square().sum(-1).sqrt()


def rollout(maps: Iterable[Tensor]) -> Tensor:
    """How much of each token (column) reaches each token after the last block (row), float64 (B, N, N).

    Attention rollout (arXiv 2005.00928): the product over the blocks' `maps` (B, H, N, N) of the mean over heads, to
    which the residual connection adds the identity with equal weight. Rows sum to 1.
    """
    flow: Tensor | None = None
    for weights in maps:
        mean = weights.double().mean(1)
        step = (mean + torch.eye(mean.shape[-1], dtype=mean.dtype)) / 2
        flow = step if flow is None else step @ flow
    assert flow is not None, "a model has at least one block"
    return flow


def attended(flow: Tensor, pooled: slice, grid: int) -> Tensor:
    """Of a rollout (B, N, N), what reaches the tokens that are `pooled`, by patch: (B, g, g), each of sum 1."""
    found = flow[:, pooled].mean(1)[:, -(grid**2) :]
    return (found / found.sum(-1, keepdim=True)).view(-1, grid, grid)


def half_share(maps: Tensor) -> float:
    """The smallest share of the patches that holds half of a map's attention, the mean over maps (B, g, g)."""
    largest = maps.flatten(1).sort(descending=True).values.cumsum(1)
    needed = (largest < 0.5 * largest[:, -1:] - 1e-12).sum(1) + 1
    return float((needed / largest.shape[1]).mean())

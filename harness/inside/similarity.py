"""How alike the representations of two models' blocks are: CKA by minibatches, with an unbiased HSIC.

Letters: M minibatches of n images each, L blocks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.models.hooks import heard

LEAST = 4  # images that an unbiased estimate takes


@torch.inference_mode()
def block_grams(model: nn.Module, blocks: Sequence[nn.Module], inputs: Tensor) -> Tensor:
    """Inner products of the images of a minibatch (n, C, r, r) in each block's output, float64 (L, n, n)."""
    with heard(blocks, "output") as found:
        model(inputs)
    return torch.stack([flat @ flat.T for flat in (output.flatten(1).double() for output in found)])


def hsic(first: Tensor, second: Tensor) -> Tensor:
    """The unbiased estimate of HSIC of Gram matrices (..., n, n) of n >= 4 images: (...).

    HSIC_1 of arXiv 2010.15327, equation 3, after Song et al. (2012): 0 in expectation for what is independent.
    """
    n = first.shape[-1]
    off = 1 - torch.eye(n, dtype=first.dtype)
    k, l = first * off, second * off  # noqa: E741
    both = (k * l).sum((-2, -1))  # both are symmetric: the trace of their product
    sums = k.sum((-2, -1)) * l.sum((-2, -1)) / ((n - 1) * (n - 2))
    rows = (k.sum(-1) * l.sum(-1)).sum(-1) * 2 / (n - 2)
    return (both + sums - rows) / (n * (n - 3))


def cka(first: Tensor, second: Tensor) -> Tensor:
    """Minibatch CKA (arXiv 2108.08810, section 3) of two models' Gram matrices (M, L, n, n) of the same images.

    (L of the first, L of the second); 1 for what differs by a rotation and a factor only. A block that answers to all
    images alike is like none: 0.
    """
    cross = hsic(first[:, :, None], second[:, None]).mean(0)
    own, other = (hsic(grams, grams).mean(0).clamp_min(0).sqrt() for grams in (first, second))
    scale = own[:, None] * other
    return torch.where(scale > 0, cross / scale.clamp_min(1e-300), 0.0)

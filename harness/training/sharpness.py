"""Sharpness-aware minimisation (SAM, arXiv 2010.01412): gradients where the loss nearby is about the worst."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.spec.checks import known


@contextmanager
def at_the_worst(model: nn.Module, radius: float) -> Iterator[None]:
    """Within, the weights are moved by `radius` up their gradient, which is then forgotten (equation 2, p = 2).

    Afterwards they are what they were, to the bit, with the gradients that a backward pass within has left. BatchNorm
    normalises within as always, but its running statistics rest: they are those of the weights themselves.
    """
    moved: list[Tensor] = [parameter for parameter in model.parameters() if parameter.grad is not None]
    gradients = [known(parameter.grad) for parameter in moved]
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    momenta = [part.momentum for part in norms]
    counts = [part.num_batches_tracked for part in norms if part.num_batches_tracked is not None]
    before = [count.clone() for count in counts]  # by which statistics without a momentum weigh a pass
    with torch.no_grad():
        kept = [parameter.clone() for parameter in moved]
        scale = radius / (torch.stack(torch._foreach_norm(gradients)).norm() + 1e-12)
        torch._foreach_add_(moved, list(torch._foreach_mul(gradients, scale)))
    for parameter in moved:
        parameter.grad = None
    for part in norms:
        part.momentum = 0.0
    yield
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
    with torch.no_grad():
        torch._foreach_copy_(moved, kept)
        for count, passes in zip(counts, before, strict=True):
            count.copy_(passes)

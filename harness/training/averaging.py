"""The exponential moving average of a model's state (EMA), which is evaluated in the model's place."""

from itertools import chain

import torch
from torch import Tensor, nn


def decay_after(updates: int, limit: float) -> float:
    """The decay with which the average is renewed once `updates` updates are part of it; at most `limit`.

    It rises from .1: with a constant one a short training's average would still be mostly the initial weights.
    """
    return min(limit, (1 + updates) / (10 + updates))


@torch.no_grad()
def renew(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Let each number of `average` be `decay` times itself and the rest that of `model`, of the same architecture.

    Buffers too: BatchNorm's running statistics are those of the activations that the averaged weights make, not the
    last ones. Buffers of integers, which count, are copied.
    """
    means: list[Tensor] = []
    latest: list[Tensor] = []
    for mean, now in zip(_tensors(average), _tensors(model), strict=True):
        if mean.is_floating_point():
            means.append(mean)
            latest.append(now)
        else:
            mean.copy_(now)
    torch._foreach_lerp_(means, latest, 1 - decay)


def _tensors(model: nn.Module) -> chain[Tensor]:
    return chain(model.parameters(), model.buffers())

"""Muon (https://kellerjordan.github.io/posts/muon), all weights of one shape at a time.

An update is orthogonalised by a few small matrix products. Done weight by weight, starting them takes longer than
computing them, on a CPU as on a GPU: for a small ViT a fifth of its training. Here matrices of one shape go together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; the learning rate is scaled to the size of AdamW's updates (arXiv 2502.16982).

    A weight (O, I) is one matrix; one that `parts` matrices were fused into, as queries, keys and values are, is that
    many of shape (O / parts, I); a kernel (O, I, h, w) is the matrix (O, h * w * I) that it multiplies patches by.
    The update of each is that of torch.optim.Muon with `match_rms_adamw`, to the rounding of bfloat16.
    """

    def __init__(
        self, weights: Mapping[int, Iterable[nn.Parameter]], *, lr: float, weight_decay: float, momentum: float
    ) -> None:
        """`weights`: by number of parts, weights of two or four dimensions, contiguous in their memory format."""
        groups = [{"params": list(group), "parts": parts} for parts, group in weights.items()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        assert closure is None
        alike: dict[tuple[float, int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for weight, update in zip(weights, self._nesterov(weights, group["momentum"]), strict=True):
                for pair in zip(_matrices(weight, group["parts"]), _matrices(update, group["parts"]), strict=True):
                    wide = pair if pair[0].shape[0] <= pair[0].shape[1] else (pair[0].T, pair[1].T)
                    alike[group["lr"], *wide[0].shape].append(wide)
        for (rate, _, longer), pairs in alike.items():
            matrices, updates = zip(*pairs, strict=True)
            steps = orthogonalised(torch.stack(updates)).unbind()
            torch._foreach_add_(matrices, steps, alpha=-rate * 0.2 * longer**0.5)

    def _nesterov(self, weights: list[nn.Parameter], momentum: float) -> tuple[Tensor, ...]:
        gradients = [_in_format_of(weight, weight.grad) for weight in weights if weight.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        averages = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, averages, momentum)


def orthogonalised(matrices: Tensor) -> Tensor:
    """About U V' of each matrix U S V' of (K, r, c), r <= c: float32, singular values between about .7 and 1.2.

    Newton-Schulz iterations in bfloat16, whose polynomial has the steepest slope at 0 and lets S vary around 1.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()


def _matrices(weight: Tensor, parts: int) -> tuple[Tensor, ...]:
    """The matrices of a weight or of its update, as views."""
    if weight.ndim == 2:
        return weight.chunk(parts)
    if weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.permute(0, 2, 3, 1)
    return (weight.view(len(weight), -1),)


def _in_format_of(weight: Tensor, gradient: Tensor) -> Tensor:
    """A gradient has its weight's format as a rule; should one not, its matrix would have other columns."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)

"""Optimisers and learning-rate schedules as a recipe names them; and Muon, all weights of one shape at a time."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.models.family import parameter_groups
from harness.spec import Recipe
from harness.training.device import has_fast_bf16
from harness.training.schedule_free import ScheduleFreeAdamW


def build_optimizers(model: nn.Module, recipe: Recipe, average: nn.Module | None = None) -> list[torch.optim.Optimizer]:
    """Optimisers that together update every trained parameter of `model` once; AdamW does what Muon does not.

    `average`: a copy of the model, into which an optimiser that averages writes its averages.
    """
    groups = parameter_groups(model)
    decayed: list[Tensor] = []
    undecayed: list[Tensor] = []
    by_parts: dict[int, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if name in groups.hidden and recipe.optimizer == "muon":
            by_parts[groups.hidden[name]].append(parameter)
        elif parameter.requires_grad:
            (undecayed if name in groups.undecayed else decayed).append(parameter)
    optimizers = []
    if decayed or undecayed:
        averages = zip(model.parameters(), average.parameters(), strict=True) if average is not None else ()
        optimizers.append(_first_order(decayed, undecayed, recipe, dict(averages)))
    if by_parts:
        optimizers.append(Muon(by_parts, lr=recipe.rate, weight_decay=recipe.decay, momentum=recipe.momentum))
    return optimizers


def learning_rates(recipe: Recipe, updates: int) -> list[float]:
    """The learning rate of each of `updates` updates: linear warm-up, then the recipe's schedule.

    `cosine` ends at 0 after the last update; `wsd` (warm-up, stable, decay) falls linearly over the last fifth.
    """
    warmup = round(recipe.warmup * updates)
    return [recipe.rate * _factor(recipe.schedule, update, warmup, updates) for update in range(updates)]


def _factor(schedule: str, update: int, warmup: int, updates: int) -> float:
    if update < warmup:
        return (update + 1) / warmup
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, updates - warmup)))
    if schedule == "wsd":
        return min(1.0, (updates - update) / max(1, updates - round(0.8 * updates)))
    return 1.0


def _first_order(
    decayed: list[Tensor], undecayed: list[Tensor], recipe: Recipe, averages: Mapping[Tensor, Tensor]
) -> torch.optim.Optimizer:
    both = ((decayed, recipe.decay), (undecayed, 0.0))
    groups = [{"params": params, "weight_decay": decay} for params, decay in both if params]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, fused=True)
    betas = (recipe.momentum, 0.999)
    if recipe.optimizer == "schedule_free":
        return ScheduleFreeAdamW(groups, averages, lr=recipe.rate, betas=betas)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.rate, betas=betas, fused=True)


class Muon(torch.optim.Optimizer):
    """Muon (https://kellerjordan.github.io/posts/muon), its learning rate scaled to AdamW's updates (arXiv 2502.16982).

    A weight (O, I) is one matrix; one that `parts` matrices were fused into, as queries, keys and values are, is that
    many of shape (O / parts, I); a kernel (O, I, h, w) is the matrix (O, h * w * I) that it multiplies patches by.
    The update of each is that of torch.optim.Muon with `match_rms_adamw`, to the rounding of bfloat16; but matrices of
    one shape go together: weight by weight, starting the small products takes longer than computing them.
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

    Newton-Schulz iterations, whose polynomial has the steepest slope at 0 and lets S vary around 1, in bfloat16 where
    the device is quick at it: without its own instructions a processor takes some fifty times as long as in float32.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16() if has_fast_bf16(matrices.device) else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
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

"""Optimisers and learning-rate schedules as a recipe names them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.models import hidden_kernels, hidden_matrices, no_decay
from harness.spec import Recipe


class KernelMuon(torch.optim.Muon):
    """Muon for convolution kernels: a kernel (O, I, h, w) is updated as the matrix (O, h*w*I) that it multiplies by."""

    def __init__(self, kernels: list[nn.Parameter], **settings: Any) -> None:
        """`kernels` are contiguous in their memory format, so that each matrix is a view of its kernel."""
        self._kernels = kernels
        self._matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in kernels]
        super().__init__(self._matrices, **settings)

    def step(self, closure: Any = None) -> Any:
        """Update the kernels through their matrices."""
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            # A gradient has its kernel's format; should one not, its matrix would have other columns.
            matrix.grad = (
                None if kernel.grad is None else _as_matrix(kernel.grad.contiguous(memory_format=_format(kernel)))
            )
        return super().step(closure)  # type: ignore[no-untyped-call]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let go of the gradients of kernels and matrices."""
        super().zero_grad(set_to_none)
        for kernel in self._kernels:
            kernel.grad = None


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Optimisers that together update every parameter of `model` once.

    Norms, biases and embeddings are not decayed. `muon` (https://kellerjordan.github.io/posts/muon) updates the
    hidden matrices and convolution kernels, with the learning rate scaled to AdamW's update size, and AdamW everything
    else, so that one learning rate serves both.
    """
    named = dict(model.named_parameters())
    if recipe.optimizer != "muon":
        return [_first_order(_groups(model, named, recipe), recipe)]
    settings: dict[str, Any] = {
        "lr": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "momentum": recipe.momentum,
        "adjust_lr_fn": "match_rms_adamw",
    }
    matrices = [named.pop(name) for name in hidden_matrices(model)]
    kernels = [named.pop(name) for name in hidden_kernels(model)]
    optimizers: list[torch.optim.Optimizer] = [_first_order(_groups(model, named, recipe), recipe)]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, **settings))
    if kernels:
        optimizers.append(KernelMuon(kernels, **settings))
    return optimizers


def learning_rates(recipe: Recipe, updates: int) -> list[float]:
    """The learning rate of each of `updates` updates: linear warm-up, then the recipe's schedule.

    `cosine` ends at 0 after the last update; `wsd` (warm-up, stable, decay) falls linearly over the last fifth.
    """
    warmup = round(recipe.warmup * updates)
    return [recipe.learning_rate * _factor(recipe.schedule, update, warmup, updates) for update in range(updates)]


def _factor(schedule: str, update: int, warmup: int, updates: int) -> float:
    if update < warmup:
        return (update + 1) / warmup
    match schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, updates - warmup)))
        case "wsd":
            return min(1.0, (updates - update) / max(1, updates - round(0.8 * updates)))
        case _:
            return 1.0


def _format(kernel: Tensor) -> torch.memory_format:
    last = torch.channels_last
    return last if kernel.is_contiguous(memory_format=last) else torch.contiguous_format


def _as_matrix(kernel: Tensor) -> Tensor:
    """(O, I, h, w) as (O, h*w*I), without a copy of a channels_last kernel; other formats as (O, I*h*w)."""
    if _format(kernel) == torch.channels_last:
        kernel = kernel.permute(0, 2, 3, 1)
    return kernel.view(len(kernel), -1)


def _groups(
    model: nn.Module, named: Mapping[str, nn.Parameter], recipe: Recipe
) -> list[dict[str, float | list[Tensor]]]:
    exempt = no_decay(model)
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for name, parameter in named.items():
        (kept if name in exempt else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": kept, "weight_decay": 0.0}]


def _first_order(groups: list[dict[str, float | list[Tensor]]], recipe: Recipe) -> torch.optim.Optimizer:
    groups = [group for group in groups if group["params"]]
    betas = (recipe.momentum, 0.999)
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.learning_rate, betas=betas, fused=True)
        case _:
            return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, fused=True)

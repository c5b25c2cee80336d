"""Optimisers and learning-rate schedules as a recipe names them."""

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.models import hidden_weights, no_decay
from harness.spec import Recipe
from harness.training.muon import Muon


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Optimisers that together update every parameter of `model` once.

    Norms, biases and embeddings are not decayed. `muon` updates the hidden matrices and
    convolution kernels, with the learning rate scaled to AdamW's update size, and AdamW everything else, so that one
    learning rate serves both.
    """
    named = dict(model.named_parameters())
    if recipe.optimizer != "muon":
        return [_first_order(_groups(model, named, recipe), recipe)]
    by_parts: dict[int, list[nn.Parameter]] = defaultdict(list)
    for name, parts in hidden_weights(model).items():
        by_parts[parts].append(named.pop(name))
    return [
        _first_order(_groups(model, named, recipe), recipe),
        Muon(by_parts, lr=recipe.rate, weight_decay=recipe.decay, momentum=recipe.momentum),
    ]


def learning_rates(recipe: Recipe, updates: int) -> list[float]:
    """The learning rate of each of `updates` updates: linear warm-up, then the recipe's schedule.

    `cosine` ends at 0 after the last update; `wsd` (warm-up, stable, decay) falls linearly over the last fifth.
    """
    warmup = round(recipe.warmup * updates)
    return [recipe.rate * _factor(recipe.schedule, update, warmup, updates) for update in range(updates)]


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


def _groups(
    model: nn.Module, named: Mapping[str, nn.Parameter], recipe: Recipe
) -> list[dict[str, float | list[Tensor]]]:
    exempt = no_decay(model)
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for name, parameter in named.items():
        (kept if name in exempt else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": recipe.decay}, {"params": kept, "weight_decay": 0.0}]


def _first_order(groups: list[dict[str, float | list[Tensor]]], recipe: Recipe) -> torch.optim.Optimizer:
    groups = [group for group in groups if group["params"]]
    betas = (recipe.momentum, 0.999)
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.rate, betas=betas, fused=True)
        case _:
            return torch.optim.AdamW(groups, lr=recipe.rate, betas=betas, fused=True)

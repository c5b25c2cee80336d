"""Optimisers and learning-rate schedules as a recipe names them."""

import math
from collections import defaultdict

import torch
from torch import Tensor, nn

from harness.models.family import parameter_groups
from harness.spec import Recipe
from harness.training.muon import Muon


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Optimisers that together update every trained parameter of `model` once, by its group.

    `muon` updates the hidden weights, with the learning rate scaled to AdamW's update size, and AdamW everything else,
    so that one learning rate serves both.
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
        optimizers.append(_first_order(decayed, undecayed, recipe))
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


def _first_order(decayed: list[Tensor], undecayed: list[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    both = ((decayed, recipe.decay), (undecayed, 0.0))
    groups = [{"params": params, "weight_decay": decay} for params, decay in both if params]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.rate, betas=(recipe.momentum, 0.999), fused=True)

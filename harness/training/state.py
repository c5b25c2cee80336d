"""The state of a training, and how a training can end early."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harness.data.parts import Part
from harness.data.splits import Batches, Inputs
from harness.records.runs import Shift, Shots
from harness.spec import Recipe
from harness.spec.recipe import evaluation_points
from harness.training.device import Placement
from harness.training.stability import Watch


class Diverged(Exception):
    """A loss became NaN or infinite, by update `update`."""

    def __init__(self, reason: str, update: int) -> None:
        super().__init__(reason)
        self.update = update


class Crowded(Exception):
    """There is too little memory on a card while others hold a part of it."""


class Interrupted(Exception):
    """The training was asked to stop; its state has been kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Loss and accuracy (a fraction in 0..1) over a whole split; classes of its images, int64 (N,) on the CPU."""

    loss: float
    accuracy: float
    labels: Tensor
    predicted: Tensor
    top5: Tensor | None  # bool (N,) on the CPU: is the label among the five likeliest classes; None of five or fewer
    seconds: float


@dataclass(kw_only=True)
class Training:
    """What changes while a model is trained, and what it is trained on."""

    recipe: Recipe
    placement: Placement
    model: nn.Module
    average: nn.Module | None
    """Average of the model, where the recipe asks for one; it is then what is evaluated."""
    optimizers: list[torch.optim.Optimizer]
    watch: Watch
    batches: Batches
    inputs: Inputs
    classes: int
    augmentation: torch.Generator  # decides the augmentation alone, so that all arms see the same images
    patch_sizes: torch.Generator  # on the host, the same in all processes; for models of patches of several sizes
    learning_rates: list[float]
    images_per_pass: int  # of an evaluation
    loss_sum: Tensor  # sum of the training loss over the updates since the last evaluation
    last_loss: Tensor
    """Training loss of the last update; looked at while the next one runs: so a device need not wait for the host."""
    update: int = 0  # updates done, in `seconds`; the last evaluation was after `evaluated_at`
    evaluated_at: int = 0
    seconds: float = 0.0
    train_loss: float = math.nan  # mean training loss between the last two evaluations
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan
    teacher: nn.Module | None = None
    """In eval mode; its answers are learned from too, where the recipe asks for distillation."""
    frozen: tuple[nn.Module, ...] = ()  # parts of the model that keep their weights and running statistics
    compiled: Callable[[Tensor], Tensor] | None = None
    """The model's forward pass as torch.compile makes it, where the recipe asks for that; for updates alone."""
    part: Part | None = None
    parallel: DistributedDataParallel | None = None
    """What this process takes of each batch, on its device, and the forward pass that shares the gradients with the
    others, from the first update on; None in a process that trains alone."""
    test: Evaluation | None = None
    """After the last update, in the confirm phase only; as `shifts` and `few_shots`, where the run asks for them."""
    shifts: tuple[Shift, ...] = ()
    at_patches: tuple[tuple[int, Evaluation], ...] = ()
    """Of a model for patches of several sizes, the test at each of them, by ascending side (pixels)."""
    few_shots: tuple[Shots, ...] = ()

    @cached_property
    def points(self) -> frozenset[int]:
        """The updates after which there is an evaluation."""
        return evaluation_points(self.recipe)

    @property
    def images_seen(self) -> int:
        return self.update * self.recipe.batch_size

    @property
    def evaluated_model(self) -> nn.Module:
        """The model, or its average where there is one."""
        return self.model if self.average is None else self.average

    def set_modes(self) -> None:
        """Be ready for updates: the model in training mode, but for what is frozen."""
        self.model.train()
        for part in self.frozen:
            part.eval()


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A trained teacher, in eval mode, without gradients, on the device that trains; the time in its updates."""

    model: nn.Module
    validation_accuracy: float
    seconds: float

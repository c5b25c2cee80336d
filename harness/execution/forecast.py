"""How long a study will take on this machine: a few timed updates of every arm on made-up images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from harness.data import Dataset
from harness.execution.plan import Cell, Plan
from harness.execution.rehearsal import made_up, refused_by_name
from harness.models import macs_per_image
from harness.spec.checks import known
from harness.training.device import Placement
from harness.training.evaluation import evaluate
from harness.training.loop import prepare_training, run_updates
from harness.training.state import Training

TIMED_UPDATES = 4
LARGEST_PROBE_MACS = {"cpu": 1e10, "cuda": 5e11, "mps": 2e10}
"""A probe's batch is cut so that one forward pass stays below this, on a kind of device; the time is scaled up."""

BUSY_BELOW = 0.8
"""Share of a core: a probe that gets less shares the machine with other programs. It waits for nothing itself."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one cell will cost."""

    cell: Cell
    macs_per_image: int
    seconds_per_image: float
    """Of training, on one worker."""
    evaluation_seconds_per_image: float
    teacher_seconds_per_image: float = 0.0
    """Of training the teacher that a run learns from, before its own training; 0 without one."""

    @property
    def seconds(self) -> float:
        """Time of all trials and confirm runs of the cell on one worker."""
        validation_images = known(self.cell.data.validation_size)
        runs = self.cell.trials + len(self.cell.seeds)
        tests = 1 + 4 * len(self.cell.test_shifts)  # each shift in four directions
        evaluated = (
            runs * self.cell.recipe.evaluations * validation_images
            + len(self.cell.seeds) * tests * self.cell.facts.test_images
        )
        trained = self.cell.images_planned * (self.seconds_per_image + self.teacher_seconds_per_image)
        return trained + evaluated * self.evaluation_seconds_per_image + runs * START_SECONDS


START_SECONDS = 0.5
"""From the start of a worker to its first update, with the data in the cache."""


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """What a plan will cost, and how far the measurement is to be trusted."""

    cells: Sequence[Forecast]
    core_share: float | None
    """Processor time of this process per second while it measured: 1 or more on an idle machine.

    None on an accelerator, which the process waits for.
    """

    @property
    def seconds(self) -> float:
        """Time of all cells on one worker."""
        return sum(item.seconds for item in self.cells)

    @property
    def busy(self) -> bool:
        """Whether other programs took so much of the machine that the study will be faster without them."""
        return self.core_share is not None and self.core_share < BUSY_BELOW


def forecast(plan: Plan, placement: Placement, *, threads: int) -> Forecasts:
    """Time every distinct model of a plan for a moment; nothing is kept, no real image is read."""
    torch.set_num_threads(threads)
    timed: dict[object, tuple[int, float, float]] = {}

    def time_of(cell: Cell) -> tuple[int, float, float]:
        key = (cell.arm.model, cell.recipe.batch_size, cell.data.image_size)
        if key not in timed:
            with refused_by_name(cell.arm.name, cell.confirm(0, {}).config):
                timed[key] = _time(cell, placement)
        return timed[key]

    def of(cell: Cell) -> Forecast:
        learner, teacher = _apart(cell)
        macs, train, evaluation = time_of(learner)
        return Forecast(
            cell=cell,
            macs_per_image=macs,
            seconds_per_image=train,
            evaluation_seconds_per_image=evaluation,
            teacher_seconds_per_image=0.0 if teacher is None else sum(time_of(teacher)[1:]),
        )

    began, used = time.perf_counter(), time.process_time()
    cells = [of(cell) for cell in plan.cells]
    share = (time.process_time() - used) / (time.perf_counter() - began)
    return Forecasts(cells=cells, core_share=share if placement.device.type == "cpu" else None)


def _apart(cell: Cell) -> tuple[Cell, Cell | None]:
    """A cell whose model learns from the labels alone, and one that trains its teacher, if it has one.

    A student's update also costs a forward pass of the teacher, about an evaluation of the same images.
    """
    learned = cell.recipe.distillation
    if learned is None:
        return cell, None
    recipe = replace(cell.recipe, distillation=None)
    student = replace(cell, arm=replace(cell.arm, model=cell.arm.model.without_teacher()), recipe=recipe)
    return student, replace(student, arm=replace(cell.arm, model=learned.teacher))


def _time(cell: Cell, placement: Placement) -> tuple[int, float, float]:
    """MACs of an image, seconds of training per image, seconds of evaluation per image."""
    config = cell.confirm(0, {}).config
    macs = macs_per_image(config.model, **config.shape)
    batch, timed = probe_size(macs, cell.recipe.batch_size, placement.device.type)
    recipe = replace(cell.recipe, batch_size=batch, accumulate=1, updates=1 + timed, compile=False)
    is_cut = batch < cell.recipe.batch_size
    if is_cut:
        recipe = replace(recipe, optimizer="sgd", momentum=0.0, clip_norm=None, ema_decay=None)
    # No dataset is made up beyond the batch, though a real one has at least an image of each class.
    config = replace(config, recipe=recipe, data=replace(cell.data, train_size=batch))
    dataset = made_up(config, cell.facts, batch, placement)
    training = prepare_training(config, dataset, placement)
    if is_cut:
        # An optimiser's step is for the whole batch: next to a few images it would pass for most of the work, and
        # gradients of all weights at once for most of the memory.
        for parameter in training.model.parameters():
            parameter.register_post_accumulate_grad_hook(_forget)  # type: ignore[no-untyped-call]
    steps = run_updates(training)
    next(steps)
    training.seconds = 0.0
    for _ in steps:
        pass
    seconds = training.seconds / (timed * batch)
    return macs, seconds, _time_evaluation(training, dataset)


def _forget(parameter: torch.Tensor) -> None:
    parameter.grad = None


def probe_size(macs: int, batch_size: int, device: str) -> tuple[int, int]:
    """Images per update of a probe, and how many updates are timed after the first."""
    largest = LARGEST_PROBE_MACS.get(device, LARGEST_PROBE_MACS["cpu"])
    if macs > largest:
        return 1, TIMED_UPDATES // 2
    return min(batch_size, int(largest / macs)), TIMED_UPDATES


def _time_evaluation(training: Training, dataset: Dataset) -> float:
    evaluate(training, dataset.validation)
    return evaluate(training, dataset.validation).seconds / len(dataset.validation)

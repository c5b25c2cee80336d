"""What a few updates on made-up images tell: whether every model can be trained, and how long a study will take."""

import gc
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.data import Dataset, load
from harness.data.splits import Split
from harness.data.survey import EXAMPLE, survey
from harness.execution.engines import Prepared, Rehearsal
from harness.execution.plan import Cell, Plan
from harness.models import family_of, macs_per_image
from harness.spec import DataSpec, InvalidInput, RunConfig, SourceFacts
from harness.spec.checks import known
from harness.spec.functions import line_of
from harness.spec.run import pretraining_config
from harness.training.device import Placement, choose, device_errors, device_fault, devices, memory_errors
from harness.training.evaluation import evaluate
from harness.training.few_shot import load_target
from harness.training.loop import prepare_training, run_updates, teacher_config
from harness.training.ranks import check_layers
from harness.training.start import stand_in
from harness.training.state import Diverged, Training

TIMED_UPDATES = 4
LARGEST_PROBE_MACS = {"cpu": 1e10, "cuda": 5e11, "mps": 2e10}  # of a forward pass, whose batch is cut to stay below
START_SECONDS = 0.5  # from the start of a worker to its first update, with the data in the cache


def check(
    data: Iterable[DataSpec],
    surveyed: Collection[DataSpec],
    device: str,
    rehearsals: Iterable[Rehearsal] = (),
    deterministic: bool = False,
    shared: bool = False,
    over_cards: bool = False,
) -> Iterator[Prepared]:
    """Find the devices, load every data set once, look at those `surveyed`; yields that, then tries the models.

    On the first device; raises `DeviceError` where that one does not work.
    """
    names = devices(device, shared=shared)
    found = []
    for spec in data:
        loaded = load(spec, device="cpu", phase="confirm", seed=EXAMPLE)
        if spec in surveyed:
            found.append(survey(spec, loaded))
    yield Prepared(devices=names, data=tuple(found))
    with device_errors(names[0]):
        rehearse(rehearsals, names[0], deterministic=deterministic, over_cards=over_cards)


def rehearse(
    rehearsals: Iterable[Rehearsal], device: str, *, deterministic: bool = False, over_cards: bool = False
) -> None:
    """Try an update of each model; raises `InvalidInput` naming the arm whose update fails.

    And where each run is to be trained over several cards, the arm whose model cannot be.
    A lack of memory and a loss that is no number are not refused: they are results, which the arm's runs will record.
    """
    first: dict[RunConfig, Rehearsal] = {}
    is_cpu = choose(device).device.type == "cpu"
    for item in rehearsals:
        first.setdefault(_single_update(item.config, most=2 if is_cpu else None), item)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more have nothing to do with two images but to wait for each other
    try:
        for config, item in first.items():
            placement = choose(device, config.recipe.precision, deterministic=deterministic)
            with suppress(MemoryError, Diverged), refused_by_name(item.arm, config), memory_errors():
                _rehearse(config, item.facts, placement, over_cards=over_cards)
            if not is_cpu:
                gc.collect()  # hooks keep models in cycles
                torch.cuda.empty_cache()  # the trainings may be in other processes
    finally:
        torch.set_num_threads(threads)


@contextmanager
def refused_by_name(arm: str, config: RunConfig) -> Iterator[None]:
    """Turn what an arm's update raises into an `InvalidInput` with its name; what can be a result passes.

    And so does what says that the device does not work.
    """
    try:
        yield
    except (MemoryError, Diverged):
        raise
    except InvalidInput as error:
        raise InvalidInput(f"Arm {arm!r}: {error}") from error
    except Exception as error:
        if device_fault(error) is not None:
            raise
        side, what = config.data.image_size, str(error).partition("\n")[0].rstrip(".")
        line = line_of(error, Path(config.model.place or ""))
        is_strict = "use_deterministic_algorithms" in str(error)
        remedy = "Leave out --deterministic, or change" if is_strict else "Change"
        raise InvalidInput(
            f"Arm {arm!r} cannot be trained: its first update, on images of {config.channels} x {side} x {side} and "
            f"{config.classes} classes, fails with {type(error).__name__}: {what}{f' ({line})' if line else ''}. "
            f"{remedy} the arm's model, data or recipe."
        ) from error


def _single_update(config: RunConfig, most: int | None) -> RunConfig:
    """A single update on a part of a batch, `most` images: on a CPU more only take longer, as torch.compile does."""
    part = config.recipe.batch_size // config.recipe.accumulate
    images = min(part, most or part)
    recipe = replace(config.recipe, batch_size=images, accumulate=1, updates=1, evaluations=1)
    recipe = replace(recipe, learning_rate=1e-6, compile=False)
    return replace(config, seed=0, recipe=recipe, data=replace(config.data, train_size=images))


def _rehearse(config: RunConfig, facts: SourceFacts, placement: Placement, *, over_cards: bool) -> None:
    trained = _try(config, facts, placement)  # let go of before the next model: a card may not hold two
    if over_cards:
        check_layers(trained.model)


def _try(config: RunConfig, facts: SourceFacts, placement: Placement) -> Training:
    dataset = made_up(config, facts, config.recipe.batch_size, placement)
    teacher = None
    if config.recipe.distillation is not None:
        teacher = _updated(prepare_training(teacher_config(config), dataset, placement)).model.eval()
    if config.recipe.start_from is not None and config.recipe.start_from.pretraining is not None:
        _try(_single_update(pretraining_config(config), config.recipe.batch_size), facts, placement)
    trained = _updated(prepare_training(config, dataset, placement, teacher=teacher, start=stand_in(config)))
    evaluate(trained, dataset.validation)
    load_target(config, placement)  # which refuses one of too few images
    if family_of(config.model).parts is None:
        macs_per_image(config.model, **config.shape)  # a single image, as the last part of a split may be
    return trained


def _updated(training: Training) -> Training:
    for _ in run_updates(training):
        pass
    return training


def made_up(config: RunConfig, facts: SourceFacts, images: int, placement: Placement) -> Dataset:
    """A set of random images of the shape of a configuration's, for training as for validation."""
    side, classes = config.image_size, config.classes
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, config.channels, side, side), dtype=torch.uint8, generator=generator)
    split = Split(pixels.to(placement.device), (torch.arange(images) % classes).to(placement.device))
    return Dataset(train=split, validation=split, facts=facts, hash=config.data_hash, sealed_test=None)


@dataclass(frozen=True)
class Forecast:
    """What one cell will cost on one worker. A teacher is trained before its own student; 0 without one.

    The `pretraining_seconds` stand in the first cell that starts from a pre-training: it is made once.
    """

    cell: Cell
    macs_per_image: int
    seconds_per_image: float
    evaluation_seconds_per_image: float
    teacher_seconds_per_image: float = 0.0
    pretraining_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Time of all trials and confirm runs of the cell, without trials beyond the edges of ranges."""
        cell, seeds = self.cell, len(self.cell.seeds)
        runs, tests = cell.trials_in_all + seeds, 1 + 4 * len(cell.test_shifts)  # each shift in four directions
        validated = runs * cell.recipe.evaluations * known(cell.data.validation_size)
        evaluated = validated + seeds * tests * cell.facts.test_images
        trained = cell.images_planned * (self.seconds_per_image + self.teacher_seconds_per_image)
        evaluated_seconds = evaluated * self.evaluation_seconds_per_image
        return self.pretraining_seconds + trained + evaluated_seconds + runs * START_SECONDS


def forecast(plan: Plan, placement: Placement, *, threads: int, cards: int = 1) -> list[Forecast]:
    """Time every distinct model of a plan for a moment; nothing is kept, no real image is read.

    Over several `cards` each is taken to do its part of a batch as this device does, and to wait for no other.
    """
    torch.set_num_threads(threads)
    timed: dict[object, tuple[int, float, float]] = {}

    def time_of(cell: Cell) -> tuple[int, float, float]:
        start = cell.recipe.start_from
        recipe, side = cell.recipe, cell.data.image_size
        key = (cell.arm.model, recipe.batch_size, recipe.passes, side, start and start.trained)
        if key not in timed:
            with refused_by_name(cell.arm.name, cell.confirm(0, {}).config):
                timed[key] = _time(cell, placement, cards)
        return timed[key]

    cells, counted = list[Forecast](), set[object]()
    for cell in plan.cells:
        (learner, *teachers) = _apart(cell)
        macs, train, evaluation = time_of(learner)
        # A student's update also costs a forward pass of the teacher, about an evaluation of the same images.
        taught = sum(sum(time_of(teacher)[1:]) for teacher in teachers)
        made = {(one.arm.model, one.recipe, one.data, one.seeds): one for one in _pretrainings(cell)}
        before = sum(one.recipe.total_images * time_of(one)[1] for key, one in made.items() if key not in counted)
        counted |= made.keys()
        cells.append(Forecast(cell, macs, train, evaluation, taught, before))
    return cells


def _apart(cell: Cell) -> tuple[Cell, ...]:
    """A cell whose model learns from the labels alone, and one that trains its teacher, if it has one."""
    learned = cell.recipe.distillation
    if learned is None:
        return (cell,)
    recipe = replace(cell.recipe, distillation=None)
    student = replace(cell, arm=replace(cell.arm, model=cell.arm.model.without_teacher()), recipe=recipe)
    return student, replace(student, arm=replace(cell.arm, model=learned.teacher))


def _pretrainings(cell: Cell) -> list[Cell]:
    """A cell for each pre-training that the runs of a cell start from, as if its model were an arm of their own."""
    start = cell.recipe.start_from
    if start is None or (made := start.pretraining) is None:
        return []
    assert made.model is not None, "a plan writes it out"
    arm = replace(cell.arm, name="pre-training", model=made.model, level=None, series=None, changes={})
    one = replace(cell, arm=arm, recipe=made.recipe, data=made.data, parameters=(), test_shifts=())
    return [replace(one, seeds=(seed,)) for seed in range(made.seeds)]


def _time(cell: Cell, placement: Placement, cards: int) -> tuple[int, float, float]:
    """MACs of an image, seconds of training per image, seconds of evaluation per image."""
    config = cell.confirm(0, {}).config
    macs = macs_per_image(config.model, **config.shape)
    part = max(1, cell.recipe.batch_size // cards)
    batch, timed = probe_size(macs, part, placement.device.type)
    recipe = replace(cell.recipe, batch_size=batch, accumulate=1, updates=1 + timed, compile=False)
    if batch < part:  # else an optimiser's step for a few images passes for most of the work
        recipe = replace(recipe, optimizer="sgd", momentum=0.0, clip_norm=None, ema_decay=None)
    # No dataset is made up beyond the batch, though a real one has at least an image of each class.
    config = replace(config, recipe=recipe, data=replace(cell.data, train_size=batch))
    dataset = made_up(config, cell.facts, batch, placement)
    training = prepare_training(config, dataset, placement, start=stand_in(config))
    steps = run_updates(training)
    next(steps)
    placement.synchronise()
    training.seconds = 0.0
    for _ in steps:
        pass
    evaluate(training, dataset.validation)
    evaluation = evaluate(training, dataset.validation).seconds
    return macs, training.seconds / (timed * batch * cards), evaluation / len(dataset.validation)


def probe_size(macs: int, batch_size: int, device: str) -> tuple[int, int]:
    """Images per update of a probe, and how many updates are timed after the first."""
    largest = LARGEST_PROBE_MACS.get(device, LARGEST_PROBE_MACS["cpu"])
    if macs > largest:
        return 1, TIMED_UPDATES // 2
    return min(batch_size, int(largest / macs)), TIMED_UPDATES

"""What is checked where the trainings will run, before the first: data, device, and an update of every model.

The update is made on made-up images: what only a first batch finds, is found here.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch

from harness.data import Dataset, Split, load
from harness.data.survey import survey
from harness.execution.engines import Prepared, Rehearsal
from harness.models import family_of, macs_per_image
from harness.spec import DataSpec, InvalidInput, RunConfig, SourceFacts
from harness.spec.functions import line_of
from harness.training.device import Placement, choose, out_of_memory_as
from harness.training.distillation import teacher_config
from harness.training.evaluation import evaluate
from harness.training.loop import prepare_training, run_updates
from harness.training.state import Diverged, Training


def prepare(data: Iterable[DataSpec], surveyed: Collection[DataSpec], device: str, precision: str) -> Prepared:
    """Load every data set once (which checks and caches it), look at those `surveyed`, and choose the device.

    Raises `InvalidInput` for data or a device that will not do.
    """
    placement = choose(device, precision)
    found = []
    for spec in data:
        loaded = load(spec, device="cpu", phase="confirm")
        if spec in surveyed:
            found.append(survey(spec, loaded))
    return Prepared(device=str(placement.device), precision=placement.precision, data=tuple(found))


def rehearse(rehearsals: Iterable[Rehearsal], device: str, *, deterministic: bool = False) -> None:
    """Try each; of those that differ in their names, sizes of the training set and budgets alone, the first.

    Raises `InvalidInput` naming the arm whose update fails. A lack of memory and a loss that is no number are not
    refused: they are results, which the arm's runs will record.
    """
    first: dict[RunConfig, Rehearsal] = {}
    for item in rehearsals:
        first.setdefault(_shape(item), item)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more have nothing to do with two images but to wait for each other
    try:
        for shape, item in first.items():
            placement = choose(device, shape.recipe.precision, deterministic=deterministic)
            with suppress(MemoryError, Diverged), refused_by_name(item.arm, shape), out_of_memory_as(MemoryError):
                _try(shape, item.facts, placement)
            if placement.device.type == "cuda":
                torch.cuda.empty_cache()  # the trainings may be in other processes
    finally:
        torch.set_num_threads(threads)


@contextmanager
def refused_by_name(arm: str, config: RunConfig) -> Iterator[None]:
    """Turn what an arm's update raises into an `InvalidInput` with its name; what can be a result passes."""
    try:
        yield
    except (MemoryError, Diverged):
        raise
    except InvalidInput as error:
        raise InvalidInput(f"Arm {arm!r}: {error}") from error
    except Exception as error:
        side, what = config.data.image_size, str(error).partition("\n")[0].rstrip(".")
        line = line_of(error, Path(config.model.place or ""))
        raise InvalidInput(
            f"Arm {arm!r} cannot be trained: its first update, on images of {config.channels} x {side} x {side} and "
            f"{config.classes} classes, fails with {type(error).__name__}: {what}{f' ({line})' if line else ''}. "
            "Change the arm's model, data or recipe."
        ) from error


def _shape(item: Rehearsal) -> RunConfig:
    """The configuration of a single update on the smallest part of a batch.

    Without torch.compile, which would take minutes. The update is the same for a part of two images as for a larger
    one but for its time, which on a CPU counts.
    """
    recipe = item.config.recipe
    smallest = recipe.batch_size // recipe.accumulate
    recipe = replace(
        recipe, updates=1, evaluations=1, batch_size=smallest, accumulate=1, compile=False, learning_rate=1e-6
    )
    return replace(item.config, seed=0, recipe=recipe, data=replace(item.config.data, train_size=smallest))


def _try(config: RunConfig, facts: SourceFacts, placement: Placement) -> None:
    images = config.recipe.batch_size
    if placement.device.type == "cpu":
        images = min(images, 2)
    recipe = replace(config.recipe, batch_size=images)
    config = replace(config, recipe=recipe, data=replace(config.data, train_size=images))
    dataset = made_up(config, facts, images, placement)
    teacher = None
    if recipe.distillation is not None:
        teacher = _updated(prepare_training(teacher_config(config), dataset, placement)).model.eval()
    evaluate(_updated(prepare_training(config, dataset, placement, teacher=teacher)), dataset.validation)
    if family_of(config.model).parts is None:
        macs_per_image(config.model, **config.shape)  # a single image, as the last part of a split may be


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

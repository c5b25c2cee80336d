"""Accuracy per second: what the laptop recipe reaches in a minute of training, and the curve on the way there.

All training images of Fashion-MNIST, not augmented, one seed, all the processor threads asked for. The learning rate
falls to its end within the time, so the points of a curve are not what shorter trainings would reach.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.spec import Recipe, RunConfig
from harness.spec.catalogue import find_study

STUDY, SCALE = "patch_size", "laptop"
ARMS = ("ViT/7", "ResNet-8")
SECONDS = 60
QUICK_SECONDS = 6
POINTS = 6
"""Evaluations on validation images along the way, whose time does not count."""
PACE_UPDATES = 300


def measure(settings: Settings) -> list[Row]:
    """Test accuracy of each arm after a minute of training updates (six seconds in a quick look)."""
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    rows = []
    for arm in ARMS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            minute = partial(train_for, arm, seconds, device=settings.device, threads=settings.most_threads)
            rows.append(_row(arm, seconds, process.submit(minute).result(), settings))
    return rows


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A training of a given time."""

    accuracy: float
    """On the test images, 0..1."""
    seconds: float
    """Time in updates."""
    recipe: Recipe
    precision: str
    curve: Mapping[float, float]
    """Validation accuracy, 0..1, by seconds of training."""


def train_for(arm: str, seconds: float, *, device: str, threads: int) -> Reached:
    """Train an arm of `STUDY` by its recipe with as many updates as take `seconds`; sets its process up as a worker."""
    import torch

    from harness.data import load
    from harness.training.allocator import keep_freed_memory
    from harness.training.device import choose
    from harness.training.loop import prepare_training, run_updates, train

    torch.set_num_threads(threads)
    keep_freed_memory()
    config = config_of(arm)
    dataset = load(config.data, device=device, phase="confirm")
    placement = choose(device, config.recipe.precision)
    paced = run_updates(prepare_training(config, dataset, placement))
    pace = _seconds_of(lambda: [*islice(paced, PACE_UPDATES)]) / PACE_UPDATES
    config = replace(config, recipe=replace(config.recipe, updates=round(seconds / pace), evaluations=POINTS))
    curve: dict[float, float] = {}

    def note(event: str, **fields: Any) -> None:
        if event == "evaluated":
            curve[round(fields["seconds"], 1)] = fields["validation_accuracy"]

    trained = train(config, dataset, placement, emit=note)
    assert trained.test is not None, "a confirm run is tested"
    return Reached(
        accuracy=trained.test.accuracy,
        seconds=trained.training.seconds,
        recipe=config.recipe,
        precision=placement.precision,
        curve=curve,
    )


def config_of(arm: str) -> RunConfig:
    """The arm's first confirm run with the recipe's own settings, but not augmented: a minute is a few epochs."""
    from harness.execution.plan import make_plan

    name, study = find_study(STUDY)
    plan = make_plan(study.resolve(name, SCALE))
    cell = next(cell for cell in plan.cells if cell.arm.name == arm)
    return cell.confirm(cell.seeds[0], {**cell.own_values, "augmentation.strength": 0.0}).config


def _seconds_of(work: Callable[[], object]) -> float:
    """Time of the second of two equal pieces of work: the first one warms up."""
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _row(arm: str, asked: float, reached: Reached, settings: Settings) -> Row:
    recipe = reached.recipe
    assert recipe.updates is not None
    curve = ", ".join(f"{100 * value:.2f} at {at:g} s" for at, value in reached.curve.items())
    return Row(
        part="accuracy",
        what=f"{arm}, Fashion-MNIST, {asked:g} s of training",
        contender="patchbench",
        value=100 * reached.accuracy,
        unit="% of the test images",
        threads=settings.most_threads,
        precision=reached.precision,
        batch=recipe.batch_size,
        details={
            "training_seconds": round(reached.seconds, 1),
            "images_seen": recipe.updates * recipe.batch_size,
            "optimizer": recipe.optimizer,
            "learning_rate": recipe.rate,
            "validation_accuracy_percent": curve,
        },
    )

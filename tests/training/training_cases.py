"""A training small enough for a test, and what is compared of two trainings."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from harness.data import Dataset, content_hash, resolve
from harness.records.runs import RunFolder, RunResult, Shift
from harness.spec import Augmentation, DataSpec, Recipe, ResNetSpec, Run, RunConfig, ViTSpec
from harness.spec.checks import replace_at
from harness.training import WorkerSettings, loop, state
from harness.training.device import Placement
from harness.training.perform import perform

CPU = Placement(device=torch.device("cpu"), autocast_dtype=None)
START: dict[str, Any] = {"initialisation": "truncated_normal", "zero_head": False}
VIT = ViTSpec(patch_size=4, width=16, depth=2, heads=2, mlp_ratio=2.0, pool="cls", **START)
RESNET = ResNetSpec(depth=8, width=8)
DATA, FACTS = resolve(DataSpec(source="digits", train_size=100, validation_size=60))
RECIPE = Recipe(
    updates=12,
    batch_size=16,
    optimizer="adamw",
    learning_rate=3e-3,
    evaluations=3,
    precision="fp32",
    augmentation=Augmentation(shift=1),
)
TIMES = (
    "time",
    "seconds",
    "train_images_per_second",
    "eval_images_per_second",
    "train_seconds",
    "peak_memory_bytes",
    "eval_peak_memory_bytes",
)


def make_config(model: Any = VIT, *, seed: int = 0, phase: Any = "confirm", **recipe: Any) -> RunConfig:
    """A run of RECIPE with some fields replaced."""
    return RunConfig(
        phase=phase,
        seed=seed,
        model=model,
        recipe=replace(RECIPE, **recipe),
        data=DATA,
        data_hash=content_hash(DATA),
        channels=FACTS.channels,
        classes=FACTS.classes,
    )


def changed(config: RunConfig, key: str, value: Any) -> RunConfig:
    return replace_at(config, key, value)


@dataclass
class Done:
    """What is left of a training, without its times."""

    weights: dict[str, torch.Tensor]
    events: list[dict[str, Any]]
    predicted: torch.Tensor | None
    shifts: tuple[Shift, ...]
    training: state.Training = field(repr=False)


def timeless(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in TIMES}


def train(config: RunConfig, dataset: Dataset, **options: Any) -> Done:
    """`loop.train`, with its events collected."""
    events: list[dict[str, Any]] = []

    def emit(event: str, **fields: Any) -> None:
        events.append(timeless({"event": event, **fields}))

    trained = loop.train(config, dataset, CPU, emit=emit, **options)
    predicted = None if trained.test is None else trained.test.predicted
    return Done(trained.model.state_dict(), events, predicted, trained.shifts, trained)


def prepared(config: RunConfig, dataset: Dataset) -> state.Training:
    return loop.prepare_training(config, dataset, CPU)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@dataclass
class Performed:
    """A run's folder after `perform`, and the training that `perform` does not return."""

    result: RunResult
    folder: RunFolder
    training: state.Training | None

    @property
    def log(self) -> str:
        return self.folder.log_path.read_text()

    @property
    def journal(self) -> list[dict[str, Any]]:
        return [timeless(event) for event in self.folder.journal()]

    @property
    def everything(self) -> tuple[Any, ...]:
        """All that must be the same after an interruption, in a form that compares to the bit."""
        assert self.training is not None
        tensors = list(self.training.model.state_dict().values())
        if self.training.average is not None:
            tensors += list(self.training.average.state_dict().values())
        weights = b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)
        metrics = {name: value for name, value in vars(self.result).items() if name not in TIMES}
        metrics["files"] = sorted(self.result.files)  # the journal's hash follows from its times
        predictions = [part.tobytes() for part in self.folder.answers()[0]]
        return weights, self.journal, predictions, metrics


SETTINGS = WorkerSettings(device="cpu", threads=1, checkpoint_seconds=1e9)


def carry_out(config: RunConfig, root: Path, monkeypatch: Any, settings: Any = SETTINGS, **options: Any) -> Performed:
    """`perform` in the folder that a study would give the run."""
    kept: list[state.Training] = []

    def spy(*arguments: Any, **named: Any) -> state.Training:
        trained = loop.train(*arguments, **named)
        kept.append(trained)
        return trained

    monkeypatch.setattr("harness.training.perform.train", spy)
    run = Run(arm="ViT", config=config, values={"learning_rate": config.recipe.learning_rate})
    folder = RunFolder(root / run.digest)
    result = perform(run, folder, settings, **options)
    return Performed(result, folder, kept[-1] if kept else None)


def folder_of(config: RunConfig, root: Path) -> RunFolder:
    return RunFolder(root / config.digest)


class StopAt:
    """Asks a training to stop after update number `update`."""

    def __init__(self, update: int) -> None:
        self.update, self.seen = update, 0

    def heartbeat(self, update: int) -> None:
        self.seen = update

    def __call__(self) -> bool:
        return self.seen >= self.update


class Killed(BaseException):
    """What no training can catch."""


class DieAt:
    """Ends everything at the n-th heartbeat."""

    def __init__(self, beat: int) -> None:
        self.left = beat

    def __call__(self, update: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

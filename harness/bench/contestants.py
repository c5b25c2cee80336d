"""Who takes turns in each part of the bench: ours, and what does the same work by other libraries.

`step`: training steps on a batch at hand, all with AdamW (fused), cross-entropy and the same batch size. Torchvision's
ViT stands against ours with a class token; a library's ResNet also in channels_last, the format of ours; and one peer
of each kind with freed memory kept, as our workers keep it.
`data`: from images in memory to weights, with the same augmentation. The usual stack transforms PIL images, in the
training's process or in 1 or 2 of a DataLoader's. Both also train a model per thread at once, as a study does.
`study`: `twelve_trainings`. Ours is the whole command, with its report and MLflow; the shell loop prints accuracies.
"""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.bench import twelve_trainings
from harness.bench.contest import Contender, Heat
from harness.bench.twelve_trainings import LAPTOP, PLAIN, RESNET, VIT
from harness.bench.usual_stack import CLASSES, peer_model, plain_update, training_batches
from harness.data import Dataset, load
from harness.data.splits import Split
from harness.spec import Augmentation, DataSpec, ModelSpec, ResNetSpec, RunConfig, SourceFacts, ViTSpec
from harness.training.device import choose, keep_freed_memory
from harness.training.loop import prepare_training, run_updates

Step = Callable[[], object]
OWN, WITH_TOKEN, AT_ONCE = "patchbench", "patchbench, class token", ", a training per thread"
DATA = DataSpec(source="fashion_mnist")
TURN = 2.5  # turns from data to weights are so many times as long: what a DataLoader has in store then weighs little
REST_SECONDS = 0.3  # time for a DataLoader's workers to fill their queue after its turn, in its favour


@dataclass(frozen=True)
class Settings:
    """How thoroughly, and on what, each part measures."""

    quick: bool  # a look in a minute or two instead of figures to quote: fewer workloads, shorter turns
    device: str
    threads: tuple[int, ...]  # processor threads to measure with, each by itself, in rising order
    precisions: tuple[str, ...]
    rounds: int
    seconds: float


@dataclass(frozen=True)
class Workload:
    """A model, the images that it learns from, and by our contender's name the peers that have the same model."""

    name: str
    model: ModelSpec
    peers: Mapping[str, tuple[str, ...]]
    image_size: int = 28
    channels: int = 1
    batch: int = 128


VITS = {OWN: ("timm", "timm, memory kept", "vit-pytorch SimpleViT"), WITH_TOKEN: ("torchvision",)}
RESNETS = {OWN: ("torchvision", "torchvision, channels_last", "torchvision, channels_last, memory kept")}
P4 = ViTSpec(patch_size=4, width=96, depth=6, heads=3, mlp_ratio=4.0, pool="mean")
VIT_P7 = Workload("ViT p7 w64 d4, 28 px", VIT, VITS)
RESNET8 = Workload("ResNet-8 w16, 28 px", RESNET, RESNETS)
WORKLOADS = (
    Workload("ViT p4 w96 d6, 28 px", P4, VITS),
    VIT_P7,
    Workload("ViT p4 w192 d12, 32 px", replace(P4, width=192, depth=12), VITS, image_size=32, channels=3, batch=64),
    RESNET8,
    Workload("ResNet-18, 32 px", ResNetSpec(depth=18), RESNETS, image_size=32, channels=3),
)


def step(settings: Settings) -> Iterator[Heat]:
    """Training steps of every model, library, precision and number of threads."""
    for workload in (VIT_P7, RESNET8) if settings.quick else WORKLOADS:
        raced = []
        for precision in settings.precisions:
            given: dict[str, Any] = {"precision": precision, "block": 10 if settings.device == "cuda" else 1}
            for own, rivals in workload.peers.items():
                for name in (own, *rivals):
                    make = partial(own_step if name == own else peer_step, name, workload, precision, settings.device)
                    raced.append(Contender(name, make, rivals=rivals if name == own else (), **given))
        shape: dict[str, Any] = {"what": workload.name, "batch": workload.batch, "threads": settings.threads}
        yield Heat(part="step", contenders=raced, rounds=settings.rounds, seconds=settings.seconds, **shape)


def own_step(name: str, workload: Workload, precision: str, device: str, images: int = 4096) -> Step:
    """A function that does one update as a run of a study does it, on random images, not augmented."""
    pixels, labels = random_images(workload, images)
    split = Split(pixels.to(device), labels.to(device))
    shape: dict[str, Any] = {"image_size": workload.image_size, "channels": workload.channels, "classes": CLASSES}
    facts = SourceFacts(**shape, train_images=images, test_images=images, validation_images=images)
    dataset = Dataset(train=split, validation=split, facts=facts, hash="", sealed_test=None)
    return _own_update(own_model(name, workload), workload, dataset, precision, device, Augmentation())


def own_model(name: str, workload: Workload) -> ModelSpec:
    """The specification of our contender of a name."""
    model = workload.model
    return replace(model, pool="cls") if name == WITH_TOKEN and isinstance(model, ViTSpec) else model


def peer_step(name: str, workload: Workload, precision: str, device: str) -> Step:
    """A function that does one update of a library's model on a batch at hand, in the ways that stand in the name."""
    library, *ways = name.split(", ")
    if "memory kept" in ways:
        keep_freed_memory()
    pixels, labels = random_images(workload, workload.batch)
    model = peer_model(library, workload.model, image_size=workload.image_size, channels=workload.channels)
    update = plain_update(model, precision=precision, device=device, channels_last="channels_last" in ways)
    images = (pixels.float() / 127.5 - 1).to(device)
    if "channels_last" in ways:
        images = images.contiguous(memory_format=torch.channels_last)
    return partial(update, images, labels.to(device))


def random_images(workload: Workload, number: int) -> tuple[Tensor, Tensor]:
    """Random images uint8 (N, C, H, W) and labels int64 (N,), every class as often."""
    shape = (number, workload.channels, workload.image_size, workload.image_size)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return pixels, torch.arange(number) % CLASSES


def _own_update(
    model: ModelSpec, workload: Workload, dataset: Dataset, precision: str, device: str, augmentation: Augmentation
) -> Step:
    """A function that does one update in a process that is set up as a worker is."""
    keep_freed_memory()
    given: dict[str, Any] = {"updates": 100_000, "batch_size": workload.batch, "precision": precision}
    recipe = replace(PLAIN, augmentation=augmentation, **given)
    source = "fashion_mnist" if workload.channels == 1 else "cifar10"
    spec = DataSpec(source=source, image_size=workload.image_size, train_size=len(dataset.train))
    shape: dict[str, Any] = {"channels": workload.channels, "classes": CLASSES, "data_hash": ""}
    config = RunConfig(phase="tune", seed=0, model=model, recipe=recipe, data=spec, **shape)
    training = run_updates(prepare_training(config, dataset, choose(device, recipe.precision)))
    return lambda: next(training)


def data(settings: Settings) -> Iterator[Heat]:
    """From data to weights; `InvalidInput` where Fashion-MNIST is neither here nor to be fetched."""
    load(DATA)
    cores = settings.threads[-1]
    for workload in (VIT_P7,) if settings.quick else (VIT_P7, RESNET8):
        raced = []
        for precision in settings.precisions:
            given: dict[str, Any] = {"precision": precision, "block": 4}  # batches of two workers come two by two
            own, usual = (partial(path, workload, precision, settings.device) for path in (own_path, usual_path))
            names = {f"usual stack, {workers} workers": workers for workers in (0, 1, 2)}
            raced.append(Contender(OWN, own, rivals=tuple(names), **given))
            for name, workers in names.items():
                raced.append(Contender(name, partial(usual, workers), rest=REST_SECONDS * (workers > 0), **given))
            if settings.device == "cpu" and cores > 1:
                at_once = f"usual stack{AT_ONCE}"
                raced.append(Contender(OWN + AT_ONCE, own, rivals=(*names, at_once), copies=cores, **given))
                raced.append(Contender(at_once, partial(usual, 0), copies=cores, **given))
        shape: dict[str, Any] = {"what": workload.name, "batch": workload.batch, "threads": (cores,)}
        rounds, seconds = max(2, round(settings.rounds / TURN)), TURN * settings.seconds
        yield Heat(part="data", contenders=raced, rounds=rounds, seconds=seconds, **shape)


def own_path(workload: Workload, precision: str, device: str) -> Step:
    """A function that does one update as a run of a study does it."""
    return _own_update(workload.model, workload, load(DATA, device=device), precision, device, PLAIN.augmentation)


def usual_path(workload: Workload, precision: str, device: str, workers: int) -> Step:
    """A function that does one update of the usual stack: of timm's ViT, of a ResNet of torchvision's blocks."""
    model = peer_model("timm", workload.model, image_size=workload.image_size, channels=workload.channels)
    update = plain_update(model, precision=precision, device=device)
    batches = training_batches(load(DATA).train, batch=workload.batch, workers=workers)
    return lambda: update(*next(batches))


def study(settings: Settings) -> Iterator[Heat]:
    """Wall time of both whole commands; `InvalidInput` where Fashion-MNIST is neither here nor to be fetched."""
    load(LAPTOP.data)
    rounds, seeds, updates = (1, 1, 3) if settings.quick else (3, 6, 100)
    python, numbers, usual = shlex.quote(sys.executable), [*map(str, range(seeds))], "shell loop over the usual stack"
    with tempfile.TemporaryDirectory(prefix="patchbench-bench-") as folder:
        own = f"{python} -m harness --results $(mktemp -d {shlex.quote(folder)}/XXXXXX) run --scale laptop --quiet"
        own += f" --device {settings.device} {shlex.quote(str(twelve_trainings.__file__))}"
        own += f" recipe.updates={updates} seeds={','.join(numbers)}"
        loop = f"{python} -m harness.bench.usual_stack $model $seed {updates} {settings.device}"
        loop = f"for model in resnet vit; do for seed in {' '.join(numbers)}; do {loop}; done; done"
        precision = choose(settings.device).precision
        raced = [Contender(OWN, partial(_shell, own), precision, (usual,)), Contender(usual, partial(_shell, loop))]
        what = f"{2 * seeds} trainings, ViT p7 w64 d4 and ResNet-8 w16, 28 px"
        shape: dict[str, Any] = {"what": what, "batch": PLAIN.batch_size, "threads": settings.threads[-1:], "unit": "s"}
        yield Heat(part="study", contenders=raced, rounds=rounds, seconds=0.0, note=f"{updates} updates", **shape)


def _shell(script: str) -> Step:
    """A function that carries out a shell script; where it fails it raises, and what it said is on standard error."""
    return partial(subprocess.run, ["sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)

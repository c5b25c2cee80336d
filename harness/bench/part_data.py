"""From data to weights: the harness' own path against the usual stack, on Fashion-MNIST with the same augmentation.

Ours reads from memory and augments in batches; the usual stack makes a PIL image of each item, as torchvision's data
sets do, and transforms it by itself, in the training's process or in 1 or 2 of a DataLoader's. It is timed with each;
the best is what a ratio to quote is taken to. Before a turn its workers have filled their queue, in its favour. Both
also train as many models at once as there are threads, each with one: that is how a study uses the processor.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from harness.bench.contest import Contender, Settings, race, rows_of
from harness.bench.part_step import peer_model, peers_of
from harness.bench.peers import plain_update
from harness.bench.rows import Row
from harness.bench.usual_stack import SHIFT, training_batches
from harness.bench.workloads import RESNET8, VIT_P7, Workload, own_training
from harness.data import load
from harness.spec import Augmentation, DataSpec

DATA = DataSpec(source="fashion_mnist")
WORKERS = (0, 1, 2)
BLOCK = 4
"""Updates that are timed together: the batches of two workers come two by two."""
TURN = 2.5
"""Turns are this many times as long as those of single steps: what a DataLoader has in store then weighs little."""
REST_SECONDS = 0.3
"""Time for a DataLoader's workers to fill their queue after its turn."""
AT_ONCE = ", a training per thread"


def measure(settings: Settings) -> list[Row]:
    """Images per second from data to weights; `InvalidInput` where Fashion-MNIST is neither here nor to be fetched."""
    load(DATA)
    rows, rounds = [], max(2, round(settings.rounds / TURN))
    for workload in (VIT_P7,) if settings.quick else (VIT_P7, RESNET8):
        settings.say(f"  {workload.name}")
        raced = [one for precision in settings.precisions for one in _contenders(workload, precision, settings)]
        times = race(raced, threads=settings.threads[-1:], rounds=rounds, seconds=TURN * settings.seconds)
        rows += rows_of(raced, times, part="data", what=workload.name, batch=workload.batch, unit="images/s")
    return rows


def own_path(workload: Workload, precision: str, device: str) -> Callable[[], Any]:
    """A function that does one update as a run of a study does it."""
    augmentation = Augmentation(shift=SHIFT, flip=True)
    return own_training(workload, load(DATA, device=device), precision, device, augmentation)


def usual_path(workload: Workload, precision: str, device: str, workers: int) -> Callable[[], Any]:
    """A function that does one update of the usual stack: of timm's ViT, of a ResNet of torchvision's blocks."""
    split = load(DATA).train
    images, labels = (part.numpy() for part in next(iter(split.chunks(len(split)))))
    model = peer_model(peers_of(workload)[0].library, workload)
    update = plain_update(model, precision=precision, device=device)
    batches = training_batches(images, labels, batch=workload.batch, workers=workers)
    return lambda: update(*next(batches))


def _contenders(workload: Workload, precision: str, settings: Settings) -> Iterator[Contender]:
    shared: dict[str, Any] = {"precision": precision, "block": BLOCK}
    own, usual = (partial(path, workload, precision, settings.device) for path in (own_path, usual_path))
    names = [f"usual stack, {workers} workers" for workers in WORKERS]
    yield Contender("patchbench", own, rivals=names, **shared)
    for name, workers in zip(names, WORKERS, strict=True):
        yield Contender(name, partial(usual, workers), rest=REST_SECONDS if workers else 0.0, **shared)
    if settings.device == "cpu" and settings.threads[-1] > 1:
        shared["copies"], name = settings.threads[-1], f"usual stack{AT_ONCE}"
        yield Contender(f"patchbench{AT_ONCE}", own, rivals=[*names, name], **shared)
        yield Contender(name, partial(usual, 0), **shared)

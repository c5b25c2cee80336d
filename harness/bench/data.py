"""From data to weights: the harness' own path against the usual stack, with the same augmentation.

Ours reads from memory and augments in batches; the usual stack makes a PIL image of each item, as torchvision's data
sets do, and transforms it by itself, in the training's process or in 1 or 2 of a DataLoader's. It is timed with each;
the best is what a ratio to quote is taken to. Before a turn its workers have filled their queue, in its favour. Both
also train as many models at once as there are threads, each with one: that is how a study uses the processor.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from harness.bench.arms import CLASSES, RESNET8, VIT_P7, Arm, made_up, made_up_dataset, own_training
from harness.bench.at_once import UPDATES, at_once
from harness.bench.compared import throughput_rows
from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.bench.step import peer_model
from harness.bench.turns import Contender, Contest
from harness.data import Dataset, load
from harness.spec import Augmentation, DataSpec, InvalidInput, ResNetSpec, ViTSpec

WORKERS = (0, 1, 2)
CIFAR_IMAGES = 50_000
BLOCK = 4
"""Updates that are timed together: the batches of two workers come two by two."""
TURN = 2.5
"""Turns are this many times as long as those of single steps: what a DataLoader has in store then weighs little."""
REST_SECONDS = 0.3
"""Time for a DataLoader's workers to fill their queue after its turn."""

VIT_P8_CIFAR = Arm(
    name="ViT p8 w64 d4, 32 px",
    model=ViTSpec(patch_size=8, width=64, depth=4, heads=4, mlp_ratio=2.0, pool="mean"),
    image_size=32,
    channels=3,
)
RESNET8_CIFAR = Arm(name="ResNet-8 w16, 32 px", model=ResNetSpec(depth=8, width=16), image_size=32, channels=3)

OWN = "patchbench"
AT_ONCE = ", a training per thread"
USUAL_AT_ONCE = f"usual stack{AT_ONCE}"


def usual(workers: int) -> str:
    """The name of the usual stack with so many workers."""
    return f"usual stack, {workers} workers"


def measure(settings: Settings) -> list[Row]:
    """Images per second from data to weights, of two arms on Fashion-MNIST and two on images of CIFAR-10's shape."""
    rows = []
    is_there = has_fashion_mnist()
    for arm in (VIT_P7,) if settings.quick else (VIT_P7, RESNET8, VIT_P8_CIFAR, RESNET8_CIFAR):
        settings.say(f"  {arm.name}")
        is_real = is_there and arm.channels == 1
        contenders = _contenders(arm, settings, is_real=is_real)
        with Contest(contenders) as contest:
            threads = settings.most_threads
            seconds = contest.rounds(
                threads=threads, rounds=max(2, round(settings.rounds / TURN)), seconds=TURN * settings.seconds
            )
        images = "Fashion-MNIST" if is_real else f"random images of {arm.channels} channels"
        rows += throughput_rows(
            contenders,
            seconds,
            part="data",
            what=arm.name,
            batch=arm.batch,
            threads=threads,
            rivals={
                OWN: [usual(workers) for workers in WORKERS],
                OWN + AT_ONCE: [*(usual(workers) for workers in WORKERS), USUAL_AT_ONCE],
            },
            details={contender.name: {"images": images} for contender in contenders},
        )
    return rows


def has_fashion_mnist() -> bool:
    """Whether Fashion-MNIST is found on this machine, or can be fetched."""
    try:
        load(DataSpec(source="fashion_mnist"))
    except InvalidInput:
        return False
    return True


def dataset_of(arm: Arm, device: str, *, is_real: bool) -> Dataset:
    """Fashion-MNIST, or random images of the arm's shape."""
    if is_real:
        return load(DataSpec(source="fashion_mnist"), device=device)
    return made_up_dataset(arm, CIFAR_IMAGES, device)


def own_path(arm: Arm, precision: str, device: str, *, is_real: bool) -> Callable[[], Any]:
    """A function that does one update as a run of a study does it."""
    augmentation = Augmentation(shift=_shift(arm), flip=True)
    dataset = dataset_of(arm, device, is_real=is_real)
    return own_training(arm, dataset, precision=precision, device=device, augmentation=augmentation)


def usual_path(arm: Arm, precision: str, device: str, *, is_real: bool, workers: int) -> Callable[[], Any]:
    """A function that does one update of the usual stack: of timm's ViT, of a ResNet of torchvision's blocks."""
    from harness.bench.usual_stack import training

    if is_real:
        split = dataset_of(arm, "cpu", is_real=True).train
        images, labels = next(iter(split.chunks(len(split))))
    else:
        images, labels = made_up(arm, CIFAR_IMAGES)
    assert int(labels.max()) < CLASSES
    return training(
        peer_model("timm" if isinstance(arm.model, ViTSpec) else "torchvision", arm),
        images.numpy(),
        labels.numpy(),
        shift=_shift(arm),
        batch=arm.batch,
        workers=workers,
        precision=precision,
        device=device,
    )


def _shift(arm: Arm) -> int:
    """Pixels that an image is moved by at most, as is usual for its kind."""
    return 2 if arm.channels == 1 else 4


def _contenders(arm: Arm, settings: Settings, *, is_real: bool) -> list[Contender]:
    found = []
    for precision in settings.precisions:
        where: dict[str, Any] = {"precision": precision, "device": settings.device, "block": BLOCK}
        make: Callable[[], Callable[[], Any]] = partial(own_path, arm, precision, settings.device, is_real=is_real)
        found.append(Contender(name=OWN, make=make, **where))
        for workers in WORKERS:
            make = partial(usual_path, arm, precision, settings.device, is_real=is_real, workers=workers)
            found.append(Contender(name=usual(workers), make=make, rest=REST_SECONDS if workers else 0.0, **where))
        if settings.device == "cpu" and settings.most_threads > 1:
            found += _at_once(arm, precision, settings.most_threads, is_real=is_real)
    return found


def _at_once(arm: Arm, precision: str, trainings: int, *, is_real: bool) -> list[Contender]:
    makers: dict[str, Callable[[], Callable[[], Any]]] = {
        OWN + AT_ONCE: partial(own_path, arm, precision, "cpu", is_real=is_real),
        USUAL_AT_ONCE: partial(usual_path, arm, precision, "cpu", is_real=is_real, workers=0),
    }
    return [
        Contender(name=name, precision=precision, make=partial(at_once, make, trainings), updates=UPDATES * trainings)
        for name, make in makers.items()
    ]

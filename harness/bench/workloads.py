"""What is trained: a model, the shape of its images and its batch; and how the harness trains it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.bench.twelve_trainings import PLAIN, RESNET, VIT
from harness.data import Dataset, Split
from harness.spec import Augmentation, DataSpec, ModelSpec, ResNetSpec, RunConfig, SourceFacts, ViTSpec
from harness.training.allocator import keep_freed_memory
from harness.training.device import choose
from harness.training.loop import prepare_training, run_updates

CLASSES = 10


@dataclass(frozen=True)
class Workload:
    """A model and the images that it learns from."""

    name: str
    model: ModelSpec
    image_size: int = 28
    """Side of an image, pixels."""
    channels: int = 1
    batch: int = 128
    """Images per update."""


_P4 = ViTSpec(patch_size=4, width=96, depth=6, heads=3, mlp_ratio=4.0, pool="mean")
VIT_P4 = Workload("ViT p4 w96 d6, 28 px", _P4)
VIT_P7 = Workload("ViT p7 w64 d4, 28 px", VIT)
VIT_TI = Workload("ViT p4 w192 d12, 32 px", replace(_P4, width=192, depth=12), image_size=32, channels=3, batch=64)
RESNET8 = Workload("ResNet-8 w16, 28 px", RESNET)
RESNET18 = Workload("ResNet-18, 32 px", ResNetSpec(depth=18), image_size=32, channels=3)


def random_images(workload: Workload, number: int) -> tuple[Tensor, Tensor]:
    """Random images uint8 (N, C, H, W) and labels int64 (N,), every class as often."""
    shape = (number, workload.channels, workload.image_size, workload.image_size)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return pixels, torch.arange(number) % CLASSES


def own_training(
    workload: Workload, dataset: Dataset, precision: str, device: str, augmentation: Augmentation
) -> Callable[[], object]:
    """A function that does one update, from the images in memory to the weights, as a run of a study does it.

    It sets its process up as a worker is: freed memory is kept.
    """
    keep_freed_memory()
    recipe = replace(
        PLAIN,
        updates=100_000,  # more than anybody waits for
        batch_size=workload.batch,
        precision="bf16" if precision == "bf16" else "fp32",
        augmentation=augmentation,
    )
    source = "fashion_mnist" if workload.channels == 1 else "cifar10"
    data = DataSpec(source=source, image_size=workload.image_size, train_size=len(dataset.train))
    shape: dict[str, Any] = {"channels": workload.channels, "classes": CLASSES, "data_hash": ""}
    config = RunConfig(phase="tune", seed=0, model=workload.model, recipe=recipe, data=data, **shape)
    updates = run_updates(prepare_training(config, dataset, choose(device, recipe.precision)))
    return lambda: next(updates)


def own_step(workload: Workload, precision: str, device: str, images: int = 4096) -> Callable[[], object]:
    """`own_training` on random images, not augmented."""
    pixels, labels = random_images(workload, images)
    split = Split(pixels.to(device), labels.to(device))
    shape: dict[str, Any] = {"image_size": workload.image_size, "channels": workload.channels, "classes": CLASSES}
    facts = SourceFacts(**shape, train_images=images, test_images=images, validation_images=images)
    dataset = Dataset(train=split, validation=split, facts=facts, hash="", sealed_test=None)
    return own_training(workload, dataset, precision, device, Augmentation())

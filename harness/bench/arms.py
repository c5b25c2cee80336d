"""The models and shapes that the bench trains, and a training of one by the harness' own path."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data import Dataset, Split
from harness.models import macs_per_image
from harness.spec import Augmentation, DataSpec, ModelSpec, Recipe, ResNetSpec, RunConfig, SourceFacts, ViTSpec
from harness.training.allocator import keep_freed_memory
from harness.training.device import choose
from harness.training.loop import prepare_training, run_updates

CLASSES = 10
ENDLESS = 100_000
"""Updates of a recipe whose training is never carried through."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model, the shape of its images and the size of its batches."""

    name: str
    model: ModelSpec
    image_size: int
    """Side of an image, pixels."""
    channels: int
    batch: int = 128
    """Images per update."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a forward pass of one image."""
        shape = {"image_size": self.image_size, "channels": self.channels, "classes": CLASSES}
        return macs_per_image(self.model, **shape)


VIT_P4 = Arm(
    name="ViT p4 w96 d6, 28 px",
    model=ViTSpec(patch_size=4, width=96, depth=6, heads=3, pool="mean"),
    image_size=28,
    channels=1,
)
VIT_P7 = Arm(
    name="ViT p7 w64 d4, 28 px",
    model=ViTSpec(patch_size=7, width=64, depth=4, heads=4, mlp_ratio=2.0, pool="mean"),
    image_size=28,
    channels=1,
)
VIT_TI = Arm(
    name="ViT p4 w192 d12, 32 px",
    model=ViTSpec(patch_size=4, width=192, depth=12, heads=3, pool="mean"),
    image_size=32,
    channels=3,
    batch=64,
)
RESNET8 = Arm(name="ResNet-8 w16, 28 px", model=ResNetSpec(depth=8, width=16), image_size=28, channels=1)
RESNET18 = Arm(name="ResNet-18, 32 px", model=ResNetSpec(depth=18), image_size=32, channels=3)

ARMS = (VIT_P4, VIT_P7, VIT_TI, RESNET8, RESNET18)
"""What is timed step by step."""


def config_of(arm: Arm, *, precision: str, train_size: int, augmentation: Augmentation) -> RunConfig:
    """A run with AdamW and nothing else that a plain loop has not: no clipping, no smoothing, a constant rate."""
    recipe = Recipe(
        updates=ENDLESS,
        batch_size=arm.batch,
        optimizer="adamw",
        learning_rate=1e-3,
        schedule="constant",
        warmup=0.0,
        clip_norm=None,
        precision="bf16" if precision == "bf16" else "fp32",
        evaluations=1,
        augmentation=augmentation,
    )
    data = DataSpec(
        source="fashion_mnist" if arm.channels == 1 else "cifar10", image_size=arm.image_size, train_size=train_size
    )
    return RunConfig(
        phase="tune",
        seed=0,
        model=arm.model,
        recipe=recipe,
        data=data,
        data_hash="",
        channels=arm.channels,
        classes=CLASSES,
    )


def made_up(arm: Arm, images: int) -> tuple[Tensor, Tensor]:
    """Random images of the arm's shape, uint8 (N, C, H, W), and labels int64 (N,), every class as often."""
    shape = (images, arm.channels, arm.image_size, arm.image_size)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return pixels, torch.arange(images) % CLASSES


def made_up_dataset(arm: Arm, images: int, device: str) -> Dataset:
    """A data set of random images; validation has the same ones."""
    pixels, labels = made_up(arm, images)
    split = Split(pixels.to(device), labels.to(device))
    facts = SourceFacts(
        image_size=arm.image_size,
        channels=arm.channels,
        classes=CLASSES,
        train_images=images,
        test_images=images,
        validation_images=images,
    )
    return Dataset(train=split, validation=split, facts=facts, hash="", sealed_test=None)


def own_training(
    arm: Arm, dataset: Dataset, *, precision: str, device: str, augmentation: Augmentation | None = None
) -> Callable[[], object]:
    """A function that does one update, from the images in memory to the weights, as a run of a study does it.

    It sets its process up as a worker is: freed memory is kept.
    """
    keep_freed_memory()
    config = config_of(
        arm, precision=precision, train_size=len(dataset.train), augmentation=augmentation or Augmentation()
    )
    updates = run_updates(prepare_training(config, dataset, choose(device, config.recipe.precision)))
    return lambda: next(updates)


def own_step(arm: Arm, precision: str, device: str, *, images: int = 4096) -> Callable[[], object]:
    """`own_training` on random images, without augmentation."""
    return own_training(arm, made_up_dataset(arm, images, device), precision=precision, device=device)

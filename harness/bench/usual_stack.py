"""The usual stack: torchvision's data sets and transforms, a DataLoader, timm's ViT or a ResNet-8, AdamW.

As anybody's training script: `python -m harness.bench.usual_stack --data FILE.npz --model vit --seed 0 --updates 100`
trains, evaluates on the validation and the test images and prints both accuracies as JSON. Of the harness it uses the
models in `peers` only. Letters: N images, C channels, H height, W width.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10, FashionMNIST
from torchvision.transforms import v2

from harness.bench.peers import ResNet8, autocast, plain_update, vit

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def pictures(images: Pixels, labels: Labels, transform: Callable[[Any], Tensor]) -> Any:
    """Torchvision's FashionMNIST (C = 1) or CIFAR10 (C = 3) over images (N, C, H, W) and labels (N,).

    Items come as in theirs: a PIL image made from an array, then the transform. Only what looks for files is left out.
    """
    data: Any
    if images.shape[1] == 1:
        data = FashionMNIST.__new__(FashionMNIST)
        data.data, data.targets = torch.from_numpy(images[:, 0]), torch.from_numpy(labels)
    else:
        data = CIFAR10.__new__(CIFAR10)
        data.data, data.targets = np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels.tolist()
    data.transform, data.target_transform = transform, None
    return data


def transform(images: Pixels, *, shift: int) -> Callable[[Any], Tensor]:
    """Random crop of the image padded by `shift` pixels and random flip (none with 0), to floats, normalised."""
    mean, std = (images.mean((0, 2, 3)) / 255).tolist(), (images.std((0, 2, 3)) / 255).tolist()
    random = [v2.RandomCrop(images.shape[-1], padding=shift), v2.RandomHorizontalFlip()] if shift else []
    made: Callable[[Any], Tensor] = v2.Compose(
        [*random, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    )
    return made


def training_batches(images: Pixels, labels: Labels, *, shift: int, batch: int, workers: int) -> Iterator[list[Tensor]]:
    """Shuffled batches without end: float32 (B, C, H, W) and labels (B,)."""
    data = pictures(images, labels, transform(images[:10_000], shift=shift))
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        yield from loader


def training(
    model: nn.Module,
    images: Pixels,
    labels: Labels,
    *,
    shift: int,
    batch: int,
    workers: int,
    precision: str,
    device: str,
) -> Callable[[], Tensor]:
    """A function that does one update, from the images in memory to the weights."""
    update = plain_update(model, precision=precision, device=device)
    batches = training_batches(images, labels, shift=shift, batch=batch, workers=workers)
    return lambda: update(*next(batches))


@torch.no_grad()
def accuracy(
    model: nn.Module, images: Pixels, labels: Labels, normalise: Callable[[Any], Tensor], precision: str
) -> float:
    """Share of images (N, C, H, W) whose class is found."""
    model.eval()
    hits = 0
    for inputs, targets in DataLoader(pictures(images, labels, normalise), batch_size=1000):
        with autocast(precision, "cpu"):
            hits += int((model(inputs).argmax(1) == targets).sum())
    return hits / len(labels)


def model_of(kind: str, *, image_size: int, channels: int) -> nn.Module:
    """`vit`: timm's, patch a quarter of the image's side, width 64, depth 4; `resnet`: ResNet-8 of width 16."""
    if kind == "resnet":
        return ResNet8("torchvision", channels=channels, width=16)
    return vit(
        "timm",
        image_size=image_size,
        channels=channels,
        patch_size=image_size // 4,
        width=64,
        depth=4,
        heads=4,
        mlp_ratio=2.0,
    )


def main() -> None:
    """Train one model as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="npz with images and labels of train, validation, test"
    )
    parser.add_argument("--model", choices=["vit", "resnet"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    data = np.load(given.data, allow_pickle=False)
    images, labels = data["train_images"], data["train_labels"]
    model = model_of(given.model, image_size=images.shape[-1], channels=images.shape[1])
    update = training(
        model, images, labels, shift=2, batch=128, workers=given.workers, precision=given.precision, device="cpu"
    )
    for _ in range(given.updates):
        update()
    normalise = transform(images[:10_000], shift=0)
    found = {
        part: accuracy(model, data[f"{part}_images"], data[f"{part}_labels"], normalise, given.precision)
        for part in ("validation", "test")
    }
    print(json.dumps(found))  # noqa: T201 (a script's result)


if __name__ == "__main__":
    main()

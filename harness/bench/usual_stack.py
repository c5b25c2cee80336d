"""The usual stack: torchvision's Fashion-MNIST and transforms, a DataLoader, timm's ViT or a ResNet-8, AdamW.

As anybody's training script: `python -m harness.bench.usual_stack --data FILE.npz --model vit --seed 0 --updates 100`
trains in fp32, evaluates on the validation and the test images and prints both accuracies as JSON. Of the harness it
uses the models in `peers` only. Letters: B, N images, H height, W width.
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
from torchvision.datasets import FashionMNIST
from torchvision.transforms import v2

from harness.bench.peers import ResNet8, plain_update, vit

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
SHIFT = 2
"""Pixels that an image is moved by at most."""


def pictures(images: Pixels, labels: Labels, transform: Callable[[Any], Tensor]) -> FashionMNIST:
    """Torchvision's FashionMNIST over images (N, 1, H, W) and labels (N,); only what looks for files is left out.

    Items come as in theirs: a PIL image made from an array, then the transform.
    """
    data = FashionMNIST.__new__(FashionMNIST)
    data.data, data.targets = torch.from_numpy(images[:, 0]), torch.from_numpy(labels)
    data.transform, data.target_transform = transform, None
    return data


def transform(images: Pixels, *, augment: bool) -> Callable[[Any], Tensor]:
    """Random crop of the padded image and random flip if `augment`; to floats, normalised as `images` are."""
    mean, std = images.mean() / 255, images.std() / 255
    random = [v2.RandomCrop(images.shape[-1], padding=SHIFT), v2.RandomHorizontalFlip()] if augment else []
    usual = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([mean], [std])]
    made: Callable[[Any], Tensor] = v2.Compose([*random, *usual])
    return made


def training_batches(images: Pixels, labels: Labels, *, batch: int, workers: int) -> Iterator[list[Tensor]]:
    """Shuffled and augmented batches without end: float32 (B, 1, H, W) and labels (B,)."""
    data, lasting = pictures(images, labels, transform(images[:10_000], augment=True)), workers > 0
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=lasting
    )
    while True:
        yield from loader


@torch.no_grad()
def accuracy(model: nn.Module, data: FashionMNIST, device: str) -> float:
    """Share of the pictures whose class is found."""
    model.eval()
    batches = ((inputs.to(device), targets.to(device)) for inputs, targets in DataLoader(data, batch_size=1000))
    return sum(int((model(inputs).argmax(1) == targets).sum()) for inputs, targets in batches) / len(data)


def main() -> None:
    """Train ResNet-8 of width 16 or a ViT of 16 patches, width 64 and depth 4, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="npz: images and labels of train, validation, test")
    parser.add_argument("--model", choices=["vit", "resnet"], required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    data = np.load(given.data, allow_pickle=False)
    images, labels = data["train_images"], data["train_labels"]
    if given.model == "vit":
        model = vit("timm", image_size=28, channels=1, patch_size=7, width=64, depth=4, heads=4, hidden=128)
    else:
        model = ResNet8(channels=1, width=16)
    update = plain_update(model, precision="fp32", device=given.device)
    batches = training_batches(images, labels, batch=128, workers=0)
    for _ in range(given.updates):
        update(*next(batches))
    unchanged, found = transform(images[:10_000], augment=False), {}
    for part in ("validation", "test"):
        unseen = pictures(data[f"{part}_images"], data[f"{part}_labels"], unchanged)
        found[part] = accuracy(model, unseen, given.device)
    print(json.dumps(found))  # noqa: T201 (a script's result)


if __name__ == "__main__":
    main()

"""What others write for the same work: models of other libraries, a plain loop, and the usual way from data to weights.

As a training script, `python -m harness.bench.usual_stack vit 0 100 cpu` trains a model with a seed for some updates on
a device in fp32, and prints the accuracies on the validation and the test images. Of the harness it uses the images and
the sizes of the models only. Letters: B, N images, C channels, r image side in pixels, K classes.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.models import VisionTransformer, resnet
from torchvision.models.resnet import BasicBlock
from torchvision.transforms import v2

from harness.bench.twelve_trainings import LAPTOP, PLAIN, RESNET, VIT
from harness.data import load
from harness.data.splits import AnySplit
from harness.spec import ModelSpec, ResNetSpec, ViTSpec
from harness.training.device import choose

CLASSES = 10


def peer_model(library: str, spec: ModelSpec, *, image_size: int, channels: int) -> nn.Module:
    """A library's model of our model's size: images (B, C, r, r) to logits (B, K).

    timm's vision transformer has the mean over the patch tokens and no class token; torchvision's has a class token,
    and knows no other way. vit-pytorch's SimpleViT has the mean, fixed positions, no bias in attention, and two more
    LayerNorms round the patches' linear map. The ResNets are of torchvision's blocks, with the usual stem for small
    images: one 3x3 convolution, stride 1, no pooling.
    """
    if isinstance(spec, ResNetSpec):
        return _resnet8(channels, spec.width or 0) if spec.depth == 8 else _resnet18(channels)
    assert isinstance(spec, ViTSpec)
    patch, width, heads, hidden = spec.patch_size, spec.width, spec.heads, round(spec.width * spec.mlp_ratio)
    shape: dict[str, Any] = {"patch_size": patch, "num_classes": CLASSES, "depth": spec.depth}
    if library == "torchvision":
        model: nn.Module = VisionTransformer(image_size, patch, spec.depth, heads, width, hidden, num_classes=CLASSES)
        model.conv_proj = nn.Conv2d(channels, width, patch, stride=patch)
    elif library == "timm":
        from timm.models.vision_transformer import VisionTransformer as TimmViT

        shape |= {"img_size": image_size, "in_chans": channels, "embed_dim": width, "num_heads": heads}
        model = TimmViT(**shape, mlp_ratio=spec.mlp_ratio, class_token=False, global_pool="avg", fc_norm=False)
    else:
        from vit_pytorch import SimpleViT

        shape |= {"image_size": image_size, "channels": channels, "dim": width, "heads": heads}
        model = SimpleViT(**shape, mlp_dim=hidden, dim_head=width // heads)
    return model


def _resnet18(channels: int) -> nn.Module:
    model: nn.Module = resnet.resnet18(num_classes=CLASSES)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def _resnet8(channels: int, width: int) -> nn.Module:
    """ResNet-8 with shortcuts of option A (arXiv 1512.03385, section 4.2): every second pixel, new channels zero."""

    def shortcut(new: int) -> nn.Module:
        return nn.Sequential(nn.AvgPool2d(1, stride=2), nn.ConstantPad3d((0, 0, 0, 0, 0, new), 0.0))

    return nn.Sequential(
        *(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
        BasicBlock(width, width),
        BasicBlock(width, 2 * width, stride=2, downsample=shortcut(width)),
        BasicBlock(2 * width, 4 * width, stride=2, downsample=shortcut(2 * width)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, CLASSES)),
    )


def plain_update(
    model: nn.Module, *, precision: str, device: str = "cpu", channels_last: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """The usual eager update: a function of images (B, C, r, r), normalised, and labels (B,); returns the loss."""
    choose(device, precision)  # which sets the same kernels for all: TF32 and cuDNN's fastest, on CUDA
    memory: dict[str, Any] = {"memory_format": torch.channels_last} if channels_last else {}
    model = model.to(device, **memory).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)

    def update(images: Tensor, labels: Tensor) -> Tensor:
        images = images.to(device, non_blocking=True, **memory)
        labels = labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext():
            loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return update


def pictures(split: AnySplit, *, augment: bool) -> FashionMNIST:
    """Torchvision's FashionMNIST over the images of a split (N, 1, r, r); only what looks for files is left out.

    Items come as in theirs: a PIL image made from an array, cropped at random from the padded one and flipped if
    `augment`, then normalised as the first 10,000 are.
    """
    images, labels = next(iter(split.chunks(len(split))))
    std, mean = torch.std_mean(images[:10_000] / 255.0, correction=0)
    random = [v2.RandomCrop(images.shape[-1], padding=PLAIN.augmentation.shift), v2.RandomHorizontalFlip()]
    usual = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([float(mean)], [float(std)])]
    data = FashionMNIST.__new__(FashionMNIST)
    data.data, data.targets = images[:, 0], labels
    data.transform, data.target_transform = v2.Compose([*(random if augment else []), *usual]), None
    return data


def training_batches(split: AnySplit, *, batch: int, workers: int) -> Iterator[list[Tensor]]:
    """Shuffled and augmented batches without end: float32 (B, 1, r, r) and labels (B,)."""
    way: dict[str, Any] = {"shuffle": True, "drop_last": True, "persistent_workers": workers > 0}
    way["pin_memory"] = torch.cuda.is_available()
    loader = DataLoader(pictures(split, augment=True), batch_size=batch, num_workers=workers, **way)
    while True:
        yield from loader


@torch.no_grad()
def _accuracy(model: nn.Module, split: AnySplit, device: str) -> float:
    batches = DataLoader(pictures(split, augment=False), batch_size=1000)
    right = (model(images.to(device)).argmax(1).cpu() == labels for images, labels in batches)
    return float(torch.cat(list(right)).float().mean())


def main(name: str, seed: str, updates: str, device: str) -> None:
    """Train one of the two models of `twelve_trainings`."""
    torch.manual_seed(int(seed))
    data = load(LAPTOP.data, phase="confirm")
    model = peer_model("timm", VIT if name == "vit" else RESNET, image_size=28, channels=1)
    update = plain_update(model, precision="fp32", device=device)
    batches = training_batches(data.train, batch=PLAIN.batch_size, workers=0)
    for _ in range(int(updates)):
        update(*next(batches))
    model.eval()
    assert data.sealed_test is not None
    found = [_accuracy(model, split, device) for split in (data.validation, data.test)]
    sys.stdout.write(f"{name}, seed {seed}: {found}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The same models from other libraries, of the same sizes, and the plain loop that trains them.

It knows nothing of the harness: what is here is what a user of those libraries writes. Letters of the shape comments:
B images, C channels, r image side in pixels, h side of a feature map, K classes.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models import VisionTransformer, resnet
from torchvision.models.resnet import BasicBlock

Library = Literal["timm", "torchvision", "vit-pytorch SimpleViT"]
CLASSES = 10


def vit(
    library: Library,
    *,
    image_size: int,
    channels: int,
    patch_size: int,
    width: int,
    depth: int,
    heads: int,
    hidden: int,
) -> nn.Module:
    """A vision transformer, `hidden` wide in its MLPs: images (B, C, r, r) to logits (B, K).

    timm's has the mean over the patch tokens and no class token; torchvision's has a class token, and knows no other
    way. vit-pytorch's SimpleViT has the mean, fixed positions, no bias in attention, and two more LayerNorms round the
    patches' linear map.
    """
    model: nn.Module
    shape: dict[str, int] = {"patch_size": patch_size, "num_classes": CLASSES, "depth": depth}
    match library:
        case "timm":
            from timm.models.vision_transformer import VisionTransformer as TimmViT

            shape |= {"img_size": image_size, "in_chans": channels, "embed_dim": width, "num_heads": heads}
            model = TimmViT(**shape, mlp_ratio=hidden / width, class_token=False, global_pool="avg", fc_norm=False)
        case "torchvision":
            model = VisionTransformer(image_size, patch_size, depth, heads, width, hidden, num_classes=CLASSES)
            if channels != 3:
                model.conv_proj = nn.Conv2d(channels, width, patch_size, stride=patch_size)
        case "vit-pytorch SimpleViT":
            from vit_pytorch import SimpleViT

            shape |= {"image_size": image_size, "channels": channels, "dim": width, "heads": heads}
            model = SimpleViT(**shape, mlp_dim=hidden, dim_head=width // heads)
    return model


def resnet18(*, channels: int) -> nn.Module:
    """ResNet-18 of torchvision with the usual stem for small images: one 3x3 convolution, stride 1, no pooling."""
    model: nn.Module = resnet.resnet18(num_classes=CLASSES)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


class ResNet8(nn.Module):
    """ResNet-8 (arXiv 1512.03385, section 4.2) of torchvision's blocks: images (B, C, r, r) to logits (B, K)."""

    def __init__(self, *, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = nn.Sequential(
            BasicBlock(width, width),
            BasicBlock(width, 2 * width, stride=2, downsample=Shortcut(width)),
            BasicBlock(2 * width, 4 * width, stride=2, downsample=Shortcut(2 * width)),
        )
        self.fc = nn.Linear(4 * width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, r, r)."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(self.stages(x), 1).flatten(1))
        return logits


class Shortcut(nn.Module):
    """Option A of section 4.2: (B, C, h, h) to (B, C + new, h / 2, h / 2), every second pixel, new channels zero."""

    def __init__(self, new: int) -> None:
        super().__init__()
        self.new = new

    def forward(self, x: Tensor) -> Tensor:
        """Strided and filled up."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new))


def plain_update(
    model: nn.Module, *, precision: str, device: str = "cpu", channels_last: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """The usual eager update: a function of images (B, C, r, r), normalised, and labels (B,); returns the loss."""
    memory: dict[str, Any] = {"memory_format": torch.channels_last} if channels_last else {}
    model = model.to(device, **memory).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)

    def update(images: Tensor, labels: Tensor) -> Tensor:
        images, labels = images.to(device, **memory), labels.to(device)
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext():
            loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return update

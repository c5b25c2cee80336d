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

Library = Literal["timm", "torchvision", "vit-pytorch"]
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
    mlp_ratio: float,
) -> nn.Module:
    """A vision transformer: images (B, C, r, r) to logits (B, K).

    timm's has the mean over the patch tokens and no class token; torchvision's has a class token, and knows no other
    way. vit-pytorch's is its SimpleViT: mean, fixed positions, no bias in attention, two more LayerNorms round the
    patches' linear map.
    """
    hidden = round(width * mlp_ratio)
    match library:
        case "timm":
            from timm.models.vision_transformer import VisionTransformer as TimmViT

            model = TimmViT(
                img_size=image_size,
                patch_size=patch_size,
                in_chans=channels,
                num_classes=CLASSES,
                embed_dim=width,
                depth=depth,
                num_heads=heads,
                mlp_ratio=mlp_ratio,
                class_token=False,
                global_pool="avg",
                fc_norm=False,
            )
        case "torchvision":
            from torchvision.models import VisionTransformer

            model = VisionTransformer(
                image_size=image_size,
                patch_size=patch_size,
                num_layers=depth,
                num_heads=heads,
                hidden_dim=width,
                mlp_dim=hidden,
                num_classes=CLASSES,
            )
            if channels != 3:
                model.conv_proj = nn.Conv2d(channels, width, patch_size, stride=patch_size)
        case "vit-pytorch":
            from vit_pytorch import SimpleViT

            model = SimpleViT(
                image_size=image_size,
                patch_size=patch_size,
                num_classes=CLASSES,
                dim=width,
                depth=depth,
                heads=heads,
                mlp_dim=hidden,
                channels=channels,
                dim_head=width // heads,
            )
    built: nn.Module = model
    return built


def resnet18(library: Library, *, channels: int) -> nn.Module:
    """ResNet-18 with the stem for small images, as is usual: one 3x3 convolution, stride 1, no pooling."""
    model: nn.Module
    if library == "timm":
        import timm

        model = timm.create_model("resnet18", num_classes=CLASSES, in_chans=channels)
    else:
        from torchvision.models import resnet18 as torchvision_resnet18

        model = torchvision_resnet18(num_classes=CLASSES)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


class ResNet8(nn.Module):
    """ResNet-8 (arXiv 1512.03385, section 4.2) of a library's own basic blocks: images (B, C, r, r) to logits (B, K).

    Neither library has the CIFAR nets of that section as they are: its whole nets begin with 64 channels.
    """

    def __init__(self, library: Library, *, channels: int, width: int) -> None:
        super().__init__()
        block = _basic_block(library)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = nn.Sequential(
            block(width, width),
            block(width, 2 * width, stride=2, downsample=Shortcut(width)),
            block(2 * width, 4 * width, stride=2, downsample=Shortcut(2 * width)),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, r, r)."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        logits: Tensor = self.fc(self.pool(self.stages(x)).flatten(1))
        return logits


class Shortcut(nn.Module):
    """Option A of section 4.2: (B, C, h, h) to (B, C + new, h / 2, h / 2), every second pixel, new channels zero."""

    def __init__(self, new: int) -> None:
        super().__init__()
        self.new = new

    def forward(self, x: Tensor) -> Tensor:
        """Strided and filled up."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new))


def _basic_block(library: Library) -> Callable[..., nn.Module]:
    if library == "timm":
        from timm.models.resnet import BasicBlock as TimmBlock

        block: Callable[..., nn.Module] = TimmBlock
    else:
        from torchvision.models.resnet import BasicBlock

        block = BasicBlock
    return block


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
        with autocast(precision, device):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return update


def autocast(precision: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast, or nothing for fp32."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()

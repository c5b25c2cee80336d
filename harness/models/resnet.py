"""ResNets (arXiv 1512.03385): the small nets of section 4.2, and (`large_resnet`) torchvision's ResNet-18, -34, -50.

Letters of the shape comments: B images, C channels, r image side in pixels, w width of the first stage, K classes.
All of them work in both memory formats; `channels_last` is the faster one for convolutions on CPU and GPU.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.models.family import Family, Inside, Parts
from harness.spec import ResNetSpec
from harness.spec.model import SMALL_RESNET_DEPTHS


class SmallResNet(nn.Module):
    """The CIFAR nets of section 4.2: images (B, C, r, r) to logits (B, K); depth 6n + 2, widths w, 2w, 4w."""

    def __init__(self, spec: ResNetSpec, *, image_size: int, channels: int, classes: int) -> None:
        super().__init__()
        assert spec.width is not None
        w, blocks = spec.width, (spec.depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.stages = nn.Sequential()
        for before, after, stride in ((w, w, 1), (w, 2 * w, 2), (2 * w, 4 * w, 2)):
            rest = (BasicBlock(after, after, 1) for _ in range(blocks - 1))
            self.stages.append(nn.Sequential(BasicBlock(before, after, stride), *rest))
        self.fc = nn.Linear(4 * w, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)))  # (B, w, r, r)
        x = _pixels(self.stages(x)).mean(dim=(1, 2))  # (B, 4w)
        logits: Tensor = self.fc(x)
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a parameter-free shortcut (section 4.2, option A).

    Feature maps (B, before, h, h) to (B, after, h / stride, h / stride), rounded up. Where the block strides or widens,
    the shortcut takes every second pixel and fills the new channels with zeros.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, after - before
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.new_channels:
            kept = _pixels(x)[:, :: self.stride, :: self.stride]
            x = F.pad(kept, (0, self.new_channels)).permute(0, 3, 1, 2)
        return F.relu(branch + x)


def _pixels(x: Tensor) -> Tensor:
    """Feature maps (B, C, h, w) as (B, h, w, C), a view.

    What autograd makes of slices, padding and means is laid out as they were written. Written in this order their
    gradients are channels_last like all others; a sum of two gradients in different formats takes ten times as long.
    """
    return x.permute(0, 2, 3, 1)


def _build(spec: ResNetSpec, **shape: int) -> nn.Module:
    if spec.depth in SMALL_RESNET_DEPTHS:
        return SmallResNet(spec, **shape)
    from harness.models.large_resnet import LargeResNet  # torchvision takes as long to load as torch

    return LargeResNet(spec, **shape)


_BLOCKS = ("stages", "layer1", "layer2", "layer3", "layer4")

_PARTS = Parts(stem="conv1", blocks=_BLOCKS, head="fc")


def _inside(model: nn.Module, spec: ResNetSpec) -> Inside:
    del spec
    layers = (getattr(model, f"layer{stage}") for stage in range(1, 5))
    parts: Iterable[Any] = model.stages if isinstance(model, SmallResNet) else layers
    return Inside(blocks=tuple(block for part in parts for block in part))


RESNET = Family(spec=ResNetSpec, build=_build, parts=_PARTS, inside=_inside)

"""torchvision's ResNet-18, -34 and -50 (arXiv 1512.03385), for any number of channels and small images, too."""

from torch import nn
from torchvision.models import resnet

from harness.spec import ResNetSpec


class LargeResNet(resnet.ResNet):  # type: ignore[misc]  # torchvision publishes no types
    """torchvision's ResNet: images (B, C, r, r) to logits (B, K); its state dict fits torchvision's where shapes agree.

    The stem `cifar` is one 3x3 convolution of stride 1 without pooling, for small images.
    """

    def __init__(self, spec: ResNetSpec, *, image_size: int, channels: int, classes: int) -> None:
        block = resnet.Bottleneck if spec.depth == 50 else resnet.BasicBlock
        super().__init__(block, [2, 2, 2, 2] if spec.depth == 18 else [3, 4, 6, 3], num_classes=classes)
        if spec.stem == "cifar":
            self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        elif channels != 3:
            self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")

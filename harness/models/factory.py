"""From a specification to a model."""

from torch import nn

from harness.models.resnet import SmallResNet, TorchvisionResNet
from harness.models.swin import Swin
from harness.models.vit import AttentionMode, ViT
from harness.spec import ModelSpec, ResNetSpec, SwinSpec, ViTSpec
from harness.spec.errors import require_within
from harness.spec.model import SMALL_RESNET_DEPTHS


def build(
    spec: ModelSpec, *, image_size: int, channels: int, classes: int, attention: AttentionMode = "auto"
) -> nn.Module:
    """A model with fresh parameters: images (B, channels, image_size, image_size), normalised, to logits (B, classes).

    Parameters come from torch's global CPU generator: seed it for the same model again. `attention` picks how a ViT's
    attention is computed, not what; `auto` takes the faster one for the device and the number of tokens.

    A ViT with a distillation token returns the logits of both its heads, (B, 2, classes), while it is in training mode.

    Raises InvalidInput if the image does not fit the spec, `channels` is below 1 or `classes` below 2.
    """
    spec.check_image(image_size)
    require_within("channels", channels, 1)
    require_within("classes", classes, 2)
    match spec:
        case ViTSpec():
            return ViT(spec, image_size=image_size, channels=channels, classes=classes, attention=attention)
        case ResNetSpec(depth=depth) if depth in SMALL_RESNET_DEPTHS:
            return SmallResNet(spec, image_size=image_size, channels=channels, classes=classes)
        case ResNetSpec():
            return TorchvisionResNet(spec, image_size=image_size, channels=channels, classes=classes)
        case SwinSpec():
            return Swin(spec, image_size=image_size, channels=channels, classes=classes)

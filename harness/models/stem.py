"""How a vision transformer makes tokens of an image; letters as in `harness.models.vit`, and b, the largest p."""

from itertools import pairwise
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.models.resizing import resized, resizing
from harness.models.resnet import BasicBlock
from harness.spec import ViTSpec


def stem_of(spec: ViTSpec, channels: int) -> nn.Module:
    """The stem that the spec asks for."""
    if spec.flexible_patches:
        return FlexibleStem(spec, channels)
    return (PatchStem if spec.stem == "patch" else ConvolutionStem)(spec, channels)


class PatchStem(nn.Module):
    """The linear map of flattened patches (equation 1): images (B, C, r, r) to tokens (B, P, D), row by row."""

    def __init__(self, spec: ViTSpec, channels: int) -> None:
        super().__init__()
        self.patch_size, self._shape = spec.patch_size, (channels, spec.patch_size, spec.patch_size)
        self.projection = nn.Linear(channels * spec.patch_size**2, spec.width)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.projection(patches_of(images, self.patch_size))
        return tokens

    def filters(self) -> Tensor:
        """Its rows as images, (D, C, p, p)."""
        return self.projection.weight.view(-1, *self._shape)


class FlexibleStem(nn.Module):
    """The same map for patches of several sizes (FlexiViT, arXiv 2212.08013, section 3.4).

    It is learned for patches of the largest size, (D, C * b * b). For others it is resized so that an image of b pixels
    and the same image, resized, give the same token (PI-resize): by the pseudo-inverse of how images are resized.
    In training patches have the size `drawn`, which whoever trains it draws anew for each update.
    """

    def __init__(self, spec: ViTSpec, channels: int) -> None:
        super().__init__()
        self.patch_size, self.sizes, self.largest = spec.patch_size, spec.flexible_patches, max(spec.flexible_patches)
        self.channels, self.projection = channels, nn.Linear(channels * self.largest**2, spec.width)
        self.drawn = min(self.sizes)  # until then those that take the most memory
        for size in self.sizes:
            matrix = torch.linalg.pinv(resizing(self.largest, size).T.double()).float()  # (p * p, b * b)
            self.register_buffer(f"resizing_{size}", matrix, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        size = self.drawn if self.training else self.patch_size
        weight = self._resized(size).flatten(1)  # (D, C * p * p)
        return F.linear(patches_of(images, size), weight, self.projection.bias)

    def filters(self) -> Tensor:
        """The rows of the map of `patch_size` as images, (D, C, p, p)."""
        return self._resized(self.patch_size).reshape(-1, self.channels, self.patch_size, self.patch_size)

    def _resized(self, size: int) -> Tensor:
        """(D, C, p * p)."""
        vectors = self.projection.weight.view(-1, self.channels, self.largest**2).mT  # (D, b * b, C)
        return resized(getattr(self, f"resizing_{size}"), vectors).mT


def flexible_stem(model: nn.Module) -> FlexibleStem | None:
    """The stem of a model for patches of several sizes; None of other models."""
    stem = getattr(model, "stem", None)
    return stem if isinstance(stem, FlexibleStem) else None


def patches_of(images: Tensor, p: int) -> Tensor:
    """Images (B, C, r, r) as flattened patches (B, P, C * p * p), row by row."""
    B, C, r, _ = images.shape  # noqa: N806
    g = r // p
    patches = images.reshape(B, C, g, p, g, p).permute(0, 2, 4, 1, 3, 5)  # (B, g, g, C, p, p)
    return patches.reshape(B, g * g, C * p * p)


class ConvolutionStem(nn.Module):
    """A feature map of stride p, then a 1x1 projection: images (B, C, r, r) to tokens (B, P, D).

    `conv` (arXiv 2106.14881, section 4): log2(p) convolutions 3x3 of stride 2 with BatchNorm and ReLU; channels double
    and end at D. `hybrid` (arXiv 2010.11929, section 3.1): a small ResNet of a 3x3 convolution, then log2(p) residual
    blocks of stride 2 with the same channels.
    """

    def __init__(self, spec: ViTSpec, channels: int) -> None:
        super().__init__()
        stages, is_hybrid = round(log2(spec.patch_size)), spec.stem == "hybrid"
        widths = [max(1, spec.width >> (stages - 1 - stage)) for stage in range(stages)]
        layers = _convolution(channels, widths[0], stride=1) if is_hybrid else []
        for before, after in pairwise([widths[0] if is_hybrid else channels, *widths]):
            layers += [BasicBlock(before, after, stride=2)] if is_hybrid else _convolution(before, after, stride=2)
        self.features = nn.Sequential(*layers)
        self.projection = nn.Linear(widths[-1], spec.width)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)  # (B, channels, g, g)
        tokens: Tensor = self.projection(features.flatten(2).mT)  # the 1x1 convolution
        return tokens


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

"""Batched augmentation on the device that trains, with a draw for each image.

B images, C channels, height H, width W, K classes. Pixels are 0..255; what is moved in or blanked is 0 (black).
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor
from torch.nn import functional

from harness.spec import Augmentation

ERASED_AREA = (0.02, 1 / 3)  # share of the image that random erasing blanks
ERASED_ASPECT = (0.3, 3.3)  # height over width of what it blanks, drawn evenly in the logarithm
RANDAUGMENT_MAGNITUDE = 9  # of 30, at strength 1


def augment(
    images: Tensor, labels: Tensor, spec: Augmentation, classes: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """A batch as the training sees it, of images uint8 (B, C, H, W), labels int64 (B,) and a generator on their device.

    Where images are mixed they become float32, and their labels float32 (B, K) with rows that sum to 1.
    """
    if spec.randaugment and spec.strength > 0:
        images = randaugment(images, spec.randaugment, spec.strength, generator)
    if spec.flip and spec.strength > 0:
        images = flip(images, generator, probability=min(0.5, 0.5 * spec.strength))
    if reach := round(spec.shift * spec.strength):
        images = shift(images, reach, generator)
    if spec.erase:
        images = erase(images, min(1.0, spec.erase * spec.strength), generator)
    if spec.mixup or spec.cutmix:
        return mix(images, labels, spec, classes, generator)
    return images, labels


def flip(images: Tensor, generator: Generator, *, probability: float = 0.5) -> Tensor:
    """Mirror each image left to right with a probability."""
    chosen = torch.rand(len(images), device=images.device, generator=generator) < probability
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def shift(images: Tensor, reach: int, generator: Generator) -> Tensor:
    """Move each image by -reach..reach pixels in both directions, all equally likely; what moves in is 0."""
    size, (high, wide) = len(images), images.shape[2:]
    offsets = torch.randint(2 * reach + 1, (2, size), device=images.device, generator=generator)
    padded = functional.pad(images, (reach, reach, reach, reach))
    windows = padded.unfold(2, high, 1).unfold(3, wide, 1)  # a view (B, C, 2 reach + 1, 2 reach + 1, H, W)
    each = torch.arange(size, device=images.device)
    return windows[each, :, offsets[0], offsets[1]]


def translated(images: Tensor, *, down: int, right: int) -> Tensor:
    """All images (B, C, H, W) moved by the same pixels, fewer than their side; up and left are negative."""
    return functional.pad(images, (right, -right, down, -down))


def erase(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Blank a random rectangle of each image with the given probability (random erasing, arXiv 1708.04896)."""
    size, (high, wide) = len(images), images.shape[2:]
    draws = torch.rand(5, size, device=images.device, generator=generator)
    (smallest, largest), (flattest, tallest) = ERASED_AREA, map(math.log, ERASED_ASPECT)
    area = (smallest + (largest - smallest) * draws[0]) * (high * wide)
    aspect = torch.exp(flattest + (tallest - flattest) * draws[1])
    h = (area * aspect).sqrt().round().clamp(1, high)
    w = (area / aspect).sqrt().round().clamp(1, wide)
    blank = _rectangles(draws[2], draws[3], h, w, (high, wide)) & (draws[4] < probability)[:, None, None]
    return images.masked_fill(blank[:, None], 0)


def mix(
    images: Tensor, labels: Tensor, spec: Augmentation, classes: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix each image with its neighbour in the batch, by mixup (arXiv 1710.09412) or CutMix (arXiv 1905.04899).

    Where both are on, each image is mixed by either, equally likely. The share of each label is the share of pixels.
    """
    size, (high, wide) = len(images), images.shape[2:]
    draws = torch.rand(5, size, device=images.device, generator=generator)
    share = images.new_ones((size, high, wide), dtype=torch.float32)  # of the image itself, per pixel
    if spec.mixup:
        share = share * _beta(spec.mixup, draws[3])[:, None, None]
    if spec.cutmix:
        side = (1 - _beta(spec.cutmix, draws[4])).sqrt()
        h, w = (side * high).round(), (side * wide).round()
        pasted = 1 - _rectangles(draws[1], draws[2], h, w, (high, wide)).float()
        cut = (draws[0] < 0.5)[:, None, None] if spec.mixup else torch.ones_like(pasted, dtype=torch.bool)
        share = torch.where(cut, pasted, share)
    own = images.float()
    mixed = torch.lerp(own.roll(1, 0), own, share[:, None])
    hot = functional.one_hot(labels, classes).float()
    weight = share.mean((1, 2))[:, None]
    return mixed, hot * weight + hot.roll(1, 0) * (1 - weight)


def randaugment(images: Tensor, operations: int, strength: float, generator: Generator) -> Tensor:
    """RandAugment (arXiv 1909.13719) of each uint8 image by torchvision: one by one, so slow."""
    from torchvision.transforms.v2 import RandAugment

    transform = RandAugment(operations, min(30, round(RANDAUGMENT_MAGNITUDE * strength)))
    seeds = torch.randint(2**62, (len(images),), device=images.device, generator=generator).tolist()
    changed = []
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global CPU generator only
        for image, seed in zip(images, seeds, strict=True):
            torch.default_generator.manual_seed(seed)  # leaves the generators of other devices alone
            changed.append(transform(image))
    return torch.stack(changed)


def _rectangles(down: Tensor, right: Tensor, h: Tensor, w: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (B, H, W) of rectangles of whole h x w pixels (B,), placed within the image by two uniform draws (B,)."""
    (high, wide), device = size, down.device
    top = (down * (high - h + 1)).floor().minimum(high - h)[:, None]
    left = (right * (wide - w + 1)).floor().minimum(wide - w)[:, None]
    rows, columns = torch.arange(high, device=device), torch.arange(wide, device=device)
    tall = (rows >= top) & (rows < top + h[:, None])  # (B, H)
    broad = (columns >= left) & (columns < left + w[:, None])  # (B, W)
    return tall[:, :, None] & broad[:, None, :]


def _beta(alpha: float, uniform: Tensor) -> Tensor:
    """Draws of Beta(alpha, alpha) from uniform ones, by its quantiles: torch's own distribution takes no generator."""
    quantiles = torch.tensor(_beta_quantiles(alpha), device=uniform.device)
    place = uniform * (len(quantiles) - 1)
    below = place.long().clamp_max(len(quantiles) - 2)
    return torch.lerp(quantiles[below], quantiles[below + 1], place - below)


@lru_cache
def _beta_quantiles(alpha: float) -> npt.NDArray[np.float32]:
    from scipy.special import betaincinv

    return np.asarray(betaincinv(alpha, alpha, np.linspace(0, 1, 1025)), dtype=np.float32)

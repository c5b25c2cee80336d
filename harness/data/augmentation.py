"""Batched augmentation on the device that trains, with a draw for each image.

B images, C channels, height H, width W, K classes. Pixels are 0..255; what is moved in or blanked is 0 (black).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor
from torch.nn import functional

from harness.data.parts import Part
from harness.data.sending import sent
from harness.spec import Augmentation

ERASED_AREA = (0.02, 1 / 3)  # share of the image that random erasing blanks
ERASED_ASPECT = (0.3, 3.3)  # height over width of what it blanks, drawn evenly in the logarithm
RANDAUGMENT_MAGNITUDE = 9  # of 30, at strength 1


def augment(
    images: Tensor, labels: Tensor, spec: Augmentation, classes: int, generator: Generator, part: Part | None = None
) -> tuple[Tensor, Tensor]:
    """A batch as the training sees it, of images uint8 (B, C, H, W), labels int64 (B,) and a generator on their device.

    Where images are mixed they become float32, and their labels float32 (B, K) with rows that sum to 1. Of a `part` of
    a batch, on the same device, `images` and `labels` are its rows; those that it owns come back as in the whole batch.
    """
    draws = Draws(generator, part)
    if spec.randaugment and spec.strength > 0:
        images = randaugment(images, spec.randaugment, spec.strength, draws)
    if spec.flip and spec.strength > 0:
        images = flip(images, draws, probability=min(0.5, 0.5 * spec.strength))
    if reach := round(spec.shift * spec.strength):
        images = shift(images, reach, draws)
    if spec.erase:
        images = erase(images, min(1.0, spec.erase * spec.strength), draws)
    if spec.mixup or spec.cutmix:
        images, labels = mix(images, labels, spec, classes, draws)
    return (images, labels) if part is None else (images[part.own], labels[part.own])


@dataclass(frozen=True)
class Draws:
    """Random numbers for each image of a batch, or of a part of one: then those that they have in the whole batch."""

    generator: Generator
    part: Part | None = None

    def uniform(self, rows: int, images: Tensor) -> Tensor:
        """Numbers in 0..1, float32 (`rows`, B), for images (B, ...)."""
        drawn = torch.rand(rows, self._number(images), device=images.device, generator=self.generator)
        return drawn if self.part is None else drawn[:, self.part.rows]

    def integers(self, below: int, rows: int, images: Tensor) -> Tensor:
        """Whole numbers in 0..`below` - 1, int64 (`rows`, B), for images (B, ...)."""
        size = (rows, self._number(images))
        drawn = torch.randint(below, size, device=images.device, generator=self.generator)
        return drawn if self.part is None else drawn[:, self.part.rows]

    def _number(self, images: Tensor) -> int:
        return len(images) if self.part is None else self.part.batch_size


def flip(images: Tensor, draws: Draws, *, probability: float = 0.5) -> Tensor:
    """Mirror each image left to right with a probability."""
    (chosen,) = draws.uniform(1, images) < probability
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def shift(images: Tensor, reach: int, draws: Draws) -> Tensor:
    """Move each image by -reach..reach pixels in both directions, all equally likely; what moves in is 0."""
    size, (high, wide) = len(images), images.shape[2:]
    offsets = draws.integers(2 * reach + 1, 2, images)
    padded = functional.pad(images, (reach, reach, reach, reach))
    windows = padded.unfold(2, high, 1).unfold(3, wide, 1)  # a view (B, C, 2 reach + 1, 2 reach + 1, H, W)
    each = torch.arange(size, device=images.device)
    return windows[each, :, offsets[0], offsets[1]]


def translated(images: Tensor, *, down: int, right: int) -> Tensor:
    """All images (B, C, H, W) moved by the same pixels, fewer than their side; up and left are negative."""
    return functional.pad(images, (right, -right, down, -down))


def erase(images: Tensor, probability: float, draws: Draws) -> Tensor:
    """Blank a random rectangle of each image with the given probability (random erasing, arXiv 1708.04896)."""
    (high, wide), drawn = images.shape[2:], draws.uniform(5, images)
    (smallest, largest), (flattest, tallest) = ERASED_AREA, map(math.log, ERASED_ASPECT)
    area = (smallest + (largest - smallest) * drawn[0]) * (high * wide)
    aspect = torch.exp(flattest + (tallest - flattest) * drawn[1])
    h = (area * aspect).sqrt().round().clamp(1, high)
    w = (area / aspect).sqrt().round().clamp(1, wide)
    blank = _rectangles(drawn[2], drawn[3], h, w, (high, wide)) & (drawn[4] < probability)[:, None, None]
    return images.masked_fill(blank[:, None], 0)


def mix(images: Tensor, labels: Tensor, spec: Augmentation, classes: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """Mix each image with its neighbour in the batch, by mixup (arXiv 1710.09412) or CutMix (arXiv 1905.04899).

    Where both are on, each image is mixed by either, equally likely. The share of each label is the share of pixels.
    """
    size, (high, wide), drawn = len(images), images.shape[2:], draws.uniform(5, images)
    share = images.new_ones((size, high, wide), dtype=torch.float32)  # of the image itself, per pixel
    if spec.mixup:
        share = share * _beta(spec.mixup, drawn[3])[:, None, None]
    if spec.cutmix:
        side = (1 - _beta(spec.cutmix, drawn[4])).sqrt()
        h, w = (side * high).round(), (side * wide).round()
        pasted = 1 - _rectangles(drawn[1], drawn[2], h, w, (high, wide)).float()
        cut = (drawn[0] < 0.5)[:, None, None] if spec.mixup else torch.ones_like(pasted, dtype=torch.bool)
        share = torch.where(cut, pasted, share)
    own = images.float()
    mixed = torch.lerp(own.roll(1, 0), own, share[:, None])
    hot = functional.one_hot(labels, classes).float()
    weight = share.mean((1, 2))[:, None]
    return mixed, hot * weight + hot.roll(1, 0) * (1 - weight)


def randaugment(images: Tensor, operations: int, strength: float, draws: Draws) -> Tensor:
    """RandAugment (arXiv 1909.13719) of each uint8 image by torchvision: one by one, so slow."""
    from torchvision.transforms.v2 import RandAugment

    transform = RandAugment(operations, min(30, round(RANDAUGMENT_MAGNITUDE * strength)))
    seeds = draws.integers(2**62, 1, images)[0].tolist()
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
    quantiles = sent(torch.tensor(_beta_quantiles(alpha)), uniform.device)
    place = uniform * (len(quantiles) - 1)
    below = place.long().clamp_max(len(quantiles) - 2)
    return torch.lerp(quantiles[below], quantiles[below + 1], place - below)


@lru_cache
def _beta_quantiles(alpha: float) -> npt.NDArray[np.float32]:
    from scipy.special import betaincinv

    return np.asarray(betaincinv(alpha, alpha, np.linspace(0, 1, 1025)), dtype=np.float32)

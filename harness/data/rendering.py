"""Images that are made: each a function of a key and its number alone, the same to the byte on any device.

All arithmetic is in integers, so that no order of sums, no number of threads and no kind of processor changes a level,
and the images of any block, batch or resumed training are those of one long list. Randomness is counter-based: a draw
is the hash (SplitMix64: Steele, Lea, Flood 2014, doi 10.1145/2714064.2660195) of the key, the image's number and the
draw's own.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from harness.data.cache import Bytes
from harness.data.subsets import Ints
from harness.spec.procedural import FRAGMENT, MARK, Cued, Made, Scattered

_BLACK = 2  # pixels of nothing around each object
_ONE = 16  # bits of a fixed-point number's fraction
_FINE = 16  # parts of a pixel that sizes and places are drawn in; centres have half of them
_ANGLES = 256  # angles that objects are turned by, evenly spaced
_LEVELS = 4096  # quantiles of the normal distribution that noise is drawn from
_LOW, _BYTES = 0xFFFF, 0x00FF00FF  # the lower half of 32 bits; the lower byte of each half

_STEP = -7046029254386353131  # 2^64 divided by the golden ratio; like all constants here as a signed number
_FACTORS = (-4658895280553007687, -7723592293110705685)
_NOISE = (-1640531527, -2048144789, -1028477387)  # the golden ratio in 32 bits; the factors of MurmurHash3


def mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of int64 whose every bit depends on every bit of the argument."""
    bits = (bits ^ ((bits >> 30) & (1 << 34) - 1)) * _FACTORS[0]
    bits = (bits ^ ((bits >> 27) & (1 << 37) - 1)) * _FACTORS[1]
    return bits ^ ((bits >> 31) & (1 << 33) - 1)


@dataclass(frozen=True, eq=False)
class Objects:
    """What images are made of: one part's, by class, on the device that makes them."""

    quads: Tensor  # int32 (objects * C * (n + 3)^2,): each pixel with those right of it, below it, and both, as bytes
    starts: Tensor  # int64 (K,): the first object of each class
    counts: Tensor  # int64 (K,)
    channels: int
    side: int  # of an object, pixels: n

    @classmethod
    def of(cls, images: Bytes, labels: Ints, device: torch.device) -> "Objects":
        """Of images uint8 (N, C, n, n) and labels, of which each class has at least one."""
        images, labels = images[np.argsort(labels, kind="stable")], np.sort(labels)
        black = np.pad(images, ((0, 0), (0, 0), (_BLACK, _BLACK), (_BLACK, _BLACK))).astype(np.uint32)
        rows, across = (slice(None, -1), slice(1, None)), (slice(None, -1), slice(1, None))
        corners = [black[:, :, row, column] for row in rows for column in across]
        quads = sum(corner << np.uint32(8 * at) for at, corner in enumerate(corners))
        counts = torch.from_numpy(np.bincount(labels))
        return cls(
            quads=torch.from_numpy(np.ascontiguousarray(quads).view(np.int32)).flatten().to(device),
            starts=(counts.cumsum(0) - counts).to(device),
            counts=counts.to(device),
            channels=images.shape[1],
            side=images.shape[2],
        )

    @cached_property
    def number(self) -> int:
        return int(self.counts.sum())

    def sampled(self, which: Tensor, size: Tensor, angle: Tensor, x: Tensor, y: Tensor, window: int) -> Tensor:
        """Objects scaled and turned, bilinear: int32 (B, C, window, window) of levels 0..255.

        `which` int64 (B,): the objects; `size` (B,) in 1/16 pixel; `angle` int64 (2, B): cosine and sine, in 1/65536;
        `x`, `y` (B,): the centres in the window, in 1/32 pixel.
        """
        n, span = self.side, self.side + 3
        cos, sin = angle * (n * _FINE) // size  # pixels of the object per pixel of the image, in 1/65536
        at = torch.arange(window, device=which.device) * (2 * _FINE) + _FINE
        across, down = at - x[:, None], at - y[:, None]  # (B, window), 1/32 pixel
        middle = (n << _ONE) // 2 - (1 << _ONE) // 2 + (_BLACK << _ONE)
        u = _plane(cos[:, None] * across >> 5, (sin[:, None] * down >> 5) + middle)
        v = _plane(-sin[:, None] * across >> 5, (cos[:, None] * down >> 5) + middle)
        column, row = ((of >> _ONE).clamp_(0, span - 1) for of in (u, v))
        right, below = ((of >> 8) & 255 for of in (u, v))
        place = row.mul_(span).add_(column).unsqueeze_(1)
        first = which[:, None] * self.channels + torch.arange(self.channels, device=which.device)  # (B, C)
        first = first * span**2
        place = place + (first.int() if len(self.quads) < 2**31 else first)[:, :, None, None]
        found = self.quads.index_select(0, place.flatten()).view(place.shape)
        right, below = right.unsqueeze_(1), below.unsqueeze_(1)
        rows = (found & _BYTES) * (256 - right) + ((found >> 8) & _BYTES) * right  # upper and lower row, 16 bits each
        return ((rows & _LOW) * (256 - below) + ((rows >> 16) & _LOW) * below + (1 << 15)) >> 16


def _plane(across: Tensor, down: Tensor) -> Tensor:
    """int32 (B, window, window): the sum of what grows along a row and along a column."""
    return across.int()[:, None, :] + down.int()[:, :, None]


class Renderer:
    """Makes the images of one part, as `made` says, from its own objects."""

    def __init__(self, made: Made, objects: Objects, *, key: int) -> None:
        """`key`: the seed of the part."""
        self.made, self.objects, self.key = made, objects, key
        self.device = objects.quads.device
        degrees = [made.turn * (2 * at / (_ANGLES - 1) - 1) for at in range(_ANGLES)]
        turns = [[round(f(math.radians(at)) * (1 << _ONE)) for at in degrees] for f in (math.cos, math.sin)]
        self.turns = torch.tensor(turns, device=self.device)  # int64 (2, angles)
        normal = NormalDist(0, max(made.noise, 1e-9) * 255)
        levels = [round(normal.inv_cdf((at + 0.5) / _LEVELS)) for at in range(_LEVELS)]
        self.levels = torch.tensor(levels, dtype=torch.int32, device=self.device)

    def labels(self, numbers: Tensor) -> Tensor:
        """Classes of images by number, int64 (B,): each run of as many images as classes has each class once."""
        classes = len(self.objects.counts)
        block = torch.div(numbers, classes, rounding_mode="floor")
        shift = mixed(self.key + ~block * _STEP)
        return (numbers + (shift >> 33 & 0x7FFFFFFF)) % classes

    def images(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, side, side) and labels int64 (B,) of the numbers int64 (B,), on the device."""
        draws = Draws(mixed(self.key + (numbers + 1) * _STEP))
        labels = self.labels(numbers)
        made = self.made
        canvas = (
            self._scattered(made, labels, draws) if isinstance(made, Scattered) else self._cued(made, labels, draws)
        )
        if made.noise:
            canvas += self._noise(draws, canvas[0].numel()).view(canvas.shape)
        return canvas.clamp_(0, 255).to(torch.uint8), labels

    def _scattered(self, made: Scattered, labels: Tensor, draws: "Draws") -> Tensor:
        size = draws.below((made.largest - made.smallest) * _FINE + 1) + made.smallest * _FINE
        x, y = (2 * draws.below(made.side * _FINE + 1 - size) + size for _ in range(2))  # centres, 1/32 pixel
        which = self.objects.starts[labels] + draws.below(self.objects.counts[labels])
        canvas = self.objects.sampled(which, size, self._turn(draws), x, y, made.side)
        for _ in range(made.clutter):
            which, angle = draws.below(self.objects.number), self._turn(draws)
            size = draws.below((made.largest - made.smallest) * _FINE + 1) + made.smallest * _FINE
            room = (size - FRAGMENT * _FINE).clamp_(min=0) + 1
            x, y = (size - 2 * draws.below(room) for _ in range(2))  # the object's centre, seen from the fragment
            fragment = self.objects.sampled(which, size, angle, x, y, FRAGMENT)
            paste(canvas, fragment, *(draws.below(made.side - FRAGMENT + 1) for _ in range(2)))
        return canvas

    def _cued(self, made: Cued, labels: Tensor, draws: "Draws") -> Tensor:
        batch, side, half = len(labels), made.side, -(-made.glyph // 2)
        canvas = torch.zeros(batch, self.objects.channels, side, side, dtype=torch.int32, device=self.device)
        meant = draws.below(made.glyphs)
        mark = torch.full((batch, self.objects.channels, MARK, MARK), 255, dtype=torch.int32, device=self.device)
        size = torch.full_like(labels, made.glyph * _FINE)
        for place in range(made.glyphs):
            which = torch.where(
                meant == place,
                self.objects.starts[labels] + draws.below(self.objects.counts[labels]),
                draws.below(self.objects.number),
            )
            middle = (2 * place + 1) * side // (2 * made.glyphs)
            x = middle - made.jitter + draws.below(2 * made.jitter + 1)
            y = half + draws.below(2 * made.jitter + 1)
            centre = torch.full_like(labels, made.glyph * _FINE)
            glyph = self.objects.sampled(which, size, self._turn(draws), centre, centre, made.glyph)
            paste(canvas, glyph, x - half, y - half)
            of = meant == place
            paste(canvas, mark * of[:, None, None, None], x - MARK // 2, y - MARK // 2 + made.distance)
        return canvas

    def _turn(self, draws: "Draws") -> Tensor:
        return self.turns[:, draws.below(_ANGLES)]

    def _noise(self, draws: "Draws", pixels: int) -> Tensor:
        """int32 (B, pixels): a hash of 32 bits gives the noise of two pixels."""
        step, *factors = _NOISE
        start, more = (half.int()[:, None] for half in draws.halves())
        pairs = torch.arange(1, -(-pixels // 2) + 1, dtype=torch.int32, device=self.device) * step
        bits = start + pairs
        bits ^= (bits >> 16) & _LOW
        bits *= factors[0]
        bits ^= more
        bits ^= (bits >> 13) & (1 << 19) - 1
        bits *= factors[1]
        bits ^= (bits >> 16) & _LOW
        both = torch.stack([bits & _LEVELS - 1, (bits >> 12) & _LEVELS - 1], dim=-1)
        return self.levels.index_select(0, both.flatten()).view(len(bits), -1)[:, :pixels]


class Draws:
    """The random numbers of images, one after the other."""

    def __init__(self, states: Tensor) -> None:
        self.states = states  # int64 (B,)

    def _next(self) -> Tensor:
        self.states = self.states + _STEP
        return mixed(self.states)

    def below(self, limits: Tensor | int) -> Tensor:
        """int64 (B,): whole numbers from 0 to below `limits`, which are at most 2^31."""
        return ((self._next() >> 32) & 0xFFFFFFFF) * limits >> 32

    def halves(self) -> tuple[Tensor, Tensor]:
        """Twice 32 bits, each int64 (B,)."""
        bits = self._next()
        return bits >> 32, (bits << 32) >> 32


def paste(canvas: Tensor, patch: Tensor, x: Tensor, y: Tensor) -> None:
    """Put patches (B, C, w, w) on images (B, C, H, H), their upper left corners at `x`, `y` (B,), by maximum."""
    side, window = canvas.shape[-1], patch.shape[-1]
    steps = torch.arange(window, device=canvas.device)
    inside = (steps[:, None] * side + steps).flatten()
    at = ((y * side + x)[:, None] + inside)[:, None].expand(-1, canvas.shape[1], -1)  # (B, C, w * w)
    flat = canvas.flatten(2)
    flat.scatter_(2, at, torch.maximum(flat.gather(2, at), patch.flatten(2)))

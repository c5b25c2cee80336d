"""Parts of a data set, in memory or read from the disk; the order of batches; and what makes them a network's input."""

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from harness.data.cache import Bytes
from harness.data.parts import Part
from harness.data.photographs import Reading
from harness.data.sending import fits, held_for, sent
from harness.data.subsets import Ints, derive, stratified
from harness.spec import DataSpec
from harness.spec.errors import require, require_within

if TYPE_CHECKING:
    from harness.data.photograph_source import PhotographSource

IMAGES_AHEAD = 512
"""Images, in whole batches, that are decoded ahead of the one that is waited for; at least one batch."""

LONGEST_ORDER = 1_000_000  # images of a pass whose order is drawn as a whole, where their numbers say which they are

CROPS_MEASURED = 2_000  # images that the normalisation is computed from, where they are cropped at random


class AnySplit(ABC):
    """Images and labels of one purpose."""

    device: torch.device
    labels: Tensor  # int64 (N,), each in 0..classes-1
    crops: bool = False  # whether images are cropped at random
    measured: ClassVar[int | None] = None  # images, evenly taken, that the normalisation is computed from; None for all
    is_counted: ClassVar[bool] = False  # whether a training subset is the first images, told by their number alone

    @abstractmethod
    def read(
        self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0, places: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """A batch per order, positions int64 (B,) on the CPU: images uint8 (B, C, H, W) and labels (B,), on `device`.

        The crops of the n-th order follow from `seed`, `start` + n and the `places` of its images in their batch,
        int64 (B,), alone; without `places` these are 0..B-1.
        """

    def __len__(self) -> int:
        return len(self.labels)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in their own order, at most `size` at a time: for evaluation."""
        return self.read(torch.split(torch.arange(len(self)), size))

    def as_evaluated(self) -> Self:
        """The same images, read as those of the test part are: without random crops."""
        return self

    @abstractmethod
    def keys(self, most_bytes: int | None) -> list[str] | None:
        """What is equal for equal images; None where telling it takes reading more than `most_bytes`."""


Splits = Mapping[str, AnySplit]
"""By `train`, `validation` and `test`."""


@dataclass(frozen=True, eq=False)
class Split(AnySplit):
    """N decoded images of C channels and side H = W, on the device that trains or, if they are many, on the host."""

    images: Tensor  # uint8 (N, C, H, W)
    labels: Tensor  # on the device that trains
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", self.labels.device)

    def read(
        self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0, places: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for order in orders:
            at = sent(order, self.device)
            if self.images.device == self.device:
                yield self.images.index_select(0, at), self.labels.index_select(0, at)
            else:
                yield sent(self.images.index_select(0, order), self.device), self.labels.index_select(0, at)

    def keys(self, most_bytes: int | None) -> list[str]:
        pixels = np.ascontiguousarray(self.images.cpu().numpy())
        return [hashlib.blake2b(image.data, digest_size=16).hexdigest() for image in pixels]


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedSplit(AnySplit):
    """Images that memory does not hold, read by threads while a model trains; labels are on the CPU."""

    source: "PhotographSource"
    positions: Ints  # in `source.files`
    labels: Tensor
    reading: Reading
    crops: bool  # random resized crop and random mirror (training), or resize and centre crop (evaluation)
    threads: int
    device: torch.device
    pixels: Bytes | None = None
    """The images decoded, (N, C, side, side), in a file; None where each reading decodes them anew."""

    def read(
        self, orders: Iterable[Tensor], *, seed: int = 0, start: int = 0, places: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="decoder")
        ahead: deque[tuple[Tensor, Iterator[Bytes]]] = deque()
        try:
            for number, order in enumerate(orders, start):
                at = range(len(order)) if places is None else places.tolist()
                seeds = [derive(seed, number, place) if self.crops else 0 for place in at]
                ahead.append((order, pool.map(self._image, order.tolist(), seeds)))
                if sum(len(waiting) for waiting, _ in ahead) - len(ahead[0][0]) >= IMAGES_AHEAD:
                    yield self._batch(*ahead.popleft())
            while ahead:
                yield self._batch(*ahead.popleft())
        finally:  # also where nobody asks for the rest
            pool.shutdown(cancel_futures=True)

    def as_evaluated(self) -> Self:
        return replace(self, crops=False)

    def keys(self, most_bytes: int | None) -> list[str] | None:
        return self.source.hashes(self.positions, most_bytes)

    def _image(self, at: int, seed: int) -> Bytes:
        if self.pixels is not None:
            return np.asarray(self.pixels[at])
        picture = self.source.picture(int(self.positions[at]))
        if not self.crops:
            return self.reading(picture)
        image = self.reading.photograph(picture)
        box, is_mirrored = random_box(*self.reading.frame(image), seed)
        pixels = self.reading.part(image, box)
        return pixels[:, :, ::-1] if is_mirrored else pixels

    def _batch(self, order: Tensor, decoded: Iterator[Bytes]) -> tuple[Tensor, Tensor]:
        side = self.reading.side
        images = held_for(self.device, len(order), self.reading.channels, side, side, dtype=torch.uint8)
        np.stack(list(decoded), out=images.numpy())
        return images.to(self.device, non_blocking=True), sent(self.labels[order], self.device)


def split(images: Bytes, labels: Ints, device: torch.device) -> Split:
    """The images and labels of one purpose for `device`, where the images lie if they fit."""
    images, labels = np.require(images, requirements="W"), np.require(labels, requirements="W")
    there = device if fits(images.nbytes, device) else torch.device("cpu")
    return Split(torch.from_numpy(images).to(there), torch.from_numpy(labels).to(device))


def random_box(wide: int, high: int, seed: int) -> tuple[tuple[float, float, float, float], bool]:
    """8 to 100 % of a frame at an aspect of 3/4 to 4/3: (left, top, right, bottom), and whether to mirror it."""
    rng = np.random.default_rng(seed)
    w = h = min(wide, high)
    left, top = (wide - w) // 2, (high - h) // 2
    for _ in range(10):
        area, aspect = rng.uniform(0.08, 1) * wide * high, np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        across, down = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < across <= wide and 0 < down <= high:
            left, top = int(rng.integers(wide - across + 1)), int(rng.integers(high - down + 1))
            w, h = across, down
            break
    return (left, top, left + w, top + h), bool(rng.random() < 0.5)


Positions = Tensor | range
"""A training subset as positions in a split: int64 (n,), ascending, on the CPU; or its first n images."""


def subset(train: AnySplit, size: int, *, seed: int) -> Positions:
    """Positions in `train` of a stratified subset of `size` images.

    For one seed, smaller subsets are parts of larger ones. Each class has its share of `train`, and at least one image.
    """
    if train.is_counted:
        require_within("data.train_size", size, 1, len(train))
        return range(size)
    labels = train.labels.cpu().numpy()
    require_within("data.train_size", size, 1, len(labels))
    return torch.from_numpy(stratified(labels, size, seed=derive(seed, "subset")))


class Batches:
    """Shuffled passes over a training subset, without replacement, in batches of one constant size.

    The images of update k follow from the seed and k alone, so that a resumed training needs no saved state. Where a
    pass ends within a batch, the next fills it up.
    """

    def __init__(
        self, split: AnySplit, indices: Positions, batch_size: int, *, seed: int, part: Part | None = None
    ) -> None:
        """`indices`: the training subset as positions in `split`; `seed`: the run's; `part`: what is read of each."""
        n = len(indices)
        require(n > 0 and batch_size > 0, f"A batch of {batch_size} from {n} images; both must be at least 1.")
        self.split = split
        # No tensor: batches are drawn in fake mode, too.
        self.indices = None if isinstance(indices, range) else np.array(indices.tolist(), dtype=np.int64)
        self.size = n
        self.batch_size = batch_size
        self.seed = seed
        self.rows = None if part is None else part.rows

    def batch_indices(self, update: int) -> Tensor:
        """Positions in the split of the images of an update, counted from 0: int64 (batch_size,), on the CPU."""
        n = self.size
        start, stop = update * self.batch_size, (update + 1) * self.batch_size
        parts = []
        for epoch in range(start // n, (stop - 1) // n + 1):
            low, high = max(start - epoch * n, 0), min(stop - epoch * n, n)
            parts.append(_shuffled(n, derive(self.seed, "order", epoch), low, high, is_listed=self.indices is not None))
        at = np.concatenate(parts)
        return torch.tensor(at if self.indices is None else self.indices[at])

    def between(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the updates start..stop-1: uint8 (B, C, H, W) and labels int64 (B,), on the split's device.

        Take one iterator for the whole training: a streamed split starts its threads for each.
        """
        orders = (self.batch_indices(update) for update in range(start, stop))
        if self.rows is not None:
            orders = (order[self.rows] for order in orders)
        return self.split.read(orders, seed=derive(self.seed, "crop"), start=start, places=self.rows)


def _shuffled(n: int, seed: int, low: int, high: int, *, is_listed: bool) -> Ints:
    """Places low..high-1 of a random order of 0..n-1, which is never held where it is long and `is_listed` is not."""
    if is_listed or n <= LONGEST_ORDER:
        return _permutation(n, seed)[low:high]
    half = -(-(n - 1).bit_length() // 2)
    at = _mixed(np.arange(low, high), half, seed)
    while (outside := at >= n).any():  # a permutation of 0..4^half - 1: going on from there leads back, each elsewhere
        at[outside] = _mixed(at[outside], half, seed)
    return at


def _mixed(at: Ints, half: int, seed: int) -> Ints:
    """A permutation of the numbers of 2 * `half` bits: a Feistel network (Luby and Rackoff 1988) of six rounds."""
    left, right, lowest = at >> half, at & ((1 << half) - 1), np.uint64((1 << half) - 1)
    for number in range(6):
        hashed = right.astype(np.uint64) + np.uint64(derive(seed, number))
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            hashed = (hashed ^ (hashed >> np.uint64(shift))) * np.uint64(factor)
        left, right = right, left ^ ((hashed >> np.uint64(31)) & lowest).astype(np.int64)
    return left << half | right


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int) -> Ints:
    return np.random.default_rng(seed).permutation(n)


def normalisation(split: AnySplit, indices: Positions) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of a training subset, in units of 0..1: float32 (C,) each, on its device.

    A channel that never varies gets the deviation 1. Of images that are cropped, `CROPS_MEASURED` are taken evenly; of
    images that are made, `measured`.
    """
    number, most = len(indices), CROPS_MEASURED if split.crops else split.measured or len(indices)
    if isinstance(indices, range):
        indices = torch.arange(min(number, most)) * number // min(number, most)
    elif split.measured and number > most:
        indices = indices.cpu()[torch.arange(most) * number // most]
    elif split.crops and number > most:
        indices = indices[torch.linspace(0, number - 1, most).long()]
    indices = indices.cpu()
    levels = torch.arange(256, dtype=torch.float64)
    counts: Tensor | int = 0
    for images, _ in split.read(torch.split(indices, 1000)):
        counts = counts + torch.stack([channel.flatten().int().bincount(minlength=256) for channel in images.unbind(1)])
    assert isinstance(counts, Tensor)
    share = counts.cpu().double()
    share /= share.sum(1, keepdim=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]).square()).sum(1)
    std = torch.where(variance > 0, variance.sqrt(), 255.0)
    return (mean / 255).float().to(split.device), (std / 255).float().to(split.device)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Normalises images by channel, then moves their pixels, where the data moves any."""

    mean: Tensor  # float32 (C,), in units of 0..1, like `std`
    std: Tensor
    moved: Tensor | None  # int64 (H * W,): the pixel of the image that each pixel of the network's input is

    @classmethod
    def of(cls, data: DataSpec, *, side: int, mean: Tensor, std: Tensor) -> Self:
        """For images of `side` pixels, on the device of `mean`."""
        moved = moved_order(side, data)
        return cls(mean, std, None if moved is None else moved.to(mean.device))

    def __call__(self, images: Tensor) -> Tensor:
        """The network's input, float32 (B, C, H, W), from images uint8 or float in 0..255."""
        inputs = prepare(images, self.mean, self.std)
        if self.moved is None:
            return inputs
        pixels = inputs.flatten(2)  # (B, C, H * W); on a CPU gather takes half the time of index_select, or less
        return pixels.gather(2, self.moved.expand_as(pixels)).view_as(inputs)


def prepare(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """float32 (B, C, H, W), normalised per channel, from uint8 or float images in 0..255."""
    scale = (1 / (255 * std)).view(1, -1, 1, 1)
    return (images * scale).sub_((mean / std).view(1, -1, 1, 1))


def moved_order(image_size: int, data: DataSpec) -> Tensor | None:
    """Where each pixel of a moved image comes from, an intervention on locality; None where nothing is moved.

    int64 (H * W,), on the CPU: pixel i of the moved image, counted by rows, is pixel order[i] of the image. One seed
    puts the patches in one random order; the first `moved_share` of them change places by a cyclic shift along it. So
    each of them moves, and those moved at a smaller share are among those of a larger one.
    """
    if data.moved_share == 0:
        return None
    data.check_moved(image_size)
    side, grid = data.moved_patch, image_size // data.moved_patch
    chosen = np.random.default_rng(derive(data.moved_seed, "moved")).permutation(grid**2)
    chosen = chosen[: round(data.moved_share * grid**2)]
    source = np.arange(grid**2)
    source[chosen] = np.roll(chosen, 1)
    pixels = np.arange(image_size**2).reshape(grid, side, grid, side).swapaxes(1, 2)  # (g, g, p, p)
    moved = pixels.reshape(grid**2, side, side)[source].reshape(grid, grid, side, side)
    return torch.from_numpy(moved.swapaxes(1, 2).reshape(-1))

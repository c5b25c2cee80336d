"""From a specification to the splits of one training."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor
from torch.nn import functional

from harness.data.cache import stored
from harness.data.describe import content_hash, resolve
from harness.data.folders import decode, imagenet_listing, scan
from harness.data.named import Pair, Part, read_named
from harness.data.photographs import READING, Reading, decoders
from harness.data.splits import Split
from harness.data.stream import StreamedSplit
from harness.data.subsets import Ints, held_out
from harness.spec import NAMED_SOURCES, DataSpec, InvalidInput, SourceFacts

Bytes = npt.NDArray[np.uint8]
AnySplit = Split | StreamedSplit
Phase = Literal["tune", "confirm"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a source, by purpose."""

    train: AnySplit
    """What training subsets are taken from: the training part without what is held out."""
    validation: AnySplit
    """Held out of the training part, stratified, by `split_seed`."""
    facts: SourceFacts
    """At the image size of the specification."""
    hash: str
    """`content_hash` of the specification."""
    sealed_test: AnySplit | None
    """Use `test`."""

    @property
    def test(self) -> AnySplit:
        """The test split: in the confirm phase only. Raises `RuntimeError` in a training of the tune phase."""
        if self.sealed_test is None:
            raise RuntimeError("The test split was asked for in the tune phase; selection may use validation only.")
        return self.sealed_test


def load(spec: DataSpec, *, device: str | torch.device = "cpu", phase: Phase = "tune") -> Dataset:
    """The data set of a training, decoded in memory on `device`; an `imagenet:PATH` is streamed to it instead.

    In phase `tune` the test split is not even read. Raises `InvalidInput` for data that is missing, damaged or too
    small, naming the file and the remedy.
    """
    device = torch.device(device)
    spec, facts = resolve(spec)
    name, _, path = spec.source.partition(":")
    if name == "imagenet":
        return _load_imagenet(spec, facts, path, device, phase)
    _check_memory(spec, facts)
    identity = content_hash(spec)
    named = name in NAMED_SOURCES
    parts = _read_parts(spec, facts, identity, phase) if named else _read_folder(spec, facts, path, identity)
    return Dataset(
        train=_split(parts["train"], device),
        validation=_split(parts["validation"], device),
        facts=facts,
        hash=identity,
        sealed_test=_split(parts["test"], device) if phase == "confirm" else None,
    )


def _check_memory(spec: DataSpec, facts: SourceFacts) -> None:
    """Refuse a set that cannot be held: half of the machine's memory, as it is copied once."""
    images = facts.train_images + facts.test_images + (facts.validation_images if facts.own_validation else 0)
    needed = images * facts.channels * facts.image_size**2
    limit = psutil.virtual_memory().total // 2
    if needed > limit:
        raise InvalidInput(
            f"{spec.source} at {facts.image_size} pixels takes {needed / 1e9:.1f} GB of memory, more than half of this "
            f"machine's ({limit / 1e9:.1f} GB). Lower data.image_size."
        )


def _split(pair: Pair, device: torch.device) -> Split:
    images, labels = pair
    return Split(_tensor(images, device), _tensor(labels, device))


def _tensor(array: Bytes | Ints, device: torch.device) -> Tensor:
    writable = array if array.flags.writeable else array.copy()
    return torch.from_numpy(writable).to(device)


def _read_parts(spec: DataSpec, facts: SourceFacts, identity: str, phase: Phase) -> dict[str, Pair]:
    """The parts of a named source; without the test part in phase `tune`."""
    assert spec.validation_size is not None
    images, labels = _read_resized(spec, facts, identity, "train")
    out = np.zeros(len(labels), dtype=np.bool_)
    out[held_out(labels, spec.validation_size, split_seed=spec.split_seed)] = True
    parts = {"train": (images[~out], labels[~out]), "validation": (images[out], labels[out])}
    return parts | ({"test": _read_resized(spec, facts, identity, "test")} if phase == "confirm" else {})


def _read_resized(spec: DataSpec, facts: SourceFacts, identity: str, part: Part) -> Pair:
    """A part of a named source at the size asked for; what was resized is kept in the cache."""
    images, labels = read_named(spec.source, part)
    side = facts.image_size
    if images.shape[-1] != side:
        arrays = stored(f"resized 1 {identity} {part} {side}", lambda: {"images": _resized(images, side)})
        images = arrays["images"].astype(np.uint8, copy=False)
    return images, labels


def _resized(images: Bytes, side: int) -> Bytes:
    """(N, C, H, W) to (N, C, side, side), bilinear with antialiasing, a thousand images at a time."""
    whole = np.empty((*images.shape[:2], side, side), dtype=np.uint8)
    for at in range(0, len(images), 1000):
        part = torch.from_numpy(images[at : at + 1000].astype(np.float32))
        fitted = functional.interpolate(part, size=(side, side), mode="bilinear", antialias=True)
        whole[at : at + 1000] = fitted.round_().clamp_(0, 255).byte().numpy()
    return whole


def _read_folder(spec: DataSpec, facts: SourceFacts, path: str, identity: str) -> dict[str, Pair]:
    """The parts of a folder of images; decoded once, then kept under its content hash and its reading."""
    listing = scan(path)
    reading = Reading.of(spec, side=facts.image_size, channels=facts.channels)
    arrays = stored(f"folder {READING} {identity} {reading}", lambda: {"images": decode(listing, reading)})
    images, labels = arrays["images"].astype(np.uint8, copy=False), listing.labels
    if len(images) != len(labels):
        raise InvalidInput(f"{listing.root} changed while it was read; run again when nothing writes to it.")
    return {part: (images[chosen], labels[chosen]) for part, chosen in listing.positions(spec).items()}


def _load_imagenet(spec: DataSpec, facts: SourceFacts, path: str, device: torch.device, phase: Phase) -> Dataset:
    if not path:
        raise InvalidInput("data.source is 'imagenet'; to train on it, name its folder: data.source=imagenet:PATH.")
    listing = imagenet_listing(path)
    files, labels, parts = listing.files, torch.from_numpy(listing.labels), listing.positions(spec)

    def streamed(part: str) -> StreamedSplit:
        return StreamedSplit(
            root=listing.root,
            files=tuple(files[at][0] for at in parts[part]),
            labels=labels[torch.from_numpy(parts[part])],
            reading=Reading.of(spec, side=facts.image_size, channels=facts.channels),
            crops=part == "train",
            threads=min(decoders(), torch.get_num_threads()),  # of one training, where several run side by side
            device=device,
        )

    return Dataset(
        train=streamed("train"),
        validation=streamed("validation"),
        facts=facts,
        hash=content_hash(spec),
        sealed_test=streamed("test") if phase == "confirm" else None,
    )

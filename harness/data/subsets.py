"""Choices that follow from a seed: nested training subsets, and what is held out. All are stratified."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from harness.spec import DataSpec

Ints = npt.NDArray[np.int64]


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(0, "order", epoch)`; the same on every machine and version."""
    text = json.dumps([seed, *purpose], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stratified(labels: Ints, size: int, *, seed: int, leave: int = 0) -> Ints:
    """Ascending positions (size,) of a stratified, nested choice that leaves at least `leave` images of each class."""
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    shuffled = rng.permutation(len(classes))  # so that it is not always the first classes that get one image more
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    taken = apportion(counts[shuffled], size, leave=leave)
    chosen = [members[which][:number] for which, number in zip(shuffled, taken, strict=True)]
    return np.sort(np.concatenate([labels[:0], *chosen])).astype(np.int64)


def of_seed(data: DataSpec, seed: int) -> DataSpec:
    """The data of the run of a seed: with a split seed of its own where each seed draws its own parts, else the same.

    The draw follows from `data.split_seed` and `seed` alone, so that all arms of a seed have the same.
    """
    return replace(data, split_seed=derive(data.split_seed, "resplit", seed) % 2**31) if data.resplit else data


def parted(labels: Mapping[str, Ints], data: DataSpec, *, tested: int) -> dict[str, Ints]:
    """Positions of the images of `train`, `validation` and `test`, ascending, counted through all of the source's.

    `labels` has those of the source's own parts, in order, `train` first. What it lacks is held out of `train`:
    `tested` images to test on, `data.validation_size` for validation. Where each seed draws its own, that is done to
    all images as if they were `train`, and what is not held out is `train`.
    """
    assert data.validation_size is not None
    sizes = {"test": len(labels["test"]) if "test" in labels else tested, "validation": data.validation_size}
    own = {"train": np.concatenate(list(labels.values()))} if data.resplit else labels
    starts = dict(zip(own, np.cumsum([0, *map(len, own.values())]).tolist(), strict=False))
    left, found = np.arange(len(own["train"])), dict[str, Ints]()
    for part, leave in (("test", 2), ("validation", 1)):
        seed = derive(data.split_seed, part)
        if part in own:
            found[part] = starts[part] + stratified(own[part], sizes[part], seed=seed)
        else:
            found[part] = left[stratified(own["train"][left], sizes[part], seed=seed, leave=leave)]
            left = np.setdiff1d(left, found[part])
    return {"train": left, **found}


def apportion(counts: Ints, size: int, *, leave: int = 0) -> Ints:
    """How many of `size` images each class gets, for class sizes `counts`; a larger size never takes one away.

    One for each class first, then by the quota method of Balinski and Young: the next image goes to the class with the
    fewest for its size, among those that are below their exact share.
    """
    total, limits = int(counts.sum()), counts - leave
    assert size <= limits.sum(), (size, limits)
    if size == total:
        return counts
    taken = np.zeros_like(counts)
    first = np.argsort(-counts, kind="stable")
    first = first[limits[first] > 0][:size]
    taken[first] = 1
    for given in range(len(first) + 1, size + 1):
        below = (taken < limits) & (taken * total < given * counts)
        if not below.any():  # only where `leave` holds a class back
            below = taken < limits
        taken[np.argmax(np.where(below, counts / (taken + 1), -1.0))] += 1
    return taken

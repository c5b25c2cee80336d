"""Choices that follow from a seed: nested training subsets, and what is held out. All are stratified."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.spec import DataSpec
from harness.spec.errors import require_within

if TYPE_CHECKING:  # planning chooses nothing, and must not wait for torch
    from torch import Tensor

    from harness.data.splits import AnySplit

Ints = npt.NDArray[np.int64]


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(0, "order", epoch)`; the same on every machine and version."""
    text = json.dumps([seed, *purpose], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def subset(train: "AnySplit", size: int, *, seed: int) -> "Tensor":
    """Positions in `train` of a stratified subset: int64 (size,), ascending, on the CPU.

    Nested: for one seed, a smaller subset is part of every larger one. Each class has its share of `train`, to within
    one image, but at least one image wherever `size` is at least the number of classes.
    """
    import torch

    labels = train.labels.cpu().numpy()
    require_within("data.train_size", size, 1, len(labels))
    return torch.from_numpy(stratified(labels, size, seed=derive(seed, "subset")))


def stratified(labels: Ints, size: int, *, seed: int, leave: int = 0) -> Ints:
    """Ascending positions (size,) of a stratified, nested choice that leaves at least `leave` images of each class."""
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    shuffled = rng.permutation(len(classes))  # so that it is not always the first classes that get one image more
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    taken = apportion(counts[shuffled], size, leave=leave)
    chosen = [members[which][:number] for which, number in zip(shuffled, taken, strict=True)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def parted(labels: Mapping[str, Ints], data: DataSpec, *, tested: int) -> dict[str, tuple[str, Ints]]:
    """Where the images of `train`, `validation` and `test` are: a part of the source, and positions in it, ascending.

    `labels` has those of the source's own parts. What it lacks is held out of `train`: `tested` images to test on,
    `data.validation_size` for validation.
    """
    assert data.validation_size is not None
    train, found = np.arange(len(labels["train"])), {}
    if "test" in labels:
        found["test"] = "test", np.arange(len(labels["test"]))
    else:
        out = stratified(labels["train"], tested, seed=derive(data.split_seed, "test"), leave=2)
        found["test"] = "train", out
        train = np.setdiff1d(train, out)
    part, seed = "validation", derive(data.split_seed, "validation")
    if part in labels:
        found[part] = part, stratified(labels[part], data.validation_size, seed=seed)
    else:
        out = train[stratified(labels["train"][train], data.validation_size, seed=seed, leave=1)]
        found[part] = "train", out
        train = np.setdiff1d(train, out)
    return {"train": ("train", train), **found}


def apportion(counts: Ints, size: int, *, leave: int = 0) -> Ints:
    """How many of `size` images each class gets, for class sizes `counts`; a larger size never takes one away.

    One for each class first (the largest first), then by the quota method of Balinski and Young: the next image goes to
    the class with the fewest for its size, among those that are below their exact share.
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

"""The classification sets of torchvision that have parts to train and to test on: `torchvision:NAME`, `NAME:OPTION`.

Read from PATCHBENCH_DATA or the cache, in the folders that torchvision gives them; `patchbench data get` downloads.
"""

import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.cache import cache_folder
from harness.data.photograph_source import PhotographSource, Rows
from harness.data.source import Part, Source, refused
from harness.data.sources.arrays import NAMES, Arrays
from harness.data.sources.named_files import data_folders
from harness.spec import InvalidInput
from harness.spec.checks import nearest
from harness.spec.errors import require

Asked = dict[Part, dict[str, Any]]
_FLAGS: Asked = {"train": {"train": True}, "test": {"train": False}}
_SPLITS: Asked = {"train": {"split": "train"}, "test": {"split": "test"}}
SETS: dict[str, Asked] = {
    **dict.fromkeys(("EMNIST", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"), _FLAGS),
    **dict.fromkeys(("Food101", "GTSRB", "STL10", "SVHN", "StanfordCars"), _SPLITS),
    **dict.fromkeys(("DTD", "FGVCAircraft", "Flowers102", "RenderedSST2"), _SPLITS | {"validation": {"split": "val"}}),
    **dict.fromkeys(("CLEVRClassification", "Imagenette"), _SPLITS | {"test": {"split": "val"}}),
    "Country211": _SPLITS | {"validation": {"split": "valid"}},
    "OxfordIIITPet": _SPLITS | {"train": {"split": "trainval"}},
    "Places365": {"train": {"split": "train-standard"}, "test": {"split": "val"}},
}
"""Arguments of torchvision's class of a set, by part.

Without CIFAR, whose files are pickles that torchvision would execute: `cifar10` and `cifar100` read them as data."""

OPTIONS = {"EMNIST": ("split", "balanced"), "Imagenette": ("size", "full")}
"""The argument that `:OPTION` is given to, and what is meant without one."""


def open_source(kind: str, argument: str) -> Source:
    """The set, in the first folder that has it. Raises `InvalidInput` where none does."""
    what, reasons = f"{kind}:{argument}", []
    for root in [*data_folders(), cache_folder() / "torchvision"]:
        try:
            parts = _parts(argument, root)
            break
        except InvalidInput:
            raise
        except Exception as error:  # missing or damaged, each set says so in its own way
            reasons.append(f"  {root}: {type(error).__name__}: {error}\n")
    else:
        raise InvalidInput(
            f"{what} cannot be read. Tried:\n{''.join(reasons)}Download it by patchbench data get {what}, or name the "
            "folder that torchvision keeps it in by PATCHBENCH_DATA."
        )
    rows: dict[str, Rows] = {part: _rows(found, root) for part, found in parts.items()}
    return PhotographSource.of(what, root, rows, is_table=True) if rows["train"] else _in_memory(what, parts)


def fetch(argument: str) -> None:
    """Let torchvision download a set into the cache, unless a folder has it."""
    try:
        open_source("torchvision", argument)
    except InvalidInput:
        with refused(f"torchvision:{argument} could not be downloaded"):
            _parts(argument, cache_folder() / "torchvision", download=True)


def _parts(argument: str, root: Path, **more: Any) -> dict[Part, Any]:
    """Torchvision's data set of each part; `InvalidInput` where it has no such set."""
    import torchvision.datasets

    name, colon, option = argument.partition(":")
    require(not name.startswith("CIFAR"), f"data.source is 'torchvision:{name}'; data.source={name.lower()} reads it.")
    require(name in SETS, f"torchvision:{name} is no set with parts to train and to test on. {nearest(name, SETS)}")
    require(not colon or name in OPTIONS, f"torchvision:{name} takes no option {option!r}.")
    if name in OPTIONS:
        field, default = OPTIONS[name]
        more[field] = option or default
    cls = getattr(torchvision.datasets, name)
    if "loader" in inspect.signature(cls).parameters:
        more["loader"] = str
    return {part: cls(root, **which, **more) for part, which in SETS[name].items()}


def _rows(found: Any, root: Path) -> Rows:
    """Path below `root`, and label, of every image; none where torchvision has them in memory."""
    if getattr(found, "loader", None) is str:
        pairs = [found[at] for at in range(len(found))]
    elif hasattr(found, "_images"):
        pairs = list(zip(found._images, found._labels, strict=True))
    else:
        pairs = getattr(found, "_samples", [])
    rows = [(os.path.relpath(path, root), str(int(label))) for path, label in pairs]
    for path, _ in rows:
        require(not path.startswith(".."), f"{path}, which a file in {root} names, leads out of the folder.")
    return rows


def _in_memory(name: str, parts: dict[Part, Any]) -> Arrays:
    """A set that torchvision has in arrays; classes that it numbers from 1 are numbered from 0."""
    labels = {part: np.asarray(getattr(data, "targets", getattr(data, "labels", None))) for part, data in parts.items()}
    numbers = {part: given[:, 0] if given.ndim == 2 else given for part, given in labels.items()}
    classes = np.unique(numbers["train"])
    found: dict[str, Any] = {}
    for part, given in numbers.items():
        require(bool(np.isin(given, classes).all()), f"{name}: {part} has classes that train does not have.")
        images, labels_of = NAMES[part][0]
        found[images], found[labels_of] = np.asarray(parts[part].data), np.searchsorted(classes, given)
    return Arrays(name, found)

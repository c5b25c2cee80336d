"""The classification sets of torchvision that have parts to train and to test on: `torchvision:NAME`, `NAME:OPTION`.

Read from PATCHBENCH_DATA or the cache, in the folders that torchvision gives them; `patchbench data get` downloads.
"""

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.array_source import ArraySource
from harness.data.cache import cache_folder
from harness.data.fetching import data_folders
from harness.data.photograph_source import PhotographSource, Rows
from harness.data.source import Part, Source
from harness.spec import InvalidInput
from harness.spec.checks import nearest
from harness.spec.errors import require

Asked = dict[Part, dict[str, Any]]
"""Arguments of a set's class, by part."""

_SPLITS: Asked = {"train": {"split": "train"}, "test": {"split": "test"}}
_FLAGS: Asked = {"train": {"train": True}, "test": {"train": False}}
_VALIDATED: Asked = _SPLITS | {"validation": {"split": "val"}}
_TEST_IS_VAL: Asked = _SPLITS | {"test": {"split": "val"}}
SETS: dict[str, Asked] = {
    "CLEVRClassification": _TEST_IS_VAL,
    "Country211": _SPLITS | {"validation": {"split": "valid"}},
    "DTD": _VALIDATED,
    "EMNIST": _FLAGS,
    "FER2013": _SPLITS,
    "FGVCAircraft": _VALIDATED,
    "FashionMNIST": _FLAGS,
    "Flowers102": _VALIDATED,
    "Food101": _SPLITS,
    "GTSRB": _SPLITS,
    "Imagenette": _TEST_IS_VAL,
    "KMNIST": _FLAGS,
    "MNIST": _FLAGS,
    "OxfordIIITPet": _SPLITS | {"train": {"split": "trainval"}},
    "Places365": _TEST_IS_VAL | {"train": {"split": "train-standard"}},
    "QMNIST": _FLAGS,
    "RenderedSST2": _VALIDATED,
    "STL10": _SPLITS,
    "SVHN": _SPLITS,
    "StanfordCars": _SPLITS,
    "USPS": _FLAGS,
}
"""How torchvision's class of a set is asked for its parts.

Without CIFAR, whose files are pickles that torchvision would execute: `cifar10` and `cifar100` read them as data."""

OPTIONS = {"EMNIST": ("split", "balanced"), "Imagenette": ("size", "full")}
"""The argument that `:OPTION` is given to, and what is meant without one."""


def open_source(kind: str, argument: str) -> Source:
    """The set, in the first folder that has it. Raises `InvalidInput` where none does."""
    reasons = []
    for root in [*data_folders(), _kept()]:
        try:
            parts = _parts(argument, root)
            break
        except InvalidInput:
            raise
        except Exception as error:  # missing or damaged, each set says so in its own way
            reasons.append(f"  {root}: {type(error).__name__}: {error}")
    else:
        raise InvalidInput(
            f"{kind}:{argument} cannot be read. Tried:\n" + "\n".join(reasons) + "\nDownload it by patchbench data "
            f"get {kind}:{argument}, or name the folder that torchvision keeps it in by PATCHBENCH_DATA."
        )
    rows: dict[str, Rows] = {part: _rows(found, root) for part, found in parts.items()}
    if not rows["train"]:
        return InMemory(f"{kind}:{argument}", parts)
    classes = [str(label) for label in sorted({int(label) for _, label in rows["train"]})]
    return PhotographSource.of(f"{kind}:{argument}", root, rows, classes=classes, is_table=True)


def fetch(argument: str) -> None:
    """Let torchvision download a set into the cache, unless a folder has it."""
    try:
        open_source("torchvision", argument)
    except InvalidInput:
        try:
            _parts(argument, _kept(), **({} if argument == "FER2013" else {"download": True}))
        except InvalidInput:
            raise
        except Exception as error:  # of the network, of the disk, of an address that has moved
            raise InvalidInput(f"torchvision:{argument} could not be downloaded: {error}") from error


def _kept() -> Path:
    return cache_folder() / "torchvision"


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
        pairs = [pair for pair in getattr(found, "_samples", ()) if isinstance(pair[0], str | Path)]
    rows = [(os.path.relpath(path, root), str(int(label))) for path, label in pairs]
    for path, _ in rows:
        require(not path.startswith(".."), f"{path}, which a file in {root} names, leads out of the folder.")
    return rows


@dataclass
class InMemory(ArraySource):
    """A set that torchvision has in memory."""

    name: str
    found: Mapping[Part, Any]

    def arrays(self, part: Part) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        """See `ArraySource`; classes that are numbered from 1 are numbered from 0."""
        if part not in self.found:
            return None
        images, labels = _in_memory(self.found[part])
        classes = np.unique(labels if part == "train" else _in_memory(self.found["train"])[1])
        extra = np.setdiff1d(labels, classes)
        require(not len(extra), f"{self.name}: {part} has the class {extra[:1]}, which train does not have.")
        return images, np.searchsorted(classes, labels)


def _in_memory(found: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if not hasattr(found, "data"):  # FER2013
        images, numbers = zip(*(found[at] for at in range(len(found))), strict=True)
        require(None not in numbers, "FER2013 is in files that lack the labels of test images: it needs fer2013.csv.")
        return np.stack([np.asarray(image) for image in images]), np.array(numbers)
    labels = np.asarray(found.targets if hasattr(found, "targets") else found.labels)
    return np.asarray(found.data), (labels[:, 0] if labels.ndim == 2 else labels).astype(np.int64)

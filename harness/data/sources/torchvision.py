"""The classification sets of torchvision that have parts to train and to test on: `torchvision:NAME`, `NAME:OPTION`.

Read from PATCHBENCH_DATA or the cache, in the folders that torchvision gives them; `patchbench data get` downloads.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.data.array_source import ArraySource
from harness.data.cache import cache_folder
from harness.data.fetching import data_folders
from harness.data.labelled_files import LabelledFiles, Rows, labelled
from harness.data.source import Part, Source
from harness.spec import InvalidInput
from harness.spec.checks import nearest
from harness.spec.errors import require

Kind = Literal["arrays", "loader", "samples", "pairs"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """How torchvision's class of a set is asked for its parts."""

    train: Mapping[str, Any] = field(default_factory=lambda: {"split": "train"})
    test: Mapping[str, Any] = field(default_factory=lambda: {"split": "test"})
    validation: Mapping[str, Any] | None = None
    kind: Kind = "loader"
    """Where images are: in arrays; in files, which its `loader` is given; in files of its list of `_samples`, or of its
    two lists of images and labels."""
    option: str = ""
    """The argument of the class that `:OPTION` is given to."""
    default: str = ""


_FLAG: dict[str, Any] = {"train": {"train": True}, "test": {"train": False}, "kind": "arrays"}
_VALIDATED: dict[str, Any] = {"validation": {"split": "val"}}
_TEST_IS_VAL: dict[str, Any] = {"test": {"split": "val"}}
SETS = {
    "CLEVRClassification": Published(**_TEST_IS_VAL),
    "Country211": Published(validation={"split": "valid"}),
    "DTD": Published(**_VALIDATED),
    "EMNIST": Published(**_FLAG, option="split", default="balanced"),
    "FER2013": Published(kind="arrays"),
    "FGVCAircraft": Published(**_VALIDATED),
    "FashionMNIST": Published(**_FLAG),
    "Flowers102": Published(**_VALIDATED),
    "Food101": Published(),
    "GTSRB": Published(kind="samples"),
    "Imagenette": Published(**_TEST_IS_VAL, option="size", default="full"),
    "KMNIST": Published(**_FLAG),
    "MNIST": Published(**_FLAG),
    "OxfordIIITPet": Published(train={"split": "trainval"}, kind="pairs"),
    "Places365": Published(train={"split": "train-standard"}, **_TEST_IS_VAL),
    "QMNIST": Published(**_FLAG),
    "RenderedSST2": Published(**_VALIDATED),
    "STL10": Published(kind="arrays"),
    "SVHN": Published(kind="arrays"),
    "StanfordCars": Published(),
    "USPS": Published(**_FLAG),
}
"""Without CIFAR, whose files are pickles that torchvision would execute: `cifar10` and `cifar100` read them as data."""


def open_source(kind: str, argument: str) -> Source:
    """The set, in the first folder that has it. Raises `InvalidInput` where none does."""
    del kind
    name, known, options = _known(argument)
    reasons = []
    for root in [*data_folders(), _kept()]:
        try:
            parts = _parts(name, known, options, root, download=False)
            break
        except Exception as error:  # missing or damaged, each set says so in its own way
            reasons.append(f"  {root}: {type(error).__name__}: {error}")
    else:
        raise InvalidInput(
            f"torchvision:{name} cannot be read. Tried:\n" + "\n".join(reasons) + "\nDownload it by patchbench data "
            f"get torchvision:{argument}, or name the folder that torchvision keeps it in by PATCHBENCH_DATA."
        )
    if known.kind == "arrays":
        return Arrays(f"torchvision:{argument}", parts)
    rows: dict[str, Rows] = {part: _rows(found, known.kind, root) for part, found in parts.items()}
    order = sorted({int(label) for _, label in rows["train"]})
    return labelled(LabelledFiles, f"torchvision:{argument}", root, rows, classes=[str(label) for label in order])


def fetch(argument: str) -> None:
    """Let torchvision download a set into the cache, unless a folder has it."""
    try:
        open_source("torchvision", argument)
    except InvalidInput:
        name, known, options = _known(argument)
        try:
            _parts(name, known, options, _kept(), download=True)
        except Exception as error:  # of the network, of the disk, of an address that has moved
            raise InvalidInput(f"torchvision:{argument} could not be downloaded: {error}") from error


def _kept() -> Path:
    return cache_folder() / "torchvision"


def _known(argument: str) -> tuple[str, Published, dict[str, str]]:
    """The set's name, what is known of it, and the option as an argument of its class."""
    name, colon, option = argument.partition(":")
    if name in ("CIFAR10", "CIFAR100"):
        raise InvalidInput(f"data.source is 'torchvision:{name}'; data.source={name.lower()} reads it.")
    if name not in SETS:
        raise InvalidInput(f"torchvision:{name} is no set with parts to train and to test on. {nearest(name, SETS)}")
    known = SETS[name]
    require(not colon or bool(known.option), f"torchvision:{name} takes no option {option!r}.")
    return name, known, {known.option: option or known.default} if known.option else {}


def _parts(name: str, known: Published, options: Mapping[str, str], root: Path, *, download: bool) -> dict[Part, Any]:
    """Torchvision's data set of each part."""
    import torchvision.datasets

    cls = getattr(torchvision.datasets, name)
    more: dict[str, Any] = {"loader": str} if known.kind == "loader" else {}
    more |= {"download": True} if download and name != "FER2013" else {}
    parts: dict[Part, Mapping[str, Any]] = {"train": known.train, "test": known.test}
    parts |= {"validation": known.validation} if known.validation else {}
    found = {part: cls(root, **which, **options, **more) for part, which in parts.items()}
    if name == "USPS":  # which alone does not look
        for _, file, md5 in cls.split_list.values():
            if not torchvision.datasets.utils.check_integrity(str(root / file), md5):
                raise RuntimeError(f"{file} is damaged: its MD5 is not {md5}")
    return found


def _rows(found: Any, kind: Kind, root: Path) -> Rows:
    """Path below `root`, and label, of every image."""
    if kind == "samples":
        pairs = found._samples
    elif kind == "pairs":
        pairs = zip(found._images, found._labels, strict=True)
    else:
        pairs = (found[at] for at in range(len(found)))
    rows = [(os.path.relpath(path, root), str(int(label))) for path, label in pairs]
    for path, _ in rows:
        require(not path.startswith(".."), f"{path}, which a file in {root} names, leads out of the folder.")
    return rows


@dataclass
class Arrays(ArraySource):
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

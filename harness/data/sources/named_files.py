"""Fashion-MNIST and CIFAR, whose files `fetching` finds and checks, and the digits of scikit-learn."""

import hashlib
import io
import pickle
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.array_source import ArraySource
from harness.data.fetching import PublishedSource
from harness.data.source import Pair, Part
from harness.data.subsets import stratified
from harness.spec import NAMED_SOURCES, InvalidInput


class FashionMNIST(PublishedSource):
    """28-pixel greys."""

    def arrays(self, part: Part) -> Pair:
        images, labels = (self.content(name) for name in self.files if name.startswith("train") == (part == "train"))
        return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28), np.frombuffer(
            labels, np.uint8, offset=8
        ).astype(np.int64)


class Cifar(PublishedSource):
    """32-pixel photographs, in colour: batches that are pickles (https://www.cs.toronto.edu/~kriz/cifar.html)."""

    def arrays(self, part: Part) -> Pair:
        raw = [self.content(name) for name in self.files if ("test" in name) == (part == "test")]
        batches = [_Reader(io.BytesIO(content), encoding="latin1").load() for content in raw]
        labels = [batch["labels" if "labels" in batch else "fine_labels"] for batch in batches]
        images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        return images, np.concatenate(labels).astype(np.int64)


class _Reader(pickle.Unpickler):
    """Unpickles what a batch consists of: text, numbers, lists, dicts and arrays; nothing else is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # as it was called when the batches were written
        if (module, name) not in {("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}:
            raise InvalidInput(f"A batch of CIFAR names {module}.{name}, which no batch does. Replace or remove it.")
        return super().find_class(module, name)


class Digits(ArraySource):
    """8-pixel greys. One fixed, stratified fifth is the test part. Levels 0..16 are spread over 0..255."""

    is_named = True
    name = "digits"

    def arrays(self, part: Part) -> Pair:
        return _digits(part)

    def content_hash(self) -> str:
        """SHA-256 over the images and labels of both parts."""
        pairs = _digits("train"), _digits("test")
        return hashlib.sha256(b"".join(array.tobytes() for pair in pairs for array in pair)).hexdigest()


@cache
def _digits(part: Part) -> Pair:
    package = find_spec("sklearn")  # not imported, which takes a second in every worker
    assert package is not None
    table = np.loadtxt(Path(package.origin or "").parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1].astype(np.int64)
    test = stratified(labels, NAMED_SOURCES["digits"].test_images, seed=0)
    chosen = test if part == "test" else np.setdiff1d(np.arange(len(labels)), test)
    return images[chosen], labels[chosen]


PUBLISHED: dict[str, PublishedSource] = {
    "fashion_mnist": FashionMNIST(
        name="fashion_mnist",
        files={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        packed=".gz",
        below=("fashion-mnist", "FashionMNIST/raw"),
        system=Path("/usr/share/datasets/fashion-mnist"),
        package="dataset-fashion-mnist",
    ),
    "cifar10": Cifar(
        name="cifar10",
        archive={"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
        files={
            "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
            "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
            "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        },
        url="https://www.cs.toronto.edu/~kriz/",
    ),
    "cifar100": Cifar(
        name="cifar100",
        archive={"cifar-100-python.tar.gz": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"},
        files={
            "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
            "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        },
        url="https://www.cs.toronto.edu/~kriz/",
    ),
}


def open_source(kind: str, argument: str) -> ArraySource:
    """One of `PUBLISHED`, or the digits."""
    del argument
    return PUBLISHED.get(kind) or Digits()

"""Fashion-MNIST, CIFAR-10 and CIFAR-100, whose files `fetching` finds and checks; and the digits of scikit-learn."""

import hashlib
import io
import json
import pickle
import tarfile
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.array_source import NamedSource, as_pair
from harness.data.cache import Bytes, stored
from harness.data.fetching import FileSet, RawFile
from harness.data.source import Pair, Part
from harness.data.subsets import stratified
from harness.spec import NAMED_SOURCES, InvalidInput
from harness.spec.errors import require
from harness.spec.plural import counted

VALUES = 3 * 32 * 32
"""Bytes of an image of CIFAR: red, green and blue planes."""

FASHION_MNIST = FileSet(
    name="fashion_mnist",
    files=(
        RawFile(
            "train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        RawFile("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        RawFile(
            "t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        RawFile("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    packed=".gz",
    below=("fashion-mnist", "FashionMNIST/raw"),
    system=Path("/usr/share/datasets/fashion-mnist"),
    package="dataset-fashion-mnist",
)
"""Images and labels to train on, images and labels to test on."""

CIFAR = {
    name: FileSet(name=name, files=(file,), url="https://www.cs.toronto.edu/~kriz/", unpacked=folder)
    for name, folder, file in (
        (
            "cifar10",
            "cifar-10-batches-py",
            RawFile(
                "cifar-10-python.tar.gz",
                170_498_071,
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
        (
            "cifar100",
            "cifar-100-python",
            RawFile(
                "cifar-100-python.tar.gz",
                169_001_437,
                "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            ),
        ),
    )
}


def open_source(kind: str, argument: str) -> NamedSource:
    """One of the four."""
    del argument
    if kind == "digits":
        return Digits(kind)
    return FashionMNIST(kind, FASHION_MNIST) if kind == "fashion_mnist" else Cifar(kind, CIFAR[kind])


@dataclass
class NamedFiles(NamedSource):
    """A set that is known by the hashes of its files."""

    published: FileSet

    def content_hash(self) -> str:
        """From the files' hashes: reads no data."""
        return hashlib.sha256(
            json.dumps([self.name, *(file.sha256 for file in self.published.files)]).encode()
        ).hexdigest()


class FashionMNIST(NamedFiles):
    """28-pixel greys."""

    def arrays(self, part: Part) -> Pair:
        files = self.published.files[:2] if part == "train" else self.published.files[2:]
        images, labels = (parse_idx(self.published.content(file), file.name) for file in files)
        return as_pair(f"{self.name} {part}", images, labels)


def parse_idx(raw: bytes, name: str) -> npt.NDArray[np.uint8]:
    """The uint8 array in an IDX file. Raises `InvalidInput` where the header does not fit the content."""
    dimensions = raw[3] if raw[:3] == b"\x00\x00\x08" and len(raw) > 3 else 0
    start = 4 + 4 * dimensions
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], dtype=">u4"))
    if len(shape) != dimensions or dimensions == 0 or len(raw) - start != np.prod(shape):
        raise InvalidInput(f"{name} is no IDX file of bytes: its header does not fit its {len(raw)} bytes.")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


class Cifar(NamedFiles):
    """32-pixel photographs, in colour: batches that are pickles (https://www.cs.toronto.edu/~kriz/cifar.html)."""

    def arrays(self, part: Part) -> Pair:
        """See `ArraySource`. The batches are kept in the cache decoded: a row of a label and 3,072 pixels per image."""
        key, images = f"cifar 1 {self.content_hash()} {part}", getattr(self.known, f"{part}_images")
        rows = stored(key, (images, 1 + VALUES), lambda: [self._rows(part, images)])
        return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)

    def _rows(self, part: Part, images: int) -> Bytes:
        from torchvision import datasets

        published = getattr(datasets, self.name.upper())
        rows = []
        for name, md5 in published.train_list if part == "train" else published.test_list:
            raw, where = self._batch(name)
            found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
            require(found == md5, f"{where} is damaged: MD5 {found}, expected {md5}. Replace or remove it.")
            batch = _Reader(io.BytesIO(raw), encoding="latin1").load()
            labels = np.array(batch["labels" if "labels" in batch else "fine_labels"], dtype=np.uint8)
            rows.append(np.column_stack([labels, batch["data"]]))
        number = sum(map(len, rows))
        require(number == images, f"{self.name} {part} has {counted(number, 'image')}; expected {images:,}.")
        return np.concatenate(rows)

    def _batch(self, name: str) -> tuple[bytes, str]:
        """A batch and where it was found: in the unpacked folder, or in the archive."""
        place = self.published.where()
        if place and place.name == self.published.unpacked:
            try:
                return (place / name).read_bytes(), str(place / name)
            except OSError as error:
                raise InvalidInput(f"{place / name}: {error.strerror}. Replace or remove {place}.") from error
        with tarfile.open(fileobj=io.BytesIO(self._archive)) as archive:
            member = archive.extractfile(f"{self.published.unpacked}/{name}")
            assert member is not None
            return member.read(), name

    @cached_property
    def _archive(self) -> bytes:
        return self.published.content(self.published.files[0])


class _Reader(pickle.Unpickler):
    """Unpickles what a batch consists of: text, numbers, lists, dicts and arrays; nothing else is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # as it was called when the batches were written
        if (module, name) not in {("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}:
            raise InvalidInput(f"A batch of CIFAR names {module}.{name}, which no batch does. Replace or remove it.")
        return super().find_class(module, name)


class Digits(NamedSource):
    """8-pixel greys. One fixed, stratified fifth is the test part. Levels 0..16 are spread over 0..255."""

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

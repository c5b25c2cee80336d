"""Fashion-MNIST and CIFAR, from the user's folder, the cache, the system or the web; and the digits of scikit-learn."""

import gzip
import hashlib
import io
import json
import logging
import os
import pickle
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.data.array_source import ArraySource
from harness.data.cache import cache_folder, write_whole
from harness.data.source import Pair, Part
from harness.data.subsets import stratified
from harness.spec import NAMED_SOURCES, InvalidInput

log = logging.getLogger(__name__)

OWN = "PATCHBENCH_DATA"

MOST_BYTES = 2**28  # more than any file has: however packed, none fills the memory


def data_folders(*below: str) -> list[Path]:
    """The user's own folder and those subfolders of it that are looked at; empty where not set."""
    named = os.environ.get(OWN)
    return [Path(named).expanduser() / name for name in ("", *below)] if named else []


@dataclass(kw_only=True)
class PublishedSource(ArraySource):
    """A set that is known by the hashes of its files."""

    is_named: ClassVar[bool] = True
    name: str
    files: Mapping[str, str]
    """SHA-256 of the content of each, not packed; MD5 of those of an archive, for which no other is published."""
    archive: Mapping[str, str] = field(default_factory=dict)
    """The one that has the files, where they are published in one, and its SHA-256."""
    url: str  # of a file, `{}` for its name
    below: tuple[str, ...] = ()  # subfolders of the user's folder that are looked at, too
    package: str = ""  # a Debian package that has the files in `system`
    system: Path = Path()

    def content_hash(self) -> str:
        """From the published hashes: reads no data."""
        return hashlib.sha256(json.dumps([self.name, *(self.archive or self.files).values()]).encode()).hexdigest()

    def _folders(self) -> dict[str, list[Path]]:
        places = {OWN: data_folders(*self.below), "cache": [cache_folder() / self.name]}
        return places | ({"system": [self.system]} if self.package else {})

    def where(self) -> Path | None:
        """The first folder on this machine that has its files, or their archive; unchecked."""
        names = (next(iter(self.files)), *self.archive)
        every = chain(*self._folders().values())
        return next((folder for folder in every for name in names if _in([folder], name)), None)

    def content(self, name: str) -> bytes:
        """The unpacked content of a file, checked; `InvalidInput` with every place that was tried, and a remedy."""
        reasons = ["Tried:"]
        for place, read in self._ways(name):
            try:
                return read()
            except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
                if place == OWN and not isinstance(error, FileNotFoundError):  # named by the user: not passed over
                    raise InvalidInput(f"{error}. Replace it, or unset {OWN}.") from error
                told = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
                reasons.append(f"  {place}: {told}")
        names = ", ".join(self.archive or self.files)
        instead = f"; or install {self.package}" if self.package else ""
        remedy = f"Put {names} into a folder and name it by {OWN}{instead}."
        raise InvalidInput("\n".join([f"Cannot find {self.name}'s {name}.", *reasons, remedy]))

    def _ways(self, name: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for place, folders in self._folders().items():
            yield place, partial(self._read, folders, name)
        own = data_folders()
        if any(_in(own, archive) for archive in self.archive):
            yield OWN, partial(self._kept, name, lambda _: own[0])
        if self.package:
            yield f"Debian package {self.package}", partial(self._kept, name, self._unpack)
        yield "download", partial(self._kept, name, self._download)

    def _read(self, folders: Iterable[Path], name: str) -> bytes:
        path = _in(folders, name)
        if path is None:
            raise FileNotFoundError(f"no {name} in {', '.join(map(str, folders)) or 'it'}")
        return _checked(path, self.files[name])

    def _kept(self, name: str, bring: Callable[[Path], Path]) -> bytes:
        """The content of a file, once all are kept in the cache that `bring` puts into a folder."""
        kept = cache_folder() / self.name
        with tempfile.TemporaryDirectory(prefix="patchbench-") as at:
            folder = bring(Path(at))
            for archive, expected in self.archive.items():
                with tarfile.open(fileobj=io.BytesIO(_checked(folder / archive, expected))) as tar:
                    tar.extractall(at, filter="data")
                folder = Path(at)
            for each in self.files:
                path, raw = kept / each, self._read([folder], each)
                write_whole(path.parent, path.name, partial(Path.write_bytes, data=raw))
        return self._read([kept], name)

    def _unpack(self, at: Path) -> Path:
        """Of the Debian package, without root."""
        _run(["apt-get", "download", self.package], at)
        _run(["dpkg-deb", "-x", *map(str, at.glob("*.deb")), "unpacked"], at)
        return at / "unpacked" / self.system.relative_to("/")

    def _download(self, at: Path) -> Path:
        for name in self.archive or self.files:
            url = self.url.format(name)
            log.info("Downloading %s", url)
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - fixed http(s) addresses
                (at / Path(url).name).write_bytes(answer.read(MOST_BYTES))
        return at


def _in(folders: Iterable[Path], name: str) -> Path | None:
    """The file in the first of `folders` that has it, raw or as .gz."""
    paths = (folder / each for folder in folders for each in (name, f"{name}.gz"))
    return next(filter(Path.is_file, paths), None)


def _checked(path: Path, expected: str) -> bytes:
    """The unpacked content of a file, if it has the hash. Raises `OSError`, naming it with both hashes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" and path.stem[-4:] != ".tar" else path.open("rb") as file:
            raw = file.read(MOST_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    kind = "SHA-256" if len(expected) == 64 else "MD5"
    found = hashlib.new(kind.replace("-", ""), raw, usedforsecurity=False).hexdigest()
    if found != expected:
        raise OSError(f"{path} is damaged: its content has {kind} {found} ({len(raw):,} bytes), expected {expected}")
    return raw


def _run(command: list[str], folder: Path) -> None:
    log.info("Running %s", " ".join(command))
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603


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
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{}.gz",
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
        url="https://www.cs.toronto.edu/~kriz/{}",
    ),
    "cifar100": Cifar(
        name="cifar100",
        archive={"cifar-100-python.tar.gz": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"},
        files={
            "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
            "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        },
        url="https://www.cs.toronto.edu/~kriz/{}",
    ),
}


def open_source(kind: str, argument: str) -> ArraySource:
    """One of `PUBLISHED`, or the digits."""
    return PUBLISHED.get(kind) or Digits()

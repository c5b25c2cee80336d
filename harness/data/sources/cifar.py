"""CIFAR-10 and CIFAR-100: archives checked by SHA-256, their batches read as data."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.array_source import NamedSource
from harness.data.cache import cache_folder, set_aside, unkept
from harness.data.cifar_batches import read_batch
from harness.data.fetching import (
    OWN,
    RawFile,
    Unusable,
    checked,
    data_folders,
    download,
    find_in,
    first_usable,
    from_cache,
)
from harness.data.source import Pair, Part
from harness.spec import NAMED_SOURCES, InvalidInput
from harness.spec.plural import counted


@dataclass(frozen=True)
class Archive:
    """A CIFAR archive: `file` is the .tar.gz as it is, `folder` what it unpacks to."""

    file: RawFile
    folder: str


CIFAR = {
    "cifar10": Archive(
        RawFile(
            "cifar-10-python.tar.gz", 170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
        ),
        "cifar-10-batches-py",
    ),
    "cifar100": Archive(
        RawFile(
            "cifar-100-python.tar.gz", 169_001_437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
        ),
        "cifar-100-python",
    ),
}


def open_source(kind: str, argument: str) -> "Cifar":
    """One of the two."""
    del argument
    return Cifar(kind)


class Cifar(NamedSource):
    """32-pixel photographs, in colour."""

    def arrays(self, part: Part) -> Pair:
        """See `ArraySource`. From the batches of the unpacked archive, which is checked before it is unpacked."""
        root = _root(self.name)
        try:
            images, labels = _batches(root, self.name, part)
        except Unusable as error:
            if root != cache_folder() / self.name:
                raise InvalidInput(f"{error}. Replace the folder, or unset {OWN}.") from error
            set_aside(root / CIFAR[self.name].folder, str(error))
            try:
                images, labels = _batches(_root(self.name), self.name, part)
            except Unusable as again:
                raise InvalidInput(f"{again}. Remove it.") from again
        expected = getattr(NAMED_SOURCES[self.name], f"{part}_images")
        if len(images) != expected:
            raise InvalidInput(f"{self.name} {part}: {counted(len(images), 'image')}; expected {expected:,}.")
        return images, labels

    def content_hash(self) -> str:
        """From the archive's hash: reads no data."""
        return hashlib.sha256(json.dumps([self.name, CIFAR[self.name].file.sha256]).encode()).hexdigest()


def _batches(root: Path, source: str, part: Part) -> Pair:
    known = _published(source)
    folder, classes = root / CIFAR[source].folder, NAMED_SOURCES[source].classes
    files = known.train_list if part == "train" else known.test_list
    batches = [read_batch(folder / name, md5, classes) for name, md5 in files]
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


def _root(source: str) -> Path:
    """The folder that holds the unpacked archive; unpacked into the cache where need be."""
    archive, kept = CIFAR[source], cache_folder() / source
    own = data_folders()
    if own and (own[0] / archive.folder).is_dir():
        return own[0]
    if not (own and (own[0] / archive.file.name).is_file()) and (kept / archive.folder).is_dir():
        return kept
    places: list[tuple[str, Callable[[], bytes]]] = [
        (OWN, partial(find_in, own, archive.file)),
        ("cache", partial(from_cache, source, archive.file)),
        ("download", partial(_download, source)),
    ]
    remedy = (
        f"Put {archive.file.name}, or the folder {archive.folder} that it unpacks to, into a folder and name that "
        f"folder by {OWN}."
    )
    _unpack(first_usable(f"{source}'s {archive.file.name}", places, remedy), archive, kept)
    return kept


def _download(source: str) -> bytes:
    url, file = _published(source).url, CIFAR[source].file
    return checked(download(url, file.size), file, url)


def _published(source: str) -> Any:
    """What torchvision knows of it: addresses, files and their MD5."""
    from torchvision import datasets

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[source]


def _unpack(packed: bytes, archive: Archive, kept: Path) -> None:
    """Unpack beside the final place, then rename: two processes may do so at once, and one of them wins."""
    if (kept / archive.folder).is_dir():
        return
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=kept) as temporary:
            with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
                tar.extractall(temporary, filter="data")
            try:
                (Path(temporary) / archive.folder).rename(kept / archive.folder)
            except OSError:
                if not (kept / archive.folder).is_dir():
                    raise
    except OSError as error:
        raise unkept(f"what {archive.file.name} holds", kept, error) from error

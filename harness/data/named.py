"""The named sources: Fashion-MNIST, CIFAR-10, CIFAR-100 and scikit-learn's digits, as arrays at their own size."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.data.cache import cache_folder, set_aside, unkept
from harness.data.cifar import read_batch
from harness.data.files import (
    RawFile,
    Unusable,
    data_folders,
    download,
    find_in,
    first_usable,
    from_cache,
    from_package,
    keep,
    read_checked,
)
from harness.data.subsets import stratified
from harness.spec import NAMED_SOURCES, InvalidInput
from harness.spec.plural import counted

Part = Literal["train", "test"]
Pair = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images uint8 (N, C, H, W) and labels int64 (N,)."""

PACKAGE = "dataset-fashion-mnist"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")

FASHION_MNIST: dict[Part, tuple[RawFile, RawFile]] = {
    "train": (
        RawFile(
            "train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        RawFile("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ),
    "test": (
        RawFile(
            "t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        RawFile("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
}


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


def named_hash(source: str) -> str:
    """SHA-256 identity of a named source's images and labels; reads no data, except for the bundled digits."""
    if source == "digits":
        digest = hashlib.sha256()
        for part in ("train", "test"):
            images, labels = _digits(part)
            digest.update(images.tobytes() + labels.astype("<i8").tobytes())
        return digest.hexdigest()
    if source == "fashion_mnist":
        hashes = [file.sha256 for pair in FASHION_MNIST.values() for file in pair]
    else:
        hashes = [CIFAR[source].file.sha256]
    return hashlib.sha256(json.dumps([source, *hashes]).encode()).hexdigest()


def read_named(source: str, part: Part) -> Pair:
    """One official part of a named source, checked. Raises `InvalidInput` where it cannot be had or is damaged."""
    match source:
        case "fashion_mnist":
            return _fashion_mnist(part)
        case "digits":
            return _digits(part)
        case _:
            return _cifar(source, part)


def _fashion_mnist(part: Part) -> Pair:
    images, labels = (parse_idx(_fashion_file(file), file.name) for file in FASHION_MNIST[part])
    if len(images) != len(labels):
        raise InvalidInput(
            f"fashion_mnist {part}: {counted(len(images), 'image')} but {counted(len(labels), 'label')}; they must "
            "match."
        )
    return images[:, None], labels.astype(np.int64)


def parse_idx(raw: bytes, name: str) -> npt.NDArray[np.uint8]:
    """The uint8 array in an IDX file. Raises `InvalidInput` where the header does not fit the content."""
    dimensions = raw[3] if raw[:3] == b"\x00\x00\x08" and len(raw) > 3 else 0
    start = 4 + 4 * dimensions
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], dtype=">u4"))
    if len(shape) != dimensions or dimensions == 0 or len(raw) - start != np.prod(shape):
        raise InvalidInput(f"{name} is no IDX file of bytes: its header does not fit its {len(raw)} bytes.")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def _fashion_file(file: RawFile) -> bytes:
    own = data_folders("fashion-mnist", "FashionMNIST/raw")
    if any((folder / name).is_file() for folder in own for name in (file.name, f"{file.name}.gz")):
        try:
            return find_in(own, file)
        except Unusable as error:  # named by the user: never passed over in silence
            raise InvalidInput(f"{error}. Replace it, or unset PATCHBENCH_DATA.") from error
    places: list[tuple[str, Callable[[], bytes]]] = [
        ("PATCHBENCH_DATA", partial(find_in, own, file) if own else _not_set),
        ("cache", partial(from_cache, "fashion_mnist", file)),
        ("system", partial(_fetched, lambda: _keep_system_files(file), file)),
        (f"Debian package {PACKAGE}", partial(_fetched, _keep_package_files, file)),
        ("download", partial(_fetched, _keep_downloads, file)),
    ]
    names = ", ".join(f"{each.name}[.gz]" for pair in FASHION_MNIST.values() for each in pair)
    remedy = f"Put these files into a folder and name it by PATCHBENCH_DATA: {names}; or install {PACKAGE}."
    return first_usable(f"fashion_mnist's {file.name}", places, remedy)


def _not_set() -> bytes:
    raise Unusable("not set")


def _fetched(fill_cache: Callable[[], None], file: RawFile) -> bytes:
    fill_cache()
    return from_cache("fashion_mnist", file)


def _keep_system_files(file: RawFile) -> None:
    keep("fashion_mnist", file, find_in([SYSTEM_FOLDER], file))


def _keep_package_files() -> None:
    files = [file for pair in FASHION_MNIST.values() for file in pair]
    from_package(PACKAGE, str(SYSTEM_FOLDER.relative_to("/")), files, "fashion_mnist")


def _keep_downloads() -> None:
    """All four files, so that a search that starts with a network can be confirmed without one."""
    from torchvision.datasets import FashionMNIST

    for file in (file for pair in FASHION_MNIST.values() for file in pair):
        packed = download(f"{FashionMNIST.mirrors[0]}{file.name}.gz", file.size + 1024)  # a tiny file grows when packed
        with tempfile.TemporaryDirectory(prefix="patchbench-") as folder:
            path = Path(folder) / f"{file.name}.gz"
            path.write_bytes(packed)
            keep("fashion_mnist", file, read_checked(path, file))


def _cifar(source: str, part: Part) -> Pair:
    """From the batches of the unpacked archive; archives are checked by SHA-256 before they are unpacked."""
    root = _cifar_root(source)
    try:
        images, labels = _cifar_batches(root, source, part)
    except Unusable as error:
        if root != cache_folder() / source:
            raise InvalidInput(f"{error}. Replace the folder, or unset PATCHBENCH_DATA.") from error
        set_aside(root / CIFAR[source].folder, str(error))
        try:
            images, labels = _cifar_batches(_cifar_root(source), source, part)
        except Unusable as again:
            raise InvalidInput(f"{again}. Remove it.") from again
    expected = getattr(NAMED_SOURCES[source], f"{part}_images")
    if len(images) != expected:
        raise InvalidInput(f"{source} {part}: {counted(len(images), 'image')}; expected {expected:,}.")
    return images, labels


def _cifar_batches(root: Path, source: str, part: Part) -> Pair:
    from torchvision.datasets import CIFAR10, CIFAR100

    known = {"cifar10": CIFAR10, "cifar100": CIFAR100}[source]
    folder, classes = root / CIFAR[source].folder, NAMED_SOURCES[source].classes
    files = known.train_list if part == "train" else known.test_list
    batches = [read_batch(folder / name, md5, classes) for name, md5 in files]
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


def _cifar_root(source: str) -> Path:
    """The folder that holds the unpacked archive; unpacked into the cache where need be."""
    archive, kept = CIFAR[source], cache_folder() / source
    own = data_folders()
    if own and (own[0] / archive.folder).is_dir():
        return own[0]
    if own and (own[0] / archive.file.name).is_file():
        try:
            _unpack(_read_archive(own[0] / archive.file.name, archive), archive, kept)
        except Unusable as error:
            raise InvalidInput(f"{error}. Replace it, or unset PATCHBENCH_DATA.") from error
        return kept
    if (kept / archive.folder).is_dir():
        return kept
    places: list[tuple[str, Callable[[], bytes]]] = [
        ("PATCHBENCH_DATA", partial(_read_archive, own[0] / archive.file.name, archive) if own else _not_set),
        ("cache", partial(_read_archive, kept / archive.file.name, archive)),
        ("download", partial(_download_archive, source)),
    ]
    remedy = (
        f"Put {archive.file.name}, or the folder {archive.folder} that it unpacks to, into a folder and name that "
        "folder by PATCHBENCH_DATA."
    )
    _unpack(first_usable(f"{source}'s {archive.file.name}", places, remedy), archive, kept)
    return kept


def _read_archive(path: Path, archive: Archive) -> bytes:
    """The packed bytes of an archive, checked by SHA-256. Raises `Unusable`."""
    try:
        with path.open("rb") as file:
            packed = file.read(archive.file.size + 1)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    return _checked_archive(packed, archive, str(path))


def _download_archive(source: str) -> bytes:
    from torchvision.datasets import CIFAR10, CIFAR100

    url = {"cifar10": CIFAR10, "cifar100": CIFAR100}[source].url
    return _checked_archive(download(url, CIFAR[source].file.size), CIFAR[source], url)


def _checked_archive(packed: bytes, archive: Archive, where: str) -> bytes:
    found = hashlib.sha256(packed).hexdigest()
    if found != archive.file.sha256:
        raise Unusable(f"{where} is damaged: SHA-256 {found}, expected {archive.file.sha256}")
    return packed


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


@cache
def _digits_table() -> npt.NDArray[np.float64]:
    """(1797, 65): 64 grey levels 0..16 and the class of each digit, from the file that comes with scikit-learn.

    Read without importing scikit-learn, which takes a second in every worker.
    """
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")


def _digits(part: Part) -> Pair:
    """8-pixel digits; one fixed, stratified fifth is the test part. Grey levels 0..16 are spread over 0..255."""
    levels, labels = _digits_table()[:, :-1], _digits_table()[:, -1].astype(np.int64)
    images = np.rint(levels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    test = np.zeros(len(labels), dtype=bool)
    test[stratified(labels, NAMED_SOURCES["digits"].test_images, seed=0)] = True
    chosen = test if part == "test" else ~test
    return images[chosen], labels[chosen]

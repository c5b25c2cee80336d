"""Fashion-MNIST: found in the user's folder, the cache, the system, a Debian package or the web, checked by SHA-256."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.array_source import NamedSource
from harness.data.fetching import (
    OWN,
    RawFile,
    data_folders,
    download,
    find_in,
    first_usable,
    from_cache,
    from_package,
    keep,
    read_checked,
)
from harness.data.source import Pair, Part
from harness.spec import InvalidInput
from harness.spec.plural import counted

PACKAGE = "dataset-fashion-mnist"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")

FILES: dict[Part, tuple[RawFile, RawFile]] = {
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


def open_source(kind: str, argument: str) -> "FashionMNIST":
    """The set itself."""
    del argument
    return FashionMNIST(kind)


class FashionMNIST(NamedSource):
    """28-pixel greys."""

    def arrays(self, part: Part) -> Pair:
        images, labels = (parse_idx(_content(file), file.name) for file in FILES[part])
        if len(images) != len(labels):
            raise InvalidInput(
                f"fashion_mnist {part}: {counted(len(images), 'image')} but {counted(len(labels), 'label')}; they must "
                "match."
            )
        return images[:, None], labels.astype(np.int64)

    def content_hash(self) -> str:
        """From the files' hashes: reads no data."""
        hashes = [file.sha256 for pair in FILES.values() for file in pair]
        return hashlib.sha256(json.dumps([self.name, *hashes]).encode()).hexdigest()


def parse_idx(raw: bytes, name: str) -> npt.NDArray[np.uint8]:
    """The uint8 array in an IDX file. Raises `InvalidInput` where the header does not fit the content."""
    dimensions = raw[3] if raw[:3] == b"\x00\x00\x08" and len(raw) > 3 else 0
    start = 4 + 4 * dimensions
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], dtype=">u4"))
    if len(shape) != dimensions or dimensions == 0 or len(raw) - start != np.prod(shape):
        raise InvalidInput(f"{name} is no IDX file of bytes: its header does not fit its {len(raw)} bytes.")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def _content(file: RawFile) -> bytes:
    places: list[tuple[str, Callable[[], bytes]]] = [
        (OWN, partial(find_in, data_folders("fashion-mnist", "FashionMNIST/raw"), file)),
        ("cache", partial(from_cache, "fashion_mnist", file)),
        ("system", partial(_fetched, lambda: _keep_system_files(file), file)),
        (f"Debian package {PACKAGE}", partial(_fetched, _keep_package_files, file)),
        ("download", partial(_fetched, _keep_downloads, file)),
    ]
    names = ", ".join(f"{each.name}[.gz]" for pair in FILES.values() for each in pair)
    remedy = f"Put these files into a folder and name it by {OWN}: {names}; or install {PACKAGE}."
    return first_usable(f"fashion_mnist's {file.name}", places, remedy)


def _fetched(fill_cache: Callable[[], None], file: RawFile) -> bytes:
    fill_cache()
    return from_cache("fashion_mnist", file)


def _keep_system_files(file: RawFile) -> None:
    keep("fashion_mnist", file, find_in([SYSTEM_FOLDER], file))


def _keep_package_files() -> None:
    files = [file for pair in FILES.values() for file in pair]
    from_package(PACKAGE, str(SYSTEM_FOLDER.relative_to("/")), files, "fashion_mnist")


def _keep_downloads() -> None:
    """All four files, so that a search that starts with a network can be confirmed without one."""
    from torchvision.datasets import FashionMNIST as Published

    for file in (file for pair in FILES.values() for file in pair):
        packed = download(f"{Published.mirrors[0]}{file.name}.gz", file.size + 1024)  # a tiny file grows when packed
        with tempfile.TemporaryDirectory(prefix="patchbench-") as folder:
            path = Path(folder) / f"{file.name}.gz"
            path.write_bytes(packed)
            keep("fashion_mnist", file, read_checked(path, file))

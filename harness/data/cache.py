"""Files kept between trainings: written whole or not at all, checked by SHA-256 at each load."""

import contextlib
import hashlib
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.records.files import unfinished_file
from harness.spec import InvalidInput

if TYPE_CHECKING:
    from harness.data.photographs import Picture

Bytes = npt.NDArray[np.uint8]

log = logging.getLogger(__name__)


class Unkept(InvalidInput):
    """The cache did not take what was to be kept."""


def cache_folder() -> Path:
    """Where decoded data is kept: `PATCHBENCH_CACHE`, else `~/.cache/patchbench`."""
    return Path(os.environ.get("PATCHBENCH_CACHE") or "~/.cache/patchbench").expanduser()


def sha256(path: "Picture") -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(folder: Path, name: str, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file, then rename it to `name` in `folder`: nobody ever sees half a file.

    `{sha256}` in the name stands for the hash of what was written. Raises `Unkept` where the disk does not take it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished_file(folder / name) as (temporary, _):
            write(temporary)
            return temporary.replace(folder / name.format(sha256=sha256(temporary) if "{" in name else ""))
    except OSError as error:
        raise Unkept(
            f"Cannot write {name} in {folder}: {error.strerror or error}. Free some space there, or set "
            "PATCHBENCH_CACHE to a folder that can be written."
        ) from error


def stored(key: str, shape: tuple[int, ...], build: Callable[[], Iterable[Bytes]], *, mapped: bool = False) -> Bytes:
    """The array of bytes kept under `key`; at the first call built, as consecutive blocks of rows, and kept.

    The SHA-256 of the file's bytes is part of its name; a damaged file is built again. Nothing is kept where `build`
    raises. With `mapped` it stays on the disk, read-only; `Unkept` where that takes over half of what is free there.
    """
    folder = cache_folder() / "decoded"
    identity = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = next(filter(_is_whole, sorted(folder.glob(f"{identity}-*.npy"))), None)
    if path is None:
        there = next(place for place in folder.absolute().parents if place.exists())
        if mapped and math.prod(shape) > shutil.disk_usage(there).free // 2:
            raise Unkept(f"{math.prod(shape) / 1e9:.1f} GB would take more than half of what is free in {folder}.")
        blocks = iter(build())
        first = next(blocks)  # before there is a file: most that is wrong is wrong with the first one, too

        def write(path: Path) -> None:
            with path.open("wb") as file:  # not through a map of memory: on a full disk that ends the process
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for block in chain([first], blocks):
                    file.write(np.ascontiguousarray(block).data)

        path = write_whole(folder, identity + "-{sha256}.npy", write)
    images: Bytes = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    return images


def _is_whole(path: Path) -> bool:
    """Whether a file's hash is that in its name; removes it where it is not."""
    with contextlib.suppress(FileNotFoundError):  # another process was first
        if (found := sha256(path)) == path.stem.partition("-")[2]:
            return True
        log.warning("%s is damaged (it has SHA-256 %s); it is built again from its source.", path, found)
        path.unlink()
    return False

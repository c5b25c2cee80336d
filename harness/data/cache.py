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

    `{sha256}` in the name stands for the hash of what was written. Two processes may do this at once; both bring the
    same content. Raises `Unkept` where the folder or the disk does not take it, with nothing left behind.
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


def set_aside(path: Path, why: object) -> None:
    """Rename a damaged file of the cache, so that it can be looked at and is not used again."""
    aside = path.with_name(f"{path.name}.damaged-{os.getpid()}")
    log.warning("%s is damaged (%s); set aside as %s, and built again from its source.", path, why, aside.name)
    with contextlib.suppress(FileNotFoundError):  # another process was first
        path.replace(aside)


def stored(key: str, shape: tuple[int, ...], build: Callable[[], Iterable[Bytes]], *, mapped: bool = False) -> Bytes:
    """The array of bytes kept under `key`; at the first call built, as consecutive blocks of rows, and kept.

    Nothing is kept where `build` raises. The SHA-256 of the file's bytes is part of its name. With `mapped` it stays
    on the disk, read-only, and is not hashed again while its size and times are those it was last found whole with.
    """
    folder = cache_folder() / "decoded"
    identity = hashlib.sha256(key.encode()).hexdigest()[:32]
    for path in sorted(folder.glob(f"{identity}-*.npy")):
        kept = _whole(path, mapped=mapped)
        if kept is not None:
            return kept

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

    images = _whole(write_whole(folder, identity + "-{sha256}.npy", write), mapped=mapped)
    if images is None:
        raise Unkept(f"What was written in {folder} is not read as it was. Set PATCHBENCH_CACHE to another folder.")
    return images


def _whole(path: Path, *, mapped: bool) -> Bytes | None:
    """What a file of the cache holds; None where it is gone, or was damaged and has been set aside."""
    expected, note = path.stem.partition("-")[2], path.with_suffix(".checked")
    try:
        status = path.stat()
        seen = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        if not (mapped and note.exists() and note.read_text() == seen):
            if (found := sha256(path)) != expected:
                set_aside(path, f"expected SHA-256 {expected}, found {found}")
                return None
            if mapped:
                write_whole(note.parent, note.name, lambda new: new.write_text(seen))
        kept: Bytes = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return kept
    except FileNotFoundError:  # set aside by another process
        return None

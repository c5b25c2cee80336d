"""Files kept between trainings: written whole or not at all, checked by SHA-256 at each load."""

import errno
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.spec import InvalidInput

Arrays = Mapping[str, npt.NDArray[np.generic]]

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where decoded data is kept: `PATCHBENCH_CACHE`, else `~/.cache/patchbench`."""
    named = os.environ.get("PATCHBENCH_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "patchbench"


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(folder: Path, name: str, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file, then rename it to `name` in `folder`: nobody ever sees half a file.

    `{sha256}` in the name stands for the hash of what was written. Two processes may do this at once; both bring the
    same content. Raises `InvalidInput` where the folder or the disk does not take it, with nothing left behind.
    """
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary_name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
        os.close(handle)
        temporary = Path(temporary_name)
        write(temporary)
        final = folder / (name.format(sha256=sha256(temporary)) if "{" in name else name)
        return temporary.replace(final)
    except OSError as error:
        raise unkept(name, folder, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def unkept(what: str, folder: Path, error: OSError) -> InvalidInput:
    """What to tell of data that the cache's `folder` did not take, and of why; space is asked for where it lacks."""
    free = "Free some space there, or set" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Set"
    return InvalidInput(
        f"Cannot write {what} in {folder}: {error.strerror or error}. {free} PATCHBENCH_CACHE to a folder that can be "
        "written."
    )


def set_aside(path: Path, why: str) -> None:
    """Rename a damaged file of the cache, so that it can be looked at and is not used again."""
    aside = path.with_name(f"{path.name}.damaged-{os.getpid()}")
    log.warning("%s is damaged (%s); set aside as %s, and built again from its source.", path, why, aside.name)
    try:
        path.replace(aside)
    except FileNotFoundError:  # another process was first
        return


def stored(key: str, build: Callable[[], Arrays]) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays kept under `key`; built and kept at the first call. Nothing is kept where `build` raises.

    The SHA-256 of the file's bytes is part of its name.
    """
    folder = cache_folder() / "decoded"
    identity = hashlib.sha256(key.encode()).hexdigest()[:32]
    for path in sorted(folder.glob(f"{identity}-*.npz")):
        expected = path.stem.partition("-")[2]
        try:
            found = sha256(path)
        except FileNotFoundError:  # set aside by another process
            continue
        if found == expected:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        set_aside(path, f"expected SHA-256 {expected}, found {found}")
    arrays = dict(build())

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    write_whole(folder, identity + "-{sha256}.npz", write)
    return arrays

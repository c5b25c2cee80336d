"""Files that are either whole or not there: every write of a record goes through this module."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from harness.spec import InvalidInput


class RecordsError(InvalidInput):
    """A record could not be written or read: names the path, what is wrong with it and what to do."""


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary neighbour of `path` for writing; on success it is flushed to disk and takes the name.

    Raises `RecordsError` with the path when the disk is full or not writable; the earlier file then stays whole.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise RecordsError(f"Could not write {path}: {error.strerror or error}. {_remedy(path)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_writer(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 file atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON with sorted keys atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; `RecordsError` when it is not whole."""
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse)
    except (OSError, ValueError) as error:
        raise RecordsError(f"Could not read {path}: {error}.") from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed writers have left in a folder that nobody else writes to now."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def set_aside(path: Path, folder: Path) -> Path:
    """Move a damaged or outdated file or folder into `folder`, under a name of its own; returns the new path."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while (target := folder / f"{path.name}.{number}").exists():
        number += 1
    path.rename(target)
    return target


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON; no record holds it")


def _remedy(path: Path) -> str:
    folder = next((parent for parent in path.parents if parent.exists()), Path("/"))
    try:
        status = os.statvfs(folder)
    except OSError:
        return "Make the folder writable and run the same command again; nothing finished is lost."
    free = status.f_bavail * status.f_frsize
    return f"{free:,} bytes are free there. Free space or make the folder writable, then run the same command again."

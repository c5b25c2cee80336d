"""Files that are whole or not there, and bounded reads of them: a record may come from anybody."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import itertools
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness.records.failpoints import reached
from harness.spec import InvalidInput

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_BYTES = 2**28  # the largest record that is read, packed or unpacked: several times what the largest study leaves


class RecordsError(InvalidInput):
    """A record could not be written or read: names the path, what is wrong with it and what to do."""


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary neighbour of `path`; on success it is flushed to disk and takes the name."""
    reached("begin", path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished_file(path) as (temporary, file):
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            reached("written", path)
            temporary.replace(path)
            reached("renamed", path)
        sync_folder(path.parent)


@contextlib.contextmanager
def unfinished_file(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new neighbour of `path`, locked while it is open, for writing; removed at the end unless it was renamed."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary, file = Path(name), os.fdopen(handle, "wb")
        try:
            if try_lock(file, path) and temporary.exists():
                break
        except BaseException:
            temporary.unlink(missing_ok=True)
            file.close()
            raise
        file.close()  # somebody took it for forgotten before it was locked
    with file:
        try:
            yield temporary, file
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def try_lock(file: IO[bytes], path: Path, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file until it is closed, or its process ends; False where another has it locked.

    Raises `RecordsError`, naming `path`, where it cannot be locked at all.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise _mended(f"Could not lock {path}", path, error) from error
        raise RecordsError(
            f"Could not lock {path}: {error.strerror}. Its file system has no locks (flock), without which two "
            "programs could write at the same time: mount it with them, or name another folder with --results "
            "(PATCHBENCH_CACHE for the cache)."
        ) from error
    return True


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed writers have left in a folder; what a living one writes is left alone."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError, RecordsError), os.fdopen(os.open(path, flags), "rb") as file:
            if try_lock(file, path):
                path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_writer(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 file atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON with sorted keys atomically."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong over a damaged record, in whatever library, into one `RecordsError` that names it."""
    try:
        yield
    except RecordsError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if hasattr(error, "errors"):  # pydantic's, of many lines
            wrong = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            reason = "; ".join(wrong[:3])
        raise RecordsError(f"Could not read {path}: {reason.rstrip('.')}.") from error


def read_bytes(path: Path) -> bytes:
    """The content of a plain file; `RecordsError` where it is something else, cannot be read or exceeds MOST_BYTES."""
    with reading(path), open_to_read(path) as file:
        content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes; no record is as large")
    return content


def open_to_read(path: Path) -> io.BufferedReader:
    """A plain file; `RecordsError` where it is something else or cannot be opened, with the `OSError` as its cause."""
    with reading(path):  # without waiting: a pipe that nobody writes to would never open
        return os.fdopen(_plain(path, os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)), "rb")


def open_to_append(path: Path) -> IO[bytes]:
    """A plain file, unbuffered, to be read, cut and appended to; `RecordsError` for a link, as to somebody's file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(_plain(path, os.open(path, flags, 0o644)), "a+b", buffering=0)


def _plain(path: Path, descriptor: int) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RecordsError(f"{path} is not a plain file. Remove it.")
    return descriptor


def read_json(path: Path) -> Any:
    """Read a JSON file; `RecordsError` when it is not whole."""
    with reading(path):
        return parse_json(read_bytes(path))


@functools.cache
def adapter(kind: Any) -> "TypeAdapter[Any]":
    """Reads plain values as a type; made once, which takes longer than to read with it."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def parse_json(content: bytes) -> Any:
    """JSON that tables can hold: finite numbers, whole ones of 64 bits, text of UTF-8. Else a `ValueError`."""
    try:
        value = json.loads(content, parse_constant=_number, parse_float=_number, parse_int=_number)
    except RecursionError:
        raise ValueError("it is nested too deeply; no record is") from None
    if b"\\u" in content:  # an escaped half of a surrogate pair is no text
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _number(text: str) -> float:
    value = int(text) if text.removeprefix("-").isdigit() else float(text)
    if not (-(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)):
        raise ValueError(f"{text[:40]} is not JSON; no record holds it")
    return value


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any `OSError` into a `RecordsError`: the path, why it cannot be written, and what to do about it."""
    try:
        yield
    except OSError as error:
        raise _mended(f"Could not write {path}", path, error) from error


@contextlib.contextmanager
def mendable(near: Path | None = None) -> Iterator[None]:
    """Turn an `OSError` that the user can mend into a `RecordsError`, of the file that it names, else of `near`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else near or Path.cwd()
        raise _mended(str(path), path, error) from error


def _mended(what: str, path: Path, error: OSError) -> RecordsError:
    advice, free = _REMEDIES.get(error.errno or 0, _RIGHTS), ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        free = f"{shutil.disk_usage(folder).free:,} bytes are free there. "
    told = f"{error.strerror or error}. {free}{advice}, then run the same command again; nothing finished is lost."
    return RecordsError(f"{what}: {told}")


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


def set_aside(path: Path, folder: Path, name: str | None = None) -> Path:
    """Move a file or folder into `folder`, as its name (or `name`) with a number that is free; returns the new path."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = (folder / f"{name or path.name}.{number}" for number in itertools.count())
    return path.rename(next(target for target in targets if not target.exists()))


def set_aside_together(paths: Iterable[Path], folder: Path, name: str, copied: Path | None = None) -> Path | None:
    """Move what belongs together into a new folder `folder/NAME.<number>`; returns it, None where nothing is there.

    The file `copied` stays where it is, too, if it is there. A move that was killed is completed by the next call:
    nothing new may be written to `paths` and `copied` before.
    """
    unfinished = folder / f".{name}.unfinished"
    there = [path for path in paths if path.exists() or path.is_symlink()]
    if not there and not unfinished.exists():
        return None
    reached("begin:set aside")
    unfinished.mkdir(parents=True, exist_ok=True)
    if copied is not None and copied.exists():
        remove_unfinished(unfinished)
        write_bytes(unfinished / copied.name, read_bytes(copied))
    for path in there:
        path.rename(unfinished / path.name)
        reached("set aside", path)
    sync_folder(unfinished)
    target = set_aside(unfinished, folder, name)
    reached("renamed:set aside")
    sync_folder(folder)
    return target


def is_being_set_aside(folder: Path, name: str) -> bool:
    """Whether `set_aside_together` was killed in the middle."""
    return (folder / f".{name}.unfinished").exists()


_WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # what flock says of such a file system
_RIGHTS = "Give this user the right to read and write there, or name another folder with --results"
_REMEDIES = {
    errno.EFBIG: "Lift the limit on the size of files (ulimit -f)",
    errno.EROFS: "Mount that file system for writing, or name another folder with --results",
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ENOLCK), "Name another folder with --results"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _RIGHTS),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV), "Mend the disk or the connection to it"),
    **dict.fromkeys((errno.ENOMEM, errno.EMFILE, errno.ENFILE), "Close other programs or lift the limit (ulimit -a)"),
    **dict.fromkeys(
        (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENXIO, errno.EBUSY),
        "Remove what stands in the place of a file or a folder",
    ),
}

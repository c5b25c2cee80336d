"""One coordinator per study and scale, one writer of what several write: locks that end with their process.

Where machines share a folder, flock(2) has to hold between them: as on NFS 4, and on Lustre mounted with `flock`.
"""

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

from harness.records.failpoints import reached
from harness.records.files import RecordsError, open_to_append, open_to_read, parse_json, try_lock, writing
from harness.spec import InvalidInput

LOOK_SECONDS, TRY_SECONDS = 0.1, 0.02  # how long a study's lock is asked for, as `holder` may hold it; how often

WAIT_SECONDS = 60.0  # how long a writer waits for the lock, which is held for seconds


@contextlib.contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Write while nobody else who asks for `path` does; waits for it, `RecordsError` after WAIT_SECONDS."""
    with open_to_append(path) as file:
        if not _take(file, path, WAIT_SECONDS):
            raise RecordsError(
                f"Another process has been writing beside {path} for {WAIT_SECONDS:.0f} s. Wait for it or end it (it "
                "may be stopped), then run the same command again; nothing is lost."
            )
        try:
            yield
        finally:  # explicitly: a forked child may still hold the open file
            fcntl.flock(file, fcntl.LOCK_UN)


def _take(file: IO[bytes], path: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not try_lock(file, path):
        if time.monotonic() > deadline:
            return False
        time.sleep(TRY_SECONDS)
    return True


def caution(folder: Path) -> str:
    """Why locks in a folder may not hold between machines, as far as its mount tells; nothing where they do."""
    import psutil

    place = Path(os.path.realpath(folder))
    around = [disk for disk in psutil.disk_partitions(all=True) if place.is_relative_to(disk.mountpoint)]
    if not around:
        return ""
    disk = max(around, key=lambda disk: len(disk.mountpoint))
    options = set(disk.opts.split(","))
    of_nfs = not options & {"nolock", "local_lock=all", "local_lock=flock"}
    holds = {"nfs": of_nfs, "nfs4": of_nfs, "lustre": "flock" in options, "cifs": "nobrl" not in options}
    if holds.get(disk.fstype, not disk.fstype.startswith("fuse.")):
        return ""
    return f"{disk.mountpoint} ({disk.fstype}: {disk.opts}) may keep locks to one machine"


class StudyLock:
    """Held while a study is run; a second holder is refused, naming the first. A dead process holds nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def require_free(self) -> None:
        """Raise `InvalidInput` where another process holds the lock; writes nothing."""
        if (held := self.holder()) is not None:
            raise self._refusal(held)

    def holder(self) -> dict[str, Any] | None:
        """`pid`, `host` and `since` of the process that holds the lock, empty where it has not said; None if free."""
        if not os.path.lexists(self._path):
            return None
        with open_to_read(self._path) as file:
            said = file.read(4096)
            if not said or try_lock(file, self._path, fcntl.LOCK_SH):  # a holder that ends empties the file
                return None
        with contextlib.suppress(ValueError):
            who = parse_json(said)
            if isinstance(who, dict) and who.keys() >= {"pid", "host", "since"}:
                return who
        return {}

    def __enter__(self) -> Self:
        self._file = open_to_append(self._path)
        try:
            if not _take(self._file, self._path, LOOK_SECONDS):
                raise self._refusal(self.holder() or {})
        except BaseException:
            self._file.close()
            raise
        reached("taken", self._path)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            with writing(self._path):
                self._file.truncate(0)
                self._file.write(json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}).encode())
        except BaseException:
            self._file.close()  # else it is locked for as long as anybody looks at the error
            raise
        reached("signed", self._path)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        untold = () if kind is None else (RecordsError,)  # there is more to tell of than a lock that keeps its text
        with contextlib.suppress(*untold), writing(self._path), self._file:  # closed, it is free
            self._file.truncate(0)
            reached("emptied", self._path)

    def _refusal(self, held: dict[str, Any]) -> InvalidInput:
        by = "process {pid} on {host} since {since}".format(**held) if held else "another process holds its lock"
        return InvalidInput(
            f"This study is already running: {by}. Wait for it, follow it with `patchbench status`, or end that "
            f"process; the lock is {self._path}."
        )

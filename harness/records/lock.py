"""One coordinator per study and scale: a lock of the operating system that ends with its process."""

import fcntl
import json
import os
import platform
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.spec import InvalidInput


class StudyLock:
    """Held while a study is run; a second holder is refused, naming the first. A dead process holds nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def require_free(self) -> None:
        """Raise `InvalidInput` where another process holds the lock; writes nothing."""
        if self._path.exists():
            with self:
                pass

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            self._file.close()
            raise InvalidInput(f"This study is already running: {holder}. {self._remedy()}") from None
        self._file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._file.write(json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}))
        self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.truncate(0)
        self._file.close()

    def _holder(self) -> str:
        self._file.seek(0)
        try:
            held = json.loads(self._file.read())
            return f"process {held['pid']} on {held['host']} since {held['since']}"
        except (ValueError, KeyError, TypeError):
            return "another process holds its lock"

    def _remedy(self) -> str:
        return f"Wait for it, follow it with `patchbench status`, or end that process; the lock is {self._path}."

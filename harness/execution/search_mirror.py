"""Optuna databases of the searches, kept in the background: a mirror of the run records, never in training's way."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from harness.execution.progress import CellProgress
from harness.records.databases import new_database, sqlite_url
from harness.records.files import sha256

_LIMIT_SECONDS = 60.0
"""How long a launch waits in the end for what its databases lack."""


class SearchMirror:
    """Keeps one SQLite database per search in `work/searches`."""

    def __init__(self, folder: Path, *, say: Callable[[str], object]) -> None:
        """`folder`: of the databases. `say` hears once that one cannot be written."""
        self._folder = folder
        self._say = say
        self._troubled = False
        self._waiting: SimpleQueue[CellProgress | None] = SimpleQueue()
        self._ended = threading.Event()
        # Not a pool: that would be waited for when the process ends, and a locked table may stay locked.
        threading.Thread(target=self._work, name="optuna mirror", daemon=True).start()

    def keep(self, cell: CellProgress) -> None:
        """Mirror a search that has finished; returns at once."""
        self._waiting.put(cell)

    def make_up(self, cells: list[CellProgress], *, all_of_them: bool) -> None:
        """Mirror the finished searches whose database is not there, or all of them."""
        for cell in cells:
            if cell.cell.trials and cell.is_tuned and (all_of_them or not self._path(cell).exists()):
                self.keep(cell)

    def close(self) -> None:
        """Wait for what is to be mirrored, for a bounded time."""
        self._waiting.put(None)
        if not self._ended.wait(_LIMIT_SECONDS):
            self._say(
                f"The Optuna database did not answer in time: {self._waiting.qsize()} searches still waited for it "
                f"after {_LIMIT_SECONDS:g} s. The next launch makes them up."
            )

    def _work(self) -> None:
        while (cell := self._waiting.get()) is not None:
            self._keep(cell)
        self._ended.set()

    def _keep(self, cell: CellProgress) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._keep_in_file(cell, self._path(cell))
        except Exception as error:  # whatever the database raises must not reach the training
            if not self._troubled:
                self._troubled = True
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                self._say(
                    f"The Optuna database of {cell.cell.arm.name} cannot be written ({reason}); the study goes on."
                )

    def _keep_in_file(self, cell: CellProgress, path: Path) -> None:
        """A new database has its name once it is whole: one that is there is not looked at again."""
        if path.exists():
            cell.keep_search(sqlite_url(path))
        else:
            with new_database(path) as url:
                cell.keep_search(url)

    def _path(self, cell: CellProgress) -> Path:
        arm, size = cell.cell.key
        readable = re.sub(r"[^A-Za-z0-9]+", "-", arm).strip("-")[:40]
        return self._folder / f"{readable}-{size}-{sha256(arm.encode())[:8]}.db"

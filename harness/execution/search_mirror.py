"""Optuna databases of the searches, kept in the background: a mirror of the run records, never in training's way."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.execution.progress import CellProgress
from harness.records.failpoints import reached
from harness.records.files import sha256


class SearchMirror:
    """Keeps one SQLite database per search in `work/searches`, or all searches in one database by its URL."""

    def __init__(self, folder: Path, storage: str | None, *, say: Callable[[str], object]) -> None:
        """`folder`: of the databases; `storage`: an Optuna URL such as `postgresql://...`.

        `say` hears once that a database cannot be written.
        """
        self._folder = folder
        self._storage = storage
        self._say = say
        self._troubled = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="optuna mirror")

    def keep(self, cell: CellProgress) -> None:
        """Mirror a search that has finished; returns at once."""
        self._thread.submit(self._keep, cell)

    def make_up(self, cells: list[CellProgress], *, all_of_them: bool) -> None:
        """Mirror the finished searches whose database is not there, or all of them."""
        for cell in cells:
            if cell.cell.trials and cell.is_tuned and (all_of_them or not self._path(cell).exists()):
                self.keep(cell)

    def close(self) -> None:
        """Wait for what is under way; a database that is locked gives up by itself after some seconds."""
        self._thread.shutdown(wait=True)

    def _keep(self, cell: CellProgress) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._storage is not None:
                cell.keep_search(self._storage)
            else:
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
        reached("begin:search.db")
        if path.exists():
            cell.keep_search(f"sqlite:///{path}")
            return
        unfinished = path.with_name(f".{path.name}.tmp")
        unfinished.unlink(missing_ok=True)
        cell.keep_search(f"sqlite:///{unfinished}")
        reached("written:search.db")
        unfinished.replace(path)
        reached("renamed:search.db")

    def _path(self, cell: CellProgress) -> Path:
        arm, size = cell.cell.key
        readable = re.sub(r"[^A-Za-z0-9]+", "-", arm).strip("-")[:40]
        return self._folder / f"{readable}-{size}-{sha256(arm.encode())[:8]}.db"

"""The way to MLflow's database or server: loaded late, quiet, and safe for several processes at once."""

import contextlib
import fcntl
import logging
import os
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records.failpoints import reached
from harness.records.files import set_aside
from harness.records.layout import shared_aside

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
}
"""Environment of everything that loads MLflow."""

_BOUNDED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""So that a dead server is noticed within seconds; a user's own values come first."""

_LOCK_SECONDS = 15.0
_BUSY_SECONDS = 2.0

_opened: dict[Path, tuple[tuple[int, int] | None, int]] = {}
"""Which file each database was when this process opened it last, and how often it was another than before."""


@dataclass(frozen=True)
class Store:
    """Where the mirror is: `results/mlflow.db`, or what MLFLOW_TRACKING_URI names."""

    results: Path
    uri: str
    database: Path | None
    """The SQLite file; None for a server."""

    @classmethod
    def of(cls, results: Path) -> "Store":
        """The store that belongs to a results folder."""
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{results.absolute() / DATABASE}"
        database = Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None
        return cls(results.absolute(), uri, database)

    def artifact_location(self, experiment: str) -> str | None:
        """Where an experiment's artifacts lie; None leaves it to the server."""
        return None if self.database is None else (self.results / ARTIFACTS / experiment).as_uri()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes of this machine from writing: the schema's creation and find-or-create are racy."""
        path = (self.database or self.results / DATABASE).with_suffix(".db.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _LOCK_SECONDS
        with path.open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{path} is held by another process") from None
                    time.sleep(0.02)
            try:
                yield
            finally:  # explicitly: a forked child may still hold the open file
                fcntl.flock(file, fcntl.LOCK_UN)

    def connect(self) -> Any:
        """An `MlflowClient`; to be called under `locked`."""
        mlflow_client = _load()
        if self.database is None:
            return mlflow_client(tracking_uri=self.uri)
        created = not self.database.exists()
        if created:
            self._create_database(mlflow_client)
        self.check()
        before, times = _opened.get(self.database, (self.identity(), 0))
        times += created or before != self.identity()
        # MLflow keeps a connection per URI for the life of the process, also to a deleted file;
        # another spelling of the same path gets a new one.
        client = mlflow_client(tracking_uri=f"sqlite:///{self.database.parent}/{'./' * times}{self.database.name}")
        _opened[self.database] = (self.identity(), times)
        return client

    def set_damaged_aside(self) -> Path | None:
        """Move our own database away where SQLite cannot read it, so that the next `connect` makes a new one.

        Returns where it is now. A database that the user named is left alone. To be called under `locked`.
        """
        if self.database != self.results / DATABASE or not self.database.is_file():
            return None
        try:
            self.check(wait=0)
        except sqlite3.OperationalError:  # locked, or not to be opened: not known to be damaged
            return None
        except sqlite3.DatabaseError:
            folder = shared_aside(self.results)
            for ending in ("-journal", "-wal", "-shm"):  # SQLite would apply them to the new database
                companion = self.database.with_name(self.database.name + ending)
                if companion.exists():
                    set_aside(companion, folder)
            return set_aside(self.database, folder)
        return None

    def check(self, wait: float = _BUSY_SECONDS) -> None:
        """Raise when the database is locked for `wait` seconds or not writable: MLflow would wait for many."""
        if self.database is not None:
            with contextlib.closing(sqlite3.connect(self.database, timeout=wait, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")

    def identity(self) -> tuple[int, int] | None:
        """Which file the database is now; None where there is none."""
        if self.database is None:
            return None
        try:
            status = self.database.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _create_database(self, mlflow_client: Any) -> None:
        """Make the schema in a temporary neighbour, so that a kill leaves no half-made database."""
        assert self.database is not None
        for old in self.database.parent.glob(f".{self.database.name}.*.tmp*"):
            old.unlink()
        handle, name = tempfile.mkstemp(dir=self.database.parent, prefix=f".{self.database.name}.", suffix=".tmp")
        os.close(handle)
        mlflow_client(tracking_uri=f"sqlite:///{name}")
        Path(name).chmod(0o644)
        reached("mlflow:database written")
        Path(name).replace(self.database)


def _load() -> Any:
    """The class `MlflowClient`; the first call takes about two seconds."""
    os.environ.update(QUIET)
    for key, value in _BOUNDED.items():
        os.environ.setdefault(key, value)
    # MLflow's tables still use a loader that SQLAlchemy has deprecated. No `catch_warnings`: it is not thread-safe.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # every error reaches us as an exception too
    logging.getLogger("alembic").setLevel(logging.CRITICAL)
    return MlflowClient

"""The way to MLflow's database or server: loaded late, quiet, and safe for several processes at once."""

import contextlib
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.records.databases import new_database, path_of, sqlite_url
from harness.records.files import set_aside
from harness.records.layout import shared_aside
from harness.records.write_lock import write_lock
from harness.spec import InvalidInput

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

_BUSY_SECONDS = 2.0

_opened: dict[Path, tuple[tuple[int, int] | None, int]] = {}
"""Which file each database was when this process opened it last, and how often it was another than before."""


@dataclass(frozen=True)
class Store:
    """Where the mirror is: `results/mlflow.db`, or what MLFLOW_TRACKING_URI names."""

    results: Path
    named: str | None
    """What MLFLOW_TRACKING_URI says."""
    database: Path | None
    """The SQLite file; None for a server."""

    @classmethod
    def of(cls, results: Path) -> "Store":
        """The store that belongs to a results folder."""
        named, results = os.environ.get("MLFLOW_TRACKING_URI") or None, results.absolute()
        return cls(results, named, results / DATABASE if named is None else path_of(named))

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return str(self.database or self.named)

    @property
    def is_own(self) -> bool:
        """Whether it is the database of the results folder, wherever that is now."""
        return self.database == self.results / DATABASE

    def artifact_location(self, experiment: str) -> str | None:
        """Where an experiment's artifacts lie; None leaves it to the server."""
        return None if self.database is None else (self.results / ARTIFACTS / experiment).as_uri()

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes of this machine from writing: the schema's creation and find-or-create are racy."""
        return write_lock((self.database or self.results / DATABASE).with_suffix(".db.lock"))

    def connect(self) -> Any:
        """An `MlflowClient`; to be called under `locked`. `InvalidInput` for a database of another MLflow's schema."""
        mlflow_client = _load()
        if self.database is None:
            return mlflow_client(tracking_uri=self.named)
        created = not self.database.exists()
        if created:
            with new_database(self.database) as url:
                mlflow_client(tracking_uri=url)
        self.check()
        require_schema(self.database)
        if self.is_own:
            renew_artifact_places(self.results)
        before, times = _opened.get(self.database, (self.identity(), 0))
        times += created or before != self.identity()
        # MLflow keeps a connection per URI for the life of the process, also to a deleted file;
        # another spelling of the same path gets a new one.
        folder, _, name = sqlite_url(self.database).rpartition("/")
        client = mlflow_client(tracking_uri=f"{folder}/{'./' * times}{name}")
        _opened[self.database] = (self.identity(), times)
        return client

    def set_damaged_aside(self) -> Path | None:
        """Move our own database away where SQLite cannot read it, so that the next `connect` makes a new one.

        Returns where it is now. A database that the user named is left alone. To be called under `locked`.
        """
        if self.database is None or not self.is_own or not self.database.is_file():
            return None
        try:
            self.check(wait=0)
            with _reading(self.database) as db:
                if db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                    return None
        except sqlite3.OperationalError:  # locked, or not to be opened: not known to be damaged
            return None
        except sqlite3.DatabaseError:
            pass
        folder = shared_aside(self.results)
        for ending in ("-journal", "-wal", "-shm"):  # SQLite would apply them to the new database
            companion = self.database.with_name(self.database.name + ending)
            if companion.exists():
                set_aside(companion, folder)
        return set_aside(self.database, folder)

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


def require_schema(database: Path) -> None:
    """Refuse, as `InvalidInput`, an SQLite database whose tables are those of another version of MLflow.

    `sqlite3.DatabaseError` where it cannot be read.
    """
    from alembic.script import ScriptDirectory

    with _reading(database) as db:
        if not db.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone():
            return  # empty: MLflow fills it
        (found,) = db.execute("select version_num from alembic_version").fetchone() or ("",)
    spec = find_spec("mlflow")
    assert spec is not None
    assert spec.origin is not None
    scripts = ScriptDirectory(str(Path(spec.origin).parent / "store" / "db_migrations"))
    if found == scripts.get_current_head():
        return
    is_older = any(script.revision == found for script in scripts.walk_revisions())
    upgrade = f"mlflow db upgrade sqlite:///{database.name}, in its folder"
    remedy = upgrade if is_older else "pip install --upgrade mlflow"
    raise InvalidInput(
        f"{database} is of {'an older' if is_older else 'a newer'} version of MLflow than is installed here (schema "
        f"{found}). Bring {'it' if is_older else 'MLflow'} up to date ({remedy}), or move the file away: "
        "`patchbench sync NAME` makes it again from the records, for each study."
    )


_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database says, as whole addresses, where artifacts lie."""


def renew_artifact_places(results: Path) -> None:
    """Have the database of a results folder that was moved, or copied, find its artifacts beside it again.

    What lies elsewhere is left as it is. `sqlite3.Error` where the database cannot be written.
    """
    now = (results / ARTIFACTS).as_uri()
    with _reading(results / DATABASE) as db:
        if not db.execute("select 1 from sqlite_master where name = 'experiments'").fetchone():
            return
        rows = db.execute("select artifact_location, name from experiments where artifact_location is not null")
        ended = [(place, f"/{ARTIFACTS}/{quote(name)}") for place, name in rows.fetchall()]
    before = {place.removesuffix(end) + f"/{ARTIFACTS}" for place, end in ended if place.endswith(end)} - {now}
    if not before:
        return
    with contextlib.closing(sqlite3.connect(results / DATABASE, timeout=_BUSY_SECONDS)) as db, db:
        for old in before:
            for table, column in _PLACES:
                db.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) "  # noqa: S608 (fixed names)
                    f"where substr({column}, 1, ?) = ?",
                    (now, len(old) + 1, len(old) + 1, f"{old}/"),
                )


@contextlib.contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as db:
        yield db


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

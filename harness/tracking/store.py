"""The way to MLflow's database or server: loaded late, quiet, and safe for several processes at once."""

import atexit
import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from harness.records.files import set_aside, write_bytes
from harness.records.layout import StudyFolder
from harness.records.study_file import without_passwords
from harness.records.write_lock import write_lock
from harness.spec import InvalidInput
from harness.tracking.databases import TRACKING, Database, named_database

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"

_SETTINGS = {  # of MLflow, quiet and soon tired of a dead server; a user's own come first
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
_BUSY_SECONDS = 2.0
_SCHEME = "sqlite:///"

_SHARED = (
    *("pandas", "scipy.interpolate", "scipy.optimize", "scipy.special", "sqlalchemy.dialects.sqlite"),
    *("sqlalchemy.orm", "alembic.command"),
)

Say = Callable[[str], object]

_PLACES = {  # where MLflow's database says, as whole addresses, where artifacts lie: columns by table
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}

_opened: dict[tuple[Path, tuple[int, int] | None], int] = {}  # a number for each database opened


@dataclass(frozen=True)
class Store:
    """Where the mirror is: `results/mlflow.db`, or the file, database or server that MLFLOW_TRACKING_URI names."""

    results: Path
    named: str | None  # what MLFLOW_TRACKING_URI says
    database: Path | None  # the SQLite file; None for a server
    server: Database | None = None  # the database on a server; None for a file, and for a server of MLflow's

    @classmethod
    def of(cls, results: Path) -> "Store":
        """The store that belongs to a results folder."""
        named, results = os.environ.get(TRACKING) or None, results.absolute()
        return cls(results, named, results / DATABASE if named is None else path_of(named), named_database(TRACKING))

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return self.server.shown if self.server else without_passwords(str(self.database or self.named))

    def artifact_location(self, experiment: str) -> str | None:
        """Where an experiment's artifacts lie; None leaves it to MLflow's server."""
        is_left = self.database is None and self.server is None
        return None if is_left else (self.results / ARTIFACTS / experiment).as_uri()

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes of this machine from writing: the schema's creation and find-or-create are racy."""
        return write_lock((self.database or self.results / DATABASE).with_suffix(".db.lock"))

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """As `locked`, and for a database on a server among all its users."""
        _load()  # others need not wait for it
        with self.locked(), self.server.opening() if self.server else contextlib.nullcontext():
            yield

    def connect(self, say: Say = lambda line: None) -> Any:
        """An `MlflowClient`; to be called under `locked`. `InvalidInput` for a database of another MLflow's schema.

        Our own database is moved away, which is said, where SQLite cannot read it, and a new one made.
        """
        mlflow_client = _load()
        if self.database is None:
            return self._client(mlflow_client, self.server.bounded if self.server else self.named)
        is_own = self.database == self.results / DATABASE
        if is_own and self._is_damaged():
            beside = self.results.glob(f"{DATABASE}-*")  # SQLite's, which it would apply to a new one
            aside, *_ = [set_aside(path, StudyFolder(self.results).aside) for path in (self.database, *beside)]
            say(
                f"MLflow's database was damaged; it is kept as {aside}, and a new one is made up from the records. Of "
                "other studies, by their next run, report or `patchbench sync`."
            )
        if created := not self.database.exists():
            with tempfile.TemporaryDirectory(prefix="patchbench-") as folder:
                made = Path(folder) / "new.db"
                mlflow_client(tracking_uri=sqlite_url(made))
                write_bytes(self.database, made.read_bytes())
        self.require_free()
        if is_own:
            renew_artifact_places(self.results)
        known = self.database, self.identity()
        if created or known not in _opened:
            _opened[known] = max(_opened.values(), default=-1) + 1
        # MLflow keeps a connection per URI for the life of the process, also to a deleted file;
        # another spelling of the same path gets a new one.
        place, _, name = sqlite_url(self.database).rpartition("/")
        return self._client(mlflow_client, f"{place}/{'./' * _opened[known]}{name}")

    def _client(self, mlflow_client: Any, uri: str | None) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return mlflow_client(tracking_uri=uri)
        except MlflowException as error:
            if "database schema" not in str(error):
                raise
            address = f"sqlite:///{DATABASE}, in its folder" if self.database else f"${TRACKING}"
            instead = "move the file away" if self.database else "name another database"
            raise InvalidInput(
                f"{self.place} is of another version of MLflow than is installed here. Bring MLflow (pip install "
                f"--upgrade mlflow) or the database (mlflow db upgrade {address}) up to date, or "
                f"{instead}: `patchbench sync NAME` makes it again from the records, for each study."
            ) from error

    def _is_damaged(self) -> bool:
        """False where it is locked, or not to be opened: then it is not known to be damaged."""
        assert self.database is not None
        if not self.database.is_file():
            return False
        try:
            self.require_free(wait=0)
            with contextlib.closing(sqlite3.connect(self.database)) as db:
                return bool(db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
        except sqlite3.OperationalError:
            return False
        except sqlite3.DatabaseError:
            return True

    def require_free(self, wait: float = _BUSY_SECONDS) -> None:
        """Raise when the database is locked for `wait` seconds or not writable: MLflow would wait for many."""
        assert self.database is not None
        with contextlib.closing(sqlite3.connect(self.database, timeout=wait, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")

    def identity(self) -> tuple[int, int] | None:
        """Which file the database is now; None where there is none."""
        if self.database is None or not self.database.exists():
            return None
        status = self.database.stat()
        return status.st_dev, status.st_ino


def renew_artifact_places(results: Path) -> None:
    """Have the database of a results folder that was moved, or copied, find its artifacts beside it again."""
    now = (results / ARTIFACTS).as_uri()
    with contextlib.closing(sqlite3.connect(results / DATABASE, timeout=_BUSY_SECONDS)) as db, db:
        if not db.execute("select 1 from sqlite_master where name = 'experiments'").fetchone():
            return
        rows = db.execute("select artifact_location, name from experiments where artifact_location is not null")
        ends = [(place, f"/{ARTIFACTS}/{quote(name)}") for place, name in rows.fetchall()]
        for old in {f"{place.removesuffix(end)}/{ARTIFACTS}" for place, end in ends if place.endswith(end)} - {now}:
            for table, columns in _PLACES.items():
                for column in columns:
                    db.execute(
                        f"update {table} set {column} = ? || substr({column}, ?) "  # noqa: S608 (fixed names)
                        f"where substr({column}, 1, ?) = ?",
                        (now, len(old) + 1, len(old) + 1, f"{old}/"),
                    )


def sqlite_url(path: Path) -> str:
    """SQLAlchemy's address of a file, whatever its folder is called; for this process and those it starts.

    Libraries quote differently: a folder with a sign to be quoted gets a plain name for as long as this process lives.
    """
    return _SCHEME + quote(str(_plain(path.absolute().parent) / path.name), safe=" +/")


@cache
def _plain(folder: Path) -> Path:
    if not set(str(folder)) & set("%?#;&="):
        return folder
    link = Path(tempfile.mkdtemp(prefix="patchbench-")) / "results"
    link.symlink_to(folder)
    atexit.register(shutil.rmtree, link.parent, ignore_errors=True)
    return link


def path_of(url: str) -> Path | None:
    """The file that an address of SQLAlchemy's leads to; None for what is no SQLite file."""
    return Path(unquote(url.removeprefix(_SCHEME).partition("?")[0])).absolute() if url.startswith(_SCHEME) else None


def load_shared_libraries() -> None:
    """Load what several threads would load at once, before they start: it may leave half a module behind."""
    for name in _SHARED:
        import_module(name)


def _load() -> Any:
    """The class `MlflowClient`; the first call takes about two seconds."""
    os.environ.update(_SETTINGS | os.environ)
    # MLflow's tables still use a loader that SQLAlchemy has deprecated. No `catch_warnings`: it is not thread-safe.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # every error reaches us as an exception too
    logging.getLogger("alembic").setLevel(logging.CRITICAL)
    return MlflowClient

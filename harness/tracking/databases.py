"""Databases that a user names by addresses as SQLAlchemy reads them: checked, shown, and waited for within bounds."""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records.files import RecordsError, read_bytes, write_text
from harness.records.layout import StudyFolder
from harness.records.write_lock import WAIT_SECONDS, write_lock
from harness.spec import InvalidInput

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL

TRACKING, SEARCHES = "MLFLOW_TRACKING_URI", "PATCHBENCH_SEARCHES"

_SERVERS = ("postgresql", "postgres", "mysql", "mssql")  # addresses of MLflow that begin so are databases on a server
_BOUNDS = {  # of PostgreSQL's client, in its own units; what an address says itself comes first
    "connect_timeout": "5",
    "tcp_user_timeout": "10000",
    "options": "-c lock_timeout=2000 -c statement_timeout=10000 -c idle_in_transaction_session_timeout=60000",
}
_OPENING = 0x9A7C4BE7  # the key of the lock under which anybody makes tables, or what must be there once
_REFUSED = ("password", "authentication", "does not exist", "pg_hba.conf", "denied", "not permitted")
_MISTAKEN = ("Name or service not known", "invalid ")  # else, as a rule, it is away, and may come back


@dataclass(frozen=True)
class Database:
    """A database by the environment variable that names it."""

    variable: str
    url: "URL"

    @property
    def shown(self) -> str:
        """Its address for a person: neither password nor options."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def bounded(self) -> str:
        """Its address for a library, password and all; PostgreSQL lets no call wait longer than _BOUNDS."""
        of_postgres = self.url.drivername in ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
        query = (_BOUNDS if of_postgres else {}) | dict(self.url.query)
        return self.url.set(query=query).render_as_string(hide_password=False)

    def require_usable(self) -> None:
        """Raise `InvalidInput` where it can never be used as it is named; one that is away now may come back."""
        from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError

        if self.url.get_backend_name() == "sqlite" and not Path(self.url.database or "").is_file():
            return  # a look would make it
        try:
            with contextlib.closing(self._engine().connect()):
                pass
        except (NoSuchModuleError, ImportError) as error:
            raise InvalidInput(
                f"{self.variable} is {self.shown}, for which a driver is missing ({error}). PostgreSQL: "
                "pip install 'patchbench[postgresql]', and postgresql+psycopg://USER@HOST/NAME."
            ) from None
        except DBAPIError as error:
            said = (str(error.orig).splitlines() or [""])[0]
            if not isinstance(error, OperationalError) or any(text in said for text in (*_REFUSED, *_MISTAKEN)):
                raise InvalidInput(
                    f"{self.variable} is {self.shown}, which cannot be used: {said}. Mend the address or the rights, "
                    f"or unset {self.variable}."
                ) from None

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Keep all users of a PostgreSQL database from opening it at the same time: making tables is racy."""
        if self.url.get_backend_name() != "postgresql":
            yield
            return
        from sqlalchemy import text

        with self._engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("set statement_timeout = 0"))
            connection.execute(text(f"set lock_timeout = '{WAIT_SECONDS:.0f}s'"))  # its tables take MLflow seconds
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": _OPENING})
            yield  # closed, the connection lets go

    def _engine(self) -> "Engine":
        from sqlalchemy import NullPool, create_engine

        return create_engine(self.bounded, poolclass=NullPool)


def named_database(variable: str) -> Database | None:
    """The database that SEARCHES names, or TRACKING if it is one on a server; `InvalidInput` for no address."""
    value = os.environ.get(variable, "")
    if not value or (variable == TRACKING and re.split(r"[+:]", value)[0] not in _SERVERS):
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(value)
        if "@" in (url.host or ""):
            raise ValueError
    except (ArgumentError, ValueError):  # what these say may hold a part of the password
        raise InvalidInput(
            f"{variable} is no address of a database, such as postgresql+psycopg://USER@HOST:5432/NAME or "
            "sqlite:////FOLDER/FILE.db. In a password, @ is written %40, : %3A, / %2F and % %25."
        ) from None
    return Database(variable, url)


def require_usable() -> None:
    """Raise `InvalidInput` where a database that is named can never be used."""
    named = [found for found in map(named_database, (TRACKING, SEARCHES)) if found is not None]
    if len({(found.url.host, found.url.port, found.url.database) for found in named}) < len(named):
        raise InvalidInput(
            f"{TRACKING} and {SEARCHES} name one database, {named[0].shown}; MLflow and Optuna keep tables of the same "
            "names. Give each a database of its own."
        )
    for found in named:
        found.require_usable()


def key_of(results: Path) -> str:
    """What tells a folder of results from others in one database; kept in it, so that it may be moved."""
    path = StudyFolder(results).work / "key"
    with write_lock(StudyFolder(results).write_lock):
        if not os.path.lexists(path):
            write_text(path, uuid.uuid4().hex)
    key = read_bytes(path).decode(errors="replace")
    if not re.fullmatch("[0-9a-f]{32}", key):
        raise RecordsError(f"{path} is damaged. Remove it: what databases on servers hold is then written anew.")
    return key

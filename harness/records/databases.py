"""SQLite databases that other libraries fill: their addresses, and new ones that are whole or not there."""

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.parse import quote, unquote

from harness.records.files import write_bytes

_SCHEME = "sqlite:///"

_SHARED = (
    *("pandas", "scipy.interpolate", "scipy.optimize", "scipy.special", "sqlalchemy.dialects.sqlite"),
    *("sqlalchemy.orm", "alembic.command"),
)


def load_shared_libraries() -> None:
    """Load what several threads would load at once, before they start: it may leave half a module behind."""
    for name in _SHARED:
        import_module(name)


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


@contextlib.contextmanager
def new_database(path: Path) -> Iterator[str]:
    """The address of a file that a library makes elsewhere; `path` is a copy of it once whole, or a `RecordsError`."""
    with tempfile.TemporaryDirectory(prefix="patchbench-") as folder:
        made = Path(folder) / "new.db"
        yield sqlite_url(made)
        write_bytes(path, made.read_bytes())

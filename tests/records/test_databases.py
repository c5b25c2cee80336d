"""Addresses of SQLite databases, and new ones that are whole or not there."""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import pytest
import sqlalchemy

from harness.records.databases import new_database, path_of, sqlite_url

ODD = "100%25 a?b=1 #c; d&e+f"
"""A folder's name with every sign that means something in an address."""


@pytest.mark.parametrize("name", ["plain", "a b", "50%", "a%20b", "a?b", "a#b", "a;b", ODD])
def test_an_address_leads_to_its_file_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "x.db"
    path.parent.mkdir()
    url = sqlite_url(path)
    found = path_of(url)
    assert found is not None
    assert found.resolve() == path
    assert not set(url) & set("%?#;&=")
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table made (here integer)"))
    engine.dispose()
    assert [other.relative_to(tmp_path) for other in tmp_path.rglob("*.db")] == [path.relative_to(tmp_path)]


def test_a_server_has_no_file() -> None:
    assert path_of("postgresql://somebody@host/name") is None
    assert path_of("http://host:5000") is None


def test_a_new_database_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, path = tmp_path / "elsewhere", tmp_path / ODD / "x.db"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))

    def make(*, fail: bool) -> None:
        with new_database(path) as url:
            made = path_of(url)
            assert made is not None
            assert made.is_relative_to(elsewhere), "nothing that a cleaner of the results could find"
            with contextlib.closing(sqlite3.connect(made)) as database, database:
                database.execute("create table made (here integer)")
            if fail:
                raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        make(fail=True)
    assert not path.exists()
    make(fail=False)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("select * from made").fetchall() == []
    assert list(elsewhere.iterdir()) == []
    assert list(path.parent.iterdir()) == [path]

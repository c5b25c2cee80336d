"""Addresses of SQLite databases."""

from pathlib import Path

import pytest
import sqlalchemy

from harness.tracking.store import path_of, sqlite_url

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

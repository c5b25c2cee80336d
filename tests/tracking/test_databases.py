"""Addresses of SQLite databases."""

from pathlib import Path

import pytest
import sqlalchemy

from harness.spec import InvalidInput
from harness.tracking.databases import key_of, named_database, require_usable
from harness.tracking.store import Store, path_of, sqlite_url

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


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", r"is no address of a database.*written %40"),
        ("postgresql+psycopg://me:s3cret@host:port/name", "is no address of a database"),
        ("postgresql+psycopg://me:s3c@ret@host/name", "is no address of a database"),
        ("postgresql+nodriver://me:s3cret@host/name", r"me:\*\*\*@host/name, for which a driver is missing"),
        ("postgres://me:s3cret@host/name", r"patchbench\[postgresql\]"),
    ],
)
def test_an_address_that_never_works_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("PATCHBENCH_SEARCHES", address)
    with pytest.raises(InvalidInput, match=f"(?s)^PATCHBENCH_SEARCHES .*{said}") as raised:
        require_usable()
    assert "s3c" not in str(raised.value)


@pytest.mark.parametrize("address", ["http://host:5000", "sqlite:///mine.db", "databricks", "/a/folder"])
def test_what_mlflow_reads_otherwise_is_left_to_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert named_database("MLFLOW_TRACKING_URI") is None
    require_usable()


def test_a_server_that_is_away_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://me:s3cret@127.0.0.1:1/name?sslmode=disable")
    require_usable()
    found = named_database("MLFLOW_TRACKING_URI")
    assert found is not None
    assert found.shown == Store.of(Path()).place == "postgresql+psycopg://me:***@127.0.0.1:1/name"
    assert {"sslmode=disable", "connect_timeout=5"} <= set(found.bounded.partition("?")[2].split("&"))


def test_mlflow_and_the_searches_share_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:s3cret@host/name")
    monkeypatch.setenv("PATCHBENCH_SEARCHES", "postgresql+psycopg://other@host/name")
    with pytest.raises(InvalidInput, match=r"name one database, postgresql://me:\*\*\*@host/name;"):
        require_usable()


def test_a_folder_of_results_has_one_key_wherever_it_is(tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    key = key_of(first)
    assert key_of(other) != key
    first.rename(tmp_path / "moved")
    assert key_of(tmp_path / "moved") == key
    (tmp_path / "moved" / "work" / "key").write_text("?")
    with pytest.raises(InvalidInput, match="key is damaged"):
        key_of(tmp_path / "moved")

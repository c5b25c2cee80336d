"""Fixtures for the tests of the mirror."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tracking_records import Records, make_study


@pytest.fixture
def records(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = tmp_path / "results"
    results.mkdir()
    shutil.copy(empty_database, results / "mlflow.db")
    return Records(results, make_study())


@pytest.fixture
def exclusive(records: Records) -> Callable[[], sqlite3.Connection]:
    """Locks the database as another program would; close the connection to let go."""

    def lock() -> sqlite3.Connection:
        connection = sqlite3.connect(records.results / "mlflow.db", isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN EXCLUSIVE")
        return connection

    return lock

"""The command in the tests' own process, where neither torch nor MLflow is loaded again for each."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.tracking.store import Store

Here = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema: making one takes longer than a small study."""
    results = tmp_path_factory.mktemp("schema")
    store = Store.of(results)
    with store.locked():
        store.connect()
    return results / "mlflow.db"


@pytest.fixture
def with_database(tmp_path: Path, empty_database: Path) -> Path:
    """A results folder that holds nothing but MLflow's empty tables."""
    results = tmp_path / "results"
    results.mkdir()
    shutil.copy(empty_database, results)
    return results


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """Carries out the command line `patchbench --results RESULTS ARGUMENTS` on a console of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(results: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["patchbench", "--results", str(results), *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(sys.argv, ended.value.code, said.out, said.err)

    return run

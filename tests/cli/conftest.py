"""The command in the tests' own process, where neither torch nor MLflow is loaded again for each."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from harness.__main__ import carry_out, cli, main
from harness.commands import results
from harness.execution import publish, runner
from harness.report import content
from harness.report.figures import drawings

Here = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def with_database(tmp_path: Path, empty_database: Path) -> Path:
    """A results folder that holds nothing but MLflow's empty tables."""
    results = tmp_path / "results"
    results.mkdir()
    shutil.copy(empty_database, results)
    return results


@pytest.fixture
def main_figure_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a report's figures the first alone: drawing takes most of the time of a small study."""
    monkeypatch.setattr(content, "drawings", lambda view: islice(drawings(view), 1))


@pytest.fixture
def records_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that is run leaves its records and tables, but neither a report nor anything in MLflow."""
    monkeypatch.setattr(runner, "Mirror", MagicMock())
    monkeypatch.setattr(publish, "write_report", lambda records, findings, folder: [])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """Carries out the command line `patchbench --results RESULTS ARGUMENTS` on a console of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")

    def sync(command: list[str], *, stdout: Any, **options: Any) -> None:
        with monkeypatch.context() as patch, contextlib.redirect_stdout(stdout or sys.stdout):
            patch.setattr(sys, "argv", ["patchbench", *command[3:]])
            carry_out(cli)

    # In place of another program that loads MLflow anew, which is what `report` starts.
    monkeypatch.setattr(results, "subprocess", SimpleNamespace(run=sync))

    def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["patchbench", "--results", str(folder), *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(sys.argv, ended.value.code, said.out, said.err)

    return run

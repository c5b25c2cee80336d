"""A revision that git does not tell is unknown, never a clean tree."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.execution.doctor import _git
from harness.execution.publish import results_provenance
from harness.records import provenance
from harness.records.provenance import git_state
from harness.records.runs import RunResult
from harness.report.origin_tables import provenance_table


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    git_state.cache_clear()
    yield
    git_state.cache_clear()


def refuse(told: str) -> Any:
    def git(*arguments: str) -> str:
        raise subprocess.CalledProcessError(128, "git", stderr=told)

    return git


@pytest.mark.parametrize(
    ("told", "reason", "mend"),
    [
        ("fatal: detected dubious ownership in repository at '/x'\n", "dubious ownership", "clone that git reads"),
        ("fatal: not a git repository (or any of the parent directories)", "not a git repository", "run from a clone"),
        ("fatal: bad object HEAD\nmore", "(fatal: bad object HEAD)", "run from a clone"),
    ],
)  # fmt: skip
def test_what_git_refuses_to_tell_is_unknown(
    monkeypatch: pytest.MonkeyPatch, told: str, reason: str, mend: str
) -> None:
    monkeypatch.setattr(provenance, "_git", refuse(told))
    state = git_state()
    assert state["git_revision"].startswith("unknown (")
    assert reason in state["git_revision"]
    assert "git_dirty" not in state
    (check,) = _git()
    assert (check.level, check.found) == ("warn", f"revision {state['git_revision']}")
    assert mend in check.mend


def test_without_git_the_revision_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state() == {"git_revision": "unknown ([Errno 2] No such file or directory: 'git')"}


def test_another_projects_revision_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed into an environment inside somebody's repository, which ignores it."""
    package = tmp_path / ".venv" / "harness"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        settings = ["-c", "user.name=x", "-c", "user.email=x@y"]
        subprocess.run(["git", *settings, *words], cwd=tmp_path, check=True, env=os.environ)
    monkeypatch.setattr(provenance, "PACKAGE", package)
    assert git_state()["git_revision"].startswith("unknown (error: pathspec 'harness/__init__.py' did not match")


class _Finished:
    def __init__(self, environment: dict[str, Any]) -> None:
        self.result = RunResult(digest="x", status="completed", environment=environment)
        data = type("Data", (), {"source": "digits"})
        self.run = type("Run", (), {"config": type("Config", (), {"data_hash": "x", "data": data})})


CLEAN, CHANGED = {"git_revision": "a" * 40, "git_dirty": False}, {"git_revision": "a" * 40, "git_dirty": True}
UNKNOWN = {"git_revision": "unknown (git is not installed)"}


@pytest.mark.parametrize(
    ("environments", "dirty", "shown"),
    [
        ([CLEAN, CLEAN], False, "a" * 40),
        ([CLEAN, CHANGED], True, "a" * 40 + " (with uncommitted changes)"),
        ([UNKNOWN, UNKNOWN], None, "unknown (git is not installed)"),
        (
            [CLEAN, UNKNOWN],
            None,
            "a" * 40 + ", unknown (git is not installed) (whether with uncommitted changes is unknown)",
        ),
    ],
)  # fmt: skip
def test_a_report_says_what_is_not_known(environments: list[dict[str, Any]], dirty: bool | None, shown: str) -> None:
    found = results_provenance([_Finished(environment) for environment in environments])  # type: ignore[misc]
    assert found["git_dirty"] is dirty
    records = type("Records", (), {"provenance": found})
    rows = {row[0].text: row[1].text for row in provenance_table(records).rows}  # type: ignore[arg-type]
    assert rows["Git revision"] == shown

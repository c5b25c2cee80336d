"""Optuna's databases: made from the records, in folders of any name, and never in the way of a launch."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_studies import SPACE, tiny_study

from harness.execution.plan import make_plan
from harness.execution.progress import CellProgress
from harness.execution.runner import keep_searches
from harness.records.runs import RunResult
from harness.spec import Search

ODD = "100%25 a?b=1 #c; d&e+f"


def cells(folder: Path, trials: int) -> Iterator[CellProgress]:
    """Cells whose searches have finished, the first trial of which diverged."""
    study = tiny_study(search=Search(space=SPACE, trials=trials))
    for cell in make_plan(study).cells:
        progress = CellProgress(study, cell, folder / "runs")
        while not progress.is_tuned:
            run = progress.next_run(())
            assert run is not None
            result = RunResult(digest=run.digest, status="completed", validation_accuracy=0.5)
            progress.ended(run, result if run.trial else RunResult(digest=run.digest, status="diverged"))
        yield progress


def trials_in(database: Path) -> list[tuple[str]]:
    with contextlib.closing(sqlite3.connect(database)) as opened:
        return opened.execute("select state from trials").fetchall()


def test_databases_land_in_a_folder_of_any_name_once(tmp_path: Path) -> None:
    folder, said = tmp_path / ODD, list[str]()
    folder.mkdir()
    keep_searches(cells(tmp_path, 2), folder / "searches", said.append)
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*.db")}
    keep_searches(cells(tmp_path, 2), folder / "searches", said.append)
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    assert sorted(path.name.partition("-")[0] for path in made) == ["ResNet", "ViT"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.db")} == made
    assert trials_in(next(iter(made))) == [("PRUNED",), ("COMPLETE",)]


def test_a_longer_search_replaces_its_database_even_a_locked_one(tmp_path: Path) -> None:
    said = list[str]()
    keep_searches(cells(tmp_path, 1), tmp_path, said.append)
    (earlier, _) = sorted(tmp_path.glob("*.db"))
    with contextlib.closing(sqlite3.connect(earlier)) as held:
        held.execute("begin exclusive")
        keep_searches(cells(tmp_path, 3), tmp_path, said.append)
    assert said == []
    assert not earlier.exists()
    assert [len(trials_in(path)) for path in tmp_path.glob("*.db")] == [3, 3]


def test_databases_that_cannot_be_written_are_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: CellProgress, folder: Path) -> None:
        raise OSError("the moon is full")

    said = list[str]()
    monkeypatch.setattr(CellProgress, "keep_search", full)
    keep_searches(cells(tmp_path, 1), tmp_path, said.append)
    (text,) = said
    assert "cannot be written (the moon is full); the study goes on" in text

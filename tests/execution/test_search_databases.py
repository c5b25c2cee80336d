"""Optuna's databases: in folders of any name, and never in the way of a launch's end."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_studies import SPACE, tiny_study

from harness.execution import search_mirror
from harness.execution.plan import make_plan
from harness.execution.progress import CellProgress
from harness.execution.search_mirror import SearchMirror
from harness.spec import Search

ODD = "100%25 a?b=1 #c; d&e+f"


class Tuned(CellProgress):
    """A cell whose search has finished, with no trial to show for it."""

    is_tuned = True


def tuned_cells(folder: Path) -> list[CellProgress]:
    study = tiny_study(search=Search(space=SPACE, trials=1))
    return [Tuned(study, cell, folder / "runs") for cell in make_plan(study).cells]


def test_databases_land_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder, said = tmp_path / ODD, list[str]()
    folder.mkdir()
    for _ in range(2):  # the second one opens what is there
        mirror = SearchMirror(folder / "searches", say=said.append)
        mirror.make_up(tuned_cells(tmp_path), all_of_them=True)
        mirror.close()
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    found = sorted(path.name.partition("-")[0] for path in folder.rglob("*.db"))
    assert found == ["ResNet", "ViT"]


def test_a_database_that_does_not_answer_is_left_behind_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_mirror, "_LIMIT_SECONDS", 0.2)
    released, kept = threading.Event(), list[Any]()
    monkeypatch.setattr(SearchMirror, "_keep", lambda self, cell: (released.wait(60), kept.append(cell)))
    said: list[str] = []
    mirror = SearchMirror(tmp_path, say=said.append)
    cells = tuned_cells(tmp_path)
    mirror.make_up(cells, all_of_them=True)
    began = time.monotonic()
    mirror.close()
    assert time.monotonic() - began < 10
    assert len(said) == 1
    assert "did not answer in time" in said[0]
    released.set()
    again = SearchMirror(tmp_path, say=said.append)
    again.make_up(cells, all_of_them=False)  # as a launch does that has nothing to train
    again.close()
    assert set(kept) == set(cells)
    assert len(said) == 1


def test_a_process_ends_while_its_database_does_not_answer() -> None:
    code = (
        "import threading; from pathlib import Path; from harness.execution import search_mirror\n"
        "search_mirror._LIMIT_SECONDS = 0.2\n"
        "search_mirror.SearchMirror._keep = lambda self, cell: threading.Event().wait()\n"
        "mirror = search_mirror.SearchMirror(Path('.'), say=print)\n"
        "mirror.keep('a cell')\n"
        "mirror.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "The next launch makes them up." in done.stdout

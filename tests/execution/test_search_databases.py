"""Optuna's databases: in folders of any name, and never in the way of a launch's end."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_studies import SPACE, tiny_study

from harness.execution import search_mirror
from harness.execution.plan import make_plan
from harness.execution.progress import CellProgress
from harness.execution.search_mirror import SearchMirror
from harness.records.databases import sqlite_url
from harness.spec import Search

ODD = "100%25 a?b=1 #c; d&e+f"


class Tuned(CellProgress):
    """A cell whose search has finished, with no trial to show for it."""

    is_tuned = True


def tuned_cells(folder: Path) -> list[CellProgress]:
    study = tiny_study(search=Search(space=SPACE, trials=1))
    return [Tuned(study, cell, folder / "runs") for cell in make_plan(study).cells]


@pytest.mark.parametrize("named", [False, True])
def test_databases_land_in_a_folder_of_any_name(tmp_path: Path, *, named: bool) -> None:
    folder, said = tmp_path / ODD, list[str]()
    folder.mkdir()
    storage = sqlite_url(folder / "all.db") if named else None
    for _ in range(2):  # the second one opens what is there
        mirror = SearchMirror(folder / "searches", storage, say=said.append)
        mirror.make_up(tuned_cells(tmp_path), all_of_them=True)
        mirror.close()
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    found = sorted(path.name.partition("-")[0] for path in folder.rglob("*.db"))
    assert found == (["all.db"] if named else ["ResNet", "ViT"])


def test_a_database_that_does_not_answer_is_left_behind_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_mirror, "_LIMIT_SECONDS", 0.2)
    released, kept = threading.Event(), list[Any]()
    monkeypatch.setattr(CellProgress, "keep_search", lambda self, url: (released.wait(60), kept.append(self)))
    said: list[str] = []
    mirror = SearchMirror(tmp_path, "postgresql://somewhere/locked", say=said.append)
    cells = tuned_cells(tmp_path)
    mirror.make_up(cells, all_of_them=True)
    began = time.monotonic()
    mirror.close()
    assert time.monotonic() - began < 10
    assert len(said) == 1
    assert "did not answer in time" in said[0]
    released.set()
    again = SearchMirror(tmp_path, "postgresql://somewhere/locked", say=said.append)
    again.make_up(cells, all_of_them=False)  # as a launch does that has nothing to train
    again.close()
    assert set(kept) == set(cells)
    assert len(said) == 1


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of a database of a server on loopback; skips where PostgreSQL or a driver for it is not there."""
    pytest.importorskip("psycopg")
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if binaries is None or (os.getuid() == 0 and shutil.which("runuser") is None):
        pytest.skip("no PostgreSQL")
    somebody = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # the server refuses root
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        if somebody:
            shutil.chown(folder, "postgres")
        options = ["-D", f"{folder}/data", "-w", "-l", f"{folder}/log"]

        def call(program: str, *arguments: str) -> None:
            command = [*somebody, str(binaries / program), *arguments]
            subprocess.run(command, check=True, capture_output=True, cwd=folder)

        call("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C")
        call("pg_ctl", *options, "-o", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1", "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", *options, "-m", "immediate", "stop")


@pytest.mark.slow
def test_a_locked_table_holds_nothing_up_and_is_made_up(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    said: list[str] = []

    def launch(limit: float) -> int:
        monkeypatch.setattr(search_mirror, "_LIMIT_SECONDS", limit)
        mirror = SearchMirror(tmp_path, postgresql, say=said.append)
        mirror.make_up(tuned_cells(tmp_path), all_of_them=False)
        mirror.close()
        with psycopg.connect(postgresql) as connection:
            return len(connection.execute("select from pg_locks where not granted").fetchall())

    assert (launch(60), said) == (0, [])
    with psycopg.connect(postgresql) as connection:
        connection.execute("delete from study_directions")
        connection.execute("delete from studies")
        connection.commit()
        connection.execute("lock table studies in access exclusive mode")
        assert launch(2) == 1
        assert ["did not answer in time" in note for note in said] == [True]
    assert launch(60) == 0
    with psycopg.connect(postgresql) as connection:
        assert connection.execute("select count(*) from studies").fetchone() == (2,)
    assert len(said) == 1


def test_a_process_ends_while_its_database_does_not_answer() -> None:
    code = (
        "import threading, types; from pathlib import Path; from harness.execution import search_mirror\n"
        "search_mirror._LIMIT_SECONDS = 0.2\n"
        "mirror = search_mirror.SearchMirror(Path('.'), 'postgresql://', say=print)\n"
        "mirror.keep(types.SimpleNamespace(keep_search=lambda url: threading.Event().wait()))\n"
        "mirror.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "The next launch makes them up." in done.stdout

"""Where MLflow's database and artifacts are: in folders of any name, after a move, and under another MLflow."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from free_ports import free_port
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from tracking_records import Records, make_study

from harness.spec import InvalidInput
from harness.tracking import Mirror, serve

ODD = "100%25 a?b=1 #c; d&e+f"


def in_folder(results: Path, empty_database: Path) -> Records:
    results.mkdir(parents=True)
    shutil.copy(empty_database, results / "mlflow.db")
    return Records(results, make_study())


def artifact_of(records: Records, name: str) -> str:
    """The content of an artifact of the one launch, as MLflow finds it."""
    (parent,) = records.parents()
    client = records.client()
    assert name in [item.path for item in client.list_artifacts(parent.info.run_id)]
    return Path(client.download_artifacts(parent.info.run_id, name)).read_text()


@pytest.fixture
def odd(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    """Records in a folder of an odd name, mirrored."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    records = in_folder(tmp_path / ODD, empty_database)
    records.complete()
    (records.folder / "runs.csv").write_text("arm\n")
    assert (records.sync(artifacts=[records.folder / "runs.csv"]), records.said) == (1, [])
    return records


def test_all_of_it_lands_in_a_folder_of_any_name(
    odd: Records, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    assert artifact_of(odd, "runs.csv") == "arm\n"
    (odd.results / "mlflow.db").unlink()  # another one, which is opened under another spelling
    shutil.copy(empty_database, odd.results / "mlflow.db")
    assert (odd.sync(), odd.said) == (1, [])
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    named = tmp_path / "named b.db"
    shutil.copy(empty_database, named)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/named%20b.db")
    assert (odd.sync(), odd.said, named.stat().st_size > empty_database.stat().st_size) == (1, [], True)


def test_moved_results_have_their_artifacts(odd: Records, tmp_path: Path) -> None:
    moved = Records(odd.results.rename(tmp_path / "elsewhere"), odd.study)
    assert (moved.sync(), moved.said) == (0, [])
    assert artifact_of(moved, "runs.csv") == "arm\n"
    _artifact_repos_cache.clear()  # of a process that has seen the earlier place, which is no longer at work
    (moved.folder / "runs.csv").write_text("arm,seed\n")
    moved.sync(artifacts=[moved.folder / "runs.csv"])
    assert artifact_of(moved, "runs.csv") == "arm,seed\n"
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"], "nothing is written to the earlier place"


def test_artifacts_elsewhere_stay_where_they_are(odd: Records, tmp_path: Path) -> None:
    theirs = (tmp_path / "theirs").as_uri()
    odd.client().create_experiment("somebody's", artifact_location=theirs)
    moved = Records(odd.results.rename(tmp_path / "elsewhere"), odd.study)
    assert moved.client().get_experiment_by_name("somebody's").artifact_location == theirs


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("f" * 12, r"is of another version of MLflow .*pip install --upgrade mlflow"),
        ("451aebb31d03", "mlflow db upgrade"),
    ],
)
def test_a_database_of_another_schema_is_refused_with_the_remedy(
    odd: Records, tmp_path: Path, version: str, said: str
) -> None:
    with contextlib.closing(sqlite3.connect(odd.results / "mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = ?", (version,))
    shutil.copy(odd.results / "mlflow.db", tmp_path / "other.db")  # a file that this process has not opened yet
    (tmp_path / "other.db").replace(odd.results / "mlflow.db")
    before = (odd.results / "mlflow.db").read_bytes()
    with pytest.raises(InvalidInput, match=said):
        serve(odd.results, port=free_port(), say=print)
    digest = odd.complete(1)
    with Mirror(odd.study, odd.folder, results=odd.results, command="", say=odd.said.append) as mirror:
        mirror.changed(digest)
    assert odd.sync() == 0
    notes = [note for note in odd.said if "move the file away: `patchbench sync NAME` makes it again" in note]
    assert len(notes) == 3, "when it was found, at the launch's end, and by the sync"
    assert (odd.results / "mlflow.db").read_bytes() == before


@pytest.mark.slow
def test_a_locked_database_is_not_served(odd: Records) -> None:
    with contextlib.closing(sqlite3.connect(odd.results / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InvalidInput, match="database is locked"):
            serve(odd.results, port=free_port(), say=print)

"""A results folder may come from anybody: nothing is written through links in it."""

from pathlib import Path

import pytest
from small_study import FaultStudy


@pytest.mark.parametrize("name", ["", "work", "work/runs", "figures"])
def test_a_link_to_a_folder_outside_is_refused(study: FaultStudy, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".important.tmp").write_text("mine")
    (study.place / name).parent.mkdir(parents=True, exist_ok=True)
    (study.place / name).symlink_to(tmp_path / "mine")
    launch = study.start()
    code, said = launch.wait(), " ".join(launch.said().split())
    assert code == 2, said
    assert "is a link that leads out of" in said
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [".important.tmp"]


@pytest.mark.parametrize("name", ["lock", "turn", "runs/{digest}/journal.jsonl", "runs/{digest}/log.txt"])
def test_a_link_to_somebodys_file_is_refused(study: FaultStudy, tmp_path: Path, name: str) -> None:
    study.start(failpoint="begin:checkpoint.pt").wait()
    (run,) = (study.place / "work" / "runs").iterdir()
    path = study.place / "work" / name.format(digest=run.name)
    path.unlink(missing_ok=True)
    (tmp_path / "mine").write_text("no record")
    path.symlink_to(tmp_path / "mine")
    launch = study.start()
    code, said = launch.wait(), " ".join(launch.said().split())
    assert code == 2, said
    assert f"{path.name}: Too many levels of symbolic links. Remove what stands" in said
    assert "Traceback" not in said
    assert (tmp_path / "mine").read_text() == "no record"

"""Studies that are run at the same time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import FaultStudy
from test_processes import reaches, wait_until
from what_is_kept import differences, mirrored


@pytest.mark.slow
def test_a_second_launch_is_refused_and_a_dead_ones_lock_is_taken_over(
    study: FaultStudy, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    first = study.start(failpoint="signed:lock=sleep", failpoint_log=str(log))
    wait_until(lambda: reaches(log, "signed:lock"))
    second = study.start()
    code, said = second.wait(), " ".join(second.said().split())
    assert code == 2
    assert f"already running: process {first.pid} on " in said
    first.kill()
    first.wait()
    study.finish()
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
def test_studies_side_by_side_share_one_mlflow_database(
    fresh: Callable[[], FaultStudy], undisturbed: dict[str, Any]
) -> None:
    one, alone = fresh(), fresh()
    other = FaultStudy(one.stage, one.folder, "others")
    alone.name = other.name
    alone.file.write_text(other.file.read_text())
    alone.finish()
    launches = [study.start() for study in (one, other)]
    assert [launch.wait() for launch in launches] == [0, 0]
    assert differences(undisturbed, one.kept()) == []
    assert differences(alone.kept(), other.kept()) == []


@pytest.mark.slow  # MLflow makes its tables
def test_two_first_runs_and_a_report_in_a_new_folder_at_once(fresh: Callable[[], FaultStudy]) -> None:
    """Nobody removes what another is writing, MLflow's new database for one."""
    one = fresh()
    reported = FaultStudy(one.stage, one.folder, "reported")
    reported.finish()
    (one.results / "mlflow.db").unlink()
    other = FaultStudy(one.stage, one.folder, "others")
    loud = [[part for part in study.command if part != "--quiet"] for study in (one, other)]
    runs = [one.stage.launch(*command, "--engine", "inline") for command in loud]
    for _ in range(2):
        again = one.stage.launch("--results", one.results, "report", "reported", "--scale", "smoke")
        assert again.wait() == 0, again.said()
    for launch in runs:
        assert launch.wait() == 0, launch.said()
        assert "Report: " in launch.said()
        assert "cannot be written" not in launch.said()
    assert [*one.results.rglob(".*.tmp"), *one.results.glob(".mlflow.db.*")] == []
    for study in (one, other):
        found = mirrored(study.results, study.name)
        assert found["mlflow: each once"]
        assert found["mlflow: launches at an end"]
        assert sum(name.partition(" ")[0] == "mlflow" for name in found) == len(list(study.place.glob("work/runs/*")))

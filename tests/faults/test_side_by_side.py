"""Studies that are run at the same time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_study import FaultStudy
from test_processes import reaches, wait_until
from what_is_kept import differences


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


def test_studies_side_by_side_share_one_mlflow_database(
    fresh: Callable[[], FaultStudy], undisturbed: dict[str, Any]
) -> None:
    one = fresh()
    other = FaultStudy(one.stage, one.folder, "others")
    launches = [study.start() for study in (one, other)]
    assert [launch.wait() for launch in launches] == [0, 0]
    assert differences(undisturbed, one.kept()) == []
    kept = other.kept()
    assert kept["mlflow: each once"]
    assert kept["mlflow: launches at an end"]
    trainings = [name for name in undisturbed if name.startswith("mlflow ")]
    assert all(kept[name]["metrics"] == undisturbed[name]["metrics"] for name in trainings)

"""MLflow and the searches in PostgreSQL: nothing lost or double; a server that is away or locked holds up nobody."""

import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil
import pytest
from small_study import FaultStudy
from stage import Launch
from test_processes import reaches, wait_until

if TYPE_CHECKING:
    from database_server import Server

pytestmark = pytest.mark.slow

Read = Callable[[str], dict[str, list[Any]]]


@pytest.fixture(scope="module")
def server() -> Iterator["Server"]:
    pytest.importorskip("psycopg", reason="the extra 'postgresql' is not installed")
    from database_server import Server, binaries

    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed")
    started = Server(programs)
    yield started
    started.kill()
    shutil.rmtree(started.folder)


def start(study: FaultStudy, server: "Server", **environment: str) -> Launch:
    given = {f"PATCHBENCH_{name.upper()}": value for name, value in environment.items()} | server.environment
    loud = [part for part in study.command if part != "--quiet"]
    return study.stage.launch(*loud, "--engine", "inline", environment=given)


def search_from(study: FaultStudy, low: str) -> FaultStudy:
    """Make its trials other ones than those of the study in other tests."""
    study.change("low=1e-4", f"low={low}")
    return study


def sync(study: FaultStudy, server: "Server") -> str:
    verb = ("--results", study.results, "sync", study.name, "--scale", "smoke")
    launch = study.stage.launch(*verb, environment=server.environment)
    assert launch.wait() == 0, launch.said()
    return launch.said()


def assert_all_is_there(studies: list[FaultStudy], server: "Server", searches: dict[str, list[Any]]) -> None:
    """Each training once for each folder of results, and each search with the trials of the table."""
    for study in studies:
        held = server.mirrored((study.results / "work" / "key").read_text())
        assert "RUNNING" not in held.pop("")
        assert held == {path.name: ["FINISHED"] for path in study.place.glob("work/runs/*")}
    table = pd.read_csv(studies[0].place / "trials.csv").set_index("digest")
    own = [trials for trials in searches.values() if {of.user_attrs["digest"] for of in trials} <= set(table.index)]
    assert len(own) == 2 * len(studies), "a search for each arm"
    for trials in own:
        assert sorted(trial.user_attrs["trial"] for trial in trials) == [0, 1]
        for trial in trials:
            row = table.loc[trial.user_attrs["digest"]]
            assert trial.value == pytest.approx(row["validation_accuracy"], abs=1e-6)
            assert trial.params == {"learning_rate": pytest.approx(row["p.learning_rate"])}
            assert list(trial.intermediate_values.values())[-1] == trial.value
            assert trial.datetime_start < trial.datetime_complete
    assert "MLflow: 0 runs" in (told := sync(studies[0], server))
    assert "Searches: 0 trials" in told


def test_the_same_study_of_two_users_at_once(
    server: "Server", fresh: Callable[[], FaultStudy], searches_in: Read
) -> None:
    """From the first tables on; each has runs and searches of its own, without loss or doubles."""
    studies = [fresh(), fresh()]
    launches = [start(study, server) for study in studies]
    for launch in launches:
        assert launch.wait() == 0, launch.said()
        assert "cannot be written" not in launch.said()
        assert "lacks part" not in launch.said()
    assert_all_is_there(studies, server, searches_in(server.url("searches")))
    for study in studies:
        texts = [path.read_bytes() for path in study.results.rglob("*") if path.is_file()]
        assert not any(b"s3cret" in text for text in texts), "no password in any record"


def test_a_server_that_is_killed_costs_no_training(
    server: "Server", study: FaultStudy, tmp_path: Path, searches_in: Read
) -> None:
    search_from(study, "2e-4")
    log, place = tmp_path / "log", "written:config.json"
    launch = start(study, server, failpoint=f"{place}#3=STOP", failpoint_log=str(log))
    wait_until(lambda: reaches(log, place) and psutil.Process(launch.pid).status() == psutil.STATUS_STOPPED)
    server.kill()
    try:
        launch.kill(signal.SIGCONT)
        took, said = end_of(launch)
    finally:
        server.start()
    assert took < 60
    assert "The database of the searches lacks part of the records" in said
    assert "MLflow lacks part of the records" in said
    assert "s3cret" not in said
    assert "Searches: 0 trials" not in sync(study, server)
    assert_all_is_there([study], server, searches_in(server.url("searches")))


def test_locked_tables_hold_up_nobody(
    server: "Server", study: FaultStudy, fresh: Callable[[], FaultStudy], searches_in: Read
) -> None:
    search_from(study, "3e-4")
    assert start(search_from(fresh(), "4e-4"), server).wait() == 0, "there are tables now"
    with server.locked("searches", "trials", "studies"), server.locked("mlflow", "runs", "experiments"):
        took, said = end_of(start(study, server))
    assert took < 60
    assert said.count("lacks part of the records") == 2
    assert "lock timeout" in said
    sync(study, server)
    assert_all_is_there([study], server, searches_in(server.url("searches")))


def end_of(launch: Launch) -> tuple[float, str]:
    """Seconds until it has ended well, and what it has said."""
    began = time.monotonic()
    assert launch.wait() == 0, launch.said()
    return time.monotonic() - began, " ".join(launch.said().split())


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "PATCHBENCH_SEARCHES"])
@pytest.mark.parametrize(
    ("name", "password", "said"),
    [("mlflow", "s3cret-wrong", "password authentication failed"), ("none", None, 'database "none" does not exist')],
)
def test_what_a_server_refuses_is_one_error_before_anything_is_written(
    server: "Server", study: FaultStudy, variable: str, name: str, password: str | None, said: str
) -> None:
    before = sorted(study.results.rglob("*"))
    url = server.url(name, **({} if password is None else {"password": password}))
    launch = study.stage.launch(*study.command, "--engine", "inline", environment={variable: url})
    assert launch.wait() == 2
    told = " ".join(launch.said().split())
    assert re.search(rf"{variable} is postgresql\+psycopg://bench:\*\*\*@127\.0\.0\.1:{server.port}/{name}", told)
    assert said in told
    assert "s3cret" not in told
    assert sorted(study.results.rglob("*")) == before

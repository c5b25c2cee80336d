"""A study that is killed anywhere, and launched again, ends as an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_study import FaultStudy, contents
from test_processes import reaches, wait_until
from what_is_kept import differences

Fresh = Callable[[], FaultStudy]

FIRST_OF_THE_RESULTS = "begin:runs.csv"
"""Reached when everything is trained."""


@pytest.fixture(scope="module")
def names(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often a study reaches each failpoint, in the order in which it first does."""
    log = tmp_path_factory.mktemp("failpoints") / "log"
    fresh().finish(failpoint_log=str(log))
    return Counter(log.read_text().splitlines())


def place_of(name: str, names: Counter[str]) -> str:
    """The failpoint in the middle of a study, where the number of times is the same in every launch."""
    is_timed = name.startswith("mlflow") or name.endswith("status.json")
    return name if is_timed else f"{name}#{(names[name] + 1) // 2}"


def test_the_failpoints_are_at_every_write(names: Counter[str]) -> None:
    per_run = ("config.json", "checkpoint.json", "checkpoint.pt", "predictions.npz", "result.json", "status.json")
    for file in (*per_run, "model.safetensors", "model.json"):
        assert {f"{step}:{file}" for step in ("begin", "written", "renamed")} <= names.keys()
    for file in ("study.json", "runs.csv", "trials.csv", "curves.csv", "report.html", "REPORT.md", "claims.csv"):
        assert {f"{step}:{file}" for step in ("begin", "written", "renamed")} <= names.keys()
    assert {"half a line of evaluated:journal.jsonl", "half a line of finished:journal.jsonl"} <= names.keys()
    assert {
        "mlflow:run",
        "mlflow:batch",
        "mlflow:end of launch",
    } <= names.keys()
    assert not [
        name
        for name in names
        if any(len(word) >= 8 and set(word) <= set("0123456789abcdef") for word in name.split(":"))
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_any_failpoint(fresh: Fresh, names: Counter[str], undisturbed: dict[str, Any]) -> None:
    trained = fresh()
    assert trained.start(failpoint=FIRST_OF_THE_RESULTS).wait() == -signal.SIGKILL
    order = list(names)
    late = set(order[order.index(FIRST_OF_THE_RESULTS) :])

    def survives(name: str) -> list[str]:
        study = fresh()
        if name in late:
            shutil.copytree(trained.results, study.results, dirs_exist_ok=True)
        place = place_of(name, names)
        killed = study.start(failpoint=place)
        assert killed.wait() == -signal.SIGKILL, f"{place} was not reached: {killed.said()}"
        study.finish()
        return [f"killed at {place}: {text}" for text in differences(undisturbed, study.kept())]

    with ThreadPoolExecutor(2) as pool:
        assert [text for found in pool.map(survives, names) for text in found] == []


@pytest.mark.slow
@pytest.mark.parametrize("step", ["begin", "written", "renamed"])
def test_killed_while_a_look_is_kept(study: FaultStudy, undisturbed: dict[str, Any], step: str) -> None:
    """The second line of the ledger, after the registration: it is there once in the end."""
    killed = study.start(failpoint=f"{step}:looks.jsonl#2")
    assert killed.wait() == -signal.SIGKILL, killed.said()
    study.finish()
    assert differences(undisturbed, study.kept()) == []
    assert len(undisturbed["looks"]) == 2


@pytest.mark.slow
def test_killed_while_results_of_other_settings_are_set_aside(fresh: Fresh, tmp_path: Path) -> None:
    """What stood there is whole in one folder, once; what is new is as if nothing had happened."""
    trained, log = fresh(), tmp_path / "log"
    trained.finish()
    before = trained.published()
    trained.change("updates=20", "updates=16")
    assert trained.start(failpoint="begin:set aside").wait() == -signal.SIGKILL

    def goes_on(failpoint: str = "", **environment: str) -> FaultStudy:
        study = fresh()
        study.change("updates=20", "updates=16")
        shutil.copytree(trained.results, study.results, dirs_exist_ok=True)
        if failpoint:
            assert study.start(failpoint=failpoint).wait() == -signal.SIGKILL, failpoint
        study.finish(**environment)
        (aside,) = (study.place / "work" / "set_aside").iterdir()
        assert contents(aside) == before, failpoint
        return study

    expected = goes_on(failpoint_log=str(log)).kept()
    names = list(dict.fromkeys(log.read_text().splitlines()))
    names = names[names.index("begin:set aside") : names.index(FIRST_OF_THE_RESULTS) + 2]
    assert {"set aside:runs.csv", "set aside:figures", "set aside:study.json", "renamed:set aside"} <= set(names)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: differences(expected, goes_on(name).kept()), names))
    assert dict(zip(names, found, strict=True)) == {name: [] for name in names}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_any_time(fresh: Fresh, undisturbed: dict[str, Any]) -> None:
    """Fifty times; the delays are fixed, what they hit is not."""
    delays = random.Random(0)
    kills = 0
    while kills < 50:
        study, ended = fresh(), None
        while ended != 0 and kills < 50:
            launch = study.start()
            time.sleep(delays.uniform(0.05, 1.0))
            launch.kill()
            ended = launch.wait()
            assert ended in (0, -signal.SIGKILL), launch.said()
            kills += ended != 0
        study.finish()
        assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
def test_workers_killed_at_failpoints_are_replaced(
    study: FaultStudy, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """Within a line of a journal, with half a checkpoint, and with a result that nobody was told of."""
    places = {
        "half a line of evaluated:journal.jsonl": 3,
        "renamed:checkpoint.json": 20,
        "renamed:result.json": 5,
    }
    log = tmp_path / "log"
    asked = ",".join(f"{name}#{number}" for name, number in places.items())
    study.finish("--workers", 2, engine="processes", failpoint=asked, failpoint_log=str(log))
    reached = Counter(log.read_text().splitlines())
    assert all(reached[name] > number for name, number in places.items())
    runs = len(list(study.place.glob("work/runs/*")))
    assert reached["start of worker"] == runs + 2, "the third had left its result"
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_launch_after_an_early_kill_gets_its_workers(fresh: Fresh, tmp_path: Path) -> None:
    """Ten kills within the first two seconds, with every core loaded."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        for number in range(1, 11):
            study, log = fresh(), tmp_path / f"log-{number}"
            killed = study.start(engine="processes", new_server="1")
            time.sleep(number / 5)
            killed.kill()
            killed.wait()
            again = study.start(engine="processes", failpoint_log=str(log))
            wait_until(lambda log=log: reaches(log, "start of worker"))
            again.kill()
            again.wait()
    finally:
        for process in busy:
            process.kill()
            process.wait()

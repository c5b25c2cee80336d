"""A study that is killed anywhere, and launched again, ends as an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_study import FaultStudy, contents
from test_processes import reaches, wait_until
from what_is_kept import differences

Fresh = Callable[[], FaultStudy]

FIRST_OF_A_RUN = "begin:config.json"
FIRST_OF_THE_RESULTS = "begin:runs.csv"
"""Reached when everything is trained."""
KILLS = 6
"""Of one study, one after the other."""


@pytest.fixture(scope="module")
def names(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often a study reaches each failpoint, in the order in which it first does."""
    log = tmp_path_factory.mktemp("failpoints") / "log"
    fresh().finish(failpoint_log=str(log))
    return Counter(log.read_text().splitlines())


def place_of(name: str, names: Counter[str]) -> str:
    """The failpoint in the middle of a study, where the number of times is the same in every launch."""
    return name if is_timed(name) else f"{name}#{(names[name] + 1) // 2}"


def is_timed(name: str) -> bool:
    """Whether it is reached by the clock, in another order each time."""
    return "mlflow" in name or name.endswith("status.json")


def chains(names: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Where a study stands, as the place where it was killed, and the places where it is killed from there on.

    Places before the first run from nothing; of a run, in the sixth of the ten; later ones when everything is trained.
    Each in the order in which a study first reaches them, so that the next one is still to come.
    """
    yield from (("", [name]) for name in names if is_timed(name))
    order = [name for name in names if not is_timed(name)]
    run, results = order.index(FIRST_OF_A_RUN), order.index(FIRST_OF_THE_RESULTS)
    parts = {"": order[:run], f"{FIRST_OF_A_RUN}#6": order[run:results], FIRST_OF_THE_RESULTS: order[results:]}
    for start, part in parts.items():
        yield from ((start, part[at : at + KILLS]) for at in range(0, len(part), KILLS))


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
    """Several kills of one study, one after the other; a place that is behind it by then gets a study of its own."""
    starts = {place: fresh() for place in (f"{FIRST_OF_A_RUN}#6", FIRST_OF_THE_RESULTS)}
    for place, study in starts.items():
        assert study.start(failpoint=place).wait() == -signal.SIGKILL

    def killed(start: str, places: list[str]) -> tuple[list[str], list[str]]:
        """What differs in the end, and the places that were not reached."""
        study = fresh()
        if start:
            shutil.copytree(starts[start].results, study.results, dirs_exist_ok=True)
        codes = {place: study.start(failpoint=place).wait() for place in places}
        assert set(codes.values()) <= {0, -signal.SIGKILL}, codes
        study.finish()
        found = [f"killed at {places}: {text}" for text in differences(undisturbed, study.kept())]
        return found, [place for place, code in codes.items() if code == 0]

    with ThreadPoolExecutor(2) as pool:
        chained = list(pool.map(lambda chain: killed(*chain), chains(names)))
        missed = [place_of(name, names) for _, places in chained for name in places]
        alone = list(pool.map(lambda place: killed("", [place]), missed))
    assert [text for found, _ in (*chained, *alone) for text in found] == []
    assert [place for _, places in alone for place in places] == [], "not reached"


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

"""A study that is killed anywhere, and launched again, ends as an undisturbed one."""

import itertools
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_study import FaultStudy, contents
from test_processes import reaches, wait_until
from what_is_kept import differences

Fresh = Callable[[], FaultStudy]

STEPS = ("begin", "written", "renamed")
FIRST_OF_A_RUN, FIRST_OF_THE_RESULTS = "config.json", "runs.csv"
CONFIRMS, TRAINED = "begin:config.json#5", "begin:runs.csv"
"""Reached after the four trials, and when everything is trained."""
KILLS = 13
"""Of one study, one after the other."""
WHOLE = ("checkpoint.pt", "checkpoint.json", "result.json")
"""Files that are killed at every step of their writing, as a training goes on from them."""


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


def tried(names: Counter[str]) -> Iterator[str]:
    """The failpoints that are tried, every kind of them.

    Every file is written by one function, in three steps: of most one step is tried, another from file to file. Of the
    artifacts in MLflow the first stands for those of a launch, and the first of a model for the others.
    """
    steps, artifacts = itertools.cycle(STEPS), set[bool]()
    turns: dict[str, str] = {}
    for name in names:
        step, _, file = name.partition(":")
        if name.startswith("mlflow:artifact:"):
            if (is_of_a_model := "model" in name) not in artifacts:
                artifacts.add(is_of_a_model)
                yield name
            continue
        if step in STEPS and file not in WHOLE and f"renamed:{file}" in names:
            if file not in turns:
                turns[file] = next(steps)
            if step != turns[file]:
                continue
        yield name


def chains(names: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Where a study stands, as the place where it was killed, and the places where it is killed from there on.

    Places before the first run from nothing; of a run, in the first that confirms; later ones when everything is
    trained. Each in the order in which a study first reaches them, so that the next one is still to come.
    """
    few = list(tried(names))
    order = [name for name in few if not is_timed(name)]
    run = next(at for at, name in enumerate(order) if name.endswith(FIRST_OF_A_RUN))
    results = next(at for at, name in enumerate(order) if name.endswith(FIRST_OF_THE_RESULTS))
    yield "", [name for name in few if is_timed(name)]
    parts = {"": order[:run], CONFIRMS: order[run:results], TRAINED: order[results:]}
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
    starts = {place: fresh() for place in (CONFIRMS, TRAINED)}
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
@pytest.mark.parametrize("step", ["written", "renamed"])
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
    names = names[names.index("begin:set aside") : names.index(TRAINED) + 1]
    one_by_one = {"set aside:runs.csv", "set aside:figures", "set aside:study.json"}
    assert one_by_one < set(names)
    few = [name for name in names if name in one_by_one or not name.startswith("set aside:")]
    found = {name: differences(expected, goes_on(name).kept()) for name in few}
    assert found == {name: [] for name in few}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_any_time(fresh: Fresh, undisturbed: dict[str, Any]) -> None:
    """A dozen times; the delays are fixed, what they hit is not."""
    delays = random.Random(0)
    kills = 0
    while kills < 12:
        study, ended = fresh(), None
        while ended != 0 and kills < 12:
            launch = study.start()
            time.sleep(delays.uniform(0.05, 1.0))
            launch.kill()
            ended = launch.wait()
            assert ended in (0, -signal.SIGKILL), launch.said()
            kills += ended != 0
        study.finish()
        assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("repeats", "sampler"), [(1, "tpe"), (2, "qmc")])
def test_a_search_killed_outright_goes_on_as_if_undisturbed(fresh: Fresh, repeats: int, sampler: str) -> None:
    """When five trials of each arm have ended, one more than are drawn before a sampler learns; four are to come."""
    whole, killed = fresh(), fresh()
    of_search = (
        f"search.repeats={repeats}",
        f"search.sampler={sampler}",
        "search.updates=2",
        "--trials",
        8 // repeats + 1,
    )
    options = (*of_search, "recipe.updates=2", "recipe.evaluations=1")
    whole.finish(*options)
    assert killed.start(*options, failpoint="begin:config.json#11").wait() == -signal.SIGKILL
    assert len(list(killed.place.glob("work/runs/*/result.json"))) == 10
    assert not (killed.place / "trials.csv").exists()
    killed.finish(*options)
    assert differences(whole.kept(), killed.kept()) == []
    assert len(pd.read_csv(whole.place / "trials.csv")) == 2 * repeats * (8 // repeats + 1)


STARTED = """from harness.spec import *
UPSTREAM = Pretraining(
    data=DataSpec(source="digits", train_size=120), recipe=Recipe(updates=12, batch_size=16, evaluations=2)
)
AT = Scale(
    data=DataSpec(source="digits", train_size=100),
    recipe=Recipe(updates=4, batch_size=16, evaluations=1),
    baseline=Arm("ResNet", ResNetSpec(width=4), changes={"recipe.start_from": StartFrom(pretraining=UPSTREAM)}),
    arms=(Arm("ViT", ViTSpec(width=16, depth=1, heads=2)),),
    seeds=(0, 1),
)
STUDY = Study(question="Does it?", source="-", factor="start", scales={"smoke": AT})
"""


@pytest.mark.slow
def test_workers_that_are_killed_at_a_pretraining_leave_the_same_bytes(fresh: Fresh, tmp_path: Path) -> None:
    """Two ask for it; the one that makes it is killed, at its first evaluation and as it keeps its model."""
    points = "a line of evaluated:journal.jsonl#1,written:model.safetensors#1"
    weights = []
    for asked in ({}, {"failpoint": points, "failpoint_log": str(tmp_path / "log")}):
        study = fresh()
        study.file.write_text(STARTED)
        study.finish("--workers", 2, engine="processes", **asked)
        pretrained = sorted((study.results / "work").rglob("model.safetensors"))
        assert len(pretrained) == 1
        models = sorted((study.place / "work" / "models").rglob("model.safetensors"))
        weights.append([path.read_bytes() for path in pretrained + models])
    assert (tmp_path / "log").read_text().splitlines().count("start of worker") == 4 + 2, "two of them again"
    assert len(weights[0]) == 3
    assert weights[0] == weights[1]


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
    """Kills while the server of workers, a program that loads everything itself, is at its start."""
    for number, delay in enumerate((0.2, 0.7, 1.5)):
        study, log = fresh(), tmp_path / f"log-{number}"
        killed = study.start(engine="processes", new_server="1")
        time.sleep(delay)
        killed.kill()
        killed.wait()
        again = study.start(engine="processes", failpoint_log=str(log))
        wait_until(lambda log=log: reaches(log, "start of worker"))
        again.kill()
        again.wait()

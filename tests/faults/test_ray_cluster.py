"""Runs on a real Ray cluster of several nodes on this machine, which come, go, and are killed."""

import contextlib
import importlib.util
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from small_study import TEXT, FaultStudy
from stage import Launch
from test_processes import reaches, session, wait_until
from what_is_kept import differences

from harness.records.runs import RunFolder

if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra `ray` is not installed", allow_module_level=True)
LIMIT_SECONDS = 240.0  # of a launch: every node loads torch in several processes
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * LIMIT_SECONDS)]

STARTED = (
    "start_from=StartFrom(pretraining=Pretraining(data=DataSpec(source='digits', train_size=60, validation_size=40), "
    "recipe=Recipe(updates=8, batch_size=8, evaluations=1, precision='fp32')))"
)
HANG = "half a line of evaluated:journal.jsonl"


class Nodes:
    """A head without cores, on which coordinators run, and nodes with a core each; each is a session of processes."""

    def __init__(self, folder: Path) -> None:
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._folder, self._started = folder, dict[str, subprocess.Popen[bytes]]()

    def add(self, name: str, cores: int = 1, **environment: str) -> None:
        port = self.address.partition(":")[2]
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}")
        command = (
            *(Path(sys.executable).with_name("ray"), "start", "--block", "--disable-usage-stats"),
            *(head if name == "head" else (f"--address={self.address}",)),
            *("--node-ip-address=127.0.0.1", f"--node-name={name}", f"--num-cpus={cores}"),
            *("--object-store-memory=100000000", "--include-log-monitor=false"),
        )
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            self._started[name] = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env=os.environ | self.environment | environment,
                start_new_session=True,
            )
        wait_until(lambda: "Ray runtime started" in log.read_text() or self._started[name].poll() is not None)
        assert self._started[name].poll() is None, log.read_text()

    def need(self, *names: str) -> None:
        """Have these nodes, and no others, beside the head."""
        for name in set(self._started) - {"head", *names}:
            self.kill(name)
        for name in ("head", *names):
            if name not in self._started:
                self.add(name, cores=0 if name == "head" else 1)

    def kill(self, name: str) -> None:
        """As a machine ends that loses its power."""
        started = self._started.pop(name)
        for process in session(started):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        started.wait()

    def close(self) -> None:
        for name in sorted(self._started, key=lambda name: name == "head"):
            self.kill(name)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    # The names of Ray's sockets must stay short.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with contextlib.closing(Nodes(folder)) as opened:
        yield opened
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def fresh(fresh: Callable[[], FaultStudy]) -> Callable[[], FaultStudy]:
    """Makes a study of two runs: each loads torch anew."""

    def make() -> FaultStudy:
        study = fresh()
        study.file.write_text(two_runs(TEXT))
        return study

    return make


def two_runs(text: str) -> str:
    for before, now in (("trials=2, updates=6)", "trials=0)"), ("seeds=(0, 1)", "seeds=(0,)")):
        assert before in text
        text = text.replace(before, now)
    return text


@pytest.fixture(scope="module")
def undisturbed(fresh: Callable[[], FaultStudy]) -> dict[str, Any]:
    """What it leaves when nothing happens to it."""
    study = fresh()
    study.finish()
    return study.kept()


def launched(study: FaultStudy, nodes: Nodes, *options: object, **environment: str) -> Launch:
    given = nodes.environment | {f"PATCHBENCH_{name.upper()}": value for name, value in environment.items()}
    place = ("--engine", "ray", "--ray-address", nodes.address)
    return study.stage.launch(*study.command, *place, *options, environment=given)


def hung(study: FaultStudy, nodes: Nodes, at: int = 1, **environment: str) -> Launch:
    """A launch in which a training hangs at its `at`th evaluation, whose state has come; one that goes on does not."""
    log = study.folder / f"log-{secrets.token_hex(4)}"
    launch = launched(study, nodes, failpoint=f"{HANG}#{at}=sleep", failpoint_log=str(log), **environment)

    def hangs() -> bool:
        assert Path(f"/proc/{launch.pid}/exe").exists(), launch.said()
        is_there = log.exists() and log.read_text().splitlines().count(HANG) >= at
        return is_there and any(study.place.glob("work/runs/*/checkpoint-*.pt"))

    wait_until(hangs, LIMIT_SECONDS)
    return launch


def assert_ends_as(undisturbed: dict[str, Any], study: FaultStudy, launch: Launch) -> None:
    code = launch.wait(LIMIT_SECONDS)
    assert code == 0, launch.said()
    assert differences(undisturbed, study.kept()) == []


def resumed(study: FaultStudy) -> bool:
    return any("Resumed after update" in path.read_text() for path in study.place.glob("work/runs/*/log.txt"))


def test_the_runs_of_nodes_that_are_lost_go_on_where_a_new_node_joins(
    fresh: Callable[[], FaultStudy], nodes: Nodes
) -> None:
    """Of a study whose arms start from a pre-training each, on nodes with folders of their own."""
    one, two = fresh(), fresh()
    for study in (one, two):
        study.file.write_text(two_runs(TEXT.replace("evaluations=2,", f"evaluations=2, {STARTED},")))
    one.finish()
    nodes.need("b", "c")
    launch = hung(two, nodes, at=3, apart="1")  # after the two of the pre-trainings
    nodes.kill("b")
    nodes.kill("c")
    nodes.add("d")
    assert_ends_as(one.kept(), two, launch)
    assert resumed(two)
    assert len(list(two.results.glob("work/pretrained/*/result.json"))) == 2
    assert not list(two.results.rglob(".*.tmp"))


def test_a_launch_that_ends_early_keeps_the_states_and_the_next_goes_on(
    study: FaultStudy, undisturbed: dict[str, Any], nodes: Nodes
) -> None:
    """One study: its launch is told to end, the next is killed, the next loses the cluster, the last has another."""
    nodes.need("b")
    log = study.folder / "log"
    launch = launched(study, nodes, apart="1", failpoint_log=str(log))
    wait_until(lambda: reaches(log, "begin:checkpoint.pt"))
    launch.kill(signal.SIGTERM)
    assert launch.wait() == 75, launch.said()
    kept = [*study.place.glob("work/runs/*/checkpoint-*.pt"), *study.place.glob("work/runs/*/result.json")]
    assert kept, "neither a state nor the result of a run that has ended meanwhile"
    launch = hung(study, nodes)
    launch.kill()
    assert launch.wait() == -signal.SIGKILL
    launch = hung(study, nodes, apart="1")  # whose log is on its node
    nodes.kill("head")
    nodes.kill("b")
    assert launch.wait() == 2
    assert f"The Ray cluster ({nodes.address}) no longer answers" in launch.said()
    nodes.need("b")
    assert_ends_as(undisturbed, study, launched(study, nodes))
    assert resumed(study)
    assert not list(study.results.rglob(".*.tmp"))


def test_nodes_that_cannot_be_used_are_refused_by_name(
    study: FaultStudy, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "torch-0.0.1.dist-info" / "METADATA"
    facts.parent.mkdir()
    facts.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    for part, label, number in itertools.product(("train", "test"), "ab", range(8)):
        path = tmp_path / "photos" / part / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(path)
    nodes.need()
    nodes.add("old", PYTHONPATH=str(tmp_path))
    nodes.add("poor", HOME=str(tmp_path / "empty"))
    data = ("source=imagefolder:~/photos", "image_size=8", "train_size=4", "validation_size=4")
    monkeypatch.setitem(nodes.environment, "HOME", str(tmp_path))
    launch = launched(study, nodes, *(f"data.{field}" for field in data))
    assert launch.wait() == 2
    assert "Node old: it has torch 0.0.1" in launch.said()
    assert f"Node poor: There is no folder {tmp_path / 'empty' / 'photos'}" in launch.said()
    assert not study.place.exists()


def test_several_processes_train_a_run_together_on_a_node(study: FaultStudy, nodes: Nodes) -> None:
    nodes.need()
    nodes.add("wide", cores=2)
    launch = launched(study, nodes, "--device", "cpu", "--cards-per-run", 2)
    assert launch.wait(LIMIT_SECONDS) == 0, launch.said()
    results = [RunFolder(path).result() for path in study.place.glob("work/runs/*")]
    assert [result and result.environment["cards_per_run"] for result in results] == [2] * 2

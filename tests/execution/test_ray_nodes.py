"""What becomes of runs and nodes of a Ray cluster, by how runs end: both are acted out, nothing speaks with Ray."""

import importlib.util
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from tiny_studies import tiny_study

from harness.execution.engines import Fault, Outcome, SetAside
from harness.execution.engines.parcels import Parcel
from harness.execution.engines.ray_engine import Asked
from harness.execution.plan import make_plan
from harness.records.files import RecordsError
from harness.records.runs import RunFolder, RunResult
from harness.spec import InvalidInput, Run

if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra `ray` is not installed", allow_module_level=True)

import ray

from harness.execution.engines import cluster, nodes
from harness.execution.engines.node import Ended, Seen, Task
from harness.training import WorkerSettings

ECC = "CUDA error: uncorrectable ECC error encountered"
LOST = Fault(reason=ECC, is_sure=True, device="cuda:0")
CROWDED = Fault(reason="others hold 40.0 GiB", is_sure=False, device="cuda:0")
Act = Callable[[str, Task], Ended | Exception]


class Acted(cluster._Cluster):
    """A cluster of nodes n0, n1, ... with a card each; `act(node, task)` says how a run ends there."""

    def __init__(self, asked: Asked, number: int, act: Act, shares: bool = False) -> None:
        self.there, pipe = multiprocessing.Pipe()
        super().__init__(pipe, pipe, asked)  # type: ignore[arg-type]
        self._kind, self._act, self.tried = "cuda", act, list[tuple[str, Task]]()
        self._nodes = {
            f"n{at}": cluster.Node(name=f"n{at}", address=("", at), cpus=1, cards=1, shares=shares)
            for at in range(number)
        }
        self._carry_out = MagicMock(options=self._on)

    def _on(self, **options: Any) -> Any:
        node = options["scheduling_strategy"].node_id

        def remote(board: Any, task: Task) -> Any:
            self.tried.append((node, task))
            return self._act(node, task)

        return MagicMock(remote=remote)

    def carry_out(self, runs: list[Run], folder: Path, times: int = 10) -> list[Any]:
        """Train runs, those anew that a coordinator would give it again; what it sends but for the room."""
        for run in runs:
            self._hear((run, RunFolder(folder / run.digest)))
        sent = list[Any]()
        for _ in range(times):
            self._hand_out()
            self._handle_ended()
            self._require_nodes()
            while self.there.poll():
                event = self.there.recv()
                if isinstance(event, Outcome | SetAside):
                    sent.append(event)
                if isinstance(event, Outcome) and event.is_excused:
                    self._hear((event.run, RunFolder(folder / event.run.digest)))
        return sent


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(ref: Any) -> Any:
        if isinstance(ref, Exception):
            raise ref
        return ref

    acted = MagicMock(exceptions=ray.exceptions, get=get, wait=lambda refs, **_: (refs, []))
    acted.get_runtime_context.return_value.gcs_address = "127.0.0.1:1"
    monkeypatch.setattr(cluster, "ray", acted)
    monkeypatch.setattr(cluster, "NodeAffinitySchedulingStrategy", lambda key, soft: SimpleNamespace(node_id=key))
    monkeypatch.setattr(cluster, "answers", lambda *_: True)
    monkeypatch.setattr(Ended, "__hash__", object.__hash__)


@pytest.fixture
def runs() -> list[Run]:
    cell = make_plan(tiny_study()).cells[0]
    return [cell.confirm(seed, {}) for seed in range(4)]


@pytest.fixture
def far(asked: Asked, tmp_path: Path) -> Asked:
    return replace(asked, address="there:6379", settings=WorkerSettings(pretrained=tmp_path / "pretrained"))


def test_all_that_is_asked_for_is_heard_before_anything_is_done(far, runs, tmp_path):
    made = Acted(far, 1, lambda _, task: ended(task, "completed"))
    for run in runs:
        made.there.send((run, RunFolder(tmp_path)))
    assert made._listen()
    assert [attempt.run for attempt in made._waiting] == runs
    made.there.send(None)
    assert not made._listen()


def ended(task: Task, status: str = "", parcel: Parcel | None = None, **more: Any) -> Ended:
    result = RunResult(digest=task.run.digest, status=status) if status else None  # type: ignore[arg-type]
    return Ended(outcome=Outcome(run=task.run, result=result, **more), parcel=parcel)


def failed(error: Exception) -> Exception:
    return ray.exceptions.RayTaskError("carry_out", "a traceback", error)


def statuses(sent: list[Any]) -> Counter[str]:
    return Counter(event.result.status for event in sent if isinstance(event, Outcome) and event.result)


def aside(sent: list[Any]) -> dict[str, str]:
    return {event.device: event.reason for event in sent if isinstance(event, SetAside)}


def test_a_node_whose_card_is_lost_gets_no_more_runs(far, runs, tmp_path):
    made = Acted(far, 2, lambda node, task: ended(task, fault=LOST) if node == "n0" else ended(task, "completed"))
    sent = made.carry_out(runs, tmp_path)
    assert statuses(sent) == {"completed": 4}
    assert aside(sent) == {"n0:cuda": ECC}
    assert Counter(node for node, _ in made.tried) == {"n0": 1, "n1": 4}


def test_a_run_that_lacks_room_beside_others_goes_to_nodes_where_it_was_not_and_stays_at_the_last(far, runs, tmp_path):
    def act(node: str, task: Task) -> Ended:
        return ended(task, fault=CROWDED, error="Crowded") if task.settings.may_move else ended(task, "out_of_memory")

    made = Acted(far, 3, act)
    sent = made.carry_out(runs[:1], tmp_path)
    assert statuses(sent) == {"out_of_memory": 1}
    assert aside(sent) == {}
    assert sorted(node for node, _ in made.tried) == ["n0", "n1", "n2"]
    assert [task.settings.may_move for _, task in made.tried] == [True, True, False]


@pytest.mark.parametrize(("per_device", "blamed"), [(None, {"n0:cuda"}), (2, set())])
def test_a_node_that_others_crowd_is_set_aside_unless_they_may_be_ours(far, runs, tmp_path, per_device, blamed):
    def act(node: str, task: Task) -> Ended:
        crowded = node == "n0" and task.settings.may_move
        return ended(task, fault=CROWDED, error="Crowded") if crowded else ended(task, "completed")

    sent = Acted(replace(far, per_device=per_device), 2, act).carry_out(runs[:1], tmp_path)
    assert statuses(sent) == {"completed": 1}
    assert aside(sent).keys() == blamed


def test_a_node_on_which_runs_fail_that_complete_elsewhere_is_set_aside(far, runs, tmp_path):
    """An occupied or broken one is done with its runs at once, and would get most of a study."""
    made = Acted(far, 2, lambda node, task: ended(task, error="E") if node == "n0" else ended(task, "completed"))
    again, sent = runs, list[Any]()
    while again:
        new = made.carry_out(again, tmp_path)
        again = [event.run for event in new if isinstance(event, Outcome) and event.result is None]
        sent += new
    assert statuses(sent) == {"completed": 4}
    assert aside(sent).keys() == {"n0:cuda"}


def test_what_keeps_a_node_with_a_folder_of_its_own_from_working_ends_no_study(far, runs, tmp_path):
    full = failed(RecordsError("/tmp/x: No space left on device."))
    made = Acted(far, 2, lambda node, task: full if node == "n0" else ended(task, "completed"))
    sent = made.carry_out(runs, tmp_path)
    assert statuses(sent) == {"completed": 4}
    assert aside(sent) == {"n0:cuda": "/tmp/x: No space left on device."}


def test_what_keeps_all_from_working_that_share_a_folder_ends_the_study(far, runs, tmp_path):
    full = failed(RecordsError("/home: No space left on device."))
    with pytest.raises(InvalidInput, match=r"^Node n[01]: /home: No space left"):
        Acted(far, 2, lambda node, task: full, shares=True).carry_out(runs, tmp_path)


def test_a_parcel_that_has_not_arrived_as_it_was_sent_is_asked_for_again_a_few_times(far, runs, tmp_path):
    bad: Parcel = {"run/result.json": ("0" * 64, b"?")}
    parcels = iter([bad, {}])
    made = Acted(far, 1, lambda node, task: ended(task, parcel=next(parcels)))
    assert [event.error for event in made.carry_out(runs[:1], tmp_path)] == [""]
    made = Acted(far, 1, lambda node, task: ended(task, parcel=bad))
    (outcome,) = made.carry_out(runs[1:2], tmp_path)
    assert outcome.result is None
    assert "has not arrived" in outcome.error
    assert len(made.tried) == cluster.LOSSES


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MagicMock]:
    time = MagicMock()
    time.monotonic.return_value = 1000.0
    monkeypatch.setattr(cluster, "time", time)
    return time


def test_without_any_node_left_a_study_ends_and_names_them(far, runs, tmp_path, clock):
    """At once on this machine alone; on others as soon as nobody has come for a while."""
    with pytest.raises(InvalidInput, match=rf"^No node is left for the runs: n0 \({ECC}\)\. What is trained is kept"):
        Acted(replace(far, address="local"), 1, lambda _, task: ended(task, fault=LOST)).carry_out(runs, tmp_path)
    made = Acted(far, 0, lambda _, task: ended(task, "completed"))
    assert made.carry_out(runs, tmp_path) == []
    clock.monotonic.return_value += far.patience_seconds + 1
    with pytest.raises(InvalidInput, match="all have left"):
        made.carry_out([], tmp_path)


def test_a_node_that_comes_in_time_has_the_runs_that_wait(far, runs, tmp_path, clock):
    made = Acted(far, 0, lambda _, task: ended(task, "completed"))
    made.carry_out(runs, tmp_path)
    clock.monotonic.return_value += far.patience_seconds - 1
    made._nodes["new"] = cluster.Node(name="new", address=("", 0), cpus=1, cards=1)
    made._welcome("new", Seen())
    assert statuses(made.carry_out([], tmp_path)) == {"completed": 4}


@pytest.mark.parametrize(("per_device", "per_run"), [(None, 1), (None, 4), (3, 1), (6, 1), (7, 1)])
def test_the_parts_of_a_card_fit_it_as_ray_counts_them(far, per_device, per_run):
    each = nodes.card_share(replace(far, per_device=per_device, cards_per_run=per_run))
    assert round(each * 10_000) == pytest.approx(each * 10_000)
    assert round(each * 10_000) * (per_device or 1) <= 10_000 * per_run
    assert each > 0.99 * per_run / (per_device or 1)

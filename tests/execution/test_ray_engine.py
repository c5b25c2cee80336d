"""What is asked of a Ray cluster, and refused before one is spoken with."""

import contextlib
import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_studies import tiny_study

from harness.execution.engines import ray_engine
from harness.execution.engines.ray_engine import Asked, RayEngine, token_for
from harness.execution.launch import _asked_of_cluster
from harness.execution.options import Options
from harness.execution.plan import make_plan
from harness.records.files import try_lock
from harness.spec import InvalidInput

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a program that takes connections and says nothing."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"address": "ray://127.0.0.1:10001"}, "must be HOST:PORT"),
        ({"address": "6379"}, "must be HOST:PORT"),
        ({"address": "127.0.0.1:99999"}, "No Ray cluster answers at 127.0.0.1:99999"),
        ({"address": "127.0.0.1:9"}, "No Ray cluster answers at 127.0.0.1:9 .*--ray-address"),
        ({"device": "cuda:1"}, "--device is 'cuda:1'"),
        ({"cards_per_run": 2, "per_device": 2}, "leave one out"),
    ],
)
@needs_ray
def test_what_cannot_be_asked_for_is_refused_at_once(asked: Asked, changed: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        RayEngine(replace(asked, **changed))
    assert not asked.token.exists()


def test_without_ray_the_extra_is_named(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'patchbench\[ray\]'"):
        RayEngine(asked)


@needs_ray
@pytest.mark.slow  # a process that loads torch and Ray
def test_an_address_that_takes_connections_and_says_nothing_is_given_up(
    asked: Asked, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "CONNECT_SECONDS", 2.0)
    with pytest.raises(InvalidInput, match=f"No Ray cluster answers at {silent} in 2 s"):
        RayEngine(replace(asked, address=silent))
    assert not asked.token.exists()


@needs_ray
@pytest.mark.parametrize(
    ("kind", "changed", "slots", "threads"),
    [
        ("cpu", {}, [8, 3, 0], 1),
        ("cpu", {"workers": 4}, [4, 1, 0], 2),
        ("cpu", {"workers": 40}, [8, 3, 0], 1),
        ("cpu", {"workers": 1}, [2, 1, 0], 3),
        ("cpu", {"cards_per_run": 2}, [4, 1, 0], 1),
        ("cpu", {"cards_per_run": 2, "workers": 2}, [4, 1, 0], 1),
        ("cuda", {}, [4, 0, 1], 1),
        ("cuda", {"per_device": 2}, [8, 0, 2], 1),
        ("cuda", {"cards_per_run": 3}, [1, 0, 0], 2),
    ],
)
def test_room_on_nodes(asked: Asked, kind: str, changed: dict[str, int], slots: list[int], threads: int) -> None:
    from harness.execution.engines import cluster

    asked = replace(asked, **changed)
    has = ((8.0, 4.0), (3.0, 0.0), (0.5, 1.0))
    nodes = [cluster.Node(name="", address=("", 0), cpus=cores, cards=cards) for cores, cards in has]
    assert cluster.threads_of_each(nodes, asked, kind) == threads
    assert [cluster.slots(node, asked, kind, threads) for node in nodes] == slots


@needs_ray
@pytest.mark.parametrize(
    ("kind", "each", "has", "told"),
    [
        (
            "cuda",
            5,
            [(8, 4), (64, 2)],
            "5 cards for a run: n0 .8 cores, 4 cards.* alone: .* can be 4 at most",
        ),
        ("cuda", 6, [(8, 4), (64, 4)], "on one node alone: --cards-per-run can be 4 at most"),
        ("cuda", 2, [(8, 0)], r"has 2 cards for a run: n0 \(8 cores, 0 cards\)\.$"),
        ("cpu", 3, [(2, 0), (2, 4)], "3 cores for a run: .* --cards-per-run can be 2 at most"),
        ("cpu", 1, [], r"has 1 core for a run: there is none\.$"),
    ],
)
def test_more_cards_than_any_node_has_are_refused(
    asked: Asked, kind: str, each: int, has: list[tuple[float, float]], told: str
) -> None:
    """Two nodes that together have enough are none for a run."""
    from harness.execution.engines import cluster

    nodes = {
        f"{at}": cluster.Node(name=f"n{at}", address=("", 0), cpus=cores, cards=cards)
        for at, (cores, cards) in enumerate(has)
    }
    with pytest.raises(InvalidInput, match=told):
        cluster.useful_nodes(nodes, replace(asked, cards_per_run=each), kind)
    enough = {**nodes, "more": cluster.Node(name="", address=("", 0), cpus=6, cards=6)}
    assert "more" in cluster.useful_nodes(enough, replace(asked, cards_per_run=each), kind)


def test_the_address_is_the_one_given_or_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def address(**asked: str) -> str:
        return _asked_of_cluster(plan, [], Options(results=tmp_path, engine="ray", **asked)).address

    plan = make_plan(tiny_study())
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert address() == "local"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert (address(), address(ray_address="other:6379")) == ("head:6379", "other:6379")


@needs_ray
@pytest.mark.parametrize(
    ("visible", "found"), [(None, ("cuda:3", "cuda:5")), ("5,3", ("cuda:1", "cuda:0")), ("", ("cuda:3", "cuda:5"))]
)
def test_the_cards_that_ray_assigns_are_named_as_torch_counts_them(
    visible: str | None, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from harness.execution.engines import node

    class Context:
        def get_accelerator_ids(self) -> dict[str, list[str]]:
            return {"GPU": ["3", "5"]}

    monkeypatch.setattr(ray, "get_runtime_context", Context)
    monkeypatch.delenv(node.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(node.VISIBLE, visible)
    assert node.devices_of("cuda") == found
    assert node.devices_of("cpu") == ("cpu",)


def test_a_token_lies_where_nothing_has_to_be_made(tmp_path: Path) -> None:
    assert token_for(tmp_path / "new" / "results").parent == tmp_path
    assert token_for(tmp_path).parent == tmp_path


@needs_ray
@pytest.mark.parametrize("name", ["torch", "NUMERICS"])
def test_a_node_of_other_software_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.execution.engines import node

    monkeypatch.setattr(node, "settle", lambda: None)
    own = node.software()
    question = node.Question(software=own | {name: "0"}, token=tmp_path / "token", hashes={}, check=())
    assert f"it has {name} {own[name]} (the coordinator has 0)." in node.look(question).refusal


@needs_ray
def test_nodes_that_wait_for_a_folder_have_it_one_after_the_other(tmp_path: Path) -> None:
    """The lock's file goes with each turn: who then locks what is no longer there asks again."""
    from harness.execution.engines import node

    ended = []

    def take(number: int) -> None:
        with node._turn(tmp_path):
            with (tmp_path / node.LOCK).open("ab") as other:
                assert not try_lock(other, tmp_path / node.LOCK)
            ended.append(number)

    waiting = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    with node._turn(tmp_path):
        for thread in waiting:
            thread.start()
        time.sleep(0.1)
        assert ended == []
    for thread in waiting:
        thread.join(20)
    assert sorted(ended) == [0, 1, 2, 3]
    assert not (tmp_path / node.LOCK).exists()

"""MLflow that is slow, refuses or never answers takes a bounded time; what it lacks is made up later."""

import http.server
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from tracking_records import Records

from harness.tracking import Mirror
from harness.tracking.store import Store


@pytest.fixture
def refusing() -> Iterator[Callable[[int], str]]:
    """Starts servers that answer every call with one status; gives their address."""
    servers = []

    def start(status: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 (the library's name)

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets the time of `time.monotonic` pass, which stands still otherwise."""
    passed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: passed[0])
    return lambda seconds: passed.__setitem__(0, passed[0] + seconds)


def slow(monkeypatch: pytest.MonkeyPatch, clock: Callable[[float], None], seconds: float) -> list[str]:
    """Every call of MLflow takes so long; the list has the names of those made."""
    calls: list[str] = []
    for name in [name for name in dir(MlflowClient) if not name.startswith("_")]:
        original = getattr(MlflowClient, name)
        if not callable(original):
            continue

        def call(*arguments: Any, _name: str = name, _original: Any = original, **options: Any) -> Any:
            calls.append(_name)
            clock(seconds)
            return _original(*arguments, **options)

        monkeypatch.setattr(MlflowClient, name, call)
    return calls


def test_a_slow_mlflow_gets_its_time_and_everything_over_several_attempts(
    records: Records, monkeypatch: pytest.MonkeyPatch, clock: Callable[[float], None]
) -> None:
    """As `patchbench report` makes it up: at most so many seconds a time."""
    digests = [records.complete(seed) for seed in range(8)]
    calls = slow(monkeypatch, clock, 2.0)
    done = []
    while not done or sum(done) < len(digests):
        assert len(done) < 10, "no progress"
        calls.clear()
        done.append(records.sync(limit=30.0))
        assert len(calls) <= 16
    assert len(done) > 1
    assert 0 not in done
    assert all("lacks part of the records: it took more than 30 s" in note for note in records.said)
    assert len(records.said) in (len(done) - 1, len(done))
    monkeypatch.undo()
    assert len(records.runs()) == 1 + len(digests)
    for digest in digests:
        assert set(records.journal_points(digest)) < set(records.history(digest))


def test_a_launch_that_runs_out_of_time_says_so_once(
    records: Records, monkeypatch: pytest.MonkeyPatch, clock: Callable[[float], None]
) -> None:
    digests = [records.complete(seed) for seed in range(8)]
    slow(monkeypatch, clock, 2.0)
    mirror = Mirror(records.study, records.folder, results=records.results, command="", say=records.said.append)
    mirror._deadline = 10.0
    mirror.changed(digests[0])
    assert mirror._ended.wait(60)
    mirror.close(timeout=10)
    assert len(records.said) == 1
    assert "lacks part of the records: it took more than 10 s" in records.said[0]
    monkeypatch.undo()
    assert records.sync() > 0


def test_a_call_that_never_returns_is_left_behind(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tracking.background._GRACE_SECONDS", 0.2)
    released = threading.Event()
    monkeypatch.setattr(MlflowClient, "search_runs", lambda *arguments, **options: released.wait(60))
    digest = records.complete()
    began = time.monotonic()
    assert records.sync(limit=0.5) == 0
    mirror = Mirror(records.study, records.folder, results=records.results, command="", say=records.said.append)
    mirror.changed(digest)
    mirror.close(timeout=0.5)
    assert time.monotonic() - began < 20
    assert "lacks part of the records: it took more than 0.5 s" in records.said[0]
    assert "lacks part of the records: it took more than 0.5 s" in records.said[1]
    monkeypatch.undo()
    released.set()
    mirror._ended.wait(10)
    assert records.sync() == 1


@pytest.mark.parametrize("status", [404, 401])
def test_what_an_address_refuses_is_not_waited_for(
    records: Records, monkeypatch: pytest.MonkeyPatch, refusing: Callable[[int], str], status: int
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", refusing(status))
    assert_given_up_at_once(records, f"failed with error code {status}")


@pytest.mark.parametrize("address", ["{folder}", "file://{folder}", "gopher://somewhere"])
def test_an_address_that_is_no_mlflow_is_not_waited_for(
    records: Records, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(folder=records.results / "a folder"))
    assert_given_up_at_once(records, "Exception")


def assert_given_up_at_once(records: Records, reason: str) -> None:
    """By few attempts, at a launch's end and when it is made up; the clock stands for the seconds that are spared."""
    digest, attempts = records.complete(), []
    connect = "harness.tracking.store.Store.connect"
    with pytest.MonkeyPatch.context() as patch:
        original = Store.connect
        patch.setattr(connect, lambda self, say: (attempts.append(1), original(self, say))[1])
        mirror = Mirror(records.study, records.folder, results=records.results, command="", say=records.said.append)
        mirror.changed(digest)
        while not records.said:
            time.sleep(0.01)
        before = len(attempts)
        mirror.close()
        assert len(attempts) <= before + 2
        attempts.clear()
        assert records.sync() == 0
        assert len(attempts) == 1
    assert len(records.said) == 3
    assert all(reason in note for note in records.said), records.said


def test_what_may_pass_is_tried_again(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    original, errors = (
        Store.connect,
        [
            sqlite3.OperationalError("database is locked"),
            MlflowException("overloaded", error_code=14),
            ConnectionError("reset"),
        ],
    )
    monkeypatch.setattr(Store, "connect", lambda self, say: original(self, say) if not errors else raise_(errors.pop()))
    records.complete()
    assert (records.sync(), records.said) == (1, [])


def raise_(error: Exception) -> None:
    raise error

"""MLflow's web interface over the mirror: a real server on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port, is_listening
from tracking_records import Records

from harness.spec import InvalidInput
from harness.tracking import serve

SCRIPT = "import sys; from pathlib import Path; from harness.tracking import serve\n"
SCRIPT += "serve(Path(sys.argv[1]), port=int(sys.argv[2]), say=lambda line: print(line, flush=True))"


def ask(address: str, body: dict[str, Any] | None = None) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    with opener.open(request, timeout=10) as answer:
        return bytes(answer.read())


def await_answer(port: int) -> None:
    deadline = time.monotonic() + 60
    while not is_listening(port):
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)


@pytest.mark.slow
def test_the_server_shows_the_experiment_and_ends_with_its_process(records: Records) -> None:
    records.complete()
    (records.results / "runs.csv").write_text("arm\n")
    records.sync(artifacts=[records.results / "runs.csv"])
    (parent,) = records.parents()
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(records.results), str(port)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        base = f"http://127.0.0.1:{port}"
        assert process.stdout.readline().startswith(f"MLflow is at {base}/#/experiments?")
        assert process.stdout.readline().startswith(f"patch_size/smoke: {base}/#/experiments/1/runs?")
        await_answer(port)
        found = json.loads(ask(f"{base}/api/2.0/mlflow/experiments/search", {"max_results": 10}))
        assert "patch_size/smoke" in [item["name"] for item in found["experiments"]]
        assert ask(f"{base}/get-artifact?path=runs.csv&run_id={parent.info.run_id}") == b"arm\n"
        with pytest.raises(InvalidInput) as taken:
            serve(records.results, port=port, say=print)
        assert str(taken.value) == f"Port {port} on 127.0.0.1 is taken or not allowed; choose another."
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    deadline = time.monotonic() + 10
    while is_listening(port):
        assert time.monotonic() < deadline, "the server outlived its process"
        time.sleep(0.05)


@pytest.mark.slow
def test_interrupting_ends_the_server_too(records: Records) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(records.results), str(port := free_port())],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "http" in process.stdout.readline()
    await_answer(port)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Run a study first"):
        serve(tmp_path, say=print)

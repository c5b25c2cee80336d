"""MLflow's web interface on this machine, over the mirror of a results folder."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode

from harness.records.databases import sqlite_url
from harness.spec import InvalidInput
from harness.tracking.store import ARTIFACTS, DATABASE, QUIET, Store

HOST = "127.0.0.1"
"""Loopback only: the interface has no access control."""

_START_SECONDS = 60.0

_PAGES = "#/experiments{place}?workflowType=machine_learning{query}"
"""Of an address: without the type a new browser gets the pages for language models, where no run is to be seen."""

_CONFIRM_RUNS = {
    "searchFilter": "tags.phase = 'confirm'",
    "orderByKey": "metrics.`validation_accuracy`",
    "orderByAsc": "false",
    "compareRunsMode": "CHART",
}
"""Sorted by a metric, runs are listed without their launches, which hide them and their curves until opened."""


def serve(results: Path, *, port: int = 5000, say: Callable[[str], object]) -> None:
    """Run MLflow's interface over `results/mlflow.db` until interrupted; `say` gets its address once it answers."""
    results = results.absolute()
    store = Store(results, None, results / DATABASE)
    if not (results / DATABASE).is_file():
        raise InvalidInput(f"There is no {results / DATABASE} to show yet. Run a study first: it is made on the way.")
    try:
        with store.locked():
            experiments = store.connect(say).search_experiments(order_by=["name"])
    except sqlite3.Error as error:
        raise InvalidInput(
            f"{store.place} cannot be read: {error}. Where it is damaged, move it away: `patchbench sync NAME` makes "
            "it again from the records, for each study."
        ) from error
    _require_free(port)
    base = f"http://{HOST}:{port}/"
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryFile() as log,
        _server(results, port, log) as server,
    ):
        if _await_answer(server, f"{base}health"):
            say(f"MLflow is at {base}{_PAGES.format(place='', query='')} (Ctrl-C ends it)")
            query = f"&{urlencode(_CONFIRM_RUNS, quote_via=quote)}"
            for item in experiments:
                if "/" in item.name:
                    say(f"{item.name}: {base}{_PAGES.format(place=f'/{item.experiment_id}/runs', query=query)}")
            server.wait()
        log.seek(0)
        raise RuntimeError(f"MLflow's server ended by itself; the end of its log: {log.read()[-2000:].decode()}")


def _require_free(port: int) -> None:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"Port is {port}; it must lie in [1, 65535].")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InvalidInput(f"Port {port} on {HOST} is taken or not allowed; choose another with --port.") from error


@contextlib.contextmanager
def _server(results: Path, port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The server in a process group of its own, ended with this process even if that is killed."""
    uri = sqlite_url(results / DATABASE)
    options = {
        "--backend-store-uri": uri,
        "--registry-store-uri": uri,
        "--default-artifact-root": (results / ARTIFACTS).as_uri(),
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
    }
    server = subprocess.Popen(  # noqa: S603 (fixed arguments)
        [sys.executable, "-m", "harness.tracking.server_process", *(part for item in options.items() for part in item)],
        stdin=subprocess.PIPE,  # the server ends when this pipe does
        start_new_session=True,
        env=os.environ | QUIET | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "ERROR"},
        stdout=log,
        stderr=log,
    )
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        assert server.stdin is not None
        server.stdin.close()


def _await_answer(server: subprocess.Popen[bytes], address: str) -> bool:
    """Whether the server answers before it ends or its time to start is over."""
    deadline = time.monotonic() + _START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), opener.open(address, timeout=2):
            return True
        time.sleep(0.2)
    return False

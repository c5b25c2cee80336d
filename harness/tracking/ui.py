"""MLflow's web interface on this machine, over the mirror of a results folder."""

import contextlib
import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode

from harness.records.databases import sqlite_url
from harness.spec import InvalidInput
from harness.tracking.store import ARTIFACTS, DATABASE, QUIET, renew_artifact_places, require_schema

HOST = "127.0.0.1"
"""Loopback only: the interface has no access control."""

_START_SECONDS = 60.0

_TRAINING = "workflowType=machine_learning"
"""Of a page's address: without it a new browser gets the pages for language models, where no run is to be seen."""


def serve(results: Path, *, port: int = 5000, say: Callable[[str], object]) -> None:
    """Run MLflow's interface over `results/mlflow.db` until interrupted; `say` gets its address once it answers."""
    database = results.absolute() / DATABASE
    if not database.is_file():
        raise InvalidInput(f"There is no {database} to show yet. Run a study first: it is made on the way.")
    try:
        require_schema(database)
        with contextlib.suppress(sqlite3.OperationalError):  # not to be written: then artifacts may not be found
            renew_artifact_places(results.absolute())
    except sqlite3.Error as error:
        raise InvalidInput(
            f"{database} cannot be read: {error}. Where it is damaged, move it away: `patchbench sync NAME` makes it "
            "again from the records, for each study."
        ) from error
    _require_free(port)
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryFile() as log,
        _server(results.absolute(), port, log) as server,
    ):
        if _await_answer(server, port):
            say(f"MLflow is at http://{HOST}:{port}/#/experiments?{_TRAINING} (Ctrl-C ends it)")
            for name, link in _links(database, port):
                say(f"{name}: {link}")
            server.wait()
        log.seek(0)
        raise RuntimeError(f"MLflow's server ended by itself; the end of its log: {log.read()[-2000:].decode()}")


def _links(database: Path, port: int) -> list[tuple[str, str]]:
    """Studies by name, each with a link to its confirm runs.

    Sorted by a metric they are listed without their launches, which hide them and their curves until they are opened.
    """
    with contextlib.closing(sqlite3.connect(database.as_uri() + "?mode=ro", uri=True)) as db:
        found = db.execute(
            "select name, experiment_id from experiments where lifecycle_stage = 'active' and name like '%/%' "
            "order by name"
        ).fetchall()
    shown = urlencode(
        {
            "searchFilter": "tags.phase = 'confirm'",
            "orderByKey": "metrics.`validation_accuracy`",
            "orderByAsc": "false",
            "compareRunsMode": "CHART",
        },
        quote_via=quote,
    )
    return [(name, f"http://{HOST}:{port}/#/experiments/{number}/runs?{_TRAINING}&{shown}") for name, number in found]


def _require_free(port: int) -> None:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"Port is {port}; it must lie in [1, 65535].")
    if _is_free(port):
        return
    free = next((other for other in range(port + 1, min(port + 1000, 65536)) if _is_free(other)), None)
    hint = f"port {free} is free" if free else "choose another"
    raise InvalidInput(f"Port {port} on {HOST} is taken or not allowed; {hint}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


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


def _await_answer(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server answers before it ends or its time to start is over."""
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        if _answers(port):
            return True
        time.sleep(0.2)
    return False


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

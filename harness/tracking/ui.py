"""MLflow's web interface on this machine, over the mirror of a results folder."""

import contextlib
import os
import socket
import sqlite3
from pathlib import Path
from urllib.parse import quote, urlencode

from harness.records.databases import sqlite_url
from harness.spec import InvalidInput
from harness.tracking.store import ARTIFACTS, DATABASE, Say, Store

HOST = "127.0.0.1"  # loopback only: the interface has no access control

_TYPE = "workflowType=machine_learning"  # without it a new browser gets the pages for language models

_CONFIRM_RUNS = {  # sorted by a metric, runs are listed without their launches, which would hide their curves
    "searchFilter": "tags.phase = 'confirm'",
    "orderByKey": "metrics.`validation_accuracy`",
    "orderByAsc": "false",
    "compareRunsMode": "CHART",
}


def serve(results: Path, *, port: int = 5000, say: Say) -> None:
    """Serve MLflow's interface over `results/mlflow.db` until interrupted; `say` gets its address and the studies'."""
    results = results.absolute()
    store = Store(results, None, results / DATABASE)
    if not (results / DATABASE).is_file():
        raise InvalidInput(f"There is no {results / DATABASE} to show yet. Run a study first: it is made on the way.")
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise InvalidInput(f"Port {port} on {HOST} is taken or not allowed; choose another.") from error
    try:
        with store.locked():
            experiments = store.connect(say).search_experiments(order_by=["name"])
    except sqlite3.Error as error:
        raise InvalidInput(
            f"{store.place} cannot be read: {error}. Where it is damaged, move it away: `patchbench sync NAME` makes "
            "it again from the records, for each study."
        ) from error
    import uvicorn
    from mlflow.server import constants
    from mlflow.server.fastapi_app import app

    uri = sqlite_url(results / DATABASE)
    os.environ.update({constants.BACKEND_STORE_URI_ENV_VAR: uri, constants.REGISTRY_STORE_URI_ENV_VAR: uri})
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = (results / ARTIFACTS).as_uri()
    base, query = f"http://{HOST}:{port}/#/experiments", urlencode(_CONFIRM_RUNS, quote_via=quote)
    say(f"MLflow is at {base}?{_TYPE} (Ctrl-C ends it)")
    for item in experiments:
        if "/" in item.name:
            say(f"{item.name}: {base}/{item.experiment_id}/runs?{_TYPE}&{query}")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(app, host=HOST, port=port, log_level="error", timeout_graceful_shutdown=2)

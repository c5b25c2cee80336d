"""What is done with MLflow when asked for: its interface served on this machine, a kept model registered in it."""

import contextlib
import json
import os
import socket
import sqlite3
import tempfile
import warnings
from pathlib import Path
from typing import Any

from harness.records.kept_models import ModelFolder
from harness.records.layout import command_line
from harness.spec import InvalidInput
from harness.tracking.databases import TRACKING
from harness.tracking.entries import VALIDATION
from harness.tracking.experiment import Experiment
from harness.tracking.store import ARTIFACTS, DATABASE, Say, Store, sqlite_url

HOST = "127.0.0.1"  # loopback only: the interface has no access control

_TYPE = "workflowType=machine_learning"  # without it a new browser gets the pages for language models

_VIEW = "patchbench"
_CONFIRM_RUNS: dict[str, Any] = {
    "searchFilter": "tags.phase = 'confirm'",
    "orderByKey": f"metrics.`{VALIDATION}`",  # by a metric: runs are listed without launches, which hide their curves
    "orderByAsc": False,
    "compareRunCharts": [],  # the interface adds one for each metric, under its section
    "compareRunSections": [
        {"uuid": name, "name": name, "display": True, "isReordered": False}
        for name in ("validation", "train", "test", "model", "cost")
    ],
    "isAccordionReordered": True,  # otherwise by the alphabet, costs first
}
"""A view of an experiment as MLflow's button "Share" keeps it, in a tag."""
LOADER = "harness.execution.model_export"  # its `_load_pyfunc` reads a model back; nothing in a version is unpickled
_ARTIFACT = "registered_model"


def serve(results: Path, *, port: int = 5000, say: Say) -> None:
    """Serve MLflow's interface over `results/mlflow.db` until interrupted; `say` gets its address and the studies'."""
    results = results.absolute()
    store = Store(results, None, results / DATABASE)
    if not (results / DATABASE).is_file():
        instead = "Run a study first: it is made on the way."
        if os.environ.get(TRACKING):
            instead = (
                f"Runs are mirrored to {TRACKING}, which has an interface of its own; without it `ui` has this file."
            )
        raise InvalidInput(f"There is no {results / DATABASE} to show. {instead}")
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise InvalidInput(f"Port {port} on {HOST} is taken or not allowed; choose another.") from error
    try:
        with store.locked():
            client = store.connect(say)
            experiments = [item for item in client.search_experiments(order_by=["name"]) if "/" in item.name]
            for item in experiments:
                client.set_experiment_tag(
                    item.experiment_id, f"mlflow.sharedViewState.{_VIEW}", json.dumps(_CONFIRM_RUNS)
                )
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
    base = f"http://{HOST}:{port}/#/experiments"
    say(f"MLflow is at {base}?{_TYPE} (Ctrl-C ends it)")
    for item in experiments:
        say(f"{item.name}: {base}/{item.experiment_id}/runs?{_TYPE}&viewStateShareKey={_VIEW}&compareRunsMode=CHART")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(app, host=HOST, port=port, log_level="error", timeout_graceful_shutdown=2)


def register(model: ModelFolder, name: str, *, results: Path, say: Say) -> str:
    """Register a kept model; its version, that of an earlier call for the same. `InvalidInput` where refused."""
    store = Store.of(results)
    study, _, scale = model.study.partition("/")
    try:
        experiment = Experiment(store, study, scale, say=say)
        run_id = experiment.attach_model(model)
        if run_id is None:
            raise InvalidInput(
                f"MLflow ({store.place}) lacks the run of model {model.facts.digest[:12]}. "
                f"Make it up first: {command_line(results.absolute(), 'sync', study, '--scale', scale)}"
            )
        with store.locked():
            return _registered(experiment.client, run_id, model, name)
    except InvalidInput:
        raise
    except Exception as error:  # MLflow raises errors of many libraries
        line = (str(error).splitlines() or [""])[0][:300]
        raise InvalidInput(
            f"The model was not registered as {name!r} in MLflow ({store.place}): {type(error).__name__}: {line}"
        ) from error


def _registered(client: Any, run_id: str, model: ModelFolder, name: str) -> str:
    wanted = {"digest": model.facts.digest, "sha256": model.facts.sha256, "loader": LOADER}
    if not any(found.name == name for found in client.search_registered_models()):
        client.create_registered_model(name)
    for version in client.search_model_versions():
        if version.name == name and wanted.items() <= version.tags.items():
            return str(version.version)
    with tempfile.TemporaryDirectory(prefix="patchbench-") as folder:
        path = Path(folder) / _ARTIFACT
        _save(model, path)
        client.log_artifacts(run_id, str(path), _ARTIFACT)
    source = f"{client.get_run(run_id).info.artifact_uri}/{_ARTIFACT}"
    return str(client.create_model_version(name, source, run_id, tags=wanted).version)


def _save(model: ModelFolder, path: Path) -> None:
    """A folder that `mlflow.pyfunc.load_model` reads: images uint8 (N, C, H, W) to logits float32 (N, classes)."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    config = model.facts.config
    images = TensorSpec(np.dtype("uint8"), (-1, config.channels, config.image_size, config.image_size))
    logits = TensorSpec(np.dtype("float32"), (-1, config.classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it would rather have an example and type hints of its own
        pyfunc.save_model(
            str(path),
            loader_module=LOADER,
            data_path=str(model.path),
            signature=ModelSignature(inputs=Schema([images]), outputs=Schema([logits])),
            pip_requirements=["patchbench"],
        )

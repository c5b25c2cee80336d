"""Kept models in MLflow: as artifacts of their runs, and registered where somebody asks for it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from free_ports import free_port, is_listening
from tracking_records import RESNET, Records

from harness.records.kept_models import ModelFolder
from harness.spec import InvalidInput
from harness.tracking import register


def artifacts(records: Records, digest: str, path: str = "model") -> list[str]:
    """Names of what a training's run has in the artifact folder `path`."""
    found = records.client().list_artifacts(records.child(digest).info.run_id, path)
    return sorted(item.path.rpartition("/")[2] for item in found)


def test_the_best_model_is_an_artifact_of_its_training_and_logged_once(
    records: Records, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    best, other = records.complete(0), records.complete(1)
    kept = records.keep_model(best)
    assert records.sync() == 2
    assert artifacts(records, best) == ["model.json", "model.safetensors"]
    assert artifacts(records, other) == []
    assert records.child(best).data.tags["model_sha256"] == kept.facts.sha256
    calls: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", lambda *arguments: calls.append(arguments))
        records.sync()
    assert calls == []
    shutil.copy(empty_database, records.results / "mlflow.db")
    records.sync()
    assert artifacts(records, best) == ["model.json", "model.safetensors"]


def test_other_weights_take_the_place_of_those_that_were_logged(records: Records) -> None:
    digest = records.complete()
    records.keep_model(digest)
    records.sync()
    kept = records.keep_model(digest, seed=1)
    records.sync()
    client, child = records.client(), records.child(digest)
    place = Path(client.download_artifacts(child.info.run_id, "model"))
    assert ModelFolder(place).facts.sha256 == kept.facts.sha256 == child.data.tags["model_sha256"]
    ModelFolder(place).require_whole()


def test_a_failure_while_a_model_is_logged_is_completed_by_the_next_sync(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    digest = records.complete()
    kept = records.keep_model(digest)

    def kill(*arguments: object) -> None:
        raise PermissionError("not now")

    with monkeypatch.context() as patch:
        patch.setattr("harness.tracking.background._PATIENCE_SECONDS", 0.0)
        patch.setattr(MlflowClient, "set_tag", kill)
        records.sync()
    assert "lacks part of the records" in records.said[0]
    records.sync()
    assert records.child(digest).data.tags["model_sha256"] == kept.facts.sha256


def test_a_registered_model_answers_through_mlflow_and_is_registered_once(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import torch

    from harness.training.weights import restore_model

    digest = records.complete(arm=RESNET)
    kept = records.keep_model(digest)
    with pytest.raises(InvalidInput, match=r"lacks the run of model .* patchbench .* sync patch_size --scale smoke"):
        register(kept, "digits", results=records.results, say=print)
    records.sync()
    assert register(kept, "digits", results=records.results, say=print) == "1"
    assert register(kept, "digits", results=records.results, say=print) == "1"
    other = records.keep_model(digest, seed=1)
    assert register(other, "digits", results=records.results, say=print) == "2"
    with pytest.raises(InvalidInput, match=r"was not registered as 'a/b'.*Invalid model name"):
        register(other, "a/b", results=records.results, say=print)
    # `mlflow.set_tracking_uri` would leave its value in the environment, for every later test to write to.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{records.results / 'mlflow.db'}")
    loaded = mlflow.pyfunc.load_model("models:/digits/2")
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8)
    with torch.inference_mode():
        own = restore_model(other)(torch.tensor(images) / 255)
    assert not list(records.results.rglob("*.pkl"))
    np.testing.assert_allclose(loaded.predict(images), own.numpy(), atol=1e-5)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """An MLflow server of its own, with its own artifacts; its address."""
    port = free_port()
    options = ["--backend-store-uri", f"sqlite:///{folder}/served.db", "--artifacts-destination", f"{folder}/served"]
    command = [sys.executable, "-m", "mlflow", "server", *options, "--port", str(port), "--workers", "1"]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not is_listening(port):
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


@pytest.mark.slow
def test_a_server_elsewhere_gets_runs_reports_and_models_and_its_absence_is_told_in_time(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = records.complete()
    kept = records.keep_model(digest)
    report = records.folder / "report.html"
    report.write_text("<h1>A report</h1>")
    with served(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert records.sync(artifacts=[report]) == 1
        assert records.said == []
        assert artifacts(records, digest) == ["model.json", "model.safetensors"]
        (parent,) = records.parents()
        assert Path(records.client().download_artifacts(parent.info.run_id, "report.html")).read_text() == (
            "<h1>A report</h1>"
        )
        assert register(kept, "vit", results=records.results, say=print) == "1"
    assert not (records.results / "mlartifacts").exists()
    began = time.monotonic()
    records.sync(artifacts=[report])
    assert time.monotonic() - began < 60
    assert len(records.said) == 1
    assert "MLflow lacks part of the records" in records.said[0]
    with pytest.raises(InvalidInput, match=f"was not registered as 'vit' in MLflow .{address}"):
        register(kept, "vit", results=records.results, say=print)

"""A kept model as a version in MLflow's registry, for those who ask for one; loaded again by `mlflow.pyfunc`."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

from harness.records.kept_models import ModelFolder
from harness.spec import InvalidInput
from harness.tracking.experiment import Experiment
from harness.tracking.store import Store

LOADER = "harness.execution.model_export"  # its `_load_pyfunc` reads a model back; nothing in a version is unpickled

_ARTIFACT = "registered_model"


def register(model: ModelFolder, name: str, *, results: Path) -> str:
    """Register a kept model; its version, that of an earlier call for the same. `InvalidInput` where refused."""
    store = Store.of(results)
    study, _, scale = model.study.partition("/")
    try:
        experiment = Experiment(store, study, scale)
        run_id = experiment.attach_model(model)
        if run_id is None:
            raise InvalidInput(
                f"MLflow ({store.place}) lacks the run of model {model.facts.digest[:12]}. "
                f"Make it up first: patchbench sync {study} --scale {scale}."
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

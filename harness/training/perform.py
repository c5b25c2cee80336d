"""One planned run, from its folder to its result: what a worker does."""

import contextlib
import dataclasses
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from harness.data import load
from harness.models import attention_macs_per_image, macs_per_image, parameters
from harness.records import provenance
from harness.records.files import read_bytes, sha256
from harness.records.journal import Journal
from harness.records.runs import RunFolder, RunResult
from harness.spec import Run
from harness.spec.plural import counted
from harness.training.allocator import keep_freed_memory
from harness.training.checkpoint import CheckpointFolder
from harness.training.device import Placement, choose, out_of_memory_as
from harness.training.distillation import train_teacher
from harness.training.evaluation import Evaluation
from harness.training.loop import Trained, train
from harness.training.numerics import NUMERICS
from harness.training.profiling import profile
from harness.training.settings import WorkerSettings
from harness.training.state import Diverged, Interrupted, Teacher, Training
from harness.training.weights import keep_model


class OutOfMemory(Exception):
    """The device or the host could not allocate what the training needs."""


def perform(
    run: Run,
    folder: RunFolder,
    settings: WorkerSettings,
    *,
    heartbeat: Callable[[int], object] = lambda update: None,
    stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Train `run`, keep its journal, predictions, model and result in `folder`, and return the result.

    A divergence and a lack of memory are results. Any other error passes, with nothing written as a
    result; `Interrupted` passes after a checkpoint was kept.
    """
    torch.set_num_threads(settings.threads)
    if settings.own_process:
        keep_freed_memory()
    placement = choose(settings.device, run.config.recipe.precision, deterministic=settings.deterministic)
    if placement.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(placement.device)
    folder.write_config(run)
    with (
        contextlib.closing(Journal(folder.journal_path)) as journal,
        folder.open_log() as log,
    ):

        def say(message: str) -> None:
            log.write(message + "\n")
            log.flush()

        checkpoints = CheckpointFolder(folder.path, journal, every_seconds=settings.checkpoint_seconds, say=say)
        say(f"{run.label} on {placement.device}, {placement.precision}, {counted(settings.threads, 'thread')}")
        blank = RunResult(
            digest=run.digest,
            status="failed",
            device=_device_name(placement),
            precision=placement.precision,
            code_fingerprint=provenance.code_fingerprint(),
            numerics=NUMERICS,
            environment=_environment(settings),
        )
        try:
            result = _outcome(blank, run, folder, lambda: _train(run, placement, journal, checkpoints, heartbeat, stop))
        except Interrupted:
            say("Interrupted; a training goes on from its last state, a teacher in training starts anew.")
            raise
        if placement.device.type == "cpu" and not settings.own_process:
            result = dataclasses.replace(result, peak_memory_bytes=None, eval_peak_memory_bytes=None)
        journal.append("finished", status=result.status, reason=result.reason, **_final_metrics(result))
        # The curves come from the journal: it is part of the result.
        journalled = {folder.journal_path.name: sha256(read_bytes(folder.journal_path))}
        result = dataclasses.replace(result, files={**result.files, **journalled})
        folder.write_result(result)
        checkpoints.clear()
        say(f"{result.status} {result.reason}".strip())
        if settings.profile and result.status == "completed":
            say(f"profile: {profile(run, folder.path, placement)}")
    return result


def _outcome(blank: RunResult, run: Run, folder: RunFolder, train_it: Callable[[], Trained]) -> RunResult:
    """`blank` filled in with how the training ended; predictions are kept where there are any."""
    try:
        with out_of_memory_as(OutOfMemory):
            trained = train_it()
        return _completed(blank, run, folder, trained)
    except Diverged as error:
        return _diverged(blank, run, error)
    except OutOfMemory as error:
        return dataclasses.replace(blank, status="out_of_memory", reason=str(error))


def _train(
    run: Run,
    placement: Placement,
    journal: Journal,
    checkpoints: CheckpointFolder,
    heartbeat: Callable[[int], object],
    stop: Callable[[], bool],
) -> Trained:
    dataset = load(run.config.data, device=placement.device, phase=run.config.phase)
    if dataset.hash != run.config.data_hash:
        raise RuntimeError(f"the data changed since the run was planned: {run.config.data_hash} -> {dataset.hash}")
    teacher: Teacher | None = None
    if run.config.recipe.distillation is not None:
        teacher = train_teacher(run.config, dataset, placement, keeper=checkpoints, heartbeat=heartbeat, stop=stop)
    return train(
        run.config,
        dataset,
        placement,
        emit=journal.append,
        teacher=teacher,
        checkpoints=checkpoints,
        heartbeat=heartbeat,
        stop=stop,
    )


def _completed(result: RunResult, run: Run, folder: RunFolder, trained: Trained) -> RunResult:
    """`result` with all that a whole training tells. Of a teacher, only the forward passes count: in its times."""
    training, config = trained.training, run.config
    test = trained.test
    files = {} if test is None else _keep_predictions(folder, test)
    if test is not None:
        keep_model(run, folder, trained, code_fingerprint=result.code_fingerprint)
    return dataclasses.replace(
        result,
        status="completed",
        test_accuracy=None if test is None else test.accuracy,
        test_loss=None if test is None else test.loss,
        shifts=trained.shifts,
        params=parameters(training.model),
        macs_per_image=macs_per_image(config.model, **config.shape),
        attention_macs_per_image=attention_macs_per_image(config.model, **config.shape),
        eval_images_per_second=None if test is None else len(test.labels) / test.seconds,
        peak_memory_bytes=training.placement.peak_memory_bytes(),
        eval_peak_memory_bytes=training.placement.eval_peak_memory_bytes(),
        files=files,
        **_measured(training),
    )


def _measured(training: Training) -> dict[str, Any]:
    """What is known of a training after any evaluation."""
    return {
        "validation_accuracy": training.validation_accuracy,
        "validation_loss": training.validation_loss,
        "train_loss": training.train_loss,
        "updates": training.update,
        "images_seen": training.images_seen,
        "train_seconds": training.seconds,
        "train_images_per_second": training.images_seen / training.seconds,
    }


def _diverged(result: RunResult, run: Run, error: Diverged) -> RunResult:
    images = error.update * run.config.recipe.batch_size
    return dataclasses.replace(result, status="diverged", reason=str(error), updates=error.update, images_seen=images)


def _keep_predictions(folder: RunFolder, test: Evaluation) -> dict[str, str]:
    return folder.write_predictions(test.labels.numpy().astype(np.uint16), test.predicted.numpy().astype(np.uint16))


def _final_metrics(result: RunResult) -> dict[str, Any]:
    names = ("test_accuracy", "test_loss", "train_images_per_second", "peak_memory_bytes")
    return {name: value for name in names if (value := getattr(result, name)) is not None}


def _device_name(placement: Placement) -> str:
    if placement.device.type == "cuda":
        return torch.cuda.get_device_name(placement.device)
    return placement.device.type


def _environment(settings: WorkerSettings) -> dict[str, Any]:
    return {
        "host": platform.node(),
        "threads": settings.threads,
        "deterministic": settings.deterministic,
        **provenance.versions(),
        **provenance.hardware(),
        **provenance.git_state(),
    }

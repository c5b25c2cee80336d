"""One planned run, from its folder to its result: what a worker does."""

import contextlib
import platform
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.data import load
from harness.models import attention_macs_per_image, macs_per_image, parameters
from harness.records import provenance
from harness.records.correctness import Classes
from harness.records.files import read_bytes, sha256
from harness.records.runs import Journal, PatchTest, RunFolder, RunResult
from harness.spec import InvalidInput, Run, RunConfig, ViTSpec
from harness.spec.checks import known
from harness.spec.formats import counted
from harness.training import WorkerSettings
from harness.training.checkpoint import CheckpointFolder, Checkpoints, FollowedCheckpoints
from harness.training.device import Placement, choose, keep_freed_memory, memory_errors
from harness.training.few_shot import few_shot_accuracies, load_target
from harness.training.loop import train, train_teacher
from harness.training.numerics import NUMERICS
from harness.training.profiling import profile
from harness.training.ranks import join
from harness.training.start import Weights, followed, pretrained, stand_in
from harness.training.state import Crowded, Diverged, Interrupted, Training
from harness.training.weights import keep_model


def perform(
    run: Run,
    folder: RunFolder,
    settings: WorkerSettings,
    *,
    heartbeat: Callable[[int], object] = lambda update: None,
    stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Train `run`, keep its journal, predictions, model and result in `folder`, and return the result.

    A divergence and a lack of memory are results, other errors pass; `Interrupted` after a checkpoint was kept, and
    `Crowded` for a lack of memory where others hold some of it and the run may move to another card.
    """
    placement = _placement(run.config, settings)
    if placement.device.type == "cuda":
        placement.begin_peak()
    folder.write_config(run)
    with contextlib.closing(Journal(folder.journal_path)) as journal, folder.open_log() as log:

        def say(message: str) -> None:
            log.write(message + "\n")
            log.flush()

        checkpoints = CheckpointFolder(folder.path, journal, every_seconds=settings.checkpoint_seconds, say=say)
        say(f"{run.label} on {_where(placement, settings)}, {counted(settings.threads, 'thread')}")
        result = _blank(run, placement, settings)
        try:
            with memory_errors():
                begin_peak = placement.begin_peak if settings.own_process or placement.device.type == "cuda" else None
                start = _start(run.config, folder, settings, placement, heartbeat=heartbeat, stop=stop)
                if start is not None and begin_peak is not None:
                    begin_peak()
                signs = {"heartbeat": heartbeat, "stop": stop}
                training = _train(run, placement, journal.append, checkpoints, start, begin_peak=begin_peak, **signs)
            result = _completed(result, run, folder, training)
        except Diverged as error:
            images = error.update * run.config.recipe.batch_size
            result = replace(result, status="diverged", reason=str(error), updates=error.update, images_seen=images)
        except MemoryError as error:
            result = replace(result, status="out_of_memory", reason=_lack_of_memory(error, placement, settings))
        except Interrupted:
            say("Interrupted; a training goes on from its last state, a teacher in training starts anew.")
            raise
        if placement.device.type == "cpu" and not settings.own_process:
            result = replace(result, peak_memory_bytes=None, eval_peak_memory_bytes=None)
        told = ("test_accuracy", "test_loss", "train_images_per_second", "peak_memory_bytes")
        metrics = {name: value for name in told if (value := getattr(result, name)) is not None}
        journal.append("finished", status=result.status, reason=result.reason, **metrics)
        # The curves come from the journal: it is part of the result.
        journalled = {folder.journal_path.name: sha256(read_bytes(folder.journal_path))}
        result = replace(result, files={**result.files, **journalled})
        folder.write_result(result)
        folder.tidy()
        say(f"{result.status} {result.reason}".strip())
        if settings.profile and result.status == "completed":
            del training  # whose memory the profile takes
            _profile(run, folder, placement, say)
    return result


def _profile(run: Run, folder: RunFolder, placement: Placement, say: Callable[[str], None]) -> None:
    try:
        say(f"profile: {profile(run, folder.path, placement)}")
    except Exception as error:  # the result stands
        say(f"no profile: {type(error).__name__}: {error}")


def assist(run: Run, settings: WorkerSettings) -> None:
    """Train `run` with the process that performs it, on this one's part of each batch; keeps nothing.

    Returns also where the training diverges, which the other records. Raises `MemoryError` with what is to be told of
    it, and otherwise as `perform` does.
    """
    placement = _placement(run.config, settings)
    try:
        with memory_errors(), contextlib.suppress(Diverged):
            start = _start(run.config, None, settings, placement)
            _train(run, placement, lambda event, **fields: None, FollowedCheckpoints(), start, begin_peak=None)
    except MemoryError as error:
        raise MemoryError(_lack_of_memory(error, placement, settings)) from error


def _placement(config: RunConfig, settings: WorkerSettings) -> Placement:
    """Where a run is trained, in this process as it is set up for that."""
    torch.set_num_threads(settings.threads)
    if settings.own_process:
        keep_freed_memory()
    placement = choose(settings.device, config.recipe.precision, deterministic=settings.deterministic)
    return replace(placement, ranks=join(settings.member, placement.device))


def _where(placement: Placement, settings: WorkerSettings) -> str:
    where = ",".join(settings.cards) or str(placement.device)
    if placement.ranks.size > 1:
        where += f" in {placement.ranks.size} processes"
    return f"{where}, {placement.precision}"


def _lack_of_memory(error: MemoryError, placement: Placement, settings: WorkerSettings) -> str:
    """What to tell of it. Raises `Crowded` where others hold memory of the card and the run may move to another one."""
    held = placement.bytes_of_others()
    if not held:
        return str(error)
    reason = f"{error} (other processes hold {held / 2**30:.1f} GiB of {','.join(settings.cards)})"
    if settings.may_move:
        raise Crowded(reason) from error
    return reason


def _start(
    config: RunConfig, folder: RunFolder | None, settings: WorkerSettings, placement: Placement, **signs: Any
) -> Weights | None:
    """What a run starts from in place of fresh weights: a file, or a pre-training, which is made where it lacks."""
    asked = config.recipe.start_from
    if asked is None or asked.pretraining is None:
        return stand_in(config)
    if folder is None:
        return followed(config, partial(assist, settings=settings), placement.ranks)
    made = partial(perform, settings=replace(settings, profile=False))
    return pretrained(config, settings.pretrained or folder.path.parent, made, placement.ranks, **signs)


def _train(
    run: Run,
    placement: Placement,
    emit: Callable[..., object],
    checkpoints: Checkpoints,
    start: Weights | None,
    *,
    begin_peak: Callable[[], object] | None,
    **signs: Any,
) -> Training:
    """`begin_peak` forgets the memory of what comes before the training, where that can be told apart."""
    config, teacher = run.config, None
    dataset = load(config.data, device=placement.device, phase=config.phase, seed=config.seed)
    target = load_target(config, placement)
    for found, planned in ((dataset, config.data_hash), (target, config.few_shot_hash)):
        if found is not None and found.hash != planned:
            spec = config.data if found is dataset else known(config.few_shot).data
            raise InvalidInput(
                f"The images of {spec.source} are not those that the study was planned with (SHA-256 {planned[:12]}, "
                f"now {found.hash[:12]}). A function must give the same arrays at every call, so seed what it draws; "
                "files must stay as they are while a study runs. Then run it again."
            )
    if config.recipe.distillation is not None:
        teacher = train_teacher(config, dataset, placement, keeper=checkpoints, **signs)
        if begin_peak is not None:
            begin_peak()
    training = train(
        config, dataset, placement, emit=emit, teacher=teacher, start=start, checkpoints=checkpoints, **signs
    )
    if target is not None and placement.ranks.leads:
        training.few_shots = few_shot_accuracies(training, target, config, lambda: signs["heartbeat"](training.update))
    return training


def _blank(run: Run, placement: Placement, settings: WorkerSettings) -> RunResult:
    """What is known of a result before its training."""
    how = {"host": platform.node(), "threads": settings.threads, "deterministic": settings.deterministic}
    how |= {"cards": ",".join(settings.cards)} if settings.cards else {}
    how["cards_per_run"] = placement.ranks.size  # no part of the identity: the losses are the same to rounding
    return RunResult(
        digest=run.digest,
        status="failed",
        device=placement.device_name,
        precision=placement.precision,
        code_fingerprint=provenance.code_fingerprint(),
        numerics=NUMERICS,
        environment=how | provenance.versions() | provenance.hardware() | provenance.git_state(),
    )


def _completed(result: RunResult, run: Run, folder: RunFolder, training: Training) -> RunResult:
    """`result` with all that a whole training tells. Of a teacher, only the forward passes count: in its times."""
    config, test = run.config, training.test
    if test is not None:
        classes = Classes(*(part.numpy().astype(np.uint16) for part in (test.labels, test.predicted)))
        top5 = None if test.top5 is None else test.top5.numpy()
        at_patches = {size: found.predicted.numpy().astype(np.uint16) for size, found in training.at_patches}
        result = replace(
            result,
            test_accuracy=test.accuracy,
            test_loss=test.loss,
            balanced_accuracy=classes.balanced_accuracy,
            top5_accuracy=None if top5 is None else float(top5.mean()),
            shifts=training.shifts,
            patches=tuple(_patch_test(config, size, found.accuracy) for size, found in training.at_patches),
            few_shots=training.few_shots,
            eval_images_per_second=len(test.labels) / test.seconds,
            files=folder.write_predictions(*classes, top5, at_patches),
        )
        keep_model(run, folder, training, code_fingerprint=result.code_fingerprint)
    return replace(
        result,
        status="completed",
        validation_accuracy=training.validation_accuracy,
        validation_loss=training.validation_loss,
        train_loss=training.train_loss,
        updates=training.update,
        images_seen=training.images_seen,
        train_seconds=training.seconds,
        train_images_per_second=training.images_seen / training.seconds,
        params=parameters(training.model),
        macs_per_image=macs_per_image(config.model, **config.shape),
        attention_macs_per_image=attention_macs_per_image(config.model, **config.shape),
        peak_memory_bytes=training.placement.peak_memory_bytes(),
        eval_peak_memory_bytes=training.placement.peaks.get("evaluation"),
    )


def _patch_test(config: RunConfig, size: int, accuracy: float) -> PatchTest:
    assert isinstance(config.model, ViTSpec)
    model = replace(config.model, patch_size=size)
    return PatchTest(patch_size=size, accuracy=accuracy, macs_per_image=macs_per_image(model, **config.shape))

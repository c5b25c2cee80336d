"""The teacher of a run (arXiv 2012.12877, section 4): trained first, on the run's own images, and kept beside it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.data import Dataset
from harness.spec import RunConfig
from harness.training.checkpoint import CheckpointFolder
from harness.training.device import Placement
from harness.training.evaluation import evaluate
from harness.training.loop import prepare_training, require_finite, run_updates
from harness.training.state import Diverged, Interrupted, Teacher, Training


def train_teacher(
    config: RunConfig,
    dataset: Dataset,
    placement: Placement,
    *,
    keeper: CheckpointFolder,
    heartbeat: Callable[[int], object] = lambda update: None,
    stop: Callable[[], bool] = lambda: False,
) -> Teacher:
    """The teacher of a run with distillation: the one that was kept, or one that is trained now and kept.

    It sees the subset, batches and augmentation of the run and has its budget, but weights of its own seed. It is
    scored on validation once, after the last update; the test split is never read. `heartbeat` receives 0, the updates
    that the run itself has done, after each update. A teacher that is stopped or killed in training starts anew.

    Raises `Diverged` at update 0, `Interrupted`, and `InvalidInput` for images that are too small for it.
    """
    own = teacher_config(config)
    own.model.check_image(own.image_size)

    def prepared() -> Training:
        return prepare_training(own, dataset, placement, weights="teacher")

    kept = keeper.restore_teacher(lambda state: _teacher(prepared(), state), placement)
    if kept is not None:
        return kept
    training = prepared()
    try:
        for _ in run_updates(training):
            heartbeat(0)
            if stop():
                raise Interrupted
        validation = evaluate(training, dataset.validation, lambda: heartbeat(0))
        require_finite("validation", validation.loss, training.update)
    except Diverged as error:
        raise Diverged(f"the teacher diverged: {error}", update=0) from error
    state = {
        "model": training.evaluated_model.state_dict(),
        "validation_accuracy": validation.accuracy,
        "seconds": training.seconds,
    }
    keeper.save_teacher(state, placement)
    return _teacher(training, state)


def teacher_config(config: RunConfig) -> RunConfig:
    """The teacher's training: the run's, but for the model, its learning rate and decay, and the test."""
    asked = config.recipe.distillation
    assert asked is not None
    recipe = replace(
        config.recipe, learning_rate=asked.learning_rate, weight_decay=asked.weight_decay, distillation=None
    )
    return replace(config, phase="tune", model=asked.teacher, recipe=recipe, test_shifts=())


def _teacher(training: Training, state: dict[str, Any]) -> Teacher:
    # A kept teacher and one that was just trained are made in the same way, so that both answer with the same bits.
    training.model.load_state_dict(state["model"])
    return Teacher(
        model=training.model.eval().requires_grad_(requires_grad=False),
        validation_accuracy=state["validation_accuracy"],
        seconds=state["seconds"],
    )

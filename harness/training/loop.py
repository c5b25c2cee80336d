"""One training, top to bottom: data, model, optimiser, updates, evaluations, and the test split once at the end.

And before it that of its teacher (arXiv 2012.12877, section 4), on the same images. Neither knows searches, mirrors or
which process it runs in: it takes a `RunConfig` and emits events.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the field's usual name)

from harness.data import Dataset, derive
from harness.data.augmentation import augment
from harness.data.parts import Part
from harness.data.splits import Batches, Inputs, normalisation, subset
from harness.models import build, family_of
from harness.models.stem import flexible_stem
from harness.models.transfer import freeze_body, start_from
from harness.spec import Recipe, RunConfig
from harness.spec.errors import require_within
from harness.training.checkpoint import Checkpoints
from harness.training.device import Later, Placement
from harness.training.evaluation import evaluate, evaluate_at_patches, evaluate_shifted, images_per_pass
from harness.training.optimizer import build_optimizers, learning_rates
from harness.training.ranks import added_up, parallel, synchronise
from harness.training.sharpness import at_the_worst
from harness.training.stability import IMAGES, Watch
from harness.training.start import Weights
from harness.training.state import Diverged, Interrupted, Teacher, Training


def train(  # noqa: PLR0913 (what it may be given, and how it is heard and stopped)
    config: RunConfig,
    dataset: Dataset,
    placement: Placement,
    *,
    emit: Callable[..., object],
    teacher: Teacher | None = None,
    start: Weights | None = None,
    checkpoints: Checkpoints | None = None,
    heartbeat: Callable[[int], object] = lambda update: None,
    stop: Callable[[], bool] = lambda: False,
) -> Training:
    """Train and evaluate as `config` says, with the `teacher` that a recipe with distillation needs.

    And from the weights, `start`, that a recipe with `start_from` needs.

    `emit(event, **fields)` receives `evaluated` events (and first a `taught` one, where there is a teacher,
    and a `started_from` one, where weights are given);
    `heartbeat` the number of updates done, after each update and each forward pass of an evaluation; `stop` is asked
    after each update. The test split is read here and only here, after the last update, in the confirm phase.
    Of processes that train together, all call this; the first one alone evaluates, emits and is asked.

    Raises `Diverged`, `Interrupted`, what the device raises when it is out of memory, and `InvalidInput` for
    a test of images shifted by their side or more.
    """
    for pixels in config.test_shifts:
        require_within("test_shifts: shift (pixels)", pixels, 1, dataset.facts.image_size - 1)
    taught_by = teacher.model if teacher else None
    prepared = partial(prepare_training, config, dataset, placement, teacher=taught_by, start=start)
    training = prepared() if checkpoints is None else checkpoints.restore(prepared)

    def beat() -> None:
        heartbeat(training.update)

    if training.update == 0:
        _tell_of(teacher, start, emit)
    ranks = placement.ranks
    for number, _ in enumerate(run_updates(training)):
        beat()
        if number == 0 and placement.device.type == "cuda":  # its search for kernels takes more than they do
            placement.synchronise()
            placement.begin_peak()
        if ranks.leads and training.update in training.points:
            emit("evaluated", **_validate(training, dataset, beat))
        is_stopped, is_due = ranks.decided(stop(), checkpoints is not None and checkpoints.is_due(training))
        if checkpoints is not None and (is_stopped or is_due):
            checkpoints.save(training)
        if is_stopped:
            raise Interrupted
    if ranks.leads and config.phase == "confirm":
        split = dataset.test
        training.test = evaluate(training, split, beat)
        require_finite("test", training.test.loss, training.update)
        training.shifts = evaluate_shifted(training, split, training.test.predicted, config.test_shifts, beat)
        training.at_patches = evaluate_at_patches(training, split, training.test, config, beat)
    return training


def _tell_of(teacher: Teacher | None, start: Weights | None, emit: Callable[..., object]) -> None:
    """Emit what a run was given that others have learned."""
    if teacher is not None:
        emit("taught", validation_accuracy=teacher.validation_accuracy, seconds=round(teacher.seconds, 3))
    if start is not None:
        emit("started_from", **start.told)


def train_teacher(
    config: RunConfig,
    dataset: Dataset,
    placement: Placement,
    *,
    keeper: Checkpoints,
    heartbeat: Callable[[int], object] = lambda update: None,
    stop: Callable[[], bool] = lambda: False,
) -> Teacher:
    """The teacher of a run with distillation: the one that was kept, or one that is trained now and kept.

    It sees the subset, batches and augmentation of the run and has its budget, but weights of its own seed. It is
    scored on validation once; the test split is never read. `heartbeat` receives 0, the updates that the run itself has
    done. Raises `Diverged` at update 0, `Interrupted`, and `InvalidInput` for images that are too small for it.
    """
    own = teacher_config(config)
    own.model.check_image(own.image_size)
    prepared = partial(prepare_training, own, dataset, placement, weights="teacher")
    kept = keeper.restore_teacher(lambda state: _teacher(prepared(), state), placement)
    if kept is not None:
        return kept
    training = prepared()
    try:
        for _ in run_updates(training):
            heartbeat(0)
            if any(placement.ranks.decided(stop())):
                raise Interrupted
        told = placement.ranks.shared(_score(training, dataset, heartbeat) if placement.ranks.leads else {})
    except Diverged as error:
        raise Diverged(f"the teacher diverged: {error}", update=0) from error
    state = told | {"model": training.evaluated_model.state_dict()}
    keeper.save_teacher(state, placement)
    return _teacher(training, state)


def _score(teacher: Training, dataset: Dataset, heartbeat: Callable[[int], object]) -> dict[str, float]:
    """What is told of a trained teacher."""
    validation = evaluate(teacher, dataset.validation, lambda: heartbeat(0))
    require_finite("validation", validation.loss, teacher.update)
    return {"validation_accuracy": validation.accuracy, "seconds": teacher.seconds}


def teacher_config(config: RunConfig) -> RunConfig:
    """The teacher's training: the run's, but for the model, its learning rate and decay, and the test."""
    asked = config.recipe.distillation
    assert asked is not None
    rate, decay = asked.learning_rate, asked.weight_decay
    recipe = replace(config.recipe, learning_rate=rate, weight_decay=decay, distillation=None, start_from=None)
    return replace(config, phase="tune", model=asked.teacher, recipe=recipe, test_shifts=())


def _teacher(training: Training, state: dict[str, Any]) -> Teacher:
    # A kept teacher and one that was just trained are made in the same way, so that both answer with the same bits.
    training.model.load_state_dict(state["model"])
    model = training.model.eval().requires_grad_(requires_grad=False)
    return Teacher(model=model, validation_accuracy=state["validation_accuracy"], seconds=state["seconds"])


def prepare_training(
    config: RunConfig,
    dataset: Dataset,
    placement: Placement,
    *,
    teacher: nn.Module | None = None,
    start: Weights | None = None,
    weights: str = "initialisation",
) -> Training:
    """Everything before the first update: subset, normalisation, model, optimisers, generators, schedule.

    Initialisation, batch order, augmentation and dropout draw from generators of their own, all derived from the
    run's seed: two arms with the same seed see the same images in the same order with the same augmentation.
    `weights` names the generator of the initial weights, in whose place `start` is put where the recipe asks for it;
    `teacher` is in eval mode, on the device. Of processes that train together each takes its part of the same batches,
    augmented by the same draws; only dropout and stochastic depth draw anew in each, other numbers than one process
    would. Raises `InvalidInput` for weights that do not fit the model, and for a batch or a model that they cannot
    share.
    """
    recipe, seed, asked = config.recipe, config.seed, config.recipe.start_from
    assert (start is None) == (asked is None), "weights to start from are given where the recipe asks for them"
    assert (teacher is None) == (recipe.distillation is None), "a teacher is trained where the recipe asks for one"
    indices = subset(dataset.train, config.train_size, seed=seed)
    mean, std = normalisation(dataset.train, indices)
    per_pass = images_per_pass(config)
    torch.manual_seed(derive(seed, weights))
    model = placement.place(build(config.model, **config.shape))
    if start is not None:
        start_from(model, start.tensors, start.what, start.grid)
    ranks, part = placement.ranks, None
    if ranks.size > 1:
        model, part = synchronise(model, placement.device), Part.of(recipe, ranks.rank, ranks.size)
    torch.manual_seed(derive(seed, "dropout", *filter(None, [ranks.rank])))
    # One compilation, which takes minutes, serves all updates: parts of two sizes make it one for any size.
    # Evaluations do without, as another mode and number of images would be compiled apart; so do hooks.
    is_uneven = recipe.batch_size % recipe.accumulate != 0
    average = copy.deepcopy(model) if recipe.averages else None
    inside = family_of(config.model).inside
    seen = None if inside is None else inside(model, config.model)
    return Training(
        recipe=recipe,
        placement=placement,
        model=model,
        compiled=torch.compile(model.forward, dynamic=is_uneven) if recipe.compile else None,
        frozen=freeze_body(model) if asked is not None and asked.trained == "head" else (),
        average=average,
        optimizers=build_optimizers(model, recipe, average),
        watch=Watch(model, seen, placement.device, hears_blocks=not recipe.compile, updates=recipe.total_updates),
        batches=Batches(dataset.train, indices, recipe.batch_size, seed=seed, part=part),
        inputs=Inputs.of(config.data, side=config.image_size, mean=mean, std=std),
        classes=config.classes,
        augmentation=torch.Generator(placement.device).manual_seed(derive(seed, "augmentation")),
        patch_sizes=torch.Generator().manual_seed(derive(seed, "dropout")),  # as before it was a generator of its own
        learning_rates=learning_rates(recipe, recipe.total_updates),
        images_per_pass=per_pass,
        loss_sum=torch.zeros((), device=placement.device),
        last_loss=torch.zeros((), device=placement.device),
        teacher=teacher,
        part=part and part.to(placement.device),
    )


def run_updates(training: Training) -> Iterator[None]:
    """Do the updates that remain; control returns to the caller after each."""
    updates = training.recipe.total_updates
    training.set_modes()
    if training.placement.ranks.size > 1:
        training.parallel = parallel(training.model)
    before = Later(training.last_loss)
    began = time.perf_counter()
    for images, labels in training.batches.between(training.update, updates):
        loss = _update(training, images, labels)
        last = before.item()
        require_finite("training", last, training.update, partial(training.watch.failed, before=True))
        if training.update:
            training.watch.loss(last)
        training.last_loss, before = loss, Later(loss)
        training.update += 1
        if training.update == updates:
            require_finite("training", loss.item(), training.update, partial(training.watch.failed, before=False))
        if training.update in training.points:  # else its work would count as the evaluation's
            training.placement.synchronise()
        training.seconds += time.perf_counter() - began
        yield
        began = time.perf_counter()


def _update(training: Training, images: Tensor, labels: Tensor) -> Tensor:
    """One optimiser update on a batch (B, C, H, W) uint8; returns the mean loss before the update, a scalar.

    A teacher answers for the very images that the model sees; its forward pass is part of the update's time. Of
    processes that train together each is given its part of the batch, and returns the loss of the whole.
    """
    recipe, watch = training.recipe, training.watch
    mixing, generator = recipe.augmentation, training.augmentation
    classes, part = training.classes, training.part
    inputs, targets = augment(images, labels, mixing, classes=classes, generator=generator, part=part)
    inputs = training.inputs(inputs)
    _draw_patch_size(training)
    loss = _backward(training, inputs, targets)
    if recipe.sam_radius:
        with at_the_worst(training.model, recipe.sam_radius):
            _backward(training, inputs, targets)
    gradients = [parameter.grad for parameter in training.model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)  # all at once, but on mps
    watch.gradient(norm)
    if recipe.clip_norm is not None:
        nn.utils.clip_grads_with_norm_(training.model.parameters(), recipe.clip_norm, norm)
    before = watch.copies() if training.update + 1 in training.points else []
    for optimizer in training.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rates[training.update]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    watch.updated(before)
    _average(training)
    training.loss_sum += loss
    return loss


def _draw_patch_size(training: Training) -> None:
    """Draw one size of patches for all passes of an update, each as likely, as FlexiViT's authors do by default.

    See arXiv 2212.08013 and `flexi.seqhw` in their code (big_vision). Of models for one size, nothing.
    """
    stem = flexible_stem(training.model)
    if stem is not None:
        stem.drawn = stem.sizes[int(torch.randint(len(stem.sizes), (), generator=training.patch_sizes))]


def _backward(training: Training, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of a batch, normalised and augmented, with the gradients that it leaves; a scalar."""
    recipe, loss = training.recipe, torch.zeros((), device=inputs.device)
    forward = training.parallel or training.compiled or training.model
    parts = [whole.tensor_split(recipe.accumulate) for whole in (inputs, targets)]
    for number, (part_inputs, part_targets) in enumerate(zip(*parts, strict=True), 1):
        with added_up(training.parallel, is_last=number == recipe.accumulate):
            with training.placement.autocast():
                logits = forward(part_inputs)
            taught = None
            if training.teacher is not None:
                with torch.no_grad(), training.placement.autocast():
                    taught = training.teacher(part_inputs).argmax(1)
            part_loss = loss_of(logits.float(), part_targets, taught, recipe) * (len(part_inputs) / len(inputs))
            part_loss.backward()  # type: ignore[no-untyped-call]
        loss += part_loss.detach()
    return training.placement.ranks.mean(loss)


def _average(training: Training) -> None:
    """Renew the average of the model, where there is one; an optimiser may have averaged the parameters itself."""
    average, model, recipe = training.average, training.model, training.recipe
    if average is None:
        return
    if recipe.ema_decay is None:
        _renew(average.buffers(), model.buffers(), 0.0)
        return
    # The decay rises from .1: with a constant one a short training's average would be mostly the initial weights.
    decay = min(recipe.ema_decay, (1 + training.update) / (10 + training.update))
    _renew(chain(average.parameters(), average.buffers()), chain(model.parameters(), model.buffers()), decay)


def loss_of(logits: Tensor, targets: Tensor, taught: Tensor | None, recipe: Recipe) -> Tensor:
    """Mean cross-entropy with the labels and, where there is a teacher, with its answers; a scalar.

    `logits` float32 (B, K), or (B, 2, K) of a class head and a distillation head; `targets` int64 (B,) or, where
    images were mixed, float32 (B, K), both smoothed as the recipe says; `taught` int64 (B,), the teacher's classes.

    Hard distillation (arXiv 2012.12877, section 4): each head learns from its own part, a single head from both.
    """
    own, distilled = logits.unbind(1) if logits.ndim == 3 else (logits, logits)
    loss = F.cross_entropy(own, targets, label_smoothing=recipe.label_smoothing)
    if taught is None:
        return loss
    assert recipe.distillation is not None
    weight = recipe.distillation.weight
    return (1 - weight) * loss + weight * F.cross_entropy(distilled, taught)


@torch.no_grad()
def _renew(averages: Iterable[Tensor], latest: Iterable[Tensor], decay: float) -> None:
    """Let each number of an average be `decay` times itself and the rest that of the model.

    Buffers too, as BatchNorm's running statistics; those of integers, which count, are copied.
    """
    pairs = list(zip(averages, latest, strict=True))
    for mean, now in pairs:
        if not mean.is_floating_point():
            mean.copy_(now)
    if real := [pair for pair in pairs if pair[0].is_floating_point()]:
        means, nows = zip(*real, strict=True)
        torch._foreach_lerp_(means, nows, 1 - decay)


def _validate(training: Training, dataset: Dataset, beat: Callable[[], object]) -> dict[str, Any]:
    """Evaluate on validation; returns what is told of it."""
    training.train_loss = training.loss_sum.item() / (training.update - training.evaluated_at)
    require_finite("training", training.train_loss, training.update, partial(training.watch.failed, before=False))
    is_last = training.update == training.recipe.updates
    with training.placement.watching_evaluation() if is_last else nullcontext():
        validation = evaluate(training, dataset.validation, beat)
    require_finite("validation", validation.loss, training.update)
    training.validation_loss, training.validation_accuracy = validation.loss, validation.accuracy
    told_of = training.watch.told(training.update - training.evaluated_at, _sample(training, dataset))
    training.set_modes()
    training.evaluated_at = training.update
    training.loss_sum.zero_()
    told = ("update", "images_seen", "train_loss", "validation_loss", "validation_accuracy")
    return {name: getattr(training, name) for name in told} | {
        "learning_rate": training.learning_rates[training.update - 1],
        "seconds": round(training.seconds, 3),
        **told_of,
    }


def _sample(training: Training, dataset: Dataset) -> Tensor:
    """A few validation images, as the model takes them."""
    images, _ = next(dataset.validation.read([torch.arange(min(IMAGES, len(dataset.validation)))]))
    return training.inputs(images)


def require_finite(which: str, loss: float, update: int, where: Callable[[], str] = str) -> None:
    """Raise `Diverged` for a loss that is no number or infinite, and tell `where` it was seen first."""
    if not math.isfinite(loss):
        raise Diverged(f"the {which} loss became {loss} at update {update}{where()}", update)

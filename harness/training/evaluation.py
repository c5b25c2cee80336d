"""Loss and accuracy over a whole split, of its images as they are and of shifted ones, and at all sizes of patches."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 (the field's usual name)
from torch import Tensor

from harness.data.augmentation import translated
from harness.data.sending import sent
from harness.data.splits import AnySplit
from harness.models import activation_bytes
from harness.models.stem import flexible_stem
from harness.records.runs import Shift
from harness.spec import RunConfig, ViTSpec
from harness.training.state import Evaluation, Training

EVALUATION_BATCH = 1000
"""Most images per forward pass of an evaluation: enough for the matrix products, few enough for the caches."""

TOP = 5  # likeliest classes among which a label is looked for, where there are more

ROOM = 512 * 2**20  # bytes of activations that an evaluation may hold, even where a training part needs less

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Directions, down and right, that the test of shifted images shifts them in."""


def images_per_pass(config: RunConfig) -> int:
    """How many images an evaluation takes at a time: those that the memory of a training part holds.

    Never a matter of the machine: other kernels for another number of images change a loss's last digits.
    """
    recipe = config.recipe
    evaluated, room = activation_bytes(config.model, training=False, **config.shape), ROOM
    if EVALUATION_BATCH * evaluated > room:
        largest = -(-recipe.batch_size // recipe.accumulate)
        room = max(room, largest * activation_bytes(config.model, training=True, **config.shape))
    return min(EVALUATION_BATCH, max(1, room // evaluated))


@torch.inference_mode()
def evaluate(training: Training, split: AnySplit, beat: Callable[[], object] = lambda: None) -> Evaluation:
    """Mean cross-entropy and accuracy of the present model over a whole split; `beat` follows each forward pass."""
    began = time.perf_counter()
    losses, loss = list[Tensor](), 0.0
    found, seen, hits = [], [], list[Tensor]()
    training.evaluated_model.eval()
    for images, labels in split.chunks(training.images_per_pass):
        logits = _logits(training, images)
        losses.append(F.cross_entropy(logits, labels, reduction="sum"))
        found.append(logits.argmax(1))
        seen.append(labels)
        if logits.shape[1] > TOP:
            hits.append((logits.topk(TOP).indices == labels[:, None]).any(1))
        beat()
    training.set_modes()
    predicted, labels = torch.cat(found).cpu(), torch.cat(seen).cpu()
    for part in torch.stack(losses).tolist():  # in float64, which not every device has
        loss += part
    return Evaluation(
        loss=loss / len(split),
        accuracy=(predicted == labels).sum().item() / len(split),
        labels=labels,
        predicted=predicted,
        top5=torch.cat(hits).cpu() if hits else None,
        seconds=time.perf_counter() - began,
    )


@torch.inference_mode()
def evaluate_shifted(
    training: Training, split: AnySplit, unshifted: Tensor, shifts: tuple[int, ...], beat: Callable[[], object]
) -> tuple[Shift, ...]:
    """Accuracy on the split's images shifted to each of four sides, and agreement with the classes of the unshifted.

    `unshifted` int64 (N,) are the classes predicted for the images as they are; `shifts` are in pixels, each smaller
    than the image's side. What moves in is black.
    """
    device, done = training.placement.device, 0
    hits = torch.zeros(len(shifts), 2, dtype=torch.int64, device=device)  # of labels, of classes
    training.evaluated_model.eval()
    chunks = split.chunks(training.images_per_pass) if shifts else ()  # once for all: images may have to be decoded
    for images, labels in chunks:
        wanted = torch.stack([labels, sent(unshifted[done : done + len(labels)], device)])  # (2, B)
        done += len(labels)
        for row, pixels in enumerate(shifts):
            for down, right in SIDES:
                moved = translated(images, down=down * pixels, right=right * pixels)
                hits[row] += (_logits(training, moved).argmax(1) == wanted).sum(1)
                beat()
    training.set_modes()
    total = len(SIDES) * len(split)
    return tuple(
        Shift(pixels=pixels, accuracy=right / total, agreement=same / total)
        for pixels, (right, same) in zip(shifts, hits.tolist(), strict=True)
    )


def evaluate_at_patches(
    training: Training, split: AnySplit, plain: Evaluation, config: RunConfig, beat: Callable[[], object]
) -> tuple[tuple[int, Evaluation], ...]:
    """The evaluation with patches of each size that the model is for, by ascending side (pixels).

    `plain` is the one at the model's own size, which is not made again. Of models for one size there is none.
    """
    stem = flexible_stem(training.evaluated_model)
    if stem is None:
        return ()
    assert isinstance(config.model, ViTSpec)
    own, images, found = stem.patch_size, training.images_per_pass, dict[int, Evaluation]()
    for size in sorted(stem.sizes):
        stem.patch_size = size
        training.images_per_pass = images_per_pass(replace(config, model=replace(config.model, patch_size=size)))
        found[size] = plain if size == own else evaluate(training, split, beat)
    stem.patch_size, training.images_per_pass = own, images
    return tuple(found.items())


def _logits(training: Training, images: Tensor) -> Tensor:
    """(B, K) in float32, of images (B, C, H, W) uint8."""
    with training.placement.autocast():
        logits: Tensor = training.evaluated_model(training.inputs(images)).float()
    return logits

"""How stably a training goes: sizes of gradients and updates, jumps of the loss, sharp attention, blocks that fail."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.models.family import Inside
from harness.models.hooks import heard

IMAGES = 16  # whose attention is looked at
SPIKE = 5.0
"""A spike is a loss this many standard deviations above the mean of those before it: running ones, with `DECAY`."""
DECAY, LEAST = 0.95, 20  # and with so many losses before it
POINTS = 50  # most of a training's curve of losses


class Watch:
    """What is watched of a model since its last evaluation, on its device: an update waits for none of it."""

    def __init__(
        self, model: nn.Module, inside: Inside | None, device: torch.device, *, hears_blocks: bool, updates: int
    ) -> None:
        """`inside` of the model, where anything is known of it; `hears_blocks`: not where it is compiled.

        `updates`: those of the whole training.
        """
        self._model, self._count = model, 0 if inside is None else len(inside.blocks)
        self._attentions = () if inside is None else inside.attentions
        self.gradients = torch.zeros(2, device=device)  # the sum and the largest of the norms of the gradients
        self.step: Tensor | None = None  # norm of the last update, where it was asked for, by that of the weights
        self.losses, self.spikes, self.mean, self.variance = 0, 0, 0.0, 0.0
        self._every = -(-updates // POINTS)
        self.sum, self.curve = 0.0, list[tuple[int, float]]()  # of the losses since the last point; points not told yet
        self.blocks: Tensor | None = None  # sums over what each block made in the last update, and in the one before
        self.blocks_before: Tensor | None = None
        self._sums: list[Tensor] = []
        for block in inside.blocks if inside is not None and hears_blocks else ():
            block.register_forward_hook(self._hear)

    def _hear(self, block: nn.Module, _: Any, output: Tensor) -> None:
        if block.training:
            self._sums.append(output.detach().sum(dtype=torch.float32))

    def gradient(self, norm: Tensor) -> None:
        """The global norm of an update's gradients, before they are clipped; a scalar."""
        self.gradients[0] += norm
        self.gradients[1] = torch.maximum(self.gradients[1], norm)

    def updated(self, before: list[Tensor]) -> None:
        """An update is done; `before`: copies of the trained parameters, where its size is asked for."""
        self.blocks_before, self.blocks = self.blocks, torch.stack(self._sums) if self._sums else None
        self._sums.clear()
        self.step = None
        if before:
            with torch.no_grad():
                steps = torch._foreach_sub(_trained(self._model), before)
                self.step = _norm(steps) / _norm(before)

    def copies(self) -> list[Tensor]:
        """What `updated` takes."""
        return [parameter.detach().clone() for parameter in _trained(self._model)]

    def loss(self, loss: float) -> None:
        """The loss of an update, finite."""
        sd = math.sqrt(self.variance)
        self.spikes += self.losses >= LEAST and loss > self.mean + SPIKE * sd
        weight = max(1 - DECAY, 1 / (1 + self.losses))  # of few losses the plain mean
        apart = loss - self.mean
        self.mean += weight * apart
        self.variance = (1 - weight) * (self.variance + weight * apart**2)
        self.losses += 1
        self.sum += loss
        if self.losses % self._every == 0:
            self.curve.append((self.losses, float(f"{self.sum / self._every:.5g}")))
            self.sum = 0.0

    def failed(self, *, before: bool) -> str:
        """Of the last update or the one `before`: the first block whose output was not finite, in words; or nothing."""
        sums = self.blocks_before if before else self.blocks
        failed = [] if sums is None else (~sums.isfinite()).nonzero().flatten().tolist()
        if not failed:
            return ""
        return f"; the first block that was not finite is block {failed[0] % self._count + 1} of {self._count}"

    def told(self, updates: int, inputs: Tensor) -> dict[str, Any]:
        """What an evaluation tells of the `updates` since the last one, and of attention to `inputs`; then begins anew.

        None for what is not there or not finite. `loss_curve`: pairs of an update and the mean loss since the one of
        the pair before it. Leaves the model in evaluation mode.
        """
        mean, largest = (self.gradients / torch.tensor([updates, 1], device=self.gradients.device)).tolist()
        step = None if self.step is None else self.step.item()
        found = {"gradient_norm": mean, "largest_gradient_norm": largest, "update_norm": step}
        found["attention_entropy"] = self._entropy(inputs)
        known = {name: _short(value) for name, value in found.items()}
        self.gradients.zero_()
        spikes, self.spikes = self.spikes, 0
        curve, self.curve = self.curve, []
        return {**known, "loss_spikes": spikes, "loss_curve": curve}

    @torch.inference_mode()
    def _entropy(self, inputs: Tensor) -> float | None:
        """Entropy of attention in the block where it is least, the mean over heads and queries; 1 where it is even."""
        if not self._attentions:
            return None
        self._model.eval()
        with heard((module for module, _ in self._attentions), "input") as found:
            self._model(inputs)
        pairs = zip(self._attentions, found, strict=True)
        return min(_entropy(weights(x)).item() for (_, weights), x in pairs)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint has kept."""
        vars(self).update(state)


def _short(value: float | None) -> float | None:
    """Four digits: the last ones differ between two processes, by where their memory lies."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _entropy(weights: Tensor) -> Tensor:
    """Of attention (B, H, N, N), by that of even attention: a scalar."""
    entropies: Tensor = torch.special.entr(weights.float()).sum(-1)
    return entropies.mean() / math.log(max(2, weights.shape[-1]))


def _trained(model: nn.Module) -> list[Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return norm

"""The processes that train one model together, each on its part of every batch, and what they tell each other.

Rank 0 alone writes, evaluates and decides; what it does alone the others wait for. On CUDA they speak by NCCL, and by
gloo where no tensor of the device is concerned.
"""

import contextlib
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from harness.spec.errors import require
from harness.training import Member

LONGEST = timedelta(days=7)
"""How long a process waits for another. Whoever started them sees at once when one ends, and when none gets on."""

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Layers that look at several images at once, and can be made to look at all of a batch."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """One of `size` processes; methods are called by all of them, in the same order. Alone they give what they get."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def shared(self, value: T) -> T:
        """What rank 0 has, for all of them; none of the device's tensors."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held)
        return held[0]

    def gathered(self, value: T) -> list[T]:
        """What each of them has, by rank; none of the device's tensors."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def decided(self, *decisions: bool) -> list[bool]:
        """The decisions of rank 0."""
        if self.size == 1:
            return list(decisions)
        told = torch.tensor(decisions, dtype=torch.uint8)
        dist.broadcast(told, 0)
        return [bool(decision) for decision in told.tolist()]

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over all; `value` is overwritten."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value


ALONE = Ranks()


def join(member: Member | None, device: torch.device) -> Ranks:
    """Meet the other processes of a run, once in a process; its own device is `device`."""
    if member is None:
        return ALONE
    if not dist.is_initialized():  # a pre-training is trained by the same
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=dist.FileStore(str(member.meeting), member.size),  # type: ignore[attr-defined]
            rank=member.rank,
            world_size=member.size,
            timeout=LONGEST,
        )
    return Ranks(member.rank, member.size)


def check_layers(model: nn.Module) -> None:
    """Refuse a model whose layers look at several images at once, and cannot be made to look at all of a batch."""
    unknown = {type(part).__name__ for part in model.modules() if isinstance(part, _BatchNorm)}
    unknown -= {kind.__name__ for kind in PLAIN}
    require(
        not unknown,
        f"The model has {', '.join(sorted(unknown))}, batch normalisation of its own kind; over several cards it may "
        f"have {', '.join(f'nn.{kind.__name__}' for kind in PLAIN)}. Leave out --cards-per-run, or use these layers.",
    )


def synchronise(model: nn.Module, device: torch.device) -> nn.Module:
    """Let each batch normalisation take its statistics over the whole batch, as one process would."""
    check_layers(model)
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-any-return, no-untyped-call]
    for part in model.modules():
        if isinstance(part, PLAIN):
            part.__class__ = SynchronisedBatchNorm  # type: ignore[assignment]  # the same state, another forward pass
    return model


def parallel(model: nn.Module) -> DistributedDataParallel:
    """The model's forward pass, whose backward pass leaves gradients that are means over all processes."""
    # Models of others may have parameters that some passes, or all, do without.
    is_known = getattr(model, "parts", None) is not None
    made = DistributedDataParallel(model, gradient_as_bucket_view=True, find_unused_parameters=not is_known)
    made.broadcast_buffers = False  # all have the same; versions of torch differ in the argument's name
    return made


def added_up(model: DistributedDataParallel | None, *, is_last: bool) -> AbstractContextManager[None]:
    """Within, gradients of `parallel` are added up in each process; the last part's backward pass takes the mean."""
    return contextlib.nullcontext() if is_last or model is None else model.no_sync()


class SynchronisedBatchNorm(_BatchNorm):
    """Batch normalisation over the batches (B, C, ...) of all processes, of one size; torch's own needs CUDA."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's name)
        """What has been checked in one process fits several."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes, shape = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
        centred = x.float()
        mean = _mean(centred.mean(axes))
        centred = centred - mean.view(shape)
        variance = _mean(centred.square().mean(axes))
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            weight = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.item()
            number = x.numel() // x.shape[1] * dist.get_world_size()
            self.running_mean.lerp_(mean.detach(), weight)
            self.running_var.lerp_(variance.detach() * (number / (number - 1)), weight)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            return (centred * (scale * self.weight).view(shape) + self.bias.view(shape)).to(x.dtype)
        return (centred * scale.view(shape)).to(x.dtype)


class _Sum(torch.autograd.Function):
    """Of a tensor over all processes; its gradient is the sum of what all of them do with it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        summed = value.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone()
        dist.all_reduce(summed)
        return summed


def _mean(value: Tensor) -> Tensor:
    mean: Tensor = _Sum.apply(value) / dist.get_world_size()
    return mean

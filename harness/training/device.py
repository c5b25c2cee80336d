"""Everything that is particular to a device: choice, precision, memory format, synchronisation, memory use."""

import contextlib
import ctypes
import gc
import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.spec import InvalidInput
from harness.spec.errors import require
from harness.training import WorkerSettings
from harness.training.ranks import ALONE, Ranks

_IS_GLIBC = platform.libc_ver()[0] == "glibc"

_ALLOCATION_FAILURES = (
    *("can't allocate memory", "DefaultCPUAllocator", "_STATUS_ALLOC_FAILED"),
    *("CUDA error: out of memory", "Cuda failure 2 'out of memory'"),
)
"""In the text of a plain RuntimeError: torch's allocator on the host, cuBLAS and cuDNN, CUDA itself, NCCL."""

_DEVICE_FAULTS = (
    *("ECC error", "NVLink error", "hardware stack error", "hardware error", "device lost", "device is lost"),
    *("GPU is lost", "no CUDA-capable device", "busy or unavailable"),
)
"""In the text of a RuntimeError: what CUDA says of a card that does not work, whatever is computed there."""

_CONTEXT_BYTES = 2**30  # at least what CUDA itself keeps of a card for a process


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and in which precision a training runs."""

    device: torch.device
    autocast_dtype: torch.dtype | None  # type of matrix products and convolutions under autocast; None for plain fp32
    deterministic: bool = False
    """Whether kernels without a deterministic version are refused (CUDA; CPU kernels are deterministic)."""
    ranks: Ranks = ALONE
    """The processes that train together, this one among them."""
    peaks: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """Most memory in bytes `before` the evaluation that was watched last, and in that `evaluation`."""

    @property
    def precision(self) -> str:
        return "fp32" if self.autocast_dtype is None else "bf16"

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for a forward pass. Casts of the weights are not cached across the passes of an update."""
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """Move a model here, its convolutions in channels_last, which is the faster format on CPU and GPU alike."""
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def synchronise(self) -> None:
        """Wait for the device, so that a clock read on the host means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    @contextlib.contextmanager
    def watching_evaluation(self) -> Iterator[None]:
        """Tell the memory of an evaluation from that of the training before it, where the device or the system can."""
        before = self.peak_memory_bytes()
        watched = self.begin_peak()
        yield
        if watched:
            self.peaks.update(before=before, evaluation=self._peak())

    def peak_memory_bytes(self) -> int:
        """CUDA: the most that was allocated; elsewhere: the process's peak resident set."""
        return max(self._peak(), self.peaks.get("before", 0))

    def begin_peak(self) -> bool:
        """Forget the most memory so far; whether that was possible. What was freed goes back to the system first."""
        if self.device.type == "cpu" and _IS_GLIBC:
            ctypes.CDLL(None).malloc_trim(0)
        if self.device.type == "cuda":
            gc.collect()  # hooks keep models in cycles
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5")  # see proc(5); Linux only
            except OSError:
                return False
        return self.device.type != "mps"

    def bytes_of_others(self) -> int:
        """CUDA: bytes of the card that other processes hold, about, if it is more than CUDA keeps for this; else 0."""
        if self.device.type != "cuda":
            return 0
        try:
            free, total = torch.cuda.mem_get_info(self.device)
        except RuntimeError:  # not even CUDA's own part of the card is to be had
            return _CONTEXT_BYTES
        return max(0, total - free - torch.cuda.memory_reserved(self.device) - _CONTEXT_BYTES)

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Later:
    """A number of a device for the host to read later, which then waits for this number and for nothing after it.

    Tensor.item waits on CUDA for all that the device was given until then. Who reads each update's loss so, even one
    update late, leaves it idle while the next update is prepared: the copy is begun at once, and its end marked.
    """

    def __init__(self, number: Tensor) -> None:
        """`number`: a scalar, as the work given to its device so far will leave it."""
        self._number, self._arrived = number, None
        if number.device.type == "cuda":
            self._number = number.to("cpu", non_blocking=True)  # to pinned memory
            # Blocking: others may need the core that waits.
            self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(number.device))

    def item(self) -> float:
        """The number, as soon as it is known."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._number.item()


def choose(name: str, precision: str = "auto", *, deterministic: bool = False) -> Placement:
    """The placement for a device name (`auto`, `cpu`, `cuda`, `cuda:N`, `mps`) and a recipe's precision.

    Raises `InvalidInput` for a device that is not there.
    """
    valid = available_devices()
    if name == "auto":
        name = next(found for found in ("cuda", "mps", "cpu") if found in valid)
    elif name not in valid:
        raise InvalidInput(f"Device {name!r} is not there; valid on this machine: auto, {', '.join(valid)}.")
    device = torch.device(name)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses deterministic mode
        torch.use_deterministic_algorithms(mode=True)
    is_bf16 = precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
    dtype = torch.bfloat16 if is_bf16 else None
    return Placement(device=device, autocast_dtype=dtype, deterministic=deterministic)


def devices(asked: str, *, shared: bool = False) -> tuple[str, ...]:
    """The devices that `--device` names: every card for `auto` and `cuda`, where there are any, else one, or cards.

    `shared`: whether it was said how many runs share a card. Raises `InvalidInput` for a device that is not there or is
    named twice, for several that are not all cards, and for `shared` without cards.
    """
    valid, names = available_devices(), tuple(asked.split(","))
    cards = tuple(name for name in valid if name.startswith("cuda:"))
    if asked in ("auto", "cuda") and cards:
        return cards
    if asked == "auto":
        names = ("mps" if "mps" in valid else "cpu",)
    there = f"valid on this machine: auto, {', '.join(valid)}"
    for name in names:
        require(name in valid, f"Device {name!r} is not there; {there}.")
        twice = f"Device {name!r} is named twice in {asked!r}. --per-device says how many runs share a card."
        require(names.count(name) == 1, twice)
    has_cards = set(names) <= set(cards)
    require(
        has_cards or len(names) == 1,
        f"{asked!r} mixes devices; several must all be cards, as in cuda:0,cuda:1. Without a number cuda is every "
        f"card; {there}.",
    )
    require(
        has_cards or not shared,
        f"--per-device says how many runs share a card, and {names[0]!r} is none: there --workers says how many runs "
        "are trained at the same time.",
    )
    return names


def require_cards(settings: WorkerSettings) -> None:
    """Raise a `RuntimeError` where the cards of a run have gone from this machine."""
    if settings.device.startswith("cuda"):
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if there < len(settings.cards):
            raise RuntimeError(f"no CUDA-capable device is there any more as {', '.join(settings.cards)}")


def available_devices() -> list[str]:
    """Names that `choose` accepts on this machine, besides `auto`."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 by instructions of its own."""
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory rather than give it back to the system; whether it does so now.

    By default glibc asks the system for each large array of each update, and the system clears every page anew: about a
    fifth of the time of a ViT's update. For processes that train and then end: what they free stays with them.
    """
    mmap_threshold, trim_threshold = -3, -1  # parameters of mallopt(3): the largest value, and never
    largest = {mmap_threshold: 4 * 1024 * 1024 * ctypes.sizeof(ctypes.c_long), trim_threshold: 2**31 - 1}
    return _IS_GLIBC and all(ctypes.CDLL(None).mallopt(name, value) for name, value in largest.items())


class DeviceError(InvalidInput):
    """A device does not work, whatever is computed there."""

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(
            f"{device} does not work: {reason.rstrip('.')}. Mend or free it, or name others with --device."
        )
        self.reason = reason


def device_fault(error: BaseException) -> str | None:
    """The line of an error that says that a card does not work; None of errors that may be the program's own."""
    is_one = isinstance(error, RuntimeError | torch.cuda.DeferredCudaCallError)  # the latter: where CUDA cannot start
    lines = str(error).splitlines() if is_one else []
    return next((line for line in lines if any(sign in line for sign in _DEVICE_FAULTS)), None)


@contextlib.contextmanager
def device_errors(device: str) -> Iterator[None]:
    """Turn an error that says that the `device` does not work into a `DeviceError`; other errors pass."""
    try:
        yield
    except Exception as cause:
        if (told := device_fault(cause)) is None:
            raise
        raise DeviceError(device, told) from cause


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a device's or the host's failure to allocate into a `MemoryError` with a message; other errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as cause:
        is_one = isinstance(cause, MemoryError | torch.OutOfMemoryError)
        if not is_one and not any(sign in str(cause) for sign in _ALLOCATION_FAILURES):
            raise
        raise MemoryError(str(cause).partition("\n")[0] or "no memory is left") from cause

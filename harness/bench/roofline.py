"""Roofline: how fast the machine multiplies at best, and the share of it that training reaches (MFU).

The peak of a precision and a number of threads is the fastest of a product of two 1024 x 1024 matrices, a 3x3
convolution of 64 channels, and the arm's own products. A training step counts three times its forward pass's
multiply-accumulates (arXiv 2204.02311, appendix B, without recomputation), two operations each. The arm's own products
are those of its forward pass, in their own shapes, one after the other and nothing else: small ones are slower.

Letters of the shape comments: B images, t tokens, D width, H heads, C channels, h side of a feature map.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from harness.bench.arms import ARMS, RESNET8, VIT_P7, Arm, own_step
from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.bench.turns import Contender, Contest
from harness.spec import ResNetSpec, ViTSpec

PRODUCT, CONVOLUTION = "matrix product 1024^3", "3x3 convolution, 64 channels, 32 px"
PRODUCTS, TRAINING = "own products", "training"
FORWARD_AND_BACKWARD = 3
"""Work of an update in forward passes."""

_At = tuple[str, str, int]
"""Name of a peak, precision, threads."""


@dataclass(frozen=True)
class Product:
    """`batch` products (rows, inner) x (inner, columns)."""

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def macs(self) -> int:
        return self.batch * self.rows * self.inner * self.columns


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution of `images` maps of a side and some channels, to as many maps of that side over `stride`."""

    images: int
    channels: int
    out: int
    side: int
    stride: int = 1

    @property
    def macs(self) -> int:
        return self.images * self.channels * self.out * 9 * (self.side // self.stride) ** 2


Operation = Product | Convolution
PEAKS: dict[str, tuple[Operation, ...]] = {
    PRODUCT: (Product(1, 1024, 1024, 1024),),
    CONVOLUTION: (Convolution(64, 64, 64, 32),),
}


def measure(settings: Settings) -> list[Row]:
    """Peaks, the arms' own products, and the arms' shares, for every precision and number of threads."""
    shares, peaks = [], defaultdict[_At, list[float]](list)
    for arm in (VIT_P7, RESNET8) if settings.quick else ARMS:
        settings.say(f"  {arm.name}")
        with Contest([_contender(*who, arm, settings) for who in _who(settings)]) as contest:
            for threads in settings.threads:
                found = contest.rounds(threads=threads, rounds=settings.rounds, seconds=settings.seconds / 2)
                times = dict(zip(_who(settings), found, strict=True))
                for (name, precision), seconds in times.items():
                    if name in PEAKS:
                        peaks[name, precision, threads] += seconds
                shares += [_share(arm, times, precision, threads) for precision in settings.precisions]
    return [_peak(at, seconds) for at, seconds in peaks.items()] + shares


def operations(arm: Arm) -> tuple[Operation, ...]:
    """Products or convolutions of a forward pass of a batch: all but stem, head and strided shortcuts."""
    match arm.model:
        case ViTSpec() as spec:
            tokens = (arm.image_size // spec.patch_size) ** 2
            width, hidden = spec.width, round(spec.width * spec.mlp_ratio)
            rows, groups, head = arm.batch * tokens, arm.batch * spec.heads, width // spec.heads
            block = (
                Product(1, rows, width, 3 * width),
                Product(groups, tokens, head, tokens),
                Product(groups, tokens, tokens, head),
                Product(1, rows, width, width),
                Product(1, rows, width, hidden),
                Product(1, rows, hidden, width),
            )
            return block * spec.depth
        case ResNetSpec() as spec:
            return tuple(_convolutions(spec, arm))
        case _:
            raise AssertionError(arm.model)


def _convolutions(spec: ResNetSpec, arm: Arm) -> Iterator[Convolution]:
    """The 3x3 convolutions of a ResNet of basic blocks, stage by stage."""
    stages, blocks, before = (3, 1, spec.width or 64) if spec.depth == 8 else (4, 2, 64)
    width, side = before, arm.image_size
    for stage in range(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            yield Convolution(arm.batch, before, width, side, stride)
            side, before = side // stride, width
            yield Convolution(arm.batch, width, width, side)
        width *= 2


def kernels(chosen: tuple[Operation, ...], precision: str, device: str) -> Callable[[], Any]:
    """A function that does these operations once, one after the other."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    made: dict[Operation, Callable[[], Any]] = {}
    for operation in chosen:
        if operation not in made:
            made[operation] = _kernel(operation, dtype, device)
    calls = [made[operation] for operation in chosen]

    def run() -> None:
        with torch.inference_mode():
            for call in calls:
                call()

    return run


def _kernel(operation: Operation, dtype: torch.dtype, device: str) -> Callable[[], Any]:
    new = partial(torch.randn, dtype=dtype, device=device)
    match operation:
        case Product(batch=1, rows=rows, inner=inner, columns=columns):
            return partial(F.linear, new(rows, inner), new(columns, inner))  # as a linear layer does it
        case Product(batch=batch, rows=rows, inner=inner, columns=columns):
            return partial(torch.bmm, new(batch, rows, inner), new(batch, inner, columns))
        case Convolution() as conv:
            maps = new(conv.images, conv.channels, conv.side, conv.side)  # (B, C, h, h)
            weight = new(conv.out, conv.channels, 3, 3)
            last = torch.channels_last
            maps, weight = maps.contiguous(memory_format=last), weight.contiguous(memory_format=last)
            return partial(F.conv2d, maps, weight, None, conv.stride, 1)


def _who(settings: Settings) -> list[tuple[str, str]]:
    """Name and precision of the contenders: peaks, the arm's own products and its training."""
    return [(name, precision) for precision in settings.precisions for name in (*PEAKS, PRODUCTS, TRAINING)]


def _contender(name: str, precision: str, arm: Arm, settings: Settings) -> Contender:
    device, make = settings.device, partial(own_step, arm, precision, settings.device)
    if name != TRAINING:
        make = partial(kernels, PEAKS.get(name) or operations(arm), precision, device)
    return Contender(name=name, precision=precision, make=make, device=device, block=10 if device == "cuda" else 1)


def _peak(at: _At, seconds: list[float]) -> Row:
    name, precision, threads = at
    return Row(
        part="roofline",
        what="peak of the machine",
        contender=name,
        value=_rate(PEAKS[name], float(np.median(seconds))),
        best=_rate(PEAKS[name], min(seconds)),
        unit="GFLOP/s",
        threads=threads,
        precision=precision,
    )


def _share(arm: Arm, times: Mapping[tuple[str, str], list[float]], precision: str, threads: int) -> Row:
    """The share of the peak that training an arm reaches: of the peak in the same round, the median over rounds."""
    own = _rates(operations(arm), times[PRODUCTS, precision])
    known = [own, *(_rates(chosen, times[name, precision]) for name, chosen in PEAKS.items())]
    peak = max(known, key=lambda rates: float(np.median(rates)))
    flops = 2 * FORWARD_AND_BACKWARD * arm.macs * arm.batch / 1e9
    reached = flops / np.asarray(times[TRAINING, precision])
    return Row(
        part="roofline",
        what=f"share of the peak, {arm.name}",
        contender="patchbench",
        value=100 * float(np.median(reached / peak)),
        unit="%",
        threads=threads,
        precision=precision,
        batch=arm.batch,
        details={
            "gflops": round(float(np.median(reached)), 1),
            "peak_gflops": round(float(np.median(peak)), 1),
            "own_products_gflops": round(float(np.median(own)), 1),
            "share_of_own_products": round(float(np.median(reached / own)), 3),
            "macs_per_image": arm.macs,
        },
    )


def _rates(chosen: tuple[Operation, ...], seconds: list[float]) -> npt.NDArray[np.float64]:
    """GFLOP/s in each round."""
    return np.array([_rate(chosen, item) for item in seconds])


def _rate(chosen: tuple[Operation, ...], seconds: float) -> float:
    """GFLOP/s."""
    return 2 * sum(operation.macs for operation in chosen) / seconds / 1e9

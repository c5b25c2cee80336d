"""Numbers as a reader meets them: accuracies in points, sizes with thousands separators, always with the interval."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from harness.analysis.cells import Cell
from harness.analysis.estimate import MeanEstimate
from harness.spec.formats import magnitude, memory, number, plain, points
from harness.spec.plural import counted

_SHARES = ("test_accuracy", "validation_accuracy", "shifted_accuracy", "shift_agreement")
"""Metrics between 0 and 1, told in percentage points."""

_WRITTEN: dict[str, Callable[[Any], str]] = {
    "train_images_per_second": magnitude,
    "eval_images_per_second": magnitude,
    "macs_per_image": magnitude,
    "attention_macs_per_image": magnitude,
    "params": magnitude,
    "peak_memory_bytes": memory,
}
"""Metrics whose numbers are written with prefixes."""

_WORDS = {
    "shift_agreement": "agreement at the largest shift",
    "shifted_accuracy": "test accuracy at the largest shift",
    "train_images_per_second": "training images per second",
    "eval_images_per_second": "images per second in evaluation",
    "macs_per_image": "multiply-accumulates per image",
    "attention_macs_per_image": "multiply-accumulates of attention per image",
    "train_seconds": "seconds of training",
    "peak_memory_bytes": "memory",
    "params": "parameters",
}


def named(metric: str) -> str:
    """A metric as a reader calls it."""
    return _WORDS.get(metric, metric.replace("_", " "))


def form(metric: str) -> tuple[Callable[[Any], str], str]:
    """How a difference of a metric is written, with its sign, and its unit.

    Accuracies and agreement are told in percentage points; of test accuracy where nothing else is said.
    """
    if metric in _SHARES:
        return points, "points" if metric == "test_accuracy" else f"points of {named(metric)}"
    write = _WRITTEN.get(metric, plain)
    unit = "of memory" if metric == "peak_memory_bytes" else named(metric)
    return lambda value: f"{'+' * ((number(value) or 0) > 0)}{write(value)}", unit


def amount(metric: str, value: float, *, signed: bool = True) -> str:
    """A difference of a metric with its unit; zero has no sign."""
    write, unit = form(metric)
    return f"{write(value) if signed else write(value).removeprefix('+')} {unit}".rstrip()


def bounds(metric: str, low: float, high: float) -> str:
    """An interval of a difference, in the unit of `amount`."""
    write, _ = form(metric)
    return f"[{write(low)}, {write(high)}]"


def described(metric: str, estimate: MeanEstimate, *, of_metric: bool = False) -> str:
    """`+1.24 points [+0.40, +2.08] (n = 5 seeds)`; without an interval where there are too few seeds.

    `of_metric` names test accuracy, too: `+1.24 points of test accuracy [+0.40, +2.08] (n = 5 seeds)`.
    """
    if not estimate.n:
        return "no paired seeds"
    told = amount(metric, estimate.value)
    if of_metric and metric == "test_accuracy":
        told += f" of {named(metric)}"
    if not estimate.judgeable:
        return f"{told} (n = {counted(estimate.n, 'seed')}, too few for an interval)"
    return f"{told} {bounds(metric, estimate.ci_low, estimate.ci_high)} (n = {counted(estimate.n, 'seed')})"


def place(cell: Cell) -> str:
    """An arm, with its training size where the study varies that."""
    arm, size = cell
    return arm if size is None else f"{arm} at {counted(size, 'image')}"


def at_size(size: int | None) -> str:
    """` at 3,000 images`, or nothing in a study with one size."""
    return "" if size is None else f" at {counted(size, 'image')}"


def listed(words: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = [str(word) for word in words]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def rounded_size(size: float) -> str:
    """A number of images to two significant digits."""
    if size <= 0 or not math.isfinite(size):
        return "no"
    digits = max(0, math.floor(math.log10(size)) - 1)
    return f"{round(size, -digits):,.0f}"

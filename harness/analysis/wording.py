"""Numbers as a reader meets them: accuracies in points, sizes with thousands separators, always with the interval."""

import math
from collections.abc import Iterable

from harness.analysis.cells import Cell
from harness.analysis.estimate import MeanEstimate
from harness.spec.formats import plain, points
from harness.spec.plural import counted

_SHARES = ("test_accuracy", "validation_accuracy", "shifted_accuracy", "shift_agreement")
"""Metrics between 0 and 1, told in percentage points."""


_WORDS = {
    "shift_agreement": "agreement at the largest shift",
    "shifted_accuracy": "test accuracy at the largest shift",
    "train_images_per_second": "training images per second",
    "eval_images_per_second": "images per second in evaluation",
    "macs_per_image": "multiply-accumulates per image",
    "attention_macs_per_image": "multiply-accumulates of attention per image",
    "train_seconds": "seconds of training",
    "peak_memory_bytes": "bytes of memory",
    "params": "parameters",
}


def named(metric: str) -> str:
    """A metric as a reader calls it."""
    return _WORDS.get(metric, metric.replace("_", " "))


def amount(metric: str, value: float, *, signed: bool = True) -> str:
    """A difference of a metric: accuracies and agreement in percentage points, the rest in the metric's own unit.

    Points are of test accuracy where nothing else is said.
    """
    of_what = "points" if metric == "test_accuracy" else f"points of {named(metric)}"
    return f"{_figure(metric, value, signed=signed)} {of_what if metric in _SHARES else named(metric)}".rstrip()


def bounds(metric: str, low: float, high: float) -> str:
    """An interval of a difference, in the unit of `amount`."""
    return f"[{_figure(metric, low)}, {_figure(metric, high)}]"


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


def _figure(metric: str, value: float, *, signed: bool = True) -> str:
    """The number of `amount`; zero has no sign."""
    text = points(value) if metric in _SHARES else f"{'+' * (value > 0)}{plain(value)}"
    return text if signed else text.removeprefix("+")


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

"""Numbers as a reader meets them: accuracies in points, sizes with thousands separators, always with the interval."""

import math
from collections.abc import Iterable

from harness.analysis.cells import Cell
from harness.analysis.estimate import Estimate

_ACCURACIES = ("test_accuracy", "validation_accuracy")


def amount(metric: str, value: float, *, signed: bool = True) -> str:
    """A difference of a metric: accuracies in percentage points, the rest in the metric's own unit."""
    sign = "+" if signed else ""
    if metric in _ACCURACIES:
        return f"{100 * value:{sign}.2f} points"
    return f"{value:{sign}.3g} {metric}"


def bounds(metric: str, low: float, high: float) -> str:
    """An interval of a difference, in the unit of `amount`."""
    if metric in _ACCURACIES:
        return f"[{100 * low:.2f}, {100 * high:.2f}]"
    return f"[{low:.3g}, {high:.3g}]"


def described(metric: str, estimate: Estimate) -> str:
    """`+1.24 points [0.40, 2.08] (n = 5 seeds)`; without an interval where there are too few seeds."""
    if not estimate.n:
        return "no paired seeds"
    if not estimate.judgeable:
        return f"{amount(metric, estimate.value)} (n = {counted(estimate.n, 'seed')}, too few for an interval)"
    interval = bounds(metric, estimate.ci_low, estimate.ci_high)
    return f"{amount(metric, estimate.value)} {interval} (n = {counted(estimate.n, 'seed')})"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def place(cell: Cell) -> str:
    """An arm, with its training size where the study varies that."""
    arm, size = cell
    return arm if size is None else f"{arm} at {size:,} images"


def at_size(size: int | None) -> str:
    """` at 3,000 images`, or nothing in a study with one size."""
    return "" if size is None else f" at {size:,} images"


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

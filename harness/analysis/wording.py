"""Numbers as a reader meets them: accuracies in points, sizes with thousands separators, always with the interval."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from harness.analysis.estimate import MeanEstimate
from harness.spec import Estimate, ResolvedStudy
from harness.spec.formats import (
    counted,
    magnitude,
    memory,
    number,
    percent,
    plain,
    plural,
    points,
    with_interval,
    words,
)

Cell = tuple[str, int | None]
"""Name of an arm and a training size; None in studies with one size, whatever that size is."""

_SHARES = (
    *("test_accuracy", "balanced_accuracy", "top5_accuracy", "validation_accuracy"),
    *("shifted_accuracy", "shift_agreement", "few_shot_accuracy"),
)
"""Metrics between 0 and 1, told in percentage points."""

_PREFIXED = ("params", "per_image", "per_second")
"""Ends of the names of metrics whose numbers are written with a prefix (k, M, G)."""

_WORDS = {
    "top5_accuracy": "top-5 accuracy",
    "shift_agreement": "agreement at the largest shift",
    "few_shot_accuracy": "few-shot accuracy on another task",
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
    return _WORDS.get(metric, words(metric))


def form(metric: str) -> tuple[Callable[[Any], str], str]:
    """How a difference of a metric is written, with its sign, and its unit.

    Accuracies and agreement are told in percentage points; of test accuracy where nothing else is said.
    """
    if metric in _SHARES or metric.startswith("test_accuracy at "):  # some size of patches, which is told beside it
        return points, "points" if metric.startswith("test_accuracy") else f"points of {named(metric)}"
    in_memory = metric == "peak_memory_bytes"
    write = memory if in_memory else magnitude if metric.endswith(_PREFIXED) else plain
    return lambda value: f"{'+' * ((number(value) or 0) > 0)}{write(value)}", "of memory" if in_memory else named(
        metric
    )


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
    told = amount(metric, estimate.value) + (" of test accuracy" if of_metric and metric == "test_accuracy" else "")
    n = f"n = {counted(estimate.n, 'seed')}"
    if not estimate.judgeable:
        return f"{told} ({n}, {estimate.thin or 'too few for an interval'})"
    return f"{told} {bounds(metric, estimate.ci_low, estimate.ci_high)} ({n})"


def compared(metric: str, estimate: Estimate, ends: tuple[str, str] = ("more", "less")) -> str:
    """A difference without a sign, with few digits: `1.2 points more [0.4, 2.0]`, `17 points less [13, 21]`.

    `ends` follow a number above zero, and one below. Where the interval holds zero, which leaves open which it is, the
    difference is told by it: `0.4 points less to 2.0 more`. No bound but zero is written as zero.
    """
    value, low, high, word = estimate.value, estimate.ci_low, estimate.ci_high, ends[0]
    is_open = low < 0 < high
    if is_open:
        low = -low
    elif value < 0:
        value, low, high, word = -value, -high, -low, ends[1]
    write, unit = form(metric)
    texts = [write(number).removeprefix("+") for number in (value, low, high)]
    if metric in _SHARES:
        nearest = min(abs(low), abs(high)) if math.isfinite(low) else value
        wide = abs(value) > 0.0995 and nearest > 0.005 and (is_open or not high - low < 0.02)
        digits = 0 if wide else 1 if nearest > 0.0005 and abs(value) >= 0.0005 else 2
        unit, texts = "points", [percent(number, digits).removesuffix("%") for number in (value, low, high)]
    if is_open:
        return f"{texts[1]} {unit} {ends[1]} to {texts[2]} {ends[0]}"
    return with_interval(f"{texts[0]} {unit} {word}", *texts[1:])


def place(cell: Cell) -> str:
    """An arm, with its training size where the study varies that."""
    return f"{cell[0]}{at_size(cell[1])}"


def at_size(size: int | None) -> str:
    """` at 3,000 images`, or nothing in a study with one size."""
    return "" if size is None else f" at {counted(size, 'image')}"


def seeds_told(study: ResolvedStudy) -> str:
    """`5 seeds`, or `5 seeds (3 from 1,024,000 images on)`."""
    few, start = min(study.long_seeds, len(study.seeds)), study.long_from
    is_long = start is not None and few < len(study.seeds) and study.train_sizes[-1] >= start
    told = f" ({few} from {start:,} images on)" if is_long else ""
    return f"{counted(len(study.seeds), 'seed')}{told}"


def of_seeds(seeds: list[int]) -> str:
    """`seed 3`, `seeds 0, 1 and 4`."""
    return f"{'seed' if len(seeds) == 1 else plural('seed')} {listed(seeds)}"


def listed(items: Iterable[object], most: float = math.inf, noun: str = "arm") -> str:
    """`a`, `a and b`, `a, b and c`; where there are more than `most`, `12 arms`."""
    texts = [str(item) for item in items]
    if len(texts) > most:
        return counted(len(texts), noun)
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"

"""Contenders that take turns: each in processes of its own, one at work while the others wait.

What disturbs the machine for a while then hits all contenders of a round alike, and the ratios of a round stay true.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from harness.execution.process import server_context

LOADED = ("torchvision", "timm", "vit_pytorch", "harness.bench.contestants")
"""Modules that are loaded once, in the process that contenders are forked from."""


@dataclass(frozen=True)
class Contender:
    """Somebody's way to do the work."""

    name: str
    make: Callable[[], Callable[[], Any]]
    """Called in the contender's process; returns what does a step, without waiting for a GPU. It can be pickled."""
    precision: str = "fp32"
    rivals: Sequence[str] = ()  # contenders that it is fairly compared with: in its own precision, and in fp32
    block: int = 1
    """Steps between two looks at the clock, before which a GPU is waited for: as many as come in one rhythm."""
    copies: int = 1  # processes that do the work at the same time; several have one thread each
    rest: float = 0.0
    """Seconds between the end of its turn and the next contender's: for what it still does in the background."""


@dataclass(frozen=True, kw_only=True)
class Heat:
    """The same work by several contenders, which gives a row for each number of threads, contender and rival."""

    part: str
    what: str  # a model and its images, e.g. `ViT p4 w96 d6, 28 px`
    batch: int
    contenders: Sequence[Contender]
    threads: Sequence[int]
    rounds: int  # turns of each contender
    seconds: float
    """Length of a turn, of one block of steps at least. Of 0, nothing is warmed up before the first round."""
    unit: str = "images/s"  # or `s`, of one step
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How many times as fast as another contender one of ours is, at one setting."""

    part: str
    what: str
    threads: int
    batch: int
    contender: str
    precision: str  # `fp32` or `bf16` (autocast)
    other: str
    other_precision: str
    ratio: float  # the median over the rounds, with its bootstrap interval (95%); above 1, ours is the faster one
    low: float
    high: float
    value: float  # what ours reached, in `unit`: the median over the rounds; `other_value` likewise
    other_value: float
    unit: str
    rounds: int
    note: str = ""

    @property
    def own_label(self) -> str:
        return f"{self.contender}, {self.precision}"

    @property
    def other_label(self) -> str:
        return f"{self.other}, {self.other_precision}"


def race(heat: Heat) -> list[Row]:
    """Let the contenders take turns; raises `RuntimeError` where one fails, with what it said."""
    rows, context = [], server_context(*LOADED)
    with ExitStack() as stack:
        teams = [(one, stack.enter_context(ProcessPoolExecutor(one.copies, context))) for one in heat.contenders]
        for threads in heat.threads:
            for team in teams if heat.seconds else ():
                _turn(*team, threads, heat.seconds)
            times: list[list[float]] = [[] for _ in teams]
            for number in range(heat.rounds * len(teams)):
                at = sum(divmod(number, len(teams))) % len(teams)  # nobody always follows the same one
                times[at].append(_turn(*teams[at], threads, heat.seconds))
            rows += rows_of(heat, threads, times)
    return rows


def rows_of(heat: Heat, threads: int, times: Sequence[Sequence[float]]) -> list[Row]:
    """A row for each contender and rival, by the seconds per step that each contender took in each round."""

    def value(taken: Sequence[float]) -> float:
        return heat.batch / statistics.median(taken) if heat.unit == "images/s" else statistics.median(taken)

    shared: dict[str, Any] = {name: getattr(heat, name) for name in ("part", "what", "batch", "unit", "note")}
    rows = []
    for (own, taken), (other, others) in permutations(zip(heat.contenders, times, strict=True), 2):
        if other.name in own.rivals and other.precision in (own.precision, "fp32"):
            middle, low, high = ratio(taken, others)
            row = Row(
                **shared, threads=threads, rounds=len(taken), ratio=middle, low=low, high=high,
                contender=own.name, precision=own.precision, value=value(taken),
                other=other.name, other_precision=other.precision, other_value=value(others),
            )  # fmt: skip
            rows.append(row)
    return rows


def ratio(own: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """The median over the rounds of other / own, in seconds, and its percentile bootstrap interval (95%)."""
    ratios = np.asarray(other, dtype=np.float64) / np.asarray(own, dtype=np.float64)
    median = float(np.median(ratios))
    if len(ratios) == 1:
        return median, median, median
    found = bootstrap((ratios,), np.median, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    low, high = found.confidence_interval
    return median, float(low), float(high)


def _turn(contender: Contender, pool: ProcessPoolExecutor, threads: int, seconds: float) -> float:
    """Seconds per step; of copies, seconds in which one of them does a step."""
    given = contender.make, threads if contender.copies == 1 else 1, contender.block, seconds
    try:
        steps = [turn.result() for turn in [pool.submit(_take_turn, *given) for _ in range(contender.copies)]]
    except Exception as error:
        name, said = f"{contender.name} ({contender.precision})", error.__cause__ or repr(error)
        raise RuntimeError(f"{name} failed: {said}") from error
    time.sleep(contender.rest)
    return 1 / sum(1 / step for step in steps)


_at_work: list[Callable[[], Any]] = []
"""In a contender's process: what does a step."""


def _take_turn(make: Callable[[], Callable[[], Any]], threads: int, block: int, seconds: float) -> float:
    """Seconds per step: the median over the blocks of about `seconds`, so that one stall does not count."""
    import torch

    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    if not _at_work:
        # What the contender starts itself (workers of a DataLoader), it starts as it would in a process of a user's.
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
        _at_work.append(make())
    blocks: list[float] = []
    end = time.perf_counter() + seconds
    while not blocks or time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(block):
            _at_work[0]()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        blocks.append((time.perf_counter() - began) / block)
    return statistics.median(blocks)

"""Contenders that take turns: each in a process of its own, one at work while the others wait.

What disturbs the machine for a while then hits all contenders of a round alike, and the ratios of a round stay true.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import psutil

from harness.bench.rows import Row, ratio

LOADED = (
    *("harness.execution.engines.server", "harness.execution.engines.bound_server"),
    *("torchvision", "timm", "vit_pytorch", "harness.bench.part_data"),
)
"""Modules that are loaded once, in the process that contenders are forked from; the first two end it with this one."""
LEAST_ROUNDS = 5  # however slow a step is
Times = list[list[float]]
"""Seconds per step: a list over the rounds for each contender."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How thoroughly, and on what, each part measures."""

    quick: bool = False
    """A look in a minute or two instead of figures to quote: fewer workloads, shorter turns."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    threads: tuple[int, ...] = (1, 2)
    """Processor threads to measure with, each by itself, in rising order."""
    precisions: tuple[str, ...] = ("fp32", "bf16")
    rounds: int = 9
    """Turns of each contender."""
    seconds: float = 0.4
    """Length of one turn."""
    say: Callable[[str], object] = field(default=lambda text: None, compare=False, repr=False)
    """Is told what is being measured."""


@dataclass(frozen=True)
class Contender:
    """Somebody's way to do the work."""

    name: str
    make: Callable[[], Callable[[], Any]]
    """Called in the contender's process; returns what does a step, without waiting for a GPU. It can be pickled."""
    precision: str = "fp32"
    rivals: Sequence[str] = ()
    """Contenders that it is fairly compared with: in its own precision, and in fp32."""
    block: int = 1
    """Steps between two looks at the clock, before which a GPU is waited for: as many as come in one rhythm."""
    copies: int = 1
    """Processes that do the work at the same time; several have one thread each."""
    rest: float = 0.0
    """Seconds between the end of its turn and the next contender's: for what it still does in the background."""


def race(contenders: Sequence[Contender], *, threads: Sequence[int], rounds: int, seconds: float) -> dict[int, Times]:
    """What each contender took in each round, by number of threads.

    A turn is `seconds` long, or one block of steps where that takes longer; there are then fewer rounds, but not fewer
    than LEAST_ROUNDS (or `rounds`), so that the whole takes about rounds * seconds for each contender. Of 0 seconds, a
    turn is one block, nothing is warmed up before, and there are as many rounds as asked for. Raises `RuntimeError`
    where a contender fails, with what it said.
    """
    with ExitStack() as stack:
        teams = [_Team(contender, stack) for contender in contenders]
        return {number: _rounds(teams, number, rounds, seconds) for number in threads}


def rows_of(
    contenders: Sequence[Contender], times: Mapping[int, Times], *, part: str, what: str, batch: int, unit: str
) -> list[Row]:
    """A row per number of threads, contender and rival; `unit` is `images/s`, of steps of `batch` images, or `s`."""

    def value(taken: Sequence[float]) -> float:
        return batch / statistics.median(taken) if unit == "images/s" else statistics.median(taken)

    rows = []
    for threads, seconds in times.items():
        for (own, taken), (other, others) in permutations(zip(contenders, seconds, strict=True), 2):
            if other.name in own.rivals and other.precision in (own.precision, "fp32"):
                middle, low, high = ratio(taken, others)
                row = Row(
                    part=part, what=what, threads=threads, batch=batch, unit=unit, rounds=len(taken),
                    contender=own.name, precision=own.precision, value=value(taken),
                    other=other.name, other_precision=other.precision, other_value=value(others),
                    ratio=middle, low=low, high=high,
                )  # fmt: skip
                rows.append(row)
    return rows


def _rounds(teams: Sequence["_Team"], threads: int, rounds: int, seconds: float) -> Times:
    if seconds > 0:
        warm = [team.turn(threads, seconds, least=3) for team in teams]
        longest = statistics.mean(max(seconds, step) for step in warm)
        rounds = max(min(rounds, LEAST_ROUNDS), round(rounds * seconds / longest))
    found: Times = [[] for _ in teams]
    for number in range(rounds):
        for place in range(len(teams)):
            at = (place + number) % len(teams)  # nobody always follows the same one
            found[at].append(teams[at].turn(threads, seconds, least=1))
    return found


class _Team:
    """A contender's processes: one, or a copy each. They end with `stack`, and with them what they started."""

    def __init__(self, contender: Contender, stack: ExitStack) -> None:
        self._contender = contender
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LOADED))
        self._pools = [stack.enter_context(ProcessPoolExecutor(1, context)) for _ in range(contender.copies)]
        pids = self._all(os.getpid)
        stack.push(lambda kind, *_: _kill(pids) if kind else None)  # they end by themselves, but not amid their work
        self._all(_make, contender)

    def turn(self, threads: int, seconds: float, *, least: int) -> float:
        """Seconds per step; of copies, seconds in which one of them does a step."""
        steps = self._all(_take_turn, threads if len(self._pools) == 1 else 1, seconds, least)
        time.sleep(self._contender.rest)
        return 1 / sum(1 / float(step) for step in steps)

    def _all(self, do: Callable[..., Any], *arguments: object) -> list[Any]:
        """What every process returns."""
        try:
            return [future.result() for future in [pool.submit(do, *arguments) for pool in self._pools]]
        except Exception as error:
            name, said = f"{self._contender.name} ({self._contender.precision})", error.__cause__ or repr(error)
            raise RuntimeError(f"{name} failed: {said}") from error


_at_work: list[tuple[Contender, Callable[[], Any]]] = []
"""In a contender's process: itself."""


def _make(contender: Contender) -> None:
    # What the contender starts itself (workers of a DataLoader), it starts as it would in a process of a user's.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    _at_work.append((contender, contender.make()))


def _take_turn(threads: int, seconds: float, least: int) -> float:
    """Seconds per step: the median over the blocks of about `seconds`, so that one stall does not count."""
    import torch

    ((contender, work),) = _at_work
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    blocks: list[float] = []
    end = time.perf_counter() + seconds
    while len(blocks) < least or time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(contender.block):
            work()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        blocks.append((time.perf_counter() - began) / contender.block)
    return statistics.median(blocks)


def _kill(pids: Sequence[int]) -> None:
    """Kill processes and all that they have started."""
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for one in (*process.children(recursive=True), process):
                one.kill()

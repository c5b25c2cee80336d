"""Contenders that take turns: each in a process of its own, one at work while the others wait.

What disturbs the machine for a while then hits all contenders of a round alike, and the ratios of a round stay true.
"""

import contextlib
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from threading import Thread
from types import TracebackType
from typing import Any, Self

LOADED = ("torch", "torchvision", "timm", "vit_pytorch", "harness.bench.data", "harness.bench.usual_stack")
"""Modules that are loaded once, in the process that contenders are forked from, before anything has run there."""
START_SECONDS = 300.0
"""How long a contender may take to load its library and make its model."""
LEAST_ROUNDS = 5
"""However slow a step is."""

Work = Callable[[], Any]
"""Does one step; on a device it need not wait for the result."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Somebody's way to do the work."""

    name: str
    precision: str = "fp32"
    make: Callable[[], Work]
    """Called in the contender's process; must survive pickling (a `functools.partial` of a module's function does)."""
    device: str = "cpu"
    block: int = 1
    """Steps between two looks at the clock, before which a GPU is waited for: as many as come in one rhythm."""
    updates: int = 1
    """Updates of one batch that a call of the work does: a step is one of them."""
    rest: float = 0.0
    """Seconds between the end of its turn and the next contender's: for what it still does in the background."""


class Contest:
    """Processes of contenders, started together and driven one by one; ends them on leaving."""

    def __init__(self, contenders: Sequence[Contender]) -> None:
        self._contenders = contenders
        self._processes: list[ForkServerProcess] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LOADED))
        for contender in self._contenders:
            here, there = context.Pipe()
            process = context.Process(target=_take_turns, args=(there, contender), daemon=False)
            process.start()
            there.close()
            self._processes.append(process)
            self._pipes.append(here)
        for pipe, contender in zip(self._pipes, self._contenders, strict=True):
            if not pipe.poll(START_SECONDS):
                raise RuntimeError(f"{contender.name} was not ready after {START_SECONDS:.0f} s")
            self._answer(pipe, contender)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()  # a contender without its pipe ends
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()

    def rounds(self, *, threads: int, rounds: int, seconds: float) -> list[list[float]]:
        """Seconds per step of each contender in each round, a list per contender; a warm-up goes before.

        A turn is `seconds` long, or one block of steps where that takes longer; there are then fewer rounds, but not
        fewer than LEAST_ROUNDS (or `rounds`), so that the whole takes about rounds * seconds for each contender.
        """
        warm = [self._turn(place, threads, seconds, least=3) for place in range(len(self._contenders))]
        longest = sum(max(seconds, step) for step in warm) / len(warm)
        rounds = max(min(rounds, LEAST_ROUNDS), round(rounds * seconds / longest))
        found: list[list[float]] = [[] for _ in warm]
        for number in range(rounds):
            for step in range(len(warm)):
                place = (step + number) % len(warm)  # nobody always follows the same one
                found[place].append(self._turn(place, threads, seconds, least=1))
        return found

    def _turn(self, place: int, threads: int, seconds: float, *, least: int) -> float:
        pipe, contender = self._pipes[place], self._contenders[place]
        pipe.send((threads, seconds, least))
        step = float(self._answer(pipe, contender))
        time.sleep(contender.rest)
        return step

    @staticmethod
    def _answer(pipe: Connection, contender: Contender) -> Any:
        try:
            kind, value = pipe.recv()
        except EOFError:
            raise RuntimeError(f"{contender.name} ({contender.precision}) ended without a word") from None
        if kind == "error":
            raise RuntimeError(f"{contender.name} ({contender.precision}) failed:\n{value}")
        return value


def _take_turns(pipe: Connection, contender: Contender) -> None:
    """A contender's process: ("ready", None), then a ("step", seconds) per turn; ("error", text) ends it."""
    Thread(target=_end_with_parent, daemon=True).start()
    # What the contender starts itself (workers of a DataLoader), it starts as it would in a process of a user's.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    try:
        import torch

        work = contender.make()
        pipe.send(("ready", None))
        now = 0
        while True:
            threads, seconds, least = pipe.recv()
            if threads != now:
                torch.set_num_threads(threads)
                now = threads
            pipe.send(("step", _step_seconds(work, contender, seconds, least)))
    except EOFError:
        return
    except BaseException:
        with contextlib.suppress(OSError):
            pipe.send(("error", traceback.format_exc()))


def _step_seconds(work: Work, contender: Contender, seconds: float, least: int) -> float:
    """Time of a step: the median over the blocks of about `seconds`, so that one stall does not count."""
    import torch

    wait = torch.cuda.synchronize if contender.device == "cuda" else None
    blocks: list[float] = []
    end = time.perf_counter() + seconds
    while len(blocks) < least or time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(contender.block):
            work()
        if wait is not None:
            wait()
        blocks.append((time.perf_counter() - began) / (contender.block * contender.updates))
    return statistics.median(blocks)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)

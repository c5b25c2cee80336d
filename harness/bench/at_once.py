"""Several trainings at once, one per processor core: how a study, or a patient shell, uses a machine."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[[], Any]

UPDATES = 8
"""Updates of each training between two meetings: the faster one waits little for the slower."""


def at_once(make: Callable[[], Work], trainings: int) -> Work:
    """A function that does `UPDATES` updates of each of several trainings, all at the same time.

    `make`, called in a process of its own for each of them, returns a function that does one update with one thread.
    """
    pipes = [_start(make) for _ in range(trainings)]
    for pipe in pipes:
        _answer(pipe)

    def meet() -> None:
        for pipe in pipes:
            pipe.send(UPDATES)
        for pipe in pipes:
            _answer(pipe)

    return meet


def _start(make: Callable[[], Work]) -> Connection:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=_follow, args=(there, make), daemon=True).start()
    there.close()
    return here


def _answer(pipe: Connection) -> None:
    problem = pipe.recv()
    if problem is not None:
        raise RuntimeError(problem)


def _follow(pipe: Connection, make: Callable[[], Work]) -> None:
    """A training's process: None when it is ready and after each piece of work, else what went wrong."""
    import torch

    try:
        torch.set_num_threads(1)
        work = make()
        pipe.send(None)
        while True:
            for _ in range(pipe.recv()):
                work()
            pipe.send(None)
    except EOFError:
        return
    except Exception as error:
        pipe.send(f"a training of several at once failed: {error!r}")

"""One training: loop, optimiser, schedule, checkpoint, evaluation, cost."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of the processes that train a run together: `rank` of `size`, the first of which leads."""

    rank: int
    size: int
    meeting: Path  # a file that they find each other by, new for each attempt


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What does not belong to a run's identity: where and how it is computed."""

    device: str = "auto"  # `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, as torch calls it in this process
    cards: tuple[str, ...] = ()
    """The run's cards by the names that the user knows, in the order of torch's cuda:0, cuda:1, ...; none on a CPU."""
    may_move: bool = False  # whether a run for which others leave too little memory is to fail, to be tried elsewhere
    threads: int = 1  # processor threads of one training
    deterministic: bool = False  # use deterministic kernels only (CUDA; CPU kernels always are)
    checkpoint_seconds: float = 30.0  # at least, between checkpoints within a training; 0 for always
    own_process: bool = True  # whether the process trains this run only, so that its peak memory is the run's
    profile: bool = False  # record the first updates again afterwards: a table of the costliest operations, a trace
    member: Member | None = None  # None for a process that trains alone
    pretrained: Path | None = None  # the folder of trainings that others start from; None for that of the run's folder

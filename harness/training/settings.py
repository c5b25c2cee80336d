"""How a run is computed, as against what it is; needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What does not belong to a run's identity: where and how it is computed."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    threads: int = 1
    """Processor threads of one training."""
    deterministic: bool = False
    """Use deterministic kernels only (CUDA; CPU kernels always are)."""
    checkpoint_seconds: float = 30.0
    """Time between checkpoints within a training."""
    own_process: bool = True
    """Whether the process trains this run only, so that its peak memory is the run's."""
    profile: bool = False
    """Record the first updates again after a training, for a table of the costliest operations and a trace."""

"""How a study is carried out, as the command and a program ask for it. Nothing here loads torch."""

from dataclasses import dataclass
from pathlib import Path

from harness.spec.errors import require, require_choice

ENGINES = ("processes", "inline", "ray")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is carried out; nothing here changes what it asks. The defaults are those of the command.

    Raises `InvalidInput` for values that cannot be, by themselves or together.
    """

    results: Path
    engine: str = "processes"
    ray_address: str | None = None
    """HOST:PORT of the cluster of engine `ray`; None for that of RAY_ADDRESS, else one started on this machine."""
    workers: int | None = None  # runs at the same time; None for one per core on a CPU, `per_device` on each card
    device: str = "auto"  # `auto`, `cpu`, `mps`, `cuda` for every card, or cards: `cuda:0,cuda:2`
    cards_per_run: int = 1  # cards that each run is trained on together; on a CPU processes, to try it
    per_device: int | None = None  # runs that share a card; None for one, or as many as `workers` need
    deterministic: bool = False
    accept_code_change: bool = False  # keep results of other training code beside new ones; the report says so
    set_aside: bool = False  # move results of other training code out of the way and train those runs again
    checkpoint_seconds: float = 30.0  # at least, between states of a training; more where they take long; 0 for always
    patience_seconds: float = 600.0  # a training without progress for so long is ended, if it has a process of its own
    retry_out_of_memory: bool = False  # train again what ran out of memory, as a failed run always is
    profile: bool = False  # leave a table of the costliest operations and a trace with every run that is trained
    command: str = ""

    def __post_init__(self) -> None:
        require_choice("engine", self.engine, ENGINES)
        for name in ("workers", "per_device", "cards_per_run"):
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            is_default = value is None and name != "cards_per_run"
            require(is_whole or is_default, f"{name} is {value!r}; it must be a whole number, 1 or more.")
        require(
            not self.is_inline or (self.workers or 1) == 1,
            f"The engine inline trains one run at a time, in this process, and workers is {self.workers}: leave it "
            "out, or take the engine processes.",
        )
        require(
            not (self.set_aside and self.accept_code_change),
            "Results of other training code are either set aside (set_aside) or kept beside new ones "
            "(accept_code_change), and both were asked for. Give one of them.",
        )
        require(
            self.ray_address is None or (isinstance(self.ray_address, str) and self.engine == "ray"),
            f"ray_address is {self.ray_address!r}, and the engine is {self.engine}: an address, HOST:PORT, goes with "
            "the engine ray alone.",
        )

    @property
    def is_inline(self) -> bool:
        return self.engine == "inline"  # everything is done in this process

    @property
    def shown_workers(self) -> int | None:
        """Runs at the same time, if that is known before the devices are."""
        return self.workers if self.per_device is None else None

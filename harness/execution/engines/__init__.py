"""Ways to carry out runs: in this process, in fresh processes side by side, or on the nodes of a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.execution.engines.slots import Slot
from harness.records.data_facts import DataFacts
from harness.records.runs import RunFolder, RunResult
from harness.spec import Run, RunConfig, SourceFacts


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What is tried before the first run: an update and an evaluation of an arm."""

    arm: str
    config: RunConfig
    facts: SourceFacts


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What trainings will have, as it was found before the first one."""

    devices: tuple[str, ...]  # as the user knows them: every card that is used, else "cpu" or "mps"
    data: tuple[DataFacts, ...]


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A run is under way."""

    digest: str
    update: int
    slot: Slot = ()  # the devices that it has


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a run's process says before it fails because of its devices."""

    reason: str
    is_sure: bool  # else a lack of memory while others held some: a device is to blame if the run completes elsewhere
    device: str = ""  # the one of a run's devices that it is about, if that is known


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run's attempt has ended: with a result, after an error, or asked to stop with its state kept."""

    run: Run
    result: RunResult | None
    error: str = ""
    interrupted: bool = False
    slot: Slot = ()  # the devices that it had
    fault: Fault | None = None  # what its process said of its devices
    is_crowded: bool = False  # it lacked memory beside other runs, and is to have a device for itself

    @property
    def is_excused(self) -> bool:
        """Whether what has ended it lies in a device, not in the run: it goes elsewhere, and is no attempt."""
        return self.fault is not None


@dataclass(frozen=True, kw_only=True)
class OutOfMemory:
    """What a process says that has too little memory for its part of a run; it is the run's result."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A device gets no more runs."""

    device: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something of the engine itself that a person wants to know."""

    text: str


Happening = Beat | Outcome | SetAside | Notice
Hear = Callable[[Sequence[Happening]], object]


class Engine(Protocol):
    """Carries out runs: `stop` asks all of them to keep their state and end, `close` ends everything now.

    `start`, of a run that the engine `takes` now, returns at once; `wait` tells what has happened, waiting at most
    `seconds` for something. Which devices a run gets is the engine's affair: see `slots`.
    """

    @property
    def capacity(self) -> int: ...  # runs that are carried out at the same time; 0 where every device is set aside
    @property
    def active(self) -> int: ...  # runs under way
    def takes(self, run: Run) -> bool: ...  # whether there is room for this run now
    def start(self, run: Run, folder: RunFolder) -> None: ...
    def wait(self, seconds: float) -> Sequence[Happening]: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...

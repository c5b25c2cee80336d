"""Ways to carry out runs: in this process, or in fresh processes side by side."""

from dataclasses import dataclass
from typing import Protocol

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

    device: str
    data: tuple[DataFacts, ...]


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A run is under way."""

    digest: str
    update: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run's attempt has ended: with a result, after an error, or asked to stop with its state kept."""

    run: Run
    result: RunResult | None
    error: str = ""
    interrupted: bool = False


class Engine(Protocol):
    """Carries out runs: `stop` asks all of them to keep their state and end, `close` ends everything now.

    `start` returns at once; `wait` tells what has happened, waiting at most `seconds` for something.
    """

    capacity: int  # runs that are carried out at the same time

    @property
    def active(self) -> int: ...  # runs under way
    def start(self, run: Run, folder: RunFolder) -> None: ...
    def wait(self, seconds: float) -> list[Beat | Outcome]: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...

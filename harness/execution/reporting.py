"""How a study that has been carried out gets its report: written here, or by a process of its own.

pandas, seaborn and the frames of all runs take more memory than everything else that a coordinator does. In a process
of its own they take it for a moment, and what they load is loaded while the last trainings run.
"""

from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

from harness.execution.engines import processes
from harness.execution.engines.endings import ending
from harness.spec import InvalidInput, ResolvedStudy

Say = Callable[[str], object]


class Reporter(Protocol):
    """Writes a study's tables and report from what its runs have left."""

    def begin(self) -> None:
        """The last runs are under way; may be called again."""

    def write(self, say: Say) -> None:
        """Write everything. Raises `InvalidInput` for what the user can mend."""

    def close(self) -> None:
        """End it now."""


class ReportHere:
    """Writes the report in this process, where a study's own claims and figures are at hand."""

    def __init__(self, folder: Path, study: ResolvedStudy) -> None:
        self._folder, self._study = folder, study

    def begin(self) -> None:
        """Nothing needs to be begun."""

    def write(self, say: Say) -> None:
        from harness.execution.publish import publish

        publish(self._folder, say, self._study)

    def close(self) -> None:
        """Nothing is open."""


class ReportProcess:
    """Writes the report in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun: tuple[ForkServerProcess, Connection] | None = None

    def begin(self) -> None:
        self._begun = self._begun or processes.start("carry_out_report", self._folder, duplex=True)

    def write(self, say: Say) -> None:
        self.begin()
        assert self._begun is not None
        process, pipe = self._begun
        try:
            pipe.send("write")
            while (message := pipe.recv()) != ("done",):
                match message:
                    case ("note", str(text)):
                        say(text)
                    case ("invalid", str(text)):
                        raise InvalidInput(text)
                    case ("error", str(text)):
                        raise RuntimeError(text)
        except (EOFError, OSError):
            process.join(processes.END_SECONDS)
            raise InvalidInput(
                f"The process that writes the report ended with {ending(process)}. "
                "Every training is kept: the same command writes the report."
            ) from None

    def close(self) -> None:
        if self._begun is not None:
            process, pipe = self._begun
            process.kill()
            process.join(processes.END_SECONDS)
            pipe.close()
            self._begun = None

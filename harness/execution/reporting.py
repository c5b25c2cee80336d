"""How a study that has been carried out gets its report: written here, or by a process of its own.

pandas, seaborn and the frames of all runs take more memory than everything else that a coordinator does. In a process
of its own they take it for a moment, and what they load is loaded while the last trainings run.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.execution.process import DONE, Call, CallEndedError
from harness.records.runs import RunResult
from harness.spec import InvalidInput, ResolvedStudy


class Reporter:
    """Writes a study's tables and report from what its runs have left."""

    def __init__(self, study: ResolvedStudy, folder: Path, *, own_process: bool) -> None:
        """`folder` is `results/<study>/<scale>`. A process of its own knows no claims and figures of a study's file."""
        self._study, self._folder = study, folder
        self._own_process = own_process
        self._call: Call | None = None

    def begin(self) -> Call | None:
        """The last runs are under way; may be called again. The process that writes, if it is not to be this one."""
        if self._own_process and self._call is None:
            self._call = Call("report", self._folder)
        return self._call

    def write(self, known: Mapping[str, RunResult], say: Callable[[str], object]) -> None:
        """Write everything; `known` are results by digest, which need not be read again.

        Raises `InvalidInput` for what the user can mend.
        """
        call = self.begin()
        if call is None:
            from harness.execution.publish import publish

            publish(self._folder, say, known, self._study)
            return
        try:
            call.say(known)
            while (event := call.hear()) != DONE:
                say(event[1])
        except CallEndedError as error:
            raise InvalidInput(
                f"The process that writes the report ended with {error}. "
                "Every training is kept: the same command writes the report."
            ) from None

    def close(self) -> None:
        """End it now."""
        if self._call is not None:
            self._call.close()
            self._call = None

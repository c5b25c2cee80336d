"""Runs one after the other in the coordinator's own process: for debuggers, profilers and notebooks."""

import traceback
from collections import deque

from harness.execution.engines import Beat, Outcome
from harness.records.files import mendable
from harness.records.runs import RunFolder
from harness.spec import InvalidInput, Run
from harness.training.perform import perform
from harness.training.settings import WorkerSettings
from harness.training.state import Interrupted


class InlineEngine:
    """An engine with room for one run, which is carried out inside `wait`."""

    capacity = 1

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._waiting: deque[tuple[Run, RunFolder]] = deque()
        self._stopping = False

    @property
    def active(self) -> int:
        return len(self._waiting)

    def start(self, run: Run, folder: RunFolder) -> None:
        self._waiting.append((run, folder))

    def wait(self, seconds: float) -> list[Beat | Outcome]:
        if not self._waiting:
            return []
        run, folder = self._waiting.popleft()
        if self._stopping:
            return [Outcome(run=run, result=None, interrupted=True)]
        try:
            with mendable(folder.path):
                result = perform(run, folder, self._settings, stop=lambda: self._stopping)
        except Interrupted:
            return [Outcome(run=run, result=None, interrupted=True)]
        except InvalidInput:
            raise
        except Exception:
            return [Outcome(run=run, result=None, error=traceback.format_exc())]
        return [Outcome(run=run, result=result)]

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._waiting.clear()

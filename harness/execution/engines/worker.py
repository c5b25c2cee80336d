"""What trains and loads torch: functions that are called in processes of their own, and the engine without any."""

import contextlib
import faulthandler
import time
import traceback
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from harness.execution import process, rehearsal
from harness.execution.engines import Beat, Fault, Happening, Hear, Outcome, OutOfMemory
from harness.execution.engines.slots import Slot, show_only
from harness.execution.engines.watch import last_line
from harness.models import large_resnet, swin_transformer  # noqa: F401 (torchvision, once for all runs)
from harness.records.failpoints import reached
from harness.records.files import mendable
from harness.records.provenance import code_fingerprint, git_state, hardware, versions
from harness.records.runs import RunFolder, RunResult
from harness.spec import DataSpec, InvalidInput, Run
from harness.training import WorkerSettings
from harness.training.device import DeviceError, device_fault, require_cards
from harness.training.perform import assist, perform
from harness.training.state import Crowded, Interrupted

BEAT_SECONDS = 0.5

# Of the code that is loaded here, whatever becomes of the files while a study runs; once for all runs.
code_fingerprint()
git_state()
versions()
hardware()


def train(pipe: Connection, run: Run, folder: RunFolder, settings: WorkerSettings) -> None:
    """Perform one run on its cards, or assist: sends the updates done, a `Fault`, "interrupted" where asked to stop."""
    show_only(settings.cards)
    # The file stays open for as long as the process lives: the handler writes to its descriptor.
    with contextlib.suppress(OSError, InvalidInput):  # told of by the run itself, which opens it, too
        faulthandler.register(process.DUMP_SIGNAL, file=folder.open_log(), all_threads=True)
    reached("start of worker")
    last = 0.0

    def beat(update: int) -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT_SECONDS:
            last = time.monotonic()
            pipe.send(update)

    try:
        with mendable(folder.path):
            require_cards(settings)
            if settings.member is None or settings.member.rank == 0:
                perform(run, folder, settings, heartbeat=beat, stop=process.asked_to_stop.is_set)
            else:
                assist(run, settings)
    except Interrupted:
        pipe.send("interrupted")
    except InvalidInput:
        raise
    except MemoryError as error:
        pipe.send(OutOfMemory(reason=str(error)))
    except BaseException as error:
        if (fault := fault_of(error, own_card(settings))) is not None:
            pipe.send(fault)
        with contextlib.suppress(OSError, InvalidInput), folder.open_log() as log:
            log.write(traceback.format_exc())
        raise


def fault_of(error: BaseException, device: str = "") -> Fault | None:
    """What an error of a process that trains on `device` says of that; None of an error that may be the run's own."""
    if isinstance(error, Crowded):
        return Fault(reason=str(error), is_sure=False, device=device)
    told = device_fault(error)
    return None if told is None else Fault(reason=told, is_sure=True, device=device)


def own_card(settings: WorkerSettings) -> str:
    """The card that this process trains on, of those of its run; empty on a processor."""
    rank = settings.member.rank if settings.member else 0
    return settings.cards[rank] if rank < len(settings.cards) else ""


def check(pipe: Connection, shown: Slot, *asked: Any) -> None:
    """Check data, device and models before any training; sends what `rehearsal.check` has found.

    It sees the cards `shown` alone, or all. Sends a `Fault` where the device that it tries models on does not work.
    """
    show_only(shown)
    reached("check of data")
    try:
        for prepared in rehearsal.check(*asked):
            pipe.send(prepared)
    except DeviceError as error:
        pipe.send(Fault(reason=error.reason, is_sure=True))


def report(pipe: Connection, folder: Path, known: dict[str, RunResult]) -> None:
    """Write tables and report, with the results that are known by digest. Sends notes."""
    reached("start of report")
    from harness.execution.publish import publish

    with mendable(folder):
        publish(folder, pipe.send, known)


def drive(pipe: Connection, *asked: Any) -> None:
    """Speak with a Ray cluster for the coordinator."""
    from harness.execution.engines import cluster

    cluster.drive(pipe, *asked)


def sample(pipe: Connection, specs: Sequence[DataSpec]) -> None:
    """Send an image of each data set, uint8 (C, H, W), or why there is none."""
    from harness.data.samples import sample as image_of

    for spec in specs:
        try:
            pipe.send(image_of(spec))
        except InvalidInput as error:
            pipe.send(str(error))


class InlineEngine:
    """An engine with room for one run, which is carried out inside `wait`; `hear` is told how far it is meanwhile."""

    capacity = 1

    def __init__(self, settings: WorkerSettings, hear: Hear) -> None:
        self._settings, self._hear, self._stopping, self._told = settings, hear, False, 0.0
        self._waiting: list[tuple[Run, RunFolder]] = []

    @property
    def active(self) -> int:
        return len(self._waiting)

    def takes(self, run: Run) -> bool:
        return not self._waiting

    def start(self, run: Run, folder: RunFolder) -> None:
        self._waiting.append((run, folder))

    def wait(self, seconds: float) -> Sequence[Happening]:
        return [self._carry_out(*self._waiting.pop())] if self._waiting else []

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._waiting.clear()

    def _carry_out(self, run: Run, folder: RunFolder) -> Outcome:
        try:
            with mendable(folder.path):
                beat, stop = partial(self._beat, run), lambda: self._stopping
                result = None if self._stopping else perform(run, folder, self._settings, heartbeat=beat, stop=stop)
        except Interrupted:
            result = None
        except InvalidInput:
            raise
        except Exception:
            error = traceback.format_exc()
            self._require_device()
            return Outcome(run=run, result=None, error=error)
        return Outcome(run=run, result=result, interrupted=result is None)

    def _require_device(self) -> None:
        """Refuse to go on where an error has left CUDA in a state in which all that follows in this process fails."""
        if self._settings.device.startswith("cuda"):
            try:
                torch.cuda.synchronize(self._settings.device)
            except Exception as error:
                told = last_line(str(error)).rstrip(".")
                raise InvalidInput(
                    f"A run has failed in such a way that CUDA no longer works in this process: {told}. "
                    "What is trained is kept. Take the engine processes, where a failure ends its own process alone."
                ) from error

    def _beat(self, run: Run, update: int) -> None:
        if time.monotonic() - self._told >= BEAT_SECONDS:
            self._told = time.monotonic()
            self._hear([Beat(digest=run.digest, update=update)])

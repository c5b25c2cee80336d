"""What is called in processes of their own; importing this module loads torch, so that a forked one starts at once."""

import contextlib
import faulthandler
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path

from harness.execution.engines import Rehearsal
from harness.execution.engines.endings import peak_memory
from harness.execution.process import DONE, DUMP_SIGNAL, ERROR, INVALID
from harness.execution.rehearsal import prepare, rehearse
from harness.records.failpoints import reached
from harness.records.files import mendable
from harness.records.provenance import code_fingerprint, git_state
from harness.records.runs import RunFolder, RunResult
from harness.spec import DataSpec, InvalidInput, Run
from harness.training.perform import perform
from harness.training.settings import WorkerSettings
from harness.training.state import Interrupted

BEAT_SECONDS = 0.5

# Of the code that is loaded here, whatever becomes of the files while a study runs.
code_fingerprint()
git_state()

_stop = threading.Event()
"""Set by SIGTERM, which asks for a stop."""


def carry_out(function: Callable[..., None], pipe: Connection, *arguments: object) -> None:
    """Call `function(pipe, *arguments)`, which sends events of its own, and send how it ended; see `process.Call`.

    The terminal's signals are the coordinator's affair; without a coordinator the process ends.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: _stop.set())
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    try:
        function(pipe, *arguments)
    except InvalidInput as error:
        pipe.send((INVALID, str(error)))
    except BaseException:
        pipe.send((ERROR, traceback.format_exc()))
    else:
        pipe.send(DONE)


def train(pipe: Connection, run: Run, folder: RunFolder, settings: WorkerSettings) -> None:
    """Perform one run. Sends ("beat", update, bytes of memory), and ("interrupted",) where it was asked to stop."""
    # The file stays open for as long as the process lives: the handler writes to its descriptor.
    with contextlib.suppress(OSError, InvalidInput):  # told of by the run itself, which opens it, too
        faulthandler.register(DUMP_SIGNAL, file=folder.open_log(), all_threads=True)
    reached("start of worker")
    last = 0.0

    def beat(update: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= BEAT_SECONDS:
            last = now
            pipe.send(("beat", update, peak_memory()))

    try:
        with mendable(folder.path):
            perform(run, folder, settings, heartbeat=beat, stop=_stop.is_set)
    except Interrupted:
        pipe.send(("interrupted",))
    except InvalidInput:
        raise
    except BaseException:
        with contextlib.suppress(OSError, InvalidInput), folder.open_log() as log:
            log.write(traceback.format_exc())
        raise


def check(
    pipe: Connection,
    data: list[DataSpec],
    surveyed: list[DataSpec],
    device: str,
    precision: str,
    rehearsals: list[Rehearsal],
    deterministic: bool,
) -> None:
    """Check data and device before any training, which sends ("ready", Prepared), then try every model."""
    reached("check of data")
    pipe.send(("ready", prepare(data, surveyed, device, precision)))
    rehearse(rehearsals, device, deterministic=deterministic)


def report(pipe: Connection, folder: Path) -> None:
    """Load what a report needs; sent the results that are known, by digest, write it. Sends ("note", text)."""
    reached("start of report")
    from harness.execution.publish import publish

    known: Mapping[str, RunResult] = pipe.recv()
    with mendable(folder):
        publish(folder, lambda text: pipe.send(("note", text)), known)


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)

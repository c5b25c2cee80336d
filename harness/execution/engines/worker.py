"""What a worker process does; importing this module loads torch, so that a forked worker starts at once."""

import contextlib
import os
import signal
import threading
import time
import traceback
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.execution.engines import Rehearsal
from harness.execution.engines.endings import peak_memory
from harness.execution.engines.preparation import prepare
from harness.execution.rehearsal import rehearse
from harness.records.failpoints import reached
from harness.records.files import hindrance, is_mendable
from harness.records.provenance import code_fingerprint, git_state
from harness.records.runs import RunFolder
from harness.spec import DataSpec, InvalidInput, Run
from harness.training.perform import perform
from harness.training.settings import WorkerSettings
from harness.training.state import Interrupted

BEAT_SECONDS = 0.5

# Of the code that is loaded here, whatever becomes of the files while a study runs.
code_fingerprint()
git_state()


def carry_out(pipe: Connection, run: Run, folder: RunFolder, settings: WorkerSettings) -> None:
    """Perform one run and report over `pipe`.

    Sends ("beat", update, bytes of memory), then ("done",), ("interrupted",), ("invalid", text) or ("error", text).
    """
    reached("start of worker")
    stop = _answer_signals()
    last = 0.0

    def beat(update: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= BEAT_SECONDS:
            last = now
            pipe.send(("beat", update, peak_memory()))

    try:
        perform(run, folder, settings, heartbeat=beat, stop=stop.is_set)
        pipe.send(("done",))
    except Interrupted:
        pipe.send(("interrupted",))
    except InvalidInput as error:
        pipe.send(("invalid", str(error)))
    except BaseException as error:
        if isinstance(error, OSError) and is_mendable(error):
            pipe.send(("invalid", str(hindrance(error, folder.path))))
            return
        text = traceback.format_exc()
        with contextlib.suppress(OSError, InvalidInput), folder.open_log() as log:
            log.write(text)
        pipe.send(("error", text))


def carry_out_preparation(
    pipe: Connection,
    data: list[DataSpec],
    surveyed: list[DataSpec],
    device: str,
    precision: str,
    rehearsals: list[Rehearsal],
    deterministic: bool,
) -> None:
    """Check data and device before any training, then try every model.

    Sends ("ready", Prepared), then ("rehearsed",), or in the place of either ("invalid", message) or ("error", text).
    """
    reached("check of data")
    _answer_signals()
    message: tuple[Any, ...] = ("rehearsed",)
    try:
        pipe.send(("ready", prepare(data, surveyed, device, precision)))
        rehearse(rehearsals, device, deterministic=deterministic)
    except InvalidInput as error:
        message = ("invalid", str(error))
    except BaseException:
        message = ("error", traceback.format_exc())
    pipe.send(message)


def carry_out_report(pipe: Connection, folder: Path) -> None:
    """Load what a report needs; when told so, write it: sends ("note", text), then ("done",) or what went wrong."""
    reached("start of report")
    _answer_signals()
    try:
        from harness.execution.publish import publish

        pipe.recv()
        publish(folder, lambda text: pipe.send(("note", text)))
        pipe.send(("done",))
    except InvalidInput as error:
        pipe.send(("invalid", str(error)))
    except BaseException as error:
        if isinstance(error, OSError) and is_mendable(error):
            pipe.send(("invalid", str(hindrance(error, folder))))
        else:
            pipe.send(("error", traceback.format_exc()))


def _answer_signals() -> threading.Event:
    """SIGTERM asks for a stop; the terminal is the coordinator's affair; without a coordinator the worker ends."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    return stop


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)

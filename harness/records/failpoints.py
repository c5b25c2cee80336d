"""Places where a process can be made to fail, so that tests can show that a study survives it there.

`PATCHBENCH_FAILPOINT=NAME[#N][=ACTION][,...]`: the Nth time (by default the first) that NAME is reached, the process
sends itself the signal ACTION (by default `KILL`) or, for `sleep`, hangs. `PATCHBENCH_FAILPOINT_LOG=PATH`: the places
reached are appended to PATH; N then counts over all processes, so that what is tried again does not fail again.
"""

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

ASKED, LOG = "PATCHBENCH_FAILPOINT", "PATCHBENCH_FAILPOINT_LOG"

_times: Counter[str] = Counter()


def active() -> bool:
    """Whether the environment asks for anything here."""
    return ASKED in os.environ or LOG in os.environ


def reached(what: str, path: Path | None = None) -> None:
    """The process is at the place `what`, or at `what:<name of path>`, whose numbers and hashes are left out."""
    if not active():
        return
    name = what if path is None else f"{what}:{re.sub(r'-([0-9]+|[0-9a-f]{8})(?=[-.]|$)', '', path.name)}"
    times = _count(name)
    for asked in os.environ.get(ASKED, "").split(","):
        at, _, action = asked.partition("=")
        place, _, number = at.partition("#")
        if (place, int(number or 1)) == (name, times):
            _fail(action or "KILL")


def _fail(action: str) -> None:
    if action == "sleep":
        time.sleep(3600)
    else:
        os.kill(os.getpid(), signal.Signals[f"SIG{action}"])


def _count(name: str) -> int:
    if LOG not in os.environ:
        _times[name] += 1
        return _times[name]
    line = f"{name}\n".encode()
    with open(os.environ[LOG], "a+b", buffering=0) as log:  # noqa: PTH123 (as bytes, in one write)
        log.write(line)
        end = log.tell()  # behind the own line, whoever else appends
        log.seek(0)
        return log.read(end).splitlines(keepends=True).count(line)

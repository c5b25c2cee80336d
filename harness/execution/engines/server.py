"""What the server of workers loads first, where a coordinator's main thread starts it: none outlives its parent."""

import ctypes
import os
import signal
import sys
from collections import deque

_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when the thread that started it ends

_starter = deque([os.getpid()], maxlen=1)


def _end_with(parent: int) -> None:
    """Have the kernel end this process together with `parent`, which started it; on Linux, nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before it was asked for
            os._exit(1)


_end_with(int(os.environ.get("PATCHBENCH_COORDINATOR", os.getppid())))
os.register_at_fork(before=lambda: _starter.append(os.getpid()), after_in_child=lambda: _end_with(_starter[0]))

# A terminal, or a job system that ends a job, signals all its processes; the coordinator tells the workers to stop,
# and they need the server until they have kept their state.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)

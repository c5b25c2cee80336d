"""What the server that workers are forked from loads first: nothing that it starts outlives it.

To be imported there only.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the thread that started it ends."""

_starter = os.getpid()


def end_with(parent: int) -> None:
    """Have the kernel end this process together with `parent`, which started it; on Linux, nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before it was asked for
            os._exit(1)


def _before_fork() -> None:
    global _starter  # noqa: PLW0603 (hooks of a fork share nothing else)
    _starter = os.getpid()


def _after_fork() -> None:
    end_with(_starter)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)

# A terminal, or a job system that ends a job, signals all its processes; the coordinator tells the workers to stop,
# and they need the server until they have kept their state.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)

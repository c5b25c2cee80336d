"""What is known of a process that ended without saying why: how, how much memory it took, and how much there is."""

import contextlib
import resource
import signal
import sys
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NO_LIMIT = 2**60
"""Bytes from which a limit is none."""
_SHORTAGES = ("cannot allocate memory", "failed to map segment", "can't start new thread", "bad_alloc")
"""What libraries say that lack memory."""


def ending(process: ForkServerProcess, peak: int = 0) -> str:
    """How a process that is over ended, and what is known of memory; `peak`: bytes that it is known to have taken."""
    code = process.exitcode
    how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
    taken = f"it took {_size(peak)} of memory when it was last heard of; " if peak else ""
    return f"{how} ({taken}{memory_here()})"


def memory_here() -> str:
    """The memory of this machine, and the limits that are set: `of 15.6 GiB of memory here, 2.1 GiB are free`."""
    return ", ".join(_memory())


def peak_memory() -> int:
    """The most bytes of memory that this process has taken so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is too little memory for this program itself."""
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in _SHORTAGES)


def shortage(error: BaseException) -> str:
    """What to tell of an error that `is_short_of_memory`."""
    reason = str(error) or type(error).__name__
    return f"Memory is short ({reason}): {memory_here()}. Close other programs, or lift the limit; then run it again."


def _memory() -> Iterator[str]:
    import psutil

    memory = psutil.virtual_memory()
    yield f"of {_size(memory.total)} of memory here, {_size(memory.available)} are free"
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield f"each process may have {_size(limit)} of addresses (ulimit -v)"
    for path in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            if (most := int(path.read_text())) < _NO_LIMIT:
                yield f"this container may have {_size(most)}"


def _size(amount: int) -> str:
    return f"{amount / 2**30:.1f} GiB"

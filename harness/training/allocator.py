"""How the process keeps the memory that an update frees for the next one."""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_LARGEST_MMAP_THRESHOLD = 4 * 1024 * 1024 * ctypes.sizeof(ctypes.c_long)
_NEVER_TRIM = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory rather than give it back to the system; whether it does so now.

    By default glibc asks the system for each large array of each update, and the system clears every page anew: about a
    fifth of the time of a ViT's update. For processes that train and then end: what they free stays with them.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER_TRIM))


def give_back_freed_memory() -> None:
    """Give the system what was freed so far, once; what is freed later is kept as before."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)

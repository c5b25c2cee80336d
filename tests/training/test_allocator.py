"""Memory that a training frees stays with its process."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS_OF_REPEATED_ALLOCATIONS = """
import resource, sys
import torch
from harness.training.device import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def work():
    for _ in range(5):
        kept_for_the_backward_pass = [torch.ones(1_000_000) for _ in range(20)]

work()
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


AT_ONCE_GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def faults(how, **environment):
    command = [sys.executable, "-c", FAULTS_OF_REPEATED_ALLOCATIONS, how]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return int(found.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_repeated_allocations_clear_no_pages_anew():
    pages = 5 * 20 * 4_000_000 // os.sysconf("SC_PAGESIZE")
    assert faults("kept") < pages / 10
    assert faults("given back", **AT_ONCE_GIVEN_BACK) > pages / 2

"""One thread, and one loaded data set, for all tests of trainings."""

import os

import pytest
import torch
from training_cases import DATA

from harness.data import load


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests bring about loses nothing that is on its way to the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def digits(_own_cache):
    return load(DATA, phase="confirm")

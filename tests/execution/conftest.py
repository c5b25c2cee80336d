"""Options and observers for tests that run studies."""

from pathlib import Path

import pytest
from tiny_studies import Witness

from harness.execution.runner import Options


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def inline(tmp_path: Path) -> Options:
    return Options(results=tmp_path / "results", engine="inline", command="a test")


@pytest.fixture
def processes(tmp_path: Path) -> Options:
    return Options(results=tmp_path / "results", engine="processes", workers=2, command="a test")

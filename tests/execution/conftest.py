"""Options and observers for tests that run studies, and studies that have been run once."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import finished_study
import pytest
from finished_study import Kept
from tiny_studies import SPACE, Witness, tiny_study

from harness.execution import publish
from harness.execution.engines.ray_engine import Asked, token_for
from harness.execution.runner import Options
from harness.spec import Search
from harness.training import WorkerSettings


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What these tests bring about loses nothing that is on its way to the disk.

    Without `monkeypatch`: a test's own would then be undone after what its module patches, and bring that back.
    """
    with patch.object(os, "fsync", lambda descriptor: None):
        yield


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def inline(tmp_path: Path) -> Options:
    return Options(results=tmp_path / "results", engine="inline", command="a test")


@pytest.fixture
def processes(tmp_path: Path) -> Options:
    return Options(results=tmp_path / "results", engine="processes", workers=2, command="a test")


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Two seeds, two trials and tests on shifted images, looked into; tests damage copies of it."""
    kept = finished_study.finish(tmp_path_factory.mktemp("kept"))
    publish.look(kept.folder, lambda text: None)
    return kept


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """`tiny_study()` as it is: three seeds, no trials. Its report has no figures."""
    with finished_study.no_figures():
        return finished_study.finish(tmp_path_factory.mktemp("plain"), tiny_study())


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """`tiny_study()` with a search of three trials, without a report."""
    with finished_study.tables_only():
        return finished_study.finish(tmp_path_factory.mktemp("tuned"), tiny_study(search=Search(space=SPACE, trials=3)))


@pytest.fixture
def again(plain: Kept, inline: Options) -> Path:
    """The folder of `tiny_study()`, finished, where `inline` goes on with it."""
    folder = inline.results / "tiny" / "smoke"
    shutil.copytree(plain.folder, folder)
    return folder


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """What a coordinator wants of a Ray cluster."""
    return Asked(
        address="local",
        local_cores=1,
        token=token_for(tmp_path),
        device="auto",
        per_device=None,
        cards_per_run=1,
        workers=None,
        runs=10,
        patience_seconds=60.0,
        settings=WorkerSettings(),
        code=(),
        data=(),
        hashes={},
        surveyed=(),
        tried=[],
    )

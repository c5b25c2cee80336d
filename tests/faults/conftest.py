"""What the tests of faults share: the stage, the study, and what it leaves undisturbed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_study import FaultStudy
from stage import Stage


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stage takes longer to set than the quick tests may."""
    for item in items:
        if "stage" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Stage]:
    opened = Stage(tmp_path_factory.mktemp("stage"))
    warm = FaultStudy(opened, tmp_path_factory.mktemp("warm"))
    warm.results.mkdir(parents=True)
    shutil.copy(empty_database, warm.results)
    opened.warm_up(*warm.command, "--engine", "inline")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def fresh(stage: Stage, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Callable[[], FaultStudy]:
    """Makes a study that has not been launched, with MLflow's empty tables."""

    def make() -> FaultStudy:
        study = FaultStudy(stage, tmp_path_factory.mktemp("study"))
        study.results.mkdir(parents=True)
        shutil.copy(empty_database, study.results)
        return study

    return make


@pytest.fixture
def study(fresh: Callable[[], FaultStudy]) -> FaultStudy:
    return fresh()


@pytest.fixture(scope="session")
def undisturbed(fresh: Callable[[], FaultStudy]) -> dict[str, Any]:
    """What the study leaves when nothing happens to it."""
    study = fresh()
    study.finish()
    return study.kept()

"""What every test has: one thread, patience, a cache and MLflow settings of its own; programs that answer Ctrl-C."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

# Property tests have no time limit of their own: a busy machine is no failure. CI tries the same cases every time.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")

# Before anything loads OpenMP: the threads of models as small as these wait for each other longer than they compute,
# and on a busy machine they wait in vain; where a program takes more all the same, they sleep instead of spinning.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def pytest_collection_finish() -> None:
    """Thousands of tests stay until the end: the collector of garbage need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_core() -> Iterator[None]:
    """A study that is run inside the tests trains with one thread, whatever the machine has."""
    from harness.records import provenance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "available_cores", lambda: 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the user's cache or databases is touched."""
    os.environ["PATCHBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    for name in ("MLFLOW_TRACKING_URI", "PATCHBENCH_SEARCHES", "PATCHBENCH_RESULTS"):
        os.environ.pop(name, None)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell lets its background jobs ignore SIGINT, and they hand that down to every program they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def searches_in() -> Callable[[str], dict[str, list[Any]]]:
    """Reads the trials of each search in an Optuna storage, as anybody does."""

    def read(address: str) -> dict[str, list[Any]]:
        import optuna

        storage = optuna.storages.RDBStorage(address)
        try:
            names = optuna.get_all_study_names(storage)
            return {name: optuna.load_study(study_name=name, storage=storage).trials for name in names}
        finally:
            storage.engine.dispose()

    return read


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema: making one takes longer than a small study. One for all of pytest's workers."""
    from harness.tracking.store import Store

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "schema.lock"):
        made = shared / "schema" / "mlflow.db"
        if not made.exists():
            results = tmp_path_factory.mktemp("schema")
            store = Store.of(results)
            with store.locked():
                store.connect()
            results.rename(made.parent)
    return made


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[1]

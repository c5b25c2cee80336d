"""What every test has: a cache and MLflow settings of its own, and programs that answer Ctrl-C."""

import signal
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the user's cache or MLflow server is touched."""
    import os

    os.environ["PATCHBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.pop("PATCHBENCH_RESULTS", None)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell lets its background jobs ignore SIGINT, and they hand that down to every program they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[1]

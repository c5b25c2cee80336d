"""The connection of this process to a Ray cluster, and what is sent along with it."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

from harness.execution.engines.node import LAUNCHED_IN
from harness.execution.engines.ray_engine import Asked
from harness.records.provenance import GIT_STATE, PACKAGE, git_state
from harness.spec import InvalidInput
from harness.spec.functions import COPIES


@contextlib.contextmanager
def connected(asked: Asked) -> Iterator[None]:
    """Be connected to the cluster asked for, or to one that is started here and ended again.

    Code is sent along: the package, and the user's own files. Raises `InvalidInput` where that cannot be done.
    """
    os.setsid()  # a signal to all processes of a terminal or job is the coordinator's affair
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if (
        asked.address == "local"
    ):  # else Ray leaves a token for good in the user's home, which clusters to come will ask for
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # what Ray says of nodes that are lost, with pages of its own log
        os.dup2(null, stream)
    # Where data and caches lie is each node's own affair.
    passed = {name: value for name, value in os.environ.items() if name.startswith("PATCHBENCH_FAILPOINT")}
    with tempfile.TemporaryDirectory(prefix="patchbench-code-") as code:
        shutil.copytree(PACKAGE, Path(code) / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in asked.code:
            copy = Path(code) / COPIES / path.relative_to(path.anchor)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        local = {"num_cpus": asked.local_cores, "include_dashboard": False} if asked.address == "local" else {}
        # A run names its card itself. Paths may be relative to where the study was launched.
        passed |= {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1", LAUNCHED_IN: str(Path.cwd())}
        passed[GIT_STATE] = json.dumps(git_state())  # what is sent is no checkout
        try:
            ray.init(
                asked.address,
                runtime_env={"working_dir": code, "env_vars": passed},
                log_to_driver=False,
                logging_level="CRITICAL",
                **local,
            )
        except Exception as error:
            raise InvalidInput(f"Ray at {asked.address}: {type(error).__name__}: {error}") from error
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which Ray would answer
    yield
    ray.shutdown()


def answers(address: tuple[str, int], seconds: float = 2.0) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(address, timeout=seconds).close()
    except OSError:
        return False
    return True

"""The script for Slurm, under commands that carry out on this machine what Slurm's would on its nodes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_study import FaultStudy
from test_processes import reaches, wait_until
from what_is_kept import differences

SCRIPT = Path(__file__).parents[2] / "harness" / "execution" / "engines" / "study.sbatch"

COMMANDS = {
    "sbatch": 'exec bash "$@"',
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": 'echo "$@" >>"$ASKED"; echo one; echo two',
    # Ray's own would end every cluster on this machine with its own, and starts none for a second node of the same one.
    "ray": 'while [ "$1" != -- ]; do echo "$1" >>"$ASKED"; shift; done; shift; unset RAY_ADDRESS; exec "$@"',
}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a job, in whose folder `.venv` has a `patchbench`."""
    commands = {tmp_path / "slurm" / name: text for name, text in COMMANDS.items()}
    commands[tmp_path / ".venv" / "bin" / "patchbench"] = f'exec {sys.executable} -m harness "$@"'
    for path, text in commands.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    root = str(Path(__file__).parents[2])
    paths = {"PATH": f"{tmp_path / 'slurm'}:{os.environ['PATH']}", "PYTHONPATH": root, "ASKED": str(tmp_path / "asked")}
    return os.environ | {"SLURM_JOB_ID": "42"} | paths


def test_a_job_has_all_of_its_nodes() -> None:
    """Slurm gives an exclusive node's cards and cores, but the memory by default of a core, and binds a task to one."""
    asked = SCRIPT.read_text().splitlines()
    assert {"#SBATCH --exclusive", "#SBATCH --mem=0"} <= set(asked)
    (step,) = (line for line in asked if line.startswith("srun "))
    assert "--cpu-bind=none" in step.split()


def submit(tmp_path: Path, environment: dict[str, str], *arguments: object) -> subprocess.Popen[bytes]:
    command = ["sbatch", SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, cwd=tmp_path, env=environment)


@pytest.mark.slow  # a program of its own
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell which signals wait")
def test_a_job_that_is_told_to_end_is_queued_again_and_goes_on(
    study: FaultStudy, undisturbed: dict[str, Any], cluster: dict[str, str], tmp_path: Path
) -> None:
    log, place = tmp_path / "log", "half a line of evaluated:journal.jsonl"
    failing = {"PATCHBENCH_FAILPOINT": f"{place}#3=STOP", "PATCHBENCH_FAILPOINT_LOG": str(log)}
    asked = {"PATCHBENCH_RESULTS": str(study.results)} | failing
    options = ("--scale", "smoke", "--quiet", "--engine", "inline")
    job = submit(tmp_path, cluster | asked, study.file, *options)
    wait_until(lambda: reaches(log, place) and log.read_text().splitlines().count(place) == 3)
    job.send_signal(signal.SIGUSR1)
    trained = json.loads((study.place / "work" / "lock").read_text())["pid"]
    wait_until(lambda: f"{1 << signal.SIGUSR1 - 1:016x}" in Path(f"/proc/{trained}/status").read_text())  # it waits
    os.kill(trained, signal.SIGCONT)
    assert job.wait(120) == 75
    assert (tmp_path / "asked").read_text() == "requeue 42\n"
    study.finish()
    assert differences(undisturbed, study.kept()) == []


@pytest.mark.slow  # a cluster of its own
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
def test_a_job_of_two_nodes_runs_on_ray_and_is_queued_again(
    study: FaultStudy, undisturbed: dict[str, Any], cluster: dict[str, str], tmp_path: Path
) -> None:
    log, nodes = tmp_path / "log", {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "[one-two]", "RAY_PORT": "7000"}
    asked = {"PATCHBENCH_RESULTS": str(study.results), "PATCHBENCH_FAILPOINT_LOG": str(log), "HOME": str(tmp_path)}
    job = submit(tmp_path, cluster | asked | nodes, study.file, "--scale", "smoke", "--quiet")
    wait_until(lambda: job.poll() is not None or reaches(log, "half a line of evaluated:journal.jsonl"))
    job.send_signal(signal.SIGTERM)
    assert job.wait(120) == 75
    told = ["symmetric-run", "--address", "one:7000", "--min-nodes", "2", "--disable-usage-stats"]
    assert (tmp_path / "asked").read_text().splitlines() == ["show hostnames [one-two]", *told, "requeue 42"]
    assert not (tmp_path / ".ray").exists()  # where Ray leaves a token
    study.finish()
    assert differences(undisturbed, study.kept()) == []

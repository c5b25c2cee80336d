"""Where a result came from: the code, its versions and the machine. Never part of a run's identity."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]

_TRAINING_CODE = ("spec/model.py", "spec/recipe.py", "spec/data.py", "spec/run.py", "data", "models", "training")
"""What decides a training's numbers besides its configuration; relative to the package."""

_LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "optuna", "mlflow")


@cache
def code_fingerprint() -> str:
    """First 16 hexadecimal digits of the SHA-256 over the source files that decide a training's numbers."""
    digest = hashlib.sha256()
    for path in _training_files():
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that matter, without importing them."""
    found = {"python": platform.python_version(), "patchbench": _version("patchbench")}
    return found | {name: _version(name) for name in _LIBRARIES}


@cache
def hardware() -> dict[str, Any]:
    """The machine: system, processor, cores."""
    return {"platform": platform.platform(), "cpu": _cpu_name(), "cores": available_cores()}


def available_cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@cache
def git_state() -> dict[str, Any]:
    """Revision of the checkout that the code runs from, and whether it has uncommitted changes; {} outside git."""
    try:
        revision = _git("rev-parse", "HEAD")
        return {"git_revision": revision, "git_dirty": bool(_git("status", "--porcelain", "--", "harness", "studies"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _training_files() -> list[Path]:
    found: list[Path] = []
    for name in _TRAINING_CODE:
        path = PACKAGE / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 (fixed arguments)
        ["git", *arguments],  # noqa: S607 (git is found on PATH as for the user)
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()

"""Where a result came from: the code, its versions and the machine. Never part of a run's identity."""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from harness.spec.functions import without_texts

PACKAGE = Path(__file__).resolve().parents[1]

GIT_STATE = "PATCHBENCH_GIT_STATE"  # of the checkout that this code was sent from, as JSON

_SPEC = ("spec/model.py", "spec/recipe.py", "spec/data.py", "spec/procedural.py", "spec/few_shot.py", "spec/run.py")
_TRAINING_CODE = (*_SPEC, "data", "models", "training")

_REPORT_CODE = ("spec", "records", "analysis", "report", "execution/publish.py")  # what decides the bytes of a report

UNKNOWN = "unknown"  # what a revision that git does not tell starts with; the reason follows

_LIBRARIES = ("patchbench", "torch", "torchvision", "timm", "numpy", "pillow", "pandas", "optuna", "mlflow")
_REPORT_LIBRARIES = ("patchbench", "numpy", "pandas", "scipy", "matplotlib", "seaborn", "jinja2", "pillow")


@cache
def code_fingerprint() -> str:
    """First 16 hexadecimal digits of the SHA-256 over the syntax, without docstrings, of the training code.

    A note of which code it was: what the numbers depend on is `harness.training.numerics.NUMERICS`.
    """
    return _fingerprint(_TRAINING_CODE, lambda source: ast.dump(without_texts(ast.parse(source))).encode())


@cache
def report_maker() -> dict[str, str]:
    """What must be the same for a report to be the same bytes: its code, the libraries that draw it, the processor."""
    return versions(_REPORT_LIBRARIES) | {
        "machine": platform.machine(),
        "report_code": _fingerprint(_REPORT_CODE, bytes),
    }


@cache
def versions(libraries: tuple[str, ...] = _LIBRARIES) -> dict[str, str]:
    """Versions of Python, this package and the libraries that matter, without importing them."""
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def hardware() -> dict[str, Any]:
    """The machine: system, processor, cores."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:(.*)$", info.read_text() if info.exists() else "", re.MULTILINE)
    cpu = named[1].strip() if named else platform.processor() or UNKNOWN
    return {"platform": platform.platform(), "cpu": cpu, "cores": available_cores()}


def available_cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@cache
def git_state() -> dict[str, Any]:
    """`git_revision` of the checkout that the code runs from, or `unknown` and why; whether it is changed."""
    if told := os.environ.get(GIT_STATE):
        return dict(json.loads(told))
    try:
        _git("ls-files", "--error-unmatch", "--", "harness/__init__.py")  # else the revision is that of another project
        revision = _git("rev-parse", "HEAD")
        return {"git_revision": revision, "git_dirty": bool(_git("status", "--porcelain", "--", "harness", "studies"))}
    except (OSError, subprocess.SubprocessError) as error:
        told = str(getattr(error, "stderr", None) or error).partition("\n")[0]
        return {"git_revision": f"{UNKNOWN} ({told})"}


def _fingerprint(names: Iterable[str], content: Callable[[bytes], bytes]) -> str:
    """First 16 hexadecimal digits of the SHA-256 over source files and templates, by name and `content`."""
    digest = hashlib.sha256()
    for name in names:
        path = PACKAGE / name
        files = sorted([*path.rglob("*.py"), *path.rglob("*.j2")]) if path.is_dir() else [path]
        for file in files:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0")
            digest.update(content(file.read_bytes()) + b"\0")
    return digest.hexdigest()[:16]


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 (fixed arguments)
        ["git", *arguments],  # noqa: S607 (git is found on PATH as for the user)
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
        env=os.environ | {"LC_ALL": "C"},
    )
    return done.stdout.strip()

"""What a run needs of this machine, looked at one by one: each line says how to mend what is wrong. Changes nothing."""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from harness.records.layout import StudyFolder, command_line
from harness.records.provenance import PACKAGE, UNKNOWN, available_cores, git_state
from harness.records.write_lock import StudyLock
from harness.spec.plural import counted

Level = Literal["ok", "warn", "bad"]

OLDEST_PYTHON = (3, 11)
LITTLE_MEMORY, TOO_LITTLE_MEMORY = 4e9, 1e9
"""Bytes available below which a line warns, and below which studies cannot be trained."""
LITTLE_DISK, TOO_LITTLE_DISK = 5e9, 5e8
"""Free bytes, likewise."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    what: str
    level: Level
    found: str
    mend: str = ""
    """What to do about it; empty where nothing is to do."""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def examine(results: Path) -> list[Check]:
    """All checks, in the order in which a run would stumble; one that cannot be made is itself a line."""
    steps: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("Python", _python),
        ("packages", _packages),
        ("git", _git),
        ("torch", _torch),
        ("memory", _memory),
        ("results folder", lambda: _results(results)),
        ("disk space", lambda: _disk(results)),
        ("data", _data),
        ("MLflow", lambda: _mlflow(results)),
        ("lock", lambda: _locks(results)),
    )
    return [check for what, step in steps for check in _guarded(what, step)]


def _guarded(what: str, step: Callable[[], Iterator[Check]]) -> list[Check]:
    """The checks of a step; whatever goes wrong in one is what it found."""
    made = []
    try:
        for check in step():
            made.append(check)  # noqa: PERF402 (those before an error count)
    except Exception as error:
        found = f"could not be looked at: {type(error).__name__}: {error}"
        made.append(Check(what=what, level="bad", found=found, mend="Mend what it names, then look again."))
    return made


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    is_old = sys.version_info < OLDEST_PYTHON
    least = ".".join(map(str, OLDEST_PYTHON))
    mend = f"Use Python {least} or newer." if is_old else ""
    yield Check(what="Python", level="bad" if is_old else "ok", found=f"{version}, {sys.executable}", mend=mend)


def _packages() -> Iterator[Check]:
    """Whether what patchbench requires is installed; versions are pip's business."""
    required = importlib.metadata.requires("patchbench") or []
    plain = [text for text in required if "extra ==" not in text]
    names = [match[0] for text in plain if (match := re.match(r"[A-Za-z0-9._-]+", text))]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        mend = f"python -m pip install {' '.join(missing)}"
        yield Check(what="packages", level="bad", found=f"not installed: {', '.join(missing)}", mend=mend)
    else:
        yield Check(what="packages", level="ok", found=f"all {len(names)} that patchbench requires")


def _is_installed(name: str) -> bool:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(name))
    return False


def _git() -> Iterator[Check]:
    """Whether results can say which revision of the code they come from."""
    state = git_state()
    revision = str(state["git_revision"])
    if not revision.startswith(UNKNOWN):
        changed = ", with uncommitted changes" if state["git_dirty"] else ""
        yield Check(what="git", level="ok", found=f"revision {revision[:12]}{changed}")
        return
    mend = "Results will not say which revision of the code made them. "
    if "dubious ownership" in revision:
        mend += shlex.join(["git", "config", "--global", "--add", "safe.directory", str(PACKAGE.parent)])
    else:
        mend += "Install git, and run from a clone, where that matters."
    yield Check(what="git", level="warn", found=f"revision {revision}", mend=mend)


def _torch() -> Iterator[Check]:
    try:
        import torch

        from harness.training.device import available_devices, choose
    except ImportError as error:
        yield Check(what="torch", level="bad", found=str(error), mend="python -m pip install torch torchvision")
        return
    yield Check(what="torch", level="ok", found=str(torch.__version__))
    placement = choose("auto")
    name = torch.cuda.get_device_name(placement.device) if placement.device.type == "cuda" else "processor"
    others = ", ".join(each for each in available_devices() if each != placement.device.type)
    yield Check(
        what="device", level="ok", found=f"{placement.device} ({name})" + (f"; also {others}" if others else "")
    )
    if placement.precision == "bf16":
        yield Check(what="bf16", level="ok", found="in hardware; precision auto takes it")
    else:
        slow = "Nothing is wrong; trainings take longer than the stated minutes."
        yield Check(what="bf16", level="warn", found="not in hardware; precision auto takes fp32", mend=slow)
    yield from _threads()


def _threads() -> Iterator[Check]:
    cores = available_cores()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    found = f"{counted(cores, 'core')} to use" + (f", OMP_NUM_THREADS={limit}" if limit else "")
    is_odd = bool(limit) and (not limit.isdigit() or int(limit) > cores)
    mend = f"Unset OMP_NUM_THREADS, or set it to {cores} at most." if is_odd else ""
    yield Check(what="threads", level="warn" if is_odd else "ok", found=found, mend=mend)


def _memory() -> Iterator[Check]:
    import psutil

    free = psutil.virtual_memory().available
    mend = "Close other programs, or run with --workers 1."
    yield _amount("memory", free, f"{free / 2**30:.1f} GiB available", (LITTLE_MEMORY, TOO_LITTLE_MEMORY), mend)


def _disk(results: Path) -> Iterator[Check]:
    place = _existing(results)
    free = shutil.disk_usage(place).free
    mend = "Free some space, or name another folder with --results."
    yield _amount("disk space", free, f"{free / 2**30:.1f} GiB free at {place}", (LITTLE_DISK, TOO_LITTLE_DISK), mend)


def _amount(what: str, amount: float, found: str, least: tuple[float, float], mend: str) -> Check:
    level: Level = "bad" if amount < least[1] else "warn" if amount < least[0] else "ok"
    return Check(what=what, level=level, found=found, mend="" if level == "ok" else mend)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))


def _results(results: Path) -> Iterator[Check]:
    place = _existing(results)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        mend = f"Mend the rights of {place}, or name another folder with --results."
        yield Check(what="results folder", level="bad", found=f"{place}: {error.strerror or error}", mend=mend)
        return
    told = f"{results} can be written" if place == results else f"{results} will be made"
    yield Check(what="results folder", level="ok", found=told)


def _data() -> Iterator[Check]:
    from harness.data.sources.named_files import PUBLISHED

    yield Check(what="data: digits", level="ok", found="comes with scikit-learn")
    for name, source in PUBLISHED.items():
        if place := source.where():
            yield Check(what=f"data: {name}", level="ok", found=f"in {place}")
        else:
            get = f"patchbench data get {name} (needs a network)"
            mend = f"{get}, or set PATCHBENCH_DATA to a folder that has it."
            yield Check(what=f"data: {name}", level="warn", found="not on this machine yet", mend=mend)


def _mlflow(results: Path) -> Iterator[Check]:
    from harness.tracking.store import Store

    store = Store.of(results)
    if store.database is None:
        mend = "Nothing is looked up over the network here; patchbench sync tells whether it answers."
        yield Check(what="MLflow", level="warn", found="the server that MLFLOW_TRACKING_URI names", mend=mend)
    elif not store.database.exists():
        yield Check(what="MLflow", level="ok", found=f"{store.database} will be made by the first run")
    else:
        yield _database(store.database)


def _database(path: Path) -> Check:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as opened:
            (count,) = opened.execute("select count(*) from runs").fetchone()
    except sqlite3.Error as error:
        mend = f"Move {path.name} away and make it again: patchbench sync NAME, for each study."
        return Check(what="MLflow", level="bad", found=f"{path} is damaged or locked: {error}", mend=mend)
    if not os.access(path, os.W_OK):
        mend = f"Mend its rights: chmod u+w {path}"
        return Check(what="MLflow", level="bad", found=f"{path} cannot be written", mend=mend)
    return Check(what="MLflow", level="ok", found=f"{path} with {counted(count, 'run')}")


def _locks(results: Path) -> Iterator[Check]:
    """Which studies are at work, by whom: another run of the same study would be refused."""
    held = 0
    for folder in sorted(results.glob("*/*")):
        lock = StudyFolder(folder).lock
        holder = StudyLock(lock).holder() if lock.exists() else None
        if holder is None:
            continue
        held += 1
        name, scale = folder.parts[-2:]
        who = "process {pid} on {host} since {since}".format(
            **{"pid": "?", "host": "?", "since": "?"} | {key: str(value) for key, value in holder.items()}
        )
        follow = f"Follow it with: {command_line(results, 'status', name, '--scale', scale)}"
        yield Check(what="lock", level="warn", found=f"{name} at scale {scale} is being run by {who}", mend=follow)
    if not held:
        yield Check(what="lock", level="ok", found="no study is being run")

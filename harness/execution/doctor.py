"""What a run needs of this machine, looked at one by one: each line says how to mend what is wrong. Changes nothing."""

import contextlib
import importlib.metadata
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.records.layout import StudyFolder, command_line
from harness.records.provenance import UNKNOWN, git_state, versions
from harness.records.write_lock import StudyLock, caution
from harness.spec.formats import counted


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    level: Literal["ok", "warn", "bad"]
    found: str
    mend: str = ""  # what to do about it, if anything is to do


def examine(results: Path) -> list[Check]:
    """All checks, in the order in which a run would stumble; one that cannot be made is itself a line."""
    steps = {
        "Python": _python(),
        "git": _git(),
        "torch": _torch(),
        "memory": _memory(),
        "results folder": _results(results),
        "disk space": _disk(results),
        "data": _data(),
        "MLflow": _mlflow(results),
        "lock": _locks(results),
    }
    return [check for what, step in steps.items() for check in _guarded(what, step)]


def _guarded(what: str, step: Iterator[Check]) -> Iterator[Check]:
    try:
        yield from step
    except Exception as error:
        found = f"could not be looked at: {type(error).__name__}: {error}"
        yield Check(what, "bad", found, "Mend what it names, then look again.")


def _weighed(what: str, found: str, mend: str, *, bad: bool = False, warn: bool = False) -> Check:
    """A check with its remedy, unless all is well."""
    if bad or warn:
        return Check(what, "bad" if bad else "warn", found, mend)
    return Check(what, "ok", found)


def _python() -> Iterator[Check]:
    yield Check("Python", "ok", f"{versions()['python']}, {sys.executable}")
    required = [text for text in importlib.metadata.requires("patchbench") or [] if "extra ==" not in text]
    names = [re.split(r"[^A-Za-z0-9._-]", text)[0] for text in required]
    missing = [name for name in names if not any(importlib.metadata.Distribution.discover(name=name))]
    found = f"not installed: {', '.join(missing)}" if missing else f"all {len(names)} that patchbench requires"
    yield _weighed("packages", found, f"python -m pip install {' '.join(missing)}", bad=bool(missing))


def _git() -> Iterator[Check]:
    """Whether results can say which revision of the code they come from."""
    state = git_state()
    revision, changed = str(state["git_revision"]), ", with uncommitted changes" if state.get("git_dirty") else ""
    told = "Results will not say which revision of the code made them: run from a clone that git reads."
    yield _weighed("git", f"revision {revision}{changed}", told, warn=revision.startswith(UNKNOWN))


def _torch() -> Iterator[Check]:
    import torch

    from harness.training.device import available_devices, choose, devices

    yield Check("torch", "ok", str(torch.__version__))
    names, placement = devices("auto"), choose("auto")
    is_cuda = placement.device.type == "cuda"
    told = (f"{name} ({torch.cuda.get_device_name(name) if is_cuda else 'processor'})" for name in names)
    others = ", ".join(each for each in available_devices() if each not in (*names, "cuda"))
    yield Check("device", "ok", ", ".join(told) + (f"; also {others}" if others else ""))
    found, slow = f"precision auto takes {placement.precision}", "Trainings take longer than the stated minutes."
    yield _weighed("bf16", found, slow, warn=placement.precision != "bf16")


def _memory() -> Iterator[Check]:
    import psutil

    free, mend = psutil.virtual_memory().available, "Close other programs, or run with --workers 1."
    yield _weighed("memory", f"{free / 2**30:.1f} GiB available", mend, bad=free < 1e9, warn=free < 4e9)


def _disk(results: Path) -> Iterator[Check]:
    place = _existing(results)
    free, mend = shutil.disk_usage(place).free, "Free some space, or name another folder with --results."
    yield _weighed("disk space", f"{free / 2**30:.1f} GiB free at {place}", mend, bad=free < 5e8, warn=free < 5e9)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def _results(results: Path) -> Iterator[Check]:
    place = _existing(results)
    try:
        with tempfile.TemporaryFile(dir=place):
            found = f"{results} can be written" if place == results else f"{results} will be made"
            yield Check("results folder", "ok", found)
    except OSError as error:
        mend = f"Mend the rights of {place}, or name another folder with --results."
        yield Check("results folder", "bad", f"{place}: {error.strerror or error}", mend)


def _data() -> Iterator[Check]:
    from harness.data.sources.named_files import PUBLISHED

    yield Check("data: digits", "ok", "comes with scikit-learn")
    for name, source in PUBLISHED.items():
        place = source.where()
        mend = f"patchbench data get {name} (needs a network), or set PATCHBENCH_DATA to a folder that has it."
        yield _weighed(f"data: {name}", f"in {place}" if place else "not on this machine yet", mend, warn=not place)


def _mlflow(results: Path) -> Iterator[Check]:
    from harness.tracking.databases import require_usable
    from harness.tracking.store import Store

    require_usable()
    path = Store.of(results).database
    if path is None or not path.exists():
        found = f"{path} will be made by the first run" if path else "the server that MLFLOW_TRACKING_URI names"
        yield _weighed("MLflow", found, "patchbench sync tells whether it answers.", warn=path is None)
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as opened:
            (count,) = opened.execute("select count(*) from runs").fetchone()
    except sqlite3.Error as error:
        is_locked = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        mend = f"Move {path.name} away and make it again: patchbench sync NAME, for each study."
        mend = "Wait for what writes to it, or end it." if is_locked else mend
        yield Check("MLflow", "bad", f"{path} is {'locked' if is_locked else 'damaged'}: {error}", mend)
        return
    yield Check("MLflow", "ok", f"{path} with {counted(count, 'run')}")


def _locks(results: Path) -> Iterator[Check]:
    """Which studies are at work, by whom: another run of the same study would be refused."""
    held = 0
    for folder in sorted(path for path in results.glob("*/*") if path.is_dir()):
        holder = StudyLock(StudyFolder(folder).lock).holder()
        if holder is not None:
            held, (name, scale) = held + 1, folder.parts[-2:]
            pid, host, since = (holder.get(key, "?") for key in ("pid", "host", "since"))
            found = f"{name} at scale {scale} is being run by process {pid} on {host} since {since}"
            follow = command_line(results, "status", name, "--scale", scale)
            yield Check("lock", "warn", found, f"Follow it with: {follow}")
    if not held:
        yield Check("lock", "ok", "no study is being run")
    if found := caution(_existing(results)):
        mend = (
            "Run a study on one machine at a time, or mount it with locks between machines (NFS 4, Lustre: -o flock)."
        )
        yield Check("locks", "warn", found, mend)

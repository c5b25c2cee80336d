"""What is done on a node of a Ray cluster: look at it before the first run, and carry out a run."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import ray

from harness.data import content_hash
from harness.execution.engines import Beat, Outcome, Prepared, processes
from harness.execution.engines.parcels import RESULT, Parcel, Places, pack, signs, unpack
from harness.execution.engines.slots import VISIBLE, Room, Slot
from harness.records.files import open_to_append, try_lock
from harness.records.provenance import code_fingerprint, versions
from harness.records.runs import RunFolder
from harness.spec import DataSpec, InvalidInput, Run
from harness.spec.functions import COPIES
from harness.spec.run import pretraining_config
from harness.training import WorkerSettings
from harness.training.numerics import NUMERICS

BEAT_SECONDS = 0.5
BOARD_SECONDS = 60.0  # how long a run goes on without an answer from the coordinator's machine
TURN_SECONDS = 120.0  # how long a run waits for the process of a launch that was lost to let go of its folder
FORGOTTEN_SECONDS = 3600.0  # after which a node's own folder that nobody has locked is removed
PREFIX = "patchbench-ray-"  # of a node's own folders, among its temporary files
LOCK = ".node.tmp"
LAUNCHED_IN = "PATCHBENCH_LAUNCHED_IN"  # names the folder that the coordinator works in


@cache
def settle() -> None:
    """Prepare a process of Ray's for runs: where the study was launched, if that is there, with copies of its files."""
    vars(sys.modules["__main__"]).pop("__file__", None)  # else each run would load Ray's own main program
    os.environ[COPIES] = str(Path(COPIES).absolute())
    if Path(launched := os.environ[LAUNCHED_IN]).is_dir():
        os.chdir(launched)
    sys.path += sorted({str(path.parent) for path in Path(os.environ[COPIES]).rglob("*.py")} - set(sys.path))


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of every node."""

    software: dict[str, str]
    token: Path  # a file of the coordinator's, beside or above the results
    hashes: dict[DataSpec, str]  # of the data, as the study was planned with them
    check: tuple[Any, ...]  # arguments of `rehearsal.check`


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a node answers."""

    refusal: str = ""  # why it cannot be used
    shares: bool = False  # whether it sees the folder of results
    prepared: Prepared | None = None


def software() -> dict[str, str]:
    """What must be the same on all nodes for a run to give the same numbers on each."""
    found = {name: version.partition("+")[0] for name, version in versions(("torch", "torchvision", "numpy")).items()}
    return found | {"NUMERICS": str(NUMERICS), "training code": code_fingerprint()}


def look(question: Question) -> Seen:
    """Compare versions, check the data, and try what is to be tried of devices and models."""
    settle()
    _remove_forgotten()
    own = software()
    other = [f"{key} {own[key]} (the coordinator has {value})" for key, value in question.software.items()]
    other = [text for text, key in zip(other, question.software, strict=True) if own[key] != question.software[key]]
    if other:
        return Seen(refusal=f"it has {', '.join(other)}. Install the same versions on all nodes.")
    try:
        for spec, expected in question.hashes.items():
            if content_hash(spec) != expected:
                return Seen(refusal=f"its images of {spec.source} are not those of the coordinator: other hashes.")
        prepared = processes.prepare(*question.check)
    except InvalidInput as error:
        return Seen(refusal=str(error))
    return Seen(shares=question.token.exists(), prepared=prepared)


class Board:
    """The actor through which runs tell how far they are and hear that they are to stop."""

    def __init__(self) -> None:
        self._updates, self._parcels, self._stopping = dict[int, int](), dict[int, Parcel](), False

    def beat(self, attempt: int, update: int, parcel: Parcel | None) -> bool:
        """A run is at `update`; its state, where there is a new one. Returns whether it is to stop."""
        self._updates[attempt] = update
        if parcel is not None:
            self._parcels[attempt] = parcel
        return self._stopping

    def news(self) -> tuple[dict[int, int], dict[int, Parcel]]:
        """What has come since the last call, by attempt: updates, and the newest states."""
        told, self._updates, self._parcels = (self._updates, self._parcels), {}, {}
        return told

    def stop(self) -> None:
        self._stopping = True


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run for a node. Without `places` it is performed in a folder of the node's own, which begins with `parcel`."""

    attempt: int
    run: Run
    ranks: int  # processes that train it together, one for each of its cards
    settings: WorkerSettings
    patience_seconds: float
    places: dict[str, Path] | None
    parcel: Parcel


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How it ended; `parcel` has the files of a folder of the node's own."""

    outcome: Outcome
    parcel: Parcel | None


def places_of(run: Run, folder: Path, pretrained: Path) -> dict[str, Path]:
    """The folders that a run writes: its own and, where it starts from a training of ours, that one's."""
    start = run.config.recipe.start_from
    if start is None or start.pretraining is None:
        return {"run": folder}
    return {"run": folder, "pretrained": pretrained / pretraining_config(run.config).digest}


def carry_out(board: Any, task: Task) -> Ended:
    """Train a run in a fresh process. Raises `InvalidInput` for what the user can mend on this node."""
    settle()
    devices = devices_of(task.settings.device)
    room = Room(devices=devices, per_run=len(devices))
    with _home(task) as (folder, settings, places):
        patience = task.patience_seconds
        engine = processes.ProcessEngine(settings, room, ranks=task.ranks, patience_seconds=patience)
        with contextlib.closing(engine):
            engine.start(task.run, folder)
            # What came whole need not be sent back.
            own = {name: path for name, path in places.items() if f"{name}/{RESULT}" not in task.parcel}
            outcome = _followed(engine, board, task.attempt, None if task.places else own)
        return Ended(outcome=outcome, parcel=None if task.places else pack(own))


def _followed(engine: processes.ProcessEngine, board: Any, attempt: int, places: Places | None) -> Outcome:
    """Tell the board of a run, and of each new state in `places`, until it ends; one that hears nothing more ends."""
    update, sent = 0, signs(places or {})
    while True:
        for event in engine.wait(BEAT_SECONDS):
            match event:
                case Beat():
                    update = event.update
                case Outcome():
                    return event
        parcel = None
        if places is not None and (now := signs(places)) != sent:
            with contextlib.suppress(OSError, InvalidInput):  # a state that has just been replaced: the next time
                parcel, sent = pack(places), now
        if ray.get(board.beat.remote(attempt, update, parcel), timeout=BOARD_SECONDS):
            engine.stop()


@contextlib.contextmanager
def _home(task: Task) -> Iterator[tuple[RunFolder, WorkerSettings, Places]]:
    """Where a run is performed; removed afterwards where it is the node's own."""
    if task.places is not None:
        with _turn(task.places["run"]):
            yield RunFolder(task.places["run"]), task.settings, task.places
        return
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, open_to_append(Path(name) / LOCK) as lock:
        try_lock(lock, Path(name) / LOCK)
        settings = replace(task.settings, pretrained=Path(name) / "pretrained")
        places = places_of(task.run, Path(name) / task.run.digest, Path(name) / "pretrained")
        unpack(task.parcel, places)
        yield RunFolder(places["run"]), settings, places


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait until no node writes to a folder that all of them see; a node that was cut off may do so for a while."""
    began, path = time.monotonic(), folder / LOCK
    while True:
        with open_to_append(path) as lock:
            # A file that its holder has removed since is nobody's: others ask for the one that is there now.
            if try_lock(lock, path) and path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        if time.monotonic() - began > TURN_SECONDS:
            raise TimeoutError(f"{folder} is still written to by another node")
        time.sleep(BEAT_SECONDS)


def devices_of(kind: str) -> Slot:
    """The cards that Ray has assigned, by their numbers among those that torch sees on this node."""
    if kind != "cuda":
        return (kind,)
    visible = os.environ.get(VISIBLE, "").split(",")
    cards = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    return tuple(f"cuda:{visible.index(card) if card in visible else card}" for card in cards)


def _remove_forgotten() -> None:
    """Remove folders of runs whose process was killed; not new ones, which may not be locked yet, nor other users'."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, InvalidInput):
            known = path.lstat()
            if known.st_uid != os.getuid() or time.time() - known.st_mtime < FORGOTTEN_SECONDS:
                continue
            with open_to_append(path / LOCK) as lock:
                if try_lock(lock, path):
                    shutil.rmtree(path)

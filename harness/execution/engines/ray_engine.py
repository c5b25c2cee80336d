"""Runs on the nodes of a Ray cluster, as the coordinator sees them; `cluster` speaks with Ray."""

import importlib.util
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.execution.engines import Happening, Outcome, Prepared, Rehearsal
from harness.execution.process import Call, CallEndedError
from harness.records.runs import RunFolder
from harness.spec import DataSpec, InvalidInput, Run
from harness.spec.errors import require
from harness.training import WorkerSettings

CONNECT_SECONDS = 30.0  # how long a cluster may take to answer
START_SECONDS = 180.0  # how long one that is started here may take
END_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the coordinator wants of a cluster."""

    address: str  # `host:port`, `auto`, or `local` for one that is started on this machine
    local_cores: int
    token: Path  # a file that nodes see which share the folder of results
    device: str  # `auto`, `cpu` or `cuda`
    per_device: int | None  # runs that share a card; None for one
    cards_per_run: int  # on processors: processes
    workers: int | None  # most runs at the same time
    runs: int  # of the study
    patience_seconds: float
    settings: WorkerSettings  # but for device and threads, which follow from the nodes
    code: tuple[Path, ...]  # files of the user's code
    data: tuple[DataSpec, ...]
    hashes: dict[DataSpec, str]
    surveyed: tuple[DataSpec, ...]
    tried: list[Rehearsal]


def lost(asked: Asked) -> InvalidInput:
    """What there is to say when the cluster is gone."""
    return InvalidInput(
        f"The Ray cluster ({asked.address}) no longer answers. Nothing but the updates since each training's last "
        "state is lost: start it again (`ray start --head`), then give the same command."
    )


class RayEngine:
    """Room for as many runs as the nodes have cores or cards for, as nodes come and go."""

    def __init__(self, asked: Asked) -> None:
        """Connect and look at the nodes. Raises `InvalidInput` where that cannot be done or a node cannot be used."""
        require(
            importlib.util.find_spec("ray") is not None,
            "--engine ray needs Ray, which is not installed: pip install 'patchbench[ray]'.",
        )
        require(
            asked.device in ("auto", "cpu", "cuda"),
            f"--device is {asked.device!r}; with --engine ray it is auto, cpu or cuda: Ray says which card a run has.",
        )
        require(
            asked.cards_per_run == 1 or asked.per_device is None,
            "Ray gives a run either several cards (--cards-per-run) or a part of one (--per-device): leave one out.",
        )
        _require_answer(asked.address)
        self._asked, self._active = asked, set[str]()
        leave(asked.token)
        self._call = Call("drive", asked)
        try:
            self._hear()
            seconds = START_SECONDS if asked.address == "local" else CONNECT_SECONDS
            if not self._call.pipe.poll(seconds):
                raise _no_answer(asked.address, f"in {seconds:.0f} s")
            self._hear()
            self.prepared: Prepared = self._hear()
            self._room: int = self._hear()
        except BaseException:
            self.close()
            raise

    @property
    def capacity(self) -> int:
        return max(1, self._room)  # without any node, runs wait for the next one

    @property
    def active(self) -> int:
        return len(self._active)

    def takes(self, run: Run) -> bool:
        del run
        return True

    def start(self, run: Run, folder: RunFolder) -> None:
        self._active.add(run.digest)
        self._tell((run, folder))

    def wait(self, seconds: float) -> Sequence[Happening]:
        events: list[Happening] = []
        while self._call.pipe.poll(0 if events else seconds):
            match self._hear():
                case int(room):
                    self._room = room
                case Outcome() as outcome:
                    self._active.discard(outcome.run.digest)
                    events.append(outcome)
                case event:
                    events.append(event)
        return events

    def stop(self) -> None:
        self._tell("stop")

    def close(self) -> None:
        self._tell(None)
        self._call.process.join(0 if self._active else END_SECONDS)
        self._call.close()
        self._asked.token.unlink(missing_ok=True)

    def _tell(self, what: Any) -> None:
        with suppress(OSError):  # its process has ended: the next that is heard tells why
            self._call.pipe.send(what)

    def _hear(self) -> Any:
        try:
            return self._call.hear()
        except CallEndedError as error:
            raise lost(self._asked) from error


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens."""
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    require(
        bool(host) and port.isdigit() and "/" not in host,
        f"The address of the Ray cluster is {address!r}; it must be HOST:PORT, as `ray start --head` prints it. The "
        "coordinator runs on a node of the cluster.",
    )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, f"({error})") from error


def _no_answer(address: str, how: str) -> InvalidInput:
    return InvalidInput(
        f"No Ray cluster answers at {address} {how}. Start one with `ray start --head`, and give its HOST:PORT with "
        "--ray-address or RAY_ADDRESS; without either one is started on this machine. One that asks for a token needs "
        "RAY_AUTH_MODE=token here, too."
    )


def leave(token: Path) -> None:
    """Make the file that nodes see which share the folder of results."""
    token.write_bytes(b"")


def token_for(results: Path) -> Path:
    """A name for a file in the folder of all results or, where that is not there yet, in the one that it will be in."""
    folder = next(place for place in (results, *results.parents) if place.is_dir())
    return folder / f".patchbench-{secrets.token_hex(8)}.tmp"

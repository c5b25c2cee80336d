"""The state of a training on disk: whole, verified, two generations deep."""

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from harness.records.failpoints import reached
from harness.records.files import (
    RecordsError,
    open_to_read,
    read_json,
    remove_unfinished,
    set_aside,
    sha256,
    write_bytes,
    write_json,
)
from harness.records.provenance import code_fingerprint
from harness.records.runs import Journal
from harness.training.device import Placement
from harness.training.state import Training

SHARE = 20  # a state is kept at most once in so many times as long as that takes: a 21st of all time goes into it
LONGEST_SECONDS = 600.0  # between two states, however long they take

KEPT = 2  # when the newest is damaged, the one before serves
T = TypeVar("T")


class Checkpoints(Protocol):
    """Keeps the states of a training and of its teacher; all processes that train together call it, for the same."""

    def is_due(self, training: Training) -> bool: ...
    def save(self, training: Training) -> None: ...
    def restore(self, prepare: Callable[[], Training]) -> Training: ...
    def save_teacher(self, state: dict[str, Any], placement: Placement) -> None: ...
    def restore_teacher(self, use: Callable[[dict[str, Any]], T], placement: Placement) -> T | None: ...


class FollowedCheckpoints:
    """Of a process that does not lead: it has what the first one restores, and tells it what is its own to keep."""

    def is_due(self, training: Training) -> bool:
        """Never: the first process decides."""
        return False

    def save(self, training: Training) -> None:
        """Tell what only this process knows of the state."""
        _generators(training)

    def restore(self, prepare: Callable[[], Training]) -> Training:
        """The training that `prepare` makes, as far as that of the first process."""
        training = prepare()
        state = _received(training.placement)
        if state is not None:
            _restore(training, state)
        return training

    def save_teacher(self, state: dict[str, Any], placement: Placement) -> None:
        """Nothing."""

    def restore_teacher(self, use: Callable[[dict[str, Any]], T], placement: Placement) -> T | None:
        """What `use` makes of the state that the first process has."""
        state = _received(placement)
        return None if state is None else use(state)


class CheckpointFolder:
    """Keeps checkpoints of one training, and its teacher, beside its journal; each has a manifest, a .json file."""

    def __init__(self, folder: Path, journal: Journal, *, every_seconds: float, say: Callable[[str], object]) -> None:
        """`say` receives a message when a checkpoint is restored or found damaged; `every_seconds` may be 0: always."""
        self._folder, self._journal, self._say = folder, journal, say
        self._every_seconds, self._due_at = every_seconds, time.monotonic() + every_seconds

    def is_due(self, training: Training) -> bool:
        """Whether `every_seconds` have passed since the state was kept last, and SHARE times as long as that took."""
        return time.monotonic() >= self._due_at

    def save(self, training: Training) -> None:
        """Keep the state now, then let go of all but the newest two."""
        began = time.monotonic()
        path = self._folder / f"checkpoint-{training.update:09d}.pt"
        place = {"journal_bytes": self._journal.length, "update": training.update}
        _write(path, _state(training), training.placement, place)
        for old in self._newest_first()[KEPT:]:
            old.with_suffix(".json").unlink(missing_ok=True)
            reached("half removed", old)
            old.unlink(missing_ok=True)
        now = time.monotonic()
        rest = max(self._every_seconds, min(SHARE * (now - began), LONGEST_SECONDS)) if self._every_seconds else 0.0
        self._due_at = now + rest

    def restore(self, prepare: Callable[[], Training]) -> Training:
        """The training that `prepare` makes, brought with its journal to the newest checkpoint that serves.

        Those that are damaged, or that other code or another device made, are set aside. Without one both start anew.
        """

        def restored(state: dict[str, Any], manifest: dict[str, Any]) -> Training:
            if not 0 <= manifest["journal_bytes"] <= self._journal.length:
                raise RecordsError("it belongs to a longer journal than the one beside it")
            _restore(training, state)
            self._journal.rewind(manifest["journal_bytes"])
            return training

        remove_unfinished(self._folder)
        training = prepare()
        for path in self._newest_first():
            if self._used(path, training.placement, restored, "looking for the one before") is not None:
                self._say(f"Resumed after update {training.update} from {path.name}.")
                _send(path, training.placement)
                return training
            training = prepare()  # the failure may have left it half restored
        self._journal.rewind(0)
        _send(None, training.placement)
        return training

    def save_teacher(self, state: dict[str, Any], placement: Placement) -> None:
        """Keep a trained teacher."""
        _write(self._folder / "teacher.pt", state, placement, {})

    def restore_teacher(self, use: Callable[[dict[str, Any]], T], placement: Placement) -> T | None:
        """What `use` makes of the kept teacher's state; None without one that serves."""
        path = self._folder / "teacher.pt"
        found: T | None = None
        if path.exists():
            found = self._used(path, placement, lambda state, _: use(state), "the teacher is trained again")
        _send(None if found is None else path, placement)
        return found

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("checkpoint-*.pt"), reverse=True)

    def _used(self, path: Path, placement: Placement, use: Callable[..., T], remedy: str) -> T | None:
        """What `use` makes of a kept state and its manifest; one that is damaged or of other code is set aside."""
        try:
            manifest = _verified(path, placement)
            return use(torch.load(path, map_location=placement.device, weights_only=True), manifest)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            self._say(f"{path} cannot be used and was set aside; {remedy}. ({error})")
            for part in (path, path.with_suffix(".json")):
                if part.exists():
                    set_aside(part, self._folder / "damaged")
            return None


def _send(path: Path | None, placement: Placement) -> None:
    """Give a kept state, or that there is none, to the other processes; see `_received`."""
    if placement.ranks.size > 1:
        placement.ranks.shared(None if path is None else path.read_bytes())


def _received(placement: Placement) -> dict[str, Any] | None:
    """The state that the first process has sent."""
    content: bytes | None = placement.ranks.shared(None)
    if content is None:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=placement.device, weights_only=True)
    return state


def _write(path: Path, state: dict[str, Any], placement: Placement, facts: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    # The state is there once its second file has its name; a manifest without one is never looked at.
    write_json(path.with_suffix(".json"), {"sha256": sha256(content), "made_by": _made_by(placement)} | facts)
    write_bytes(path, content)


def _verified(path: Path, placement: Placement) -> dict[str, Any]:
    """The manifest of a state that is whole and made by what runs now; any error where it is not."""
    manifest: dict[str, Any] = read_json(path.with_suffix(".json"))
    before, now = manifest["made_by"], _made_by(placement)
    if before != now:
        changed = [f"{key} {before.get(key)} (now {now[key]})" for key in now if before.get(key) != now[key]]
        raise RecordsError(f"it was made with {', '.join(changed)}")
    with open_to_read(path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != manifest["sha256"]:
            raise RecordsError("it does not have the hash of its manifest")
    return manifest


def _made_by(placement: Placement) -> dict[str, str | int]:
    """What must be the same for a training to go on to the same numbers."""
    software = {"code": code_fingerprint(), "torch": str(torch.__version__)}
    hardware = {"device": placement.device.type, "precision": placement.precision}
    if placement.device.type == "cuda":  # whose numbers threads of the host do not change
        own: dict[str, str | int] = {"card": placement.device_name, "deterministic": placement.deterministic}
    else:
        own = {"threads": torch.get_num_threads()}
    return {**software, **hardware, **own, "cards_per_run": placement.ranks.size}


_NUMBERS = ("update", "evaluated_at", "seconds", "train_loss", "validation_loss", "validation_accuracy", "last_loss")


def _state(training: Training) -> dict[str, Any]:
    """All that its processes need to go on to the same bits; the batch order follows from `update`."""
    return {
        "model": training.model.state_dict(),
        "average": None if training.average is None else training.average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in training.optimizers],
        "augmentation": training.augmentation.get_state(),
        "patch_sizes": training.patch_sizes.get_state(),
        "generators": _generators(training),
        "loss_sum": training.loss_sum,
        "watch": training.watch.state(),
        "numbers": {name: getattr(training, name) for name in _NUMBERS},
    }


def _generators(training: Training) -> list[tuple[Tensor, Tensor | None]]:
    """Torch's generators in each process, by rank: of the host, and of a CUDA device."""
    device = training.placement.device
    drawn = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return training.placement.ranks.gathered((torch.get_rng_state(), drawn))


def _restore(training: Training, state: dict[str, Any]) -> None:
    training.model.load_state_dict(state["model"])
    if training.average is not None:
        training.average.load_state_dict(state["average"])
    for optimizer, kept in zip(training.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    training.augmentation.set_state(state["augmentation"].cpu())
    training.patch_sizes.set_state(state["patch_sizes"].cpu())
    host_generator, device_generator = state["generators"][training.placement.ranks.rank]
    torch.set_rng_state(host_generator.cpu())
    if device_generator is not None:
        torch.cuda.set_rng_state(device_generator.cpu(), training.placement.device)
    training.loss_sum.copy_(state["loss_sum"])
    training.watch.restore(state["watch"])
    for name in _NUMBERS:
        setattr(training, name, state["numbers"][name])

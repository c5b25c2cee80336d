"""The weights that a training starts from: those of a file, or of a pre-training that is made where it lacks."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from harness.models import build
from harness.models.transfer import of_timm
from harness.records.files import RecordsError, open_to_append, open_to_read, sha256, try_lock
from harness.records.kept_models import ModelFolder
from harness.records.runs import RunFolder, RunResult
from harness.spec import InvalidInput, Run, RunConfig, WeightsFile
from harness.spec.errors import require
from harness.spec.run import pretraining_config
from harness.training.numerics import NUMERICS
from harness.training.ranks import Ranks
from harness.training.state import Diverged, Interrupted

ARM = "pre-training"  # what a pre-training is called in its own folder
WAIT_SECONDS = 0.2  # how often a training that waits for another's pre-training looks whether it is there


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """Tensors by our names, on the CPU; what they are, in words; rows and columns of their positions, empty: square."""

    tensors: dict[str, Tensor]
    what: str
    grid: tuple[int, ...] = ()
    told: Mapping[str, str | float | None] = field(default_factory=dict)  # what a run's journal says of them


def pretrained(
    config: RunConfig,
    place: Path,
    perform: Callable[..., RunResult],
    ranks: Ranks,
    *,
    heartbeat: Callable[[int], object],
    stop: Callable[[], bool],
) -> Weights:
    """The weights of the pre-training of a run: kept ones, or those that `perform(run, folder)` leaves.

    It lies in `place`, in a folder named by its digest. Of several trainings that ask for it one makes it, and the
    others wait; `heartbeat` then receives 0. One that is damaged or of other numerics is set aside and made again.
    Raises `Diverged` at update 0 and `MemoryError` where the pre-training ended so, and `Interrupted`.
    """
    own = pretraining_config(config)
    folder = RunFolder(place / own.digest)
    with _turn(folder.path.with_suffix(".lock"), heartbeat, stop):
        result = _kept_result(folder)
        ranks.shared(result is None)
        if result is None:
            result = perform(Run(arm=ARM, config=own), folder, heartbeat=lambda update: heartbeat(0), stop=stop)
        if result.status == "diverged":
            raise Diverged(f"the pre-training diverged: {result.reason}", update=0)
        if result.status != "completed":
            raise MemoryError(f"the pre-training: {result.reason}")
        tensors = safetensors.torch.load_file(ModelFolder.of_run(folder).weights_path)
    told = {"digest": own.digest, "test_accuracy": result.test_accuracy}
    return Weights(tensors=ranks.shared(tensors), what=_named(own), told=told)


def followed(config: RunConfig, perform: Callable[[Run], object], ranks: Ranks) -> Weights:
    """Those that the first process of a run has from `pretrained`; where they lack, `perform` helps to make them."""
    own = pretraining_config(config)
    if ranks.shared(False):
        perform(Run(arm=ARM, config=own))
    return Weights(tensors=ranks.shared({}), what=_named(own))


def of_file(file: WeightsFile) -> Weights:
    """The weights in a file, of the SHA-256 that the plan has found. Raises `InvalidInput` for another file."""
    with open_to_read(Path(file.path)) as opened:
        content = opened.read()
    require(
        sha256(content) == file.sha256,
        f"{file.path} has changed since the study was planned: its SHA-256 was {file.sha256}. Run the study again.",
    )
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise InvalidInput(f"{file.path} is no safetensors file ({error}). Save the weights as one.") from error
    told = {"path": file.path, "sha256": file.sha256}
    tensors = of_timm(tensors) if file.names == "timm" else tensors
    return Weights(tensors=tensors, what=file.path, grid=file.grid, told=told)


def stand_in(config: RunConfig) -> Weights | None:
    """Weights of the shapes that a run starts from, to try it: a file's own, fresh ones of a pre-training, or None."""
    start = config.recipe.start_from
    if start is None:
        return None
    if start.file is not None:
        return of_file(start.file)
    own = pretraining_config(config)
    return Weights(tensors=build(own.model, **own.shape).state_dict(), what=_named(own))


def _named(own: RunConfig) -> str:
    return f"The pre-training {own.digest[:12]}"


@contextlib.contextmanager
def _turn(path: Path, heartbeat: Callable[[int], object], stop: Callable[[], bool]) -> Iterator[None]:
    """Wait for whoever makes the same pre-training; ends with the process."""
    with open_to_append(path) as file:
        while not try_lock(file, path):
            heartbeat(0)
            if stop():
                raise Interrupted
            time.sleep(WAIT_SECONDS)
        yield


def _kept_result(folder: RunFolder) -> RunResult | None:
    """The result of a pre-training that serves; one that does not is set aside, so that it is made anew."""
    try:
        result = folder.result()
        if result is None:  # it has not begun, or goes on from its checkpoint
            return None
        if result.status == "completed":
            ModelFolder.of_run(folder).require_whole()
        if result.status in ("completed", "diverged") and result.numerics == NUMERICS:
            return result
    except RecordsError:
        pass
    folder.clear(folder.path.parent / "set_aside")
    return None

"""The final weights of a training as a safetensors file, and back into a model. Nothing here unpickles."""

from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from harness.models import build, outline
from harness.records.files import RecordsError, sha256
from harness.records.kept_models import ModelFacts, ModelFolder
from harness.records.runs import RunFolder
from harness.spec import Run, RunConfig
from harness.training.device import Placement
from harness.training.loop import Trained

_CPU = Placement(device=torch.device("cpu"), autocast_dtype=None)
_TYPES = {
    "F32": torch.float32,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Types of a kept tensor, as safetensors calls them: weights, and what counts or masks."""


def keep_model(run: Run, folder: RunFolder, trained: Trained, *, code_fingerprint: str) -> None:
    """Keep what the test was made with, in float32: the average of the weights where the recipe asks for one."""
    training = trained.training
    assert trained.test is not None, "models of confirm runs are kept"
    content = safetensors.torch.save(_plain(training.evaluated_model.state_dict()))
    facts = ModelFacts(
        arm=run.arm,
        config=run.config,
        digest=run.digest,
        mean=tuple(training.inputs.mean.tolist()),
        std=tuple(training.inputs.std.tolist()),
        validation_accuracy=training.validation_accuracy,
        test_accuracy=trained.test.accuracy,
        code_fingerprint=code_fingerprint,
        sha256=sha256(content),
        bytes=len(content),
    )
    ModelFolder.of_run(folder).write(content, facts)


def restore_model(kept: ModelFolder) -> nn.Module:
    """The kept model in eval mode, on the CPU: images (B, C, H, W), normalised, to logits (B, classes).

    Raises `RecordsError` for weights that are damaged or not of the model in model.json: size, hash, names, types and
    shapes are held against it before anything of that size is allocated. Leaves torch's generators as they are.
    """
    kept.require_whole()
    config = kept.facts.config
    try:
        with safe_open(kept.weights_path, framework="pt") as file:
            _require_same(kept, _shapes_of(file), _shapes_in(config))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise RecordsError(f"{kept.weights_path} is not a safetensors file: {error}.") from error
    with torch.random.fork_rng(devices=[]):
        model = build(config.model, **config.shape)
    model.load_state_dict(tensors)
    return _CPU.place(model).eval()


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor on the CPU, in float32 where it is of floats, in memory of its own even where two are tied."""
    return {
        name: tensor.detach().to("cpu", _kept_type(tensor)).clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }


def _kept_type(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype


Shapes = dict[str, tuple[torch.dtype | str, tuple[int, ...]]]
"""Type and shape of each tensor by name; a type that no kept tensor has by its name in the file."""


def _shapes_in(config: RunConfig) -> Shapes:
    """Of the model that a configuration describes; of our own without allocating anything."""
    with outline(config.model):
        state = build(config.model, **config.shape).state_dict()
    return {name: (_kept_type(tensor), tuple(tensor.shape)) for name, tensor in state.items()}


def _shapes_of(file: Any) -> Shapes:
    """Of a file, by its header."""
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return {
        name: (_TYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape())) for name, part in slices.items()
    }


def _require_same(kept: ModelFolder, found: Shapes, expected: Shapes) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise RecordsError(
                f"{kept.weights_path} does not hold the model of {kept.facts_path.name}: {name} is "
                f"{_described(found.get(name))}, expected {_described(expected.get(name))}."
            )


def _described(part: tuple[torch.dtype | str, tuple[int, ...]] | None) -> str:
    return "missing" if part is None else f"{str(part[0]).removeprefix('torch.')} {part[1]}"

"""The final weights of a training as a safetensors file, and back into a model. Nothing here unpickles."""

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from harness.data import derive
from harness.models import build, outline
from harness.records.files import RecordsError, sha256
from harness.records.kept_models import ModelFacts, ModelFolder
from harness.records.runs import RunFolder
from harness.spec import Run
from harness.training.device import Placement
from harness.training.state import Training


def keep_model(run: Run, folder: RunFolder, training: Training, *, code_fingerprint: str) -> None:
    """Keep what the test was made with, in float32: the average of the weights where the recipe asks for one."""
    assert training.test is not None, "models of confirm runs are kept"
    content = safetensors.torch.save({name: _kept(it) for name, it in training.evaluated_model.state_dict().items()})
    facts = ModelFacts(
        arm=run.arm,
        config=run.config,
        digest=run.digest,
        mean=tuple(training.inputs.mean.tolist()),
        std=tuple(training.inputs.std.tolist()),
        validation_accuracy=training.validation_accuracy,
        test_accuracy=training.test.accuracy,
        code_fingerprint=code_fingerprint,
        sha256=sha256(content),
        bytes=len(content),
    )
    ModelFolder.of_run(folder).write(content, facts)


def restore_model(kept: ModelFolder) -> nn.Module:
    """The kept model in eval mode, on the CPU: images (B, C, H, W), normalised, to logits (B, classes).

    Raises `RecordsError` for weights that are damaged or not of the model in model.json, before anything of its size
    is allocated. Leaves torch's generators as they are.
    """
    kept.require_whole()
    config = kept.facts.config
    try:
        tensors = safetensors.torch.load_file(kept.weights_path)
        with outline(config.model):
            build(config.model, **config.shape).load_state_dict(tensors, assign=True)
    except (SafetensorError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise RecordsError(f"{kept.weights_path} does not hold the model of {kept.facts_path.name}: {told}") from error
    with torch.random.fork_rng(devices=[]):
        # As the run did, for what a model draws and does not keep, such as a fixed order of its inputs.
        torch.manual_seed(derive(config.seed, "initialisation"))
        model = build(config.model, **config.shape)
    model.load_state_dict(tensors)
    return Placement(device=torch.device("cpu"), autocast_dtype=None).place(model).eval()


def _kept(tensor: Tensor) -> Tensor:
    """On the CPU, in float32 where it is of floats, in memory of its own even where two are tied."""
    kept_type = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kept_type).clone(memory_format=torch.contiguous_format)

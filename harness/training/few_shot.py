"""Few-shot linear evaluation of a frozen model (arXiv 2010.11929, section 4.1): least squares in closed form.

As in the code of the paper's authors (big_vision, `evaluators/fewshot_lsr.py`) features are normalised by the images
that are learned from, targets are -1 and 1, and a large constant feature stands for a bias that is hardly penalised.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.data import Dataset, derive, load
from harness.data.splits import subset
from harness.models.family import Parts
from harness.records.runs import Shots
from harness.spec import RunConfig
from harness.spec.checks import known
from harness.spec.few_shot import FewShot
from harness.training.device import Placement
from harness.training.state import Training

BIAS = 100.0  # the constant feature


def load_target(config: RunConfig, placement: Placement) -> Dataset | None:
    """The data of the other task; None where none is asked for. Raises `InvalidInput` for too few images of a class."""
    asked = config.few_shot
    if asked is None:
        return None
    target = load(asked.data, device=placement.device, phase="confirm", seed=config.seed)
    _, pool = _pool(target, asked, config.seed)
    fewest = int(np.bincount(pool, minlength=target.facts.classes).min())
    asked.check_target(fewest, target.facts.channels, config.channels)
    return target


def few_shot_accuracies(
    training: Training, target: Dataset, config: RunConfig, beat: Callable[[], object] = lambda: None
) -> tuple[Shots, ...]:
    """Accuracy on the target's test part, for each number of shots the mean over draws of the images learned from.

    The draws follow from the seed alone, the same for all arms; the images of fewer shots are among those of more.
    `beat` follows each forward pass.
    """
    asked, seed = config.few_shot, config.seed
    assert asked is not None
    classes, most = target.facts.classes, asked.shots[-1]
    positions, labels = _pool(target, asked, seed)
    drawn = np.stack([_draw(labels, classes, most, derive(seed, "few_shot", draw)) for draw in range(asked.draws)])
    used, places = np.unique(drawn, return_inverse=True)
    places = places.reshape(drawn.shape)  # (draws, classes, shots), in `seen`
    orders = torch.split(positions[torch.from_numpy(used)], training.images_per_pass)
    seen, _ = _features(training, target.train.as_evaluated().read(orders), beat)
    tested, answers = _features(training, target.test.chunks(training.images_per_pass), beat)
    found = []
    for shots in asked.shots:
        wanted = torch.arange(classes).repeat_interleave(shots)
        learned = (seen[torch.from_numpy(chosen[:, :shots].ravel())] for chosen in places)
        right = [(least_squares(x, wanted, tested, classes, asked.l2) == answers).double().mean() for x in learned]
        found.append(Shots(shots=shots, accuracy=torch.stack(right).mean().item()))
    return tuple(found)


def least_squares(features: Tensor, labels: Tensor, tested: Tensor, classes: int, l2: float) -> Tensor:
    """Classes int64 (M,) of features `tested` (M, D) by ridge regression on features (N, D) of classes `labels` (N,).

    The coefficients W minimise |X W - Y|^2 + l2 |W|^2, with Y of 1 for the class and -1 for the others, in float64.
    """
    mean, deviation = features.double().mean(0), features.double().std(0, correction=0) + 1e-5
    x, new = (F.pad((part.double() - mean) / deviation, (0, 1), value=BIAS) for part in (features, tested))
    y = 2 * F.one_hot(labels, classes).double() - 1
    # X' (X X' + l2)^-1 Y: of as many equations as images, which are few.
    weights = x.T @ torch.linalg.solve(x @ x.T + l2 * torch.eye(len(x), dtype=x.dtype), y)
    found: Tensor = (new @ weights).argmax(1)
    return found


def _pool(target: Dataset, asked: FewShot, seed: int) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Images to draw from: positions int64 (N,) in the training part, and their classes (N,)."""
    found = subset(target.train, known(asked.data.size), seed=seed)
    positions = found if isinstance(found, Tensor) else torch.arange(found.start, found.stop)
    return positions, target.train.labels.cpu()[positions].numpy()


def _draw(labels: npt.NDArray[np.int64], classes: int, shots: int, seed: int) -> npt.NDArray[np.int64]:
    """Places (classes, shots) of different images of each class, at random."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(np.flatnonzero(labels == label))[:shots] for label in range(classes)])


@torch.inference_mode()
def _features(
    training: Training, batches: Iterator[tuple[Tensor, Tensor]], beat: Callable[[], object]
) -> tuple[Tensor, Tensor]:
    """What the model's head is given, float32 (N, D), and labels int64 (N,), on the CPU."""
    model, found, seen = training.evaluated_model, list[Tensor](), list[Tensor]()
    parts = model.parts
    assert isinstance(parts, Parts)
    head = model.get_submodule(parts.head)
    hook = head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].float().cpu()))
    model.eval()
    for images, labels in batches:
        with training.placement.autocast():
            model(training.inputs(images.expand(-1, len(training.inputs.mean), -1, -1)))
        seen.append(labels.cpu())
        beat()
    hook.remove()
    model.train()
    return torch.cat(found), torch.cat(seen)

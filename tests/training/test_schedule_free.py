"""Schedule-free AdamW beside the formulas of its paper and of its authors' code, and within a training."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import RECIPE, RESNET, VIT, make_config, train

from harness.spec.errors import InvalidInput
from harness.training.optimizer import build_optimizers
from harness.training.schedule_free import ScheduleFreeAdamW

RATES = [0.01, 0.02, 0.03, 0.03, 0.03, 0.03, 0.01]  # the last one weighs as the largest before it
BETAS, DECAY = (0.9, 0.95), 0.1


def gradient(at: np.ndarray) -> np.ndarray:
    return np.cos(3 * at) + at


def by_the_papers_formulas(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of arXiv 2405.15682: z_{t+1} = z_t - rate * step(y_t), x_{t+1} = (1 - c) x_t + c z_{t+1}, y between."""
    x, y, z, squares, weights = start, start, start, np.zeros_like(start), []
    for update, rate in enumerate(RATES, 1):
        g = gradient(y)
        squares = BETAS[1] * squares + (1 - BETAS[1]) * g**2
        step = g / (np.sqrt(squares / (1 - BETAS[1] ** update)) + 1e-8) + DECAY * y
        z = z - rate * step
        weights.append(max(RATES[:update]) ** 2)
        x = x + weights[-1] / sum(weights) * (z - x)
        y = (1 - BETAS[0]) * z + BETAS[0] * x
    return x, y


def by_the_authors_code(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in another form: y is changed in place, x is only made of y and z to evaluate."""
    y, z, squares, total = start.copy(), start.copy(), np.zeros_like(start), 0.0
    for update, rate in enumerate(RATES, 1):
        g = gradient(y)
        squares = squares * BETAS[1] + g * g * (1 - BETAS[1])
        g = g / (np.sqrt(squares / (1 - BETAS[1] ** update)) + 1e-8) + DECAY * y
        weight = max(RATES[:update]) ** 2
        total += weight
        share = weight / total
        y = y + share * (z - y)
        y = y + rate * (BETAS[0] * (1 - share) - 1) * g
        z = z - rate * g
    return y + (1 - 1 / BETAS[0]) * (z - y), y


def test_updates_are_those_of_the_paper_and_of_its_authors():
    parameter = nn.Parameter(torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64))
    average, start = parameter.detach().clone(), parameter.detach().numpy().copy()
    optimizer = ScheduleFreeAdamW(
        [{"params": [parameter], "weight_decay": DECAY}], {parameter: average}, lr=1.0, betas=BETAS
    )
    for rate in RATES:
        parameter.grad = torch.from_numpy(gradient(parameter.detach().numpy()))
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    for x, y in (by_the_papers_formulas(start), by_the_authors_code(start)):
        np.testing.assert_allclose(average.numpy(), x, rtol=1e-12)
        np.testing.assert_allclose(parameter.detach().numpy(), y, rtol=1e-12)


def test_what_is_evaluated_is_the_average_and_evaluations_change_nothing(digits):
    how = {"optimizer": "schedule_free", "schedule": "constant"}
    one, other = (train(make_config(RESNET, evaluations=count, **how), digits) for count in (1, 6))
    training = one.training
    assert training.evaluated_model is training.average
    for live, averaged, again in zip(
        training.model.state_dict().values(),
        training.average.state_dict().values(),
        other.training.average.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(averaged, again)
        if not live.is_floating_point():
            assert torch.equal(live, averaged)
    assert torch.equal(training.model.bn1.running_mean, training.average.bn1.running_mean)
    assert not torch.equal(training.model.fc.weight, training.average.fc.weight)


def test_it_learns(digits):
    config = make_config(
        VIT, optimizer="schedule_free", schedule="constant", learning_rate=1e-2, updates=60, batch_size=50
    )
    losses = [event["validation_loss"] for event in train(config, digits).events]
    assert losses[-1] < 0.9 * losses[0]


def test_biases_and_tables_are_not_decayed(digits):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    recipe = replace(RECIPE, optimizer="schedule_free", schedule="constant", weight_decay=0.5)
    (optimizer,) = build_optimizers(model, recipe, copy.deepcopy(model))
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.5, 2), (0.0, 2)]


@pytest.mark.parametrize(
    ("change", "told"), [({"schedule": "cosine"}, "schedule is 'cosine'"), ({"ema_decay": 0.9}, "ema")]
)
def test_what_would_average_twice_is_refused(change, told):
    with pytest.raises(InvalidInput, match=told):
        replace(RECIPE, **{"optimizer": "schedule_free", "schedule": "constant"} | change)

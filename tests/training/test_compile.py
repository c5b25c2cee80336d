"""torch.compile, which takes minutes: once a training, whatever the parts of its batches and its evaluations."""

import functools
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from training_cases import RESNET, VIT, make_config, train


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        (VIT, {"ema_decay": 0.9}),
        (RESNET, {"accumulate": 2}),
        (RESNET, {"accumulate": 3, "ema_decay": 0.9}),  # parts of 6, 5 and 5 images
    ],
    ids=["average", "even parts", "uneven parts"],
)
def test_a_training_is_compiled_once(digits: Any, monkeypatch: pytest.MonkeyPatch, model: Any, recipe: Any) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    train(make_config(model, compile=True, updates=4, evaluations=2, **recipe), digits)
    assert counter.frame_count == 1

"""The average of a model's state answers as well as the live model does, however short the training."""

from dataclasses import replace

import pytest
from training_cases import RESNET, VIT, make_config, train

from harness.data import load, resolve
from harness.spec import DataSpec, SwinSpec
from harness.training import loop

WIDE = replace(VIT, width=32)
FAMILIES = {
    "vit": WIDE,
    "resnet": replace(RESNET, width=16),
    "swin": SwinSpec(patch_size=2, width=16, depths=(1, 1), heads=(2, 2), window=2),
    "hybrid": replace(WIDE, stem="hybrid"),
}
DIGITS = resolve(DataSpec(source="digits"))[0]


@pytest.mark.parametrize(
    ("updates", "decay"), [(60, 0.999), pytest.param(200, 0.9999, marks=pytest.mark.slow)], ids=["short", "long"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_average_is_as_good_as_the_live_model(family: str, updates: int, decay: float) -> None:
    digits = load(DIGITS, phase="confirm")
    recipe = {"updates": updates, "batch_size": 64, "ema_decay": decay, "evaluations": 1}
    config = replace(make_config(FAMILIES[family], phase="tune", **recipe), data=DIGITS)
    training = train(config, digits).training
    average, live = (loop.evaluate(it, digits.test).accuracy for it in (training, replace(training, average=None)))
    assert live > 0.35
    assert abs(average - live) <= 0.02

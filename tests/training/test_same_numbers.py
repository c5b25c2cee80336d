"""A training's numbers: those of the same seed, and nothing that depends on another arm."""

import pytest
import torch
from training_cases import RESNET, VIT, make_config, prepared, same, train

from harness.data.augmentation import augment
from harness.spec import Augmentation, ViTSpec
from harness.training import loop

EVERY_DRAW = Augmentation(shift=1, erase=0.25, mixup=0.2)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "muon", "schedule_free"])
@pytest.mark.parametrize("model", [VIT, RESNET], ids=["vit", "resnet"])
def test_the_same_seed_gives_the_same_bits(digits, model, optimizer):
    averaged = {"schedule": "constant"} if optimizer == "schedule_free" else {"ema_decay": 0.9}
    config = make_config(model, optimizer=optimizer, augmentation=EVERY_DRAW, sam_radius=0.05, updates=4, **averaged)
    torch.manual_seed(1)
    one = train(config, digits)
    torch.manual_seed(2)  # what the process drew before is of no account
    other = train(config, digits)
    assert same(one.weights, other.weights)
    assert one.events == other.events
    assert torch.equal(one.predicted, other.predicted)


def test_another_seed_gives_another_training(digits):
    one, other = (train(make_config(seed=seed, updates=4), digits) for seed in (0, 1))
    assert not any(
        torch.equal(one.weights[name], other.weights[name]) for name in ("head.linear.weight", "class_token")
    )
    assert one.events != other.events


class Spy:
    """Records what goes into and comes out of the augmentation."""

    def __init__(self, monkeypatch):
        self.batches, self.seen = [], []
        monkeypatch.setattr(loop, "augment", self)

    def __call__(self, images, labels, *rest, **named):
        inputs, targets = augment(images, labels, *rest, **named)
        self.batches.append((images.clone(), labels.clone()))
        self.seen.append((inputs.clone(), targets.clone()))
        return inputs, targets


def seen_by(monkeypatch, digits, config):
    spy = Spy(monkeypatch)
    train(config, digits)
    monkeypatch.undo()
    return spy


def equal(one, other):
    return [all(map(torch.equal, a, b)) for a, b in zip(one, other, strict=True)]


DROPOUT = ViTSpec(patch_size=2, width=16, depth=1, heads=2, dropout=0.5, stochastic_depth=0.3)


@pytest.mark.parametrize(
    "other",
    [
        make_config(RESNET, augmentation=EVERY_DRAW, updates=6),
        make_config(DROPOUT, augmentation=EVERY_DRAW, updates=6),
        make_config(VIT, augmentation=EVERY_DRAW, updates=6, optimizer="muon", ema_decay=0.5, evaluations=6),
        make_config(VIT, augmentation=EVERY_DRAW, updates=6, accumulate=4, learning_rate=1e-2, phase="tune"),
    ],
    ids=["another model", "dropout", "another optimiser", "another recipe"],
)
def test_all_arms_of_a_seed_see_the_same_images(monkeypatch, digits, other):
    one = seen_by(monkeypatch, digits, make_config(augmentation=EVERY_DRAW, updates=6))
    two = seen_by(monkeypatch, digits, other)
    assert equal(one.batches, two.batches) == [True] * 6
    assert equal(one.seen, two.seen) == [True] * 6


def test_another_seed_sees_other_images(monkeypatch, digits):
    one, two = (seen_by(monkeypatch, digits, make_config(seed=seed, updates=3)) for seed in (0, 1))
    assert equal(one.batches, two.batches) == [False] * 3


def test_the_augmentation_does_not_change_the_order_or_the_first_weights(monkeypatch, digits):
    plain = seen_by(monkeypatch, digits, make_config(updates=3, augmentation=Augmentation()))
    strong = seen_by(monkeypatch, digits, make_config(updates=3, augmentation=EVERY_DRAW))
    assert equal(plain.batches, strong.batches) == [True] * 3
    assert equal(plain.seen, strong.seen) == [False] * 3
    first, other = (prepared(make_config(augmentation=a), digits).model for a in (Augmentation(), EVERY_DRAW))
    assert same(first.state_dict(), other.state_dict())


def test_dropout_draws_from_the_seed(digits):
    """Two trainings with dropout are the same whatever was drawn before, and not the same as one without."""
    one, two = (train(make_config(DROPOUT, updates=3), digits) for _ in range(2))
    without = train(make_config(ViTSpec(patch_size=2, width=16, depth=1, heads=2), updates=3), digits)
    assert same(one.weights, two.weights)
    assert not same(one.weights, without.weights)


def test_dropout_draws_do_not_depend_on_what_the_initialisation_drew(digits):
    states = []
    for model, seed in ((VIT, 0), (RESNET, 0), (VIT, 1)):
        prepared(make_config(model, seed=seed), digits)
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])

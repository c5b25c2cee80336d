"""One update: the loss, the parts of a batch, clipping and the average of the weights, against formulas by hand."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_cases import RECIPE, RESNET, VIT, make_config, prepared, train

from harness.data.augmentation import augment
from harness.data.splits import prepare
from harness.spec import Augmentation, ResNetSpec, SwinSpec
from harness.spec.recipe import evaluation_points
from harness.training import loop
from harness.training.evaluation import images_per_pass

SWIN = SwinSpec(patch_size=2, width=8, depths=(1, 1), heads=(2, 2), window=2)
PLAIN = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0, "schedule": "constant"}


def weights_after(digits, model=VIT, **recipe):
    return train(make_config(model, **{"updates": 3, "learning_rate": 0.1} | recipe), digits).weights


@pytest.mark.parametrize("accumulate", [2, 3, 4, 6, 10])
@pytest.mark.parametrize(
    "recipe",
    [PLAIN | {"label_smoothing": 0.1}, PLAIN | {"augmentation": Augmentation(mixup=0.3)}, {"optimizer": "muon"}],
    ids=["smoothed labels", "mixed labels", "muon"],
)
def test_the_parts_of_a_batch_add_up_to_the_whole(digits, accumulate, recipe):
    # Muon rounds gradients to bf16, where the last digit of a sum may make a digit of the next update.
    updates, tolerance = (1, 1e-3) if recipe["optimizer"] == "muon" else (3, 1e-5)
    whole = weights_after(digits, batch_size=10, updates=updates, **recipe)
    parts = weights_after(digits, batch_size=10, accumulate=accumulate, updates=updates, **recipe)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    ("accumulate", "sizes"), [(1, [10]), (3, [4, 3, 3]), (4, [3, 3, 2, 2]), (6, [2, 2, 2, 2, 1, 1]), (10, [1] * 10)]
)
def test_a_batch_is_split_into_as_many_parts_as_asked_and_as_even_as_can_be(digits, accumulate, sizes):
    training = prepared(make_config(batch_size=10, accumulate=accumulate, updates=1), digits)
    seen = []
    training.model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    list(loop.run_updates(training))
    assert seen == sizes


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("mixup", [0.0, 0.5], ids=["hard", "soft"])
def test_the_loss_is_the_cross_entropy_with_smoothed_targets(digits, monkeypatch, smoothing, mixup):
    seen = []

    def spy(*arguments, **named):
        seen.append(augment(*arguments, **named))
        return seen[-1]

    monkeypatch.setattr(loop, "augment", spy)
    recipe = {"label_smoothing": smoothing, "augmentation": Augmentation(mixup=mixup), "updates": 1}
    training = prepared(make_config(**recipe), digits)
    before = copy.deepcopy(training.model)
    list(loop.run_updates(training))
    images, targets = seen[0]
    if not mixup:
        targets = torch.eye(10)[targets]
    targets = (1 - smoothing) * targets + smoothing / 10
    log_probabilities = before(prepare(images, training.inputs.mean, training.inputs.std)).log_softmax(1)
    expected = -(targets * log_probabilities).sum(1).mean()
    torch.testing.assert_close(training.last_loss, expected.detach())


def test_the_training_loss_is_the_mean_over_the_updates_since_the_last_evaluation(digits):
    training = prepared(make_config(), digits)
    losses = [training.last_loss.item() for _ in loop.run_updates(training)]
    events = train(make_config(), digits).events
    assert [event["update"] for event in events] == [4, 8, 12]
    assert [event["images_seen"] for event in events] == [64, 128, 192]
    means = [sum(losses[at : at + 4]) / 4 for at in (0, 4, 8)]
    assert [event["train_loss"] for event in events] == pytest.approx(means, rel=1e-6)


def step_of(digits, **recipe):
    training = prepared(make_config(updates=1, learning_rate=1.0, **PLAIN | recipe), digits)
    before = copy.deepcopy(list(training.model.parameters()))
    list(loop.run_updates(training))
    steps = [new - old for new, old in zip(training.model.parameters(), before, strict=True)]
    return torch.cat([step.flatten() for step in steps]).detach()


def test_the_gradient_is_clipped_to_its_norm_and_not_turned(digits):
    free = step_of(digits, clip_norm=None)
    assert free.norm() > 0.1
    torch.testing.assert_close(step_of(digits, clip_norm=0.01), free * 0.01 / free.norm())
    torch.testing.assert_close(step_of(digits, clip_norm=1e6), free)


def test_the_learning_rate_of_each_update_is_the_schedules(digits):
    training = prepared(make_config(optimizer="muon", warmup=0.5), digits)
    used = [
        {group["lr"] for optimizer in training.optimizers for group in optimizer.param_groups}
        for _ in loop.run_updates(training)
    ]
    assert used == [{rate} for rate in training.learning_rates]


@pytest.mark.parametrize("model", [VIT, RESNET], ids=["vit", "resnet"])
def test_the_average_is_the_exponential_one_and_is_what_is_evaluated(digits, model):
    training = prepared(make_config(model, ema_decay=0.4, learning_rate=0.03), digits)
    average = copy.deepcopy(training.model.state_dict())
    for update, _ in enumerate(loop.run_updates(training)):
        decay = [0.1, 2 / 11, 0.25, 4 / 13, 5 / 14, 0.4][min(update, 5)]  # (1 + n) / (10 + n), until it is .4
        for name, now in training.model.state_dict().items():
            counts = name.endswith("num_batches_tracked")
            average[name] = now.clone() if counts else decay * average[name] + (1 - decay) * now
    by_hand = copy.deepcopy(training.model)
    by_hand.load_state_dict(average)
    for name, found in training.average.state_dict().items():
        torch.testing.assert_close(found, average[name], msg=name)
    found = loop.evaluate(training, digits.validation)
    expected = loop.evaluate(replace(training, model=by_hand, average=None), digits.validation)
    last = loop.evaluate(replace(training, average=None), digits.validation)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert abs(found.loss - last.loss) > 1e-3


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_an_evaluation_changes_nothing(digits, ema_decay):
    """Not the weights, not the running statistics, no generator: training with more evaluations is the same."""
    for model in (VIT, RESNET):
        few, many = (train(make_config(model, ema_decay=ema_decay, evaluations=n), digits) for n in (1, 12))
        assert all(torch.equal(few.weights[name], many.weights[name]) for name in few.weights)


@pytest.mark.parametrize("model", [VIT, RESNET, SWIN, replace(VIT, stem="hybrid")], ids=lambda spec: spec.kind)
def test_an_evaluation_is_over_the_whole_split_whatever_its_parts(digits, model):
    training = prepared(make_config(model), digits)
    whole = loop.evaluate(training, digits.validation)
    parts = loop.evaluate(replace(training, images_per_pass=7), digits.validation)  # 60 images: the last is smaller
    training.model.eval()
    logits = training.model(prepare(digits.validation.images, training.inputs.mean, training.inputs.std)).detach()
    truth = digits.validation.labels
    loss = -logits.log_softmax(1)[torch.arange(60), truth].mean().item()
    assert whole.loss == pytest.approx(loss, rel=1e-6)
    assert parts.loss == pytest.approx(loss, rel=1e-6)
    assert whole.accuracy == parts.accuracy == (logits.argmax(1) == truth).double().mean().item()
    assert torch.equal(parts.predicted, logits.argmax(1))
    better = (logits > logits[torch.arange(60), truth][:, None]).sum(1)
    assert torch.equal(parts.top5, better < 5)
    assert 60 > parts.top5.sum() > (parts.predicted == truth).sum()
    assert torch.equal(parts.labels, truth)


@pytest.mark.parametrize(
    ("model", "image_size", "recipe", "images"),
    [
        (VIT, 8, {"batch_size": 1}, 1000),
        (ResNetSpec(depth=8), 28, {"batch_size": 128}, 1000),  # as every model of the committed results
        (ResNetSpec(depth=8), 128, {"batch_size": 1}, 120),
        (ResNetSpec(depth=8), 128, {"batch_size": 128}, 300),
        (ResNetSpec(depth=8), 128, {"batch_size": 128, "accumulate": 2}, 150),
        (ResNetSpec(depth=8), 2048, {"batch_size": 2, "accumulate": 2}, 2),
    ],
)
def test_an_evaluation_takes_the_images_that_a_training_part_has_memory_for(model, image_size, recipe, images):
    config = make_config(model, **recipe)
    config = replace(config, data=replace(config.data, image_size=image_size), channels=3)
    assert images_per_pass(config) == pytest.approx(images, rel=0.1)


@given(st.integers(1, 3000), st.integers(1, 200))
def test_evaluations_are_evenly_spaced_and_end_with_the_last_update(updates, evaluations):
    points = sorted(evaluation_points(replace(RECIPE, updates=updates, evaluations=evaluations)))
    assert len(points) == min(updates, evaluations)
    assert points[-1] == updates
    gaps = [after - before for before, after in zip([0, *points], points, strict=False)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1

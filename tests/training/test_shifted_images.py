"""The test of shifted images: against evaluations of images shifted by hand, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_cases import RESNET, VIT, carry_out, make_config, prepared, train

from harness.data.splits import Split, moved_order, prepare
from harness.records.runs import Shift
from harness.spec import InvalidInput
from harness.training import evaluation, loop
from harness.training.evaluation import evaluate_shifted

EASY = {"updates": 40, "learning_rate": 1e-2, "optimizer": "muon"}
"""So that the classes predicted differ from image to image."""


def shifted(config, *shifts):
    return replace(config, test_shifts=shifts)


def by_hand(images, down, right):
    """(N, 1, 8, 8) with each pixel put down and right, one by one."""
    found = np.zeros_like(images)
    for row in range(8):
        for column in range(8):
            if 0 <= row + down < 8 and 0 <= column + right < 8:
                found[:, :, row + down, column + right] = images[:, :, row, column]
    return found


def expected_of(training, split, pixels):
    """Means over the four sides of accuracy and agreement, by plain evaluations."""
    plain = loop.evaluate(training, split)
    sides = [
        loop.evaluate(training, Split(torch.from_numpy(by_hand(split.images.numpy(), down, right)), split.labels))
        for down, right in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))
    ]
    agreements = [(side.predicted == plain.predicted).double().mean().item() for side in sides]
    return Shift(
        pixels=pixels, accuracy=float(np.mean([side.accuracy for side in sides])), agreement=float(np.mean(agreements))
    )


def approximately(found, expected):
    return [vars(shift) for shift in found] == [pytest.approx(vars(shift)) for shift in expected]


@pytest.mark.parametrize("model", [replace(VIT, initialisation="xavier"), RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("batch", [1000, 7])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_accuracy_and_agreement_are_means_over_the_four_sides(digits, monkeypatch, model, batch, ema_decay):
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", batch)
    done = train(shifted(make_config(model, **EASY, ema_decay=ema_decay), 1, 3, 7), digits)
    expected = [expected_of(done.training, digits.test, pixels) for pixels in (1, 3, 7)]
    assert approximately(done.shifts, expected)
    plain = loop.evaluate(done.training, digits.test).accuracy
    assert plain > done.shifts[0].accuracy > done.shifts[2].accuracy
    assert 1 > done.shifts[0].agreement > done.shifts[2].agreement


def test_images_are_shifted_before_their_patches_are_moved(digits):
    config = make_config(VIT)
    config = replace(config, data=replace(config.data, moved_share=1.0, moved_patch=2))
    training = prepared(config, digits)
    seen = []
    training.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    evaluate_shifted(training, digits.validation, torch.zeros(60, dtype=torch.int64), (2,), lambda: None)
    order = moved_order(8, config.data)
    up = torch.from_numpy(by_hand(digits.validation.images.numpy(), -2, 0))
    expected = prepare(up, training.inputs.mean, training.inputs.std).flatten(1)[:, order].view(60, 1, 8, 8)
    assert any(torch.equal(found, expected) for found in seen)
    assert len(seen) == 4


def test_a_run_keeps_what_was_found(tmp_path, monkeypatch, digits):
    config = shifted(make_config(RESNET, **EASY), 1, 2)
    done = carry_out(config, tmp_path, monkeypatch)
    assert [shift.pixels for shift in done.result.shifts] == [1, 2]
    assert approximately(done.result.shifts, [expected_of(done.training, digits.test, pixels) for pixels in (1, 2)])
    assert done.folder.result() == done.result


def test_the_plain_test_is_the_same_with_and_without(digits):
    one, other = (train(shifted(make_config(RESNET, updates=4), *shifts), digits) for shifts in ((), (1, 2)))
    assert torch.equal(one.predicted, other.predicted)
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert one.events == other.events
    assert one.shifts == ()


@pytest.mark.parametrize("pixels", [8, 9])
def test_a_shift_out_of_the_image_is_refused_before_the_first_update(digits, pixels):
    beats = []
    with pytest.raises(InvalidInput, match=rf"test_shifts.* is {pixels}; it must lie in \[1, 7\]"):
        train(shifted(make_config(), 1, pixels), digits, heartbeat=beats.append)
    assert beats == []


def test_every_forward_pass_of_an_evaluation_is_a_sign_of_life(digits, monkeypatch):
    """Validation has 60 images and the test 360: 9 and 52 passes of 7, at each side of each shift anew."""
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 7)
    beats = []
    train(shifted(make_config(evaluations=2), 1, 2), digits, heartbeat=beats.append)
    assert beats == sorted(beats)
    assert [beats.count(update) for update in (5, 6, 12)] == [1, 1 + 9, 1 + 9 + 52 + 2 * 4 * 52]

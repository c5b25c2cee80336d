"""Training on images whose patches were moved: all the same to a ViT of that patch size, not to a ResNet."""

from dataclasses import replace

import pytest
import torch
from training_cases import CPU, RESNET, make_config, prepared, train

from harness.data.splits import moved_order, prepare
from harness.spec import Augmentation, ViTSpec
from harness.training import loop

VIT = ViTSpec(
    patch_size=2, width=16, depth=2, heads=2, mlp_ratio=2.0, position="learned_1d", position_sd=0.5,
    initialisation="xavier", zero_head=False,
)  # fmt: skip
PLAIN = Augmentation()
UPDATES = 24
STRONG = Augmentation(shift=1, flip=True, erase=0.25, mixup=0.2, cutmix=1.0)


def config_of(model, augmentation=PLAIN, **data):
    config = make_config(model, augmentation=augmentation, learning_rate=1e-2, updates=UPDATES)
    return replace(config, data=replace(config.data, **data))


def moved(model, augmentation=PLAIN, *, share=1.0, patch=2):
    return config_of(model, augmentation, moved_share=share, moved_patch=patch)


def trained(training, dataset):
    """The loss of each update, and the evaluation after the last one."""
    losses = [training.last_loss.item() for _ in loop.run_updates(training)]
    return losses, loop.evaluate(training, dataset.validation), loop.evaluate(training, dataset.test)


def with_positions_moved(training, config):
    """Give each patch the position that it has in the image as it is."""
    side = config.model.patch_size
    order = moved_order(8, config.data).view(8, 8)[::side, ::side].flatten()  # first pixel of each patch
    source = order // 8 // side * (8 // side) + order % 8 // side
    table = training.model.position.table.data
    patches = table[:, -len(source) :]  # a class token comes first and stays
    patches.copy_(patches[:, source].clone())
    return training


@pytest.mark.parametrize("augmentation", [PLAIN, STRONG], ids=["plain", "augmented"])
@pytest.mark.parametrize(("share", "patch"), [(1.0, 2), (0.5, 2), (1.0, 4)])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_vit_of_that_patch_size_learns_the_same(digits, augmentation, share, patch, pool):
    vit = replace(VIT, pool=pool)
    losses, validation, test = trained(prepared(config_of(vit, augmentation), digits), digits)
    config = moved(vit, augmentation, share=share, patch=patch)
    same = with_positions_moved(prepared(config, digits), config)
    found, found_validation, found_test = trained(same, digits)
    assert found == pytest.approx(losses, rel=1e-4)
    assert found_validation.loss == pytest.approx(validation.loss, rel=1e-4)
    assert found_test.loss == pytest.approx(test.loss, rel=1e-4)
    assert (found_test.predicted == test.predicted).float().mean() > 0.995  # ties may fall either way
    assert augmentation is STRONG or losses[-1] < losses[0] - 0.3, losses  # there was something to learn


@pytest.mark.parametrize("augmentation", [PLAIN, STRONG], ids=["plain", "augmented"])
@pytest.mark.parametrize("model", [RESNET, VIT, replace(VIT, patch_size=4)], ids=["resnet", "positions", "patches"])
def test_any_other_model_learns_something_else(digits, augmentation, model):
    """A ResNet, a ViT whose positions stay behind, and one whose patches are torn."""
    losses, *_ = trained(prepared(config_of(model, augmentation), digits), digits)
    found, *_ = trained(prepared(moved(model, augmentation), digits), digits)
    assert max(abs(one - other) for one, other in zip(losses, found, strict=True)) > 1e-2


def test_all_splits_are_moved_alike_after_normalisation(digits):
    training = prepared(moved(VIT), digits)
    order = moved_order(8, moved(VIT).data)
    seen = []
    training.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    images, _ = next(training.batches.between(0, 1))
    next(iter(loop.run_updates(training)))
    for split in (digits.validation, digits.test):
        loop.evaluate(training, split)
    for found, split in zip(seen, (images, digits.validation.images, digits.test.images), strict=True):
        expected = prepare(split, training.inputs.mean, training.inputs.std).flatten(1)[:, order].view(found.shape)
        assert torch.equal(found, expected)


def test_the_augmentation_sees_the_images_as_they_are(digits, monkeypatch):
    seen = []

    def spy(images, labels, *_, **__):
        seen.append(images.clone())
        return images, labels

    monkeypatch.setattr(loop, "augment", spy)
    for config in (config_of(VIT), moved(VIT)):
        train(config, digits)
    assert all(map(torch.equal, seen[:UPDATES], seen[UPDATES:]))


def test_nothing_is_moved_where_the_share_is_0(digits):
    training = loop.prepare_training(config_of(VIT, moved_share=0.0, moved_patch=4), digits, CPU)
    assert training.inputs.moved is None

"""Other libraries' models have the sizes of ours, and the usual stack sees the images that ours sees."""

import numpy as np
import pytest
import torch

from harness.bench.arms import ARMS, RESNET8, VIT_P7, made_up, own_step
from harness.bench.data import RESNET8_CIFAR, VIT_P8_CIFAR
from harness.bench.peers import plain_update
from harness.bench.roofline import operations
from harness.bench.step import details_of, peer_model, peer_step, peers_of, with_class_token
from harness.bench.usual_stack import pictures, training_batches, transform
from harness.data import Split, normalisation, prepare
from harness.models import build, parameters
from harness.spec import ViTSpec

EVERY = pytest.mark.parametrize("arm", [*ARMS, VIT_P8_CIFAR, RESNET8_CIFAR], ids=lambda arm: arm.name)


@EVERY
def test_peers_have_our_parameters_and_our_work(arm):
    found = details_of(arm)
    own = found["patchbench"]
    assert own["macs_per_image"] == arm.macs
    for name, peer in found.items():
        if name in {"torchvision", "patchbench, class token"} and isinstance(arm.model, ViTSpec):
            assert peer == found["patchbench, class token"]
        elif name == "vit-pytorch SimpleViT":
            assert peer["macs_per_image"] == own["macs_per_image"]
            assert peer["parameters"] == parameters_of_simple_vit(arm)
            assert peer["parameters"] == pytest.approx(own["parameters"], rel=0.02)
        else:
            assert peer == own, name


def parameters_of_simple_vit(arm):
    """Ours with fixed positions and no bias in attention, and LayerNorms over pixels of a patch and over tokens."""
    spec = arm.model
    changes = {"position": "sincos_2d", "qkv_bias": False, "output_bias": False}
    ours = ViTSpec(**{**vars(spec), **changes})
    same = parameters(build(ours, image_size=arm.image_size, channels=arm.channels, classes=10))
    return same + 2 * arm.channels * spec.patch_size**2 + 2 * spec.width


@pytest.mark.parametrize("arm", [VIT_P7, with_class_token(VIT_P7), RESNET8], ids=["mean", "class token", "resnet"])
def test_every_peer_takes_a_step_that_changes_its_weights(arm):
    for peer in peers_of(arm):
        model = peer_model(peer.library, arm)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        images, labels = made_up(arm, 16)
        update = plain_update(model, precision="fp32", channels_last=peer.channels_last)
        losses = [float(update(images.float() / 255, labels)) for _ in range(3)]
        assert losses[-1] < losses[0]
        assert all(not torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True)), (
            peer.name
        )


def test_steps_on_a_batch_at_hand_can_be_repeated():
    peer = peer_step(peers_of(RESNET8)[-1], RESNET8, "bf16", "cpu")
    assert peer().isfinite()
    assert peer().isfinite()
    own = own_step(VIT_P7, "fp32", "cpu", images=256)
    own()
    own()


@pytest.mark.parametrize("arm", [VIT_P7, VIT_P8_CIFAR], ids=["grey", "colour"])
def test_the_usual_stack_sees_what_ours_sees_without_augmentation(arm):
    images, labels = made_up(arm, 20)
    data = pictures(images.numpy(), labels.numpy(), transform(images.numpy(), shift=0))
    usual = torch.stack([data[place][0] for place in range(20)])
    mean, std = normalisation(Split(images, labels), torch.arange(20))
    torch.testing.assert_close(usual, prepare(images, mean, std), atol=1e-5, rtol=1e-5)
    assert [data[place][1] for place in range(20)] == labels.tolist()


def test_the_usual_stack_shifts_by_at_most_its_pixels_and_flips():
    image = np.zeros((1, 1, 28, 28), dtype=np.uint8)
    image[..., 10, 12] = 255
    batches = training_batches(np.repeat(image, 64, axis=0), np.zeros(64, dtype=np.int64), shift=2, batch=64, workers=0)
    inputs = torch.cat([next(batches)[0] for _ in range(8)])
    places = {divmod(int(one.flatten().argmax()), 28) for one in inputs}
    flipped = 28 - 1 - 12
    assert {row for row, _ in places} == set(range(8, 13))
    assert {column for _, column in places} == {*range(10, 15), *range(flipped - 2, flipped + 3)}


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_an_arms_own_products_are_nearly_all_of_its_work(arm):
    counted = sum(operation.macs for operation in operations(arm)) / arm.batch
    assert 0.96 * arm.macs < counted <= arm.macs

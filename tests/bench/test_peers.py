"""Other libraries' models have the sizes of ours, and the usual stack sees the images that ours sees."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.bench.part_step import WORKLOADS, own_models, peer_model, peer_step, peers_of
from harness.bench.peers import plain_update
from harness.bench.usual_stack import SHIFT, pictures, training_batches, transform
from harness.bench.workloads import CLASSES, RESNET8, VIT_P7, own_step, random_images
from harness.data import Split, normalisation, prepare
from harness.models import build, macs_per_image, parameters
from harness.spec import ViTSpec


def size_of(model, workload):
    """Parameters, and multiply-accumulates of a forward pass of one image in all products and convolutions."""
    image = torch.empty(1, workload.channels, workload.image_size, workload.image_size)
    model.train()  # in evaluation torch's own attention layer takes a kernel that the counter does not see into
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image)
    return parameters(model), counter.get_total_flops() // 2


def own_size(workload, **changes):
    shape = {"image_size": workload.image_size, "channels": workload.channels, "classes": CLASSES}
    spec = workload.model if not changes else ViTSpec(**{**vars(workload.model), **changes})
    return parameters(build(spec, **shape)), macs_per_image(spec, **shape)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_peers_have_our_parameters_and_our_work(workload):
    peers = {peer.name: size_of(peer_model(peer.library, workload), workload) for peer in peers_of(workload)}
    compared = [(own_size(own), name) for own, rivals in own_models(workload).items() for name in rivals]
    assert sorted(name for _, name in compared) == sorted(peers)
    for own, name in compared:
        if name == "vit-pytorch SimpleViT":
            # Fixed positions and no bias in attention, and LayerNorms over pixels of a patch and over tokens.
            fixed = own_size(workload, position="sincos_2d", qkv_bias=False, output_bias=False)[0]
            norms = 2 * workload.channels * workload.model.patch_size**2 + 2 * workload.model.width
            assert peers[name] == (fixed + norms, own[1])
            assert peers[name][0] == pytest.approx(own[0], rel=0.02)
        else:
            assert peers[name] == own, name


@pytest.mark.parametrize("workload", [VIT_P7, RESNET8], ids=lambda workload: workload.name)
def test_every_peer_takes_a_step_that_changes_its_weights(workload):
    for peer in peers_of(workload):
        model = peer_model(peer.library, workload)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        images, labels = random_images(workload, 16)
        update = plain_update(model, precision="fp32", channels_last=peer.channels_last)
        losses = [float(update(images.float() / 255, labels)) for _ in range(3)]
        assert losses[-1] < losses[0]
        assert all(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)), peer.name


def test_steps_on_a_batch_at_hand_can_be_repeated():
    peer = peer_step(peers_of(RESNET8)[-1], RESNET8, "bf16", "cpu")
    assert peer().isfinite()
    assert peer().isfinite()
    own = own_step(VIT_P7, "fp32", "cpu", images=256)
    own()
    own()


def test_the_usual_stack_sees_what_ours_sees_without_augmentation():
    images, labels = random_images(VIT_P7, 20)
    data = pictures(images.numpy(), labels.numpy(), transform(images.numpy(), augment=False))
    usual = torch.stack([data[place][0] for place in range(20)])
    mean, std = normalisation(Split(images, labels), torch.arange(20))
    torch.testing.assert_close(usual, prepare(images, mean, std), atol=1e-5, rtol=1e-5)
    assert [data[place][1] for place in range(20)] == labels.tolist()


def test_the_usual_stack_shifts_by_at_most_its_pixels_and_flips():
    image = np.zeros((1, 1, 28, 28), dtype=np.uint8)
    image[..., 10, 12] = 255
    batches = training_batches(np.repeat(image, 64, axis=0), np.zeros(64, dtype=np.int64), batch=64, workers=0)
    inputs = torch.cat([next(batches)[0] for _ in range(8)])
    places = {divmod(int(one.flatten().argmax()), 28) for one in inputs}
    flipped = 28 - 1 - 12
    assert {row for row, _ in places} == set(range(10 - SHIFT, 11 + SHIFT))
    moved = range(-SHIFT, SHIFT + 1)
    assert {column for _, column in places} == {start + move for start in (12, flipped) for move in moved}

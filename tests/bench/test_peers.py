"""Other libraries' models have the sizes of ours, and the usual stack sees the images that ours sees."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.bench.contestants import RESNET8, VIT_P7, WORKLOADS, own_model, own_step, peer_step, random_images
from harness.bench.twelve_trainings import PLAIN
from harness.bench.usual_stack import CLASSES, peer_model, pictures, plain_update, training_batches
from harness.data.splits import Split, normalisation, prepare
from harness.models import build, macs_per_image, parameters


def size_of(model, workload):
    """Parameters, and multiply-accumulates of a forward pass of one image in all products and convolutions."""
    image = torch.empty(1, workload.channels, workload.image_size, workload.image_size)
    model.train()  # in evaluation torch's own attention layer takes a kernel that the counter does not see into
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image)
    return parameters(model), counter.get_total_flops() // 2


def own_size(workload, spec):
    shape = {"image_size": workload.image_size, "channels": workload.channels, "classes": CLASSES}
    return parameters(build(spec, **shape)), macs_per_image(spec, **shape)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_peers_have_our_parameters_and_our_work(workload):
    for own, names in workload.peers.items():
        ours = own_size(workload, own_model(own, workload))
        for name in names:
            found = size_of(peer_of(name, workload), workload)
            if name == "vit-pytorch SimpleViT":
                # Fixed positions and no bias in attention, and LayerNorms over pixels of a patch and over tokens.
                lesser = replace(workload.model, position="sincos_2d", qkv_bias=False, output_bias=False)
                norms = 2 * workload.channels * workload.model.patch_size**2 + 2 * workload.model.width
                assert found == (own_size(workload, lesser)[0] + norms, ours[1])
                assert found[0] == pytest.approx(ours[0], rel=0.02)
            else:
                assert found == ours, name


def peer_of(name, workload):
    library = name.partition(",")[0]
    return peer_model(library, workload.model, image_size=workload.image_size, channels=workload.channels)


@pytest.mark.parametrize("workload", [VIT_P7, RESNET8], ids=lambda workload: workload.name)
def test_every_peer_takes_a_step_that_changes_its_weights(workload):
    for name in (name for names in workload.peers.values() for name in names):
        model = peer_of(name, workload)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        images, labels = random_images(workload, 16)
        update = plain_update(model, precision="fp32", channels_last="channels_last" in name)
        losses = [float(update(images.float() / 255, labels)) for _ in range(3)]
        assert losses[-1] < losses[0]
        assert all(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)), name


def test_steps_on_a_batch_at_hand_can_be_repeated():
    peer = peer_step("torchvision, channels_last, memory kept", RESNET8, "bf16", "cpu")
    assert peer().isfinite()
    assert peer().isfinite()
    own = own_step("patchbench", VIT_P7, "fp32", "cpu", images=256)
    own()
    own()


def test_the_usual_stack_sees_what_ours_sees_without_augmentation():
    images, labels = random_images(VIT_P7, 20)
    data = pictures(Split(images, labels), augment=False)
    usual = torch.stack([data[place][0] for place in range(20)])
    mean, std = normalisation(Split(images, labels), torch.arange(20))
    torch.testing.assert_close(usual, prepare(images, mean, std), atol=1e-5, rtol=1e-5)
    assert [data[place][1] for place in range(20)] == labels.tolist()


def test_the_usual_stack_shifts_by_at_most_its_pixels_and_flips():
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    images[..., 10, 12] = 255
    batches = training_batches(Split(images, torch.zeros(64, dtype=torch.int64)), batch=64, workers=0)
    inputs = torch.cat([next(batches)[0] for _ in range(8)])
    places = {divmod(int(one.flatten().argmax()), 28) for one in inputs}
    shift, flipped = PLAIN.augmentation.shift, 28 - 1 - 12
    assert {row for row, _ in places} == set(range(10 - shift, 11 + shift))
    moved = range(-shift, shift + 1)
    assert {column for _, column in places} == {start + move for start in (12, flipped) for move in moved}

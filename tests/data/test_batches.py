"""The order of the images, their normalisation, and where batches live."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from harness.data.augmentation import augment
from harness.data.splits import Batches, Split, normalisation, prepare
from harness.spec import Augmentation, InvalidInput


def numbered(n, channels=1):
    images = torch.arange(n, dtype=torch.int64).remainder(256).byte().view(n, 1, 1, 1).expand(n, channels, 2, 2)
    return Split(images.contiguous(), torch.arange(n))


@given(n=st.integers(1, 40), batch_size=st.integers(1, 90), seed=st.integers(0, 2**31), updates=st.integers(1, 30))
def test_each_pass_holds_every_image_once(n, batch_size, seed, updates):
    subset = torch.arange(n) * 3
    batches = Batches(numbered(3 * n), subset, batch_size, seed=seed)
    order = [batches.batch_indices(update) for update in range(updates)]
    assert all(len(part) == batch_size for part in order)
    stream = torch.cat(order)
    for start in range(0, len(stream) - n + 1, n):
        assert torch.equal(stream[start : start + n].sort().values, subset)
    rest = stream[len(stream) // n * n :].tolist()
    assert len(set(rest)) == len(rest)


def test_passes_differ_and_the_seed_decides():
    def order(seed, update):
        return Batches(numbered(50), torch.arange(50), 50, seed=seed).batch_indices(update).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, update)) for seed in range(3) for update in range(3)}) == 9


def test_a_resumed_training_sees_the_same_batches():
    def labels(start, stop):
        batches = Batches(numbered(30), torch.arange(25), 8, seed=3)
        return [labels.tolist() for _, labels in batches.between(start, stop)]

    assert labels(0, 7) + labels(7, 12) == labels(0, 12)


def test_images_go_with_their_labels():
    batches = Batches(numbered(200), torch.arange(100, 200), 32, seed=0)
    for images, labels in batches.between(0, 5):
        assert torch.equal(images[:, 0, 0, 0].long(), labels)
        assert labels.min() >= 100


@pytest.mark.parametrize(("n", "batch_size"), [(0, 8), (10, 0)])
def test_an_empty_batch_is_refused(n, batch_size):
    with pytest.raises(InvalidInput, match="both must be at least 1"):
        Batches(numbered(10), torch.arange(n), batch_size, seed=0)


def test_chunks_hold_everything_in_order():
    parts = [labels for _, labels in numbered(10).chunks(4)]
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat(parts), torch.arange(10))


def test_the_normalisation_is_of_the_subset_only():
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2500, 3, 4, 4), generator=rng, dtype=torch.uint8)
    images[2100:] = 255
    subset = torch.arange(0, 2100)
    mean, std = normalisation(Split(images, torch.zeros(2500, dtype=torch.int64)), subset)
    chosen = images[subset].double() / 255
    assert torch.allclose(mean.double(), chosen.mean((0, 2, 3)), atol=1e-7)
    assert torch.allclose(std.double(), chosen.std((0, 2, 3), correction=0), atol=1e-7)
    normal = prepare(images[subset], mean, std)
    assert normal.dtype == torch.float32
    assert normal.mean((0, 2, 3)).abs().max() < 1e-5
    assert (normal.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_a_constant_channel_is_not_divided_by_zero():
    split = Split(torch.full((5, 1, 2, 2), 51, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    mean, std = normalisation(split, torch.arange(5))
    assert (mean.item(), std.item()) == (pytest.approx(0.2), 1.0)
    assert prepare(split.images, mean, std).abs().max() < 1e-6


def test_prepare_leaves_its_argument_alone():
    images = torch.full((2, 1, 2, 2), 100.0)
    prepare(images, torch.tensor([0.5]), torch.tensor([0.25]))
    assert (images == 100).all()


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, about lifting to a device that is not there
def test_every_step_stays_on_the_device_of_the_images():
    mode = FakeTensorMode()
    with mode:
        images = torch.empty((100, 3, 32, 32), dtype=torch.uint8, device="cuda")
        split = Split(images, torch.zeros(100, dtype=torch.int64, device="cuda"))
        mean = std = torch.ones(3, device="cuda")
    batches = Batches(split, torch.arange(100), 16, seed=0)
    spec = Augmentation(shift=2, flip=True, erase=0.5, mixup=0.2, cutmix=1.0)
    with mode:
        for images, labels in batches.between(0, 2):
            mixed, targets = augment(images, labels, spec, 10, torch.Generator())
            batch = prepare(mixed, mean, std)
            assert batch.device.type == targets.device.type == "cuda"
            assert batch.shape == (16, 3, 32, 32)
            assert targets.shape == (16, 10)
    assert isinstance(batches.batch_indices(0).numpy(), np.ndarray)  # nothing fake is left in the order's cache

"""Augmentation draws per image, from its own generator, with the right statistics."""

import pytest
import torch

from harness.data.augmentation import ERASED_AREA, Draws, augment, erase, flip, mix, shift
from harness.spec import Augmentation

EVERYTHING = Augmentation(shift=2, flip=True, erase=0.5, mixup=0.2, cutmix=1.0, randaugment=1)
MANY = 20_000


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draws():
    return Draws(rng())


def noise(n=64, channels=3, side=16):
    return torch.randint(1, 256, (n, channels, side, side), generator=rng(99), dtype=torch.uint8)


def marked(n, side=9):
    """White dots in the middle of black images."""
    images = torch.zeros((n, 1, side, side), dtype=torch.uint8)
    images[:, :, side // 2, side // 2] = 255
    return images


def labels_of(n, classes=10):
    return torch.arange(n) % classes


def test_no_augmentation_changes_nothing():
    images, labels = noise(), labels_of(64)
    same, targets = augment(images, labels, Augmentation(), 10, rng())
    assert same is images
    assert targets is labels


@pytest.mark.parametrize(
    "spec",
    [
        EVERYTHING,
        Augmentation(shift=3),
        Augmentation(flip=True),
        Augmentation(erase=1.0),
        Augmentation(mixup=1.0),
        Augmentation(cutmix=1.0),
        Augmentation(randaugment=2),
    ],
)
def test_the_generator_decides_everything(spec):
    images, labels = noise(16), labels_of(16)
    before, state = images.clone(), torch.get_rng_state()
    one, two, other = (augment(images, labels, spec, 10, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert one[0].shape == images.shape


def test_half_the_images_are_mirrored():
    ramp = torch.arange(4, dtype=torch.uint8).view(1, 1, 1, 4).expand(MANY, 1, 4, 4)
    flipped = flip(ramp, draws())[:, 0, 0, 0] == 3
    assert abs(flipped.float().mean() - 0.5) < 0.02
    rarely = flip(ramp, draws(), probability=0.1)[:, 0, 0, 0] == 3
    assert abs(rarely.float().mean() - 0.1) < 0.02
    assert torch.equal(flip(ramp, draws())[~flipped], ramp[~flipped])
    assert torch.equal(flip(ramp, draws())[flipped], ramp[flipped].flip(3))


def test_shifts_are_uniform_and_padded_with_zeros():
    moved = shift(marked(MANY), 2, draws())
    assert (moved.flatten(1).sum(1) == 255).all()  # the dot moved, and nothing else came in
    where = moved.flatten(1).int().argmax(1)
    rows, columns = where // 9 - 4, where % 9 - 4
    cells = torch.bincount((rows + 2) * 5 + columns + 2, minlength=25)
    assert len(cells) == 25
    chi_square = ((cells - MANY / 25) ** 2 / (MANY / 25)).sum()
    assert chi_square < 52  # p = .001 at 24 degrees of freedom


def test_what_moves_out_is_lost_and_what_moves_in_is_black():
    white = torch.full((200, 2, 6, 6), 255, dtype=torch.uint8)
    moved = shift(white, 3, draws())
    bright = (moved[:, 0] > 0).flatten(1).sum(1)
    assert set(bright.tolist()) <= {h * w for h in range(3, 7) for w in range(3, 7)}
    assert len(set(bright.tolist())) > 5
    assert torch.equal(moved[:, 0], moved[:, 1])


def test_strength_scales_shift_and_erasing():
    still = Augmentation(shift=4, erase=1.0, strength=0.0)
    assert torch.equal(augment(noise(), labels_of(64), still, 10, rng())[0], noise())
    moved, _ = augment(marked(2000), labels_of(2000), Augmentation(shift=2, strength=1.5), 10, rng())
    rows = moved.flatten(1).int().argmax(1) // 9 - 4
    assert (rows.min(), rows.max()) == (-3, 3)
    often, _ = augment(noise(2000), labels_of(2000), Augmentation(erase=0.2, strength=2.0), 10, rng())
    assert abs((often == 0).flatten(1).any(1).float().mean() - 0.4) < 0.04


def test_erased_rectangles_have_the_right_size_and_number():
    side = 64
    blank = erase(torch.full((4000, 2, side, side), 9, dtype=torch.uint8), 0.25, draws()) == 0
    assert torch.equal(blank[:, 0], blank[:, 1])
    hit = blank[:, 0].flatten(1).any(1)
    assert abs(hit.float().mean() - 0.25) < 0.03
    area = blank[hit, 0].flatten(1).float().mean(1)
    assert area.min() > ERASED_AREA[0] * 0.85  # sides are whole pixels
    assert area.max() < ERASED_AREA[1] * 1.05
    assert abs(area.mean() - sum(ERASED_AREA) / 2) < 0.015
    high, wide = blank[hit, 0].any(2).sum(1), blank[hit, 0].any(1).sum(1)
    assert torch.allclose(area, (high * wide).float() / side**2)  # rectangles
    aspect = high / wide
    assert aspect.min() > 0.25
    assert aspect.max() < 4
    assert abs(aspect.log().mean()) < 0.1
    assert blank[hit, 0].any(0).float().mean() > 0.99  # nearly every pixel was hit


def test_mixup_mixes_images_and_labels_by_the_same_share():
    images, labels = torch.zeros((MANY, 1, 2, 2), dtype=torch.uint8), torch.zeros(MANY, dtype=torch.int64)
    images[::2], labels[::2] = 200, 1
    mixed, targets = mix(images, labels, Augmentation(mixup=0.4), 3, draws())
    assert mixed.dtype == targets.dtype == torch.float32
    assert torch.allclose(targets.sum(1), torch.ones(MANY))
    assert torch.allclose(mixed[:, 0, 0, 0] / 200, targets[:, 1], atol=1e-5)
    share = targets[::2, 1]
    assert len(share.unique()) > MANY // 3  # a draw per image
    assert abs(share.mean() - 0.5) < 0.02
    assert abs(share.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01  # variance of Beta(a, a)


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels():
    n, side = 4000, 16
    images, labels = torch.zeros((n, 1, side, side), dtype=torch.uint8), torch.zeros(n, dtype=torch.int64)
    images[::2], labels[::2] = 200, 1
    mixed, targets = mix(images, labels, Augmentation(cutmix=1.0), 2, draws())
    assert set(mixed.unique().tolist()) == {0.0, 200.0}
    assert torch.allclose((mixed == 200).flatten(1).float().mean(1), targets[:, 1], atol=1e-5)
    assert torch.allclose(targets.sum(1), torch.ones(n))
    foreign = (mixed[1::2, 0] == 200).float()
    assert abs(foreign.mean() - 0.5) < 0.03
    high, wide = foreign.amax(2).sum(1), foreign.amax(1).sum(1)
    assert torch.equal(high * wide, foreign.sum((1, 2)))


def test_with_both_each_image_is_mixed_by_either():
    images, labels = torch.zeros((2000, 1, 8, 8), dtype=torch.uint8), torch.zeros(2000, dtype=torch.int64)
    images[::2], labels[::2] = 200, 1
    mixed, targets = mix(images, labels, Augmentation(mixup=1.0, cutmix=1.0), 2, draws())
    pure = ((mixed == 0) | (mixed == 200)).flatten(1).all(1)
    assert abs(pure.float().mean() - 0.5) < 0.05
    assert torch.allclose(mixed.flatten(1).mean(1) / 200, targets[:, 1], atol=1e-5)


def test_a_tiny_alpha_gives_no_nan():
    mixed, targets = mix(noise(2000, 1, 4), labels_of(2000), Augmentation(mixup=1e-3, cutmix=1e-3), 10, draws())
    assert mixed.isfinite().all()
    assert targets.isfinite().all()


def test_a_batch_of_one_mixes_with_itself():
    mixed, targets = mix(noise(1), labels_of(1), Augmentation(mixup=1.0, cutmix=1.0), 10, draws())
    assert torch.allclose(mixed, noise(1).float())
    assert targets.tolist() == [[1.0] + [0.0] * 9]


def test_draws_differ_within_a_batch():
    same = noise(1).expand(32, -1, -1, -1).contiguous()
    for spec in (Augmentation(shift=3), Augmentation(erase=1.0), Augmentation(randaugment=2)):
        changed, _ = augment(same, labels_of(32), spec, 10, rng())
        assert len(changed.flatten(1).unique(dim=0)) > 10


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_keeps_type_and_shape(channels):
    changed, _ = augment(noise(12, channels), labels_of(12), Augmentation(randaugment=3, strength=2.0), 10, rng())
    assert changed.dtype == torch.uint8
    assert changed.shape == (12, channels, 16, 16)


def test_strength_0_turns_everything_that_it_scales_off() -> None:
    images, labels = noise(), labels_of(64)
    spec = Augmentation(shift=2, flip=True, erase=1.0, randaugment=1, strength=0.0)
    augmented, _ = augment(images, labels, spec, 10, rng())
    assert torch.equal(augmented, images)

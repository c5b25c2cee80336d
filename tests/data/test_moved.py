"""Which pixels move where: a permutation of whole patches, nested in the share, without a patch that stays."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.data.augmentation import translated
from harness.data.splits import moved_order
from harness.spec import DataSpec, InvalidInput

GRIDS = st.tuples(st.integers(2, 6), st.integers(1, 4))
"""Patches per side of the image, pixels per side of a patch."""
SEEDS = st.integers(0, 2**31 - 1)


def spec(share, patch, seed=0):
    return DataSpec(source="digits", moved_share=share, moved_patch=patch, moved_seed=seed)


def patches(order, grid, side):
    """(P, p * p): the pixels that end up in each patch, patches and pixels counted by rows."""
    return order.view(grid, side, grid, side).transpose(1, 2).reshape(grid**2, side**2)


def moved_patches(grid, side, share, seed):
    """The patches whose pixels come from elsewhere, found without the function's own arithmetic."""
    order = moved_order(grid * side, spec(share, side, seed))
    changed = (patches(order, grid, side) != patches(torch.arange(len(order)), grid, side)).any(1)
    return set(changed.nonzero().flatten().tolist())


@given(GRIDS, st.floats(0.5, 1), SEEDS)
def test_it_is_a_permutation_of_whole_patches(shape, share, seed):
    grid, side = shape
    order = moved_order(grid * side, spec(share, side, seed))
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange((grid * side) ** 2))
    before = {tuple(patch.tolist()) for patch in patches(torch.arange(len(order)), grid, side)}
    after = {tuple(patch.tolist()) for patch in patches(order, grid, side)}
    assert after == before  # each patch is there, its pixels in their own places within it


@given(GRIDS, st.floats(0, 1), SEEDS)
def test_as_many_patches_move_as_asked_and_all_of_these_do(shape, share, seed):
    grid, side = shape
    chosen = round(share * grid**2)
    if chosen >= 2:
        assert len(moved_patches(grid, side, share, seed)) == chosen
    elif share > 0:
        with pytest.raises(InvalidInput, match="at least two must move"):
            moved_order(grid * side, spec(share, side, seed))
    else:
        assert moved_order(grid * side, spec(share, side, seed)) is None


@given(GRIDS, st.floats(0.5, 1), st.floats(0.5, 1), SEEDS)
def test_what_moves_at_a_smaller_share_moves_at_a_larger_one(shape, one, other, seed):
    fewer, more = (moved_patches(*shape, share, seed) for share in sorted((one, other)))
    assert fewer <= more


def test_the_seed_decides_and_nothing_else():
    assert torch.equal(moved_order(8, spec(1.0, 2)), moved_order(8, spec(1.0, 2)))
    assert not torch.equal(moved_order(8, spec(1.0, 2)), moved_order(8, spec(1.0, 2, seed=1)))
    torch.manual_seed(1)
    assert torch.equal(moved_order(8, spec(1.0, 2)), moved_order(8, spec(1.0, 2)))


def test_the_order_is_the_one_that_is_kept():
    """Results of yesterday were made with it: what changes this changes what they mean."""
    assert moved_order(4, spec(1.0, 2)).tolist() == [2, 3, 8, 9, 6, 7, 12, 13, 10, 11, 0, 1, 14, 15, 4, 5]
    assert moved_order(3, spec(0.5, 1)).tolist() == [2, 1, 5, 3, 0, 4, 6, 7, 8]


def test_patches_that_do_not_tile_the_image_are_refused():
    with pytest.raises(InvalidInput, match=r"^data.moved_patch is 3; it must divide the image side of 8 pixels\.$"):
        moved_order(8, spec(1.0, 3))


@given(st.integers(-4, 4), st.integers(-4, 4))
def test_a_translated_image_is_the_image_elsewhere_and_black(down, right):
    images = torch.arange(1, 51, dtype=torch.uint8).view(2, 1, 5, 5)
    found = translated(images, down=down, right=right)
    assert found.dtype == torch.uint8
    assert found.shape == images.shape
    for row in range(5):
        for column in range(5):
            at = row - down, column - right
            inside = all(0 <= place < 5 for place in at)
            expected = images[:, :, at[0], at[1]] if inside else torch.zeros(2, 1, dtype=torch.uint8)
            assert torch.equal(found[:, :, row, column], expected)

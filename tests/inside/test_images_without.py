"""Shuffled and blackened images: which pixels move, and how many are gone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.inside.robustness import blackened, blackening_grid, shuffled, shuffling_grids


def numbered(count: int = 3, channels: int = 2, side: int = 8) -> torch.Tensor:
    """Images whose pixels are all different and not black."""
    return torch.arange(1, 1 + count * channels * side**2).view(count, channels, side, side)


def patches(image: torch.Tensor, grid: int) -> set[tuple[int, ...]]:
    side = image.shape[-1] // grid
    parts = image.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4)
    return {tuple(part.flatten().tolist()) for row in parts for part in row}


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 100))
def test_whole_patches_change_places(grid: int, seed: int) -> None:
    images = numbered()
    found = shuffled(images, grid, torch.Generator().manual_seed(seed))
    assert [patches(image, grid) for image in found] == [patches(image, grid) for image in images]
    assert grid > 1 or torch.equal(found, images)


def test_each_image_has_an_order_of_its_own_and_every_model_the_same() -> None:
    images = numbered(1).expand(3, -1, -1, -1)
    once, again = (shuffled(images, 4, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once[0], once[1])


@given(st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9]), st.sampled_from([2, 4, 8]))
def test_a_share_of_the_patches_is_black(share: float, grid: int) -> None:
    images = numbered()
    found = blackened(images, grid, share, torch.Generator().manual_seed(0))
    black = found == 0
    assert black.flatten(1).sum(1).tolist() == [round(share * grid**2) * 2 * (8 // grid) ** 2] * 3
    assert torch.equal(found[~black], images[~black])
    assert all(part == {0} or 0 not in part for image in found for part in map(set, patches(image, grid)))


def test_images_keep_their_type() -> None:
    images = numbered().to(torch.uint8)
    for found in (shuffled(images, 2, torch.Generator()), blackened(images, 2, 0.5, torch.Generator())):
        assert found.dtype == torch.uint8
        assert found.shape == images.shape


@pytest.mark.parametrize(
    ("side", "shuffles", "black"),
    [(8, [1, 2, 4], 8), (14, [1, 2, 7], 7), (28, [1, 2, 4, 7, 14], 7), (29, [1], 29), (224, [1, 2, 4, 7, 8, 14], 8)],
)
def test_grids_tile_the_image(side: int, shuffles: list[int], black: int) -> None:
    assert shuffling_grids(side) == shuffles
    assert blackening_grid(side) == black

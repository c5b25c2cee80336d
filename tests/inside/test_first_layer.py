"""Principal components of filters that were made of known ones, and similarities of known positions."""

import pytest
import torch
from seen_models import GRID, vit

from harness.inside.embedding import mean_similarities, position_similarity, principal_components


def test_components_are_what_filters_were_made_of() -> None:
    basis, _ = torch.linalg.qr(torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    strength = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]], dtype=torch.float64)  # of variance 18 and 2
    filters = (strength @ basis.T + 5).view(4, 3, 2, 2)  # the mean of all filters is no component
    components, shares = principal_components(filters, most=8)
    torch.testing.assert_close(shares, torch.tensor([0.9, 0.1], dtype=torch.float64))
    torch.testing.assert_close((components.flatten(1) @ basis).abs(), torch.eye(2, dtype=torch.float64))
    largest = components.flatten(1).gather(1, components.flatten(1).abs().argmax(1, keepdim=True))
    assert (largest > 0).all()
    assert len(principal_components(filters, most=1)[0]) == 1


def test_the_filters_are_those_of_the_stem() -> None:
    """A patch that is like a filter is answered most by that filter's channel."""
    model, inside = vit()
    assert inside.filters is not None
    assert inside.filters.shape == (16, 3, 4, 4)
    answers = model.stem(inside.filters) - model.stem(torch.zeros(1, 3, 4, 4))  # (16, 1, 16)
    torch.testing.assert_close(answers[:, 0].diagonal(), inside.filters.square().sum((1, 2, 3)))


@pytest.mark.parametrize(
    ("position", "has_some"),
    [("learned_1d", True), ("learned_2d", True), ("sincos_2d", True), ("relative", False), ("none", False)],
)
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_positions_are_what_is_added_to_the_patches(position: str, has_some: bool, pool: str) -> None:
    model, inside = vit(position=position, pool=pool)
    assert (inside.positions is not None) == has_some
    if inside.positions is not None:
        tokens = GRID**2 + (pool == "cls")
        added = model.position(torch.zeros(1, tokens, 16))[0, -(GRID**2) :]
        torch.testing.assert_close(inside.positions, added)


def test_similar_positions_point_the_same_way() -> None:
    found = position_similarity(torch.tensor([[1.0, 0], [5, 0], [0, 2], [-3, 0]]))
    expected = [[1, 1, 0, -1], [1, 1, 0, -1], [0, 0, 1, 0], [-1, -1, 0, 1]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_similarities_are_told_by_how_patches_lie() -> None:
    line = torch.arange(3)
    places = torch.cartesian_prod(line, line)
    steps = (places[:, None] - places).abs()
    similarity = torch.where((steps == 0).any(-1), 0.5, -0.25).double()
    similarity[steps.sum(-1) == 1] = 0.75
    assert mean_similarities(similarity) == (0.75, 0.5, -0.25)
    assert mean_similarities(torch.eye(4, dtype=torch.float64)) == (0, None, 0)  # two by two

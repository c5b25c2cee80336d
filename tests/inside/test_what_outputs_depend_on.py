"""The effective receptive field of models whose field is known, and how large its half is."""

import pytest
import torch
from seen_models import GRID, SIDE, inputs, vit
from torch import nn

from harness.inside.effective_field import half_side, squared_gradients


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_convolution_sees_its_window() -> None:
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    nn.init.ones_(convolution.weight)
    field, at = squared_gradients(convolution, convolution, torch.randn(8, 3, 9, 9), None, generator())
    assert at == 4
    seen = field > 0
    assert seen.nonzero().min(0).values.tolist() == [3, 3]
    assert seen.nonzero().max(0).values.tolist() == [5, 5]
    torch.testing.assert_close(field[3:6, 3:6], field[4, 4].expand(3, 3))
    assert half_side(field.sqrt(), at) == 3


@pytest.mark.parametrize("side", [8, 15, 16])
def test_convolutions_of_stride_two_are_centred_where_their_window_is(side: int) -> None:
    strided = nn.Sequential(*(nn.Conv2d(1, 1, 3, stride=2, padding=1) for _ in range(2)))
    for convolution in strided:
        nn.init.ones_(convolution.weight)
    field, at = squared_gradients(strided, strided, torch.randn(4, 1, side, side), None, generator())
    seen = (field > 0).nonzero()
    assert at == (seen.min() + seen.max()) / 2
    assert half_side(field.sqrt(), at) <= 7  # which all of it is


def test_a_patch_alone_sees_itself() -> None:
    """The middle one of three by three patches, of the tokens of a stem."""
    model, _ = vit()
    field, at = squared_gradients(model.stem, model.stem, inputs(), GRID, generator())
    assert at == (SIDE - 1) / 2
    seen = (field > 0).nonzero()
    assert (seen.min(0).values.tolist(), seen.max(0).values.tolist()) == ([4, 4], [7, 7])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_attention_sees_every_pixel(norm: str) -> None:
    """Behind a LayerNorm, too, where the sum of all channels would not change with the image."""
    model, inside = vit(norm=norm)
    field, _ = squared_gradients(model, inside.blocks[-1], inputs(), GRID, generator())
    assert (field > 1e-8).all()
    assert field[4:8, 4:8].mean() > field[:4, :4].mean()  # by the residual connections


def test_no_gradient_is_left_behind() -> None:
    model, inside = vit()
    squared_gradients(model, inside.blocks[-1], inputs(), GRID, generator())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("spots", "side"), [([(4, 4)], 1), ([(4, 4), (3, 5), (5, 5)], 3), ([(4, 4), (0, 4), (8, 8)], 9)]
)
def test_half_of_a_field_lies_within_a_square(spots: list[tuple[int, int]], side: int) -> None:
    field = torch.zeros(9, 9, dtype=torch.float64)
    for spot in spots:
        field[spot] = 1
    assert half_side(field, 4) == side


def test_half_of_an_even_field_is_half_of_its_area() -> None:
    """Around a middle between two pixels the sides are even."""
    assert half_side(torch.ones(10, 10, dtype=torch.float64), 4.5) == 8  # 8 * 8 is the first above 50

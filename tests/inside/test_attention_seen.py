"""Attention distance and rollout on maps whose answers are known, and that the maps are those of the model."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seen_models import GRID, inputs, vit
from torch import Tensor

from harness.inside.attention import attended, attention_distances, attention_maps, distances, half_share, rollout
from harness.models.attention_start import shift_map
from harness.models.hooks import heard


def with_class_token(maps: Tensor, share: float) -> Tensor:
    """Attention that gives a token before the patches a share of each query's."""
    whole = torch.zeros(*maps.shape[:2], maps.shape[2] + 1, maps.shape[3] + 1)
    whole[..., 1:, 1:] = (1 - share) * maps
    whole[..., 0] = share
    return whole


def test_distances_lie_between_the_centres_of_patches() -> None:
    far = 5 * 2**0.5
    expected = [[0, 5, 5, far], [5, 0, far, 5], [5, far, 0, 5], [far, 5, 5, 0]]
    torch.testing.assert_close(distances(2, 5), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_heads_attend_as_far_as_they_were_made_to(share: float) -> None:
    """To itself, everywhere, and to the right neighbour where there is one, by what goes to patches alone."""
    grid, patch = 4, 7
    everywhere = torch.full((grid**2, grid**2), 1 / grid**2)
    right = shift_map(grid, 1, 2).float()
    right[right.sum(1) == 0] = torch.eye(grid**2)[right.sum(1) == 0]  # the last column attends to itself
    maps = torch.stack([torch.eye(grid**2), everywhere, right]).expand(2, -1, -1, -1)
    found = attention_distances(with_class_token(maps, share), grid, patch)
    expected = torch.tensor([0, distances(grid, patch).mean(), patch * (grid - 1) / grid], dtype=torch.float64)
    torch.testing.assert_close(found, expected.expand(2, 3), rtol=1e-6, atol=1e-6)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 3))
def test_rows_of_a_rollout_are_shares(seed: int, blocks: int, heads: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(2, heads, 5, 5, generator=generator).softmax(-1) for _ in range(blocks)]
    flow = rollout(maps)
    assert (flow >= 0).all()
    torch.testing.assert_close(flow.sum(-1), torch.ones(2, 5, dtype=torch.float64))


def test_a_rollout_follows_the_blocks_in_their_order() -> None:
    """Token 0 reads token 1 in the first block, and token 2 reads token 0 in the second: so 1 reaches 2, not back."""
    first, second = torch.eye(3), torch.eye(3)
    first[0], second[2] = torch.tensor([0.0, 1, 0]), torch.tensor([1.0, 0, 0])
    flow = rollout([first[None, None], second[None, None]])[0]
    torch.testing.assert_close(flow[2], torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64))
    torch.testing.assert_close(flow[0], torch.tensor([0.5, 0.5, 0], dtype=torch.float64))


def test_the_heads_of_a_block_are_averaged() -> None:
    eye, turned = torch.eye(2), torch.tensor([[0.0, 1], [1, 0]])
    flow = rollout([torch.stack([eye, turned])[None]])[0]
    torch.testing.assert_close(flow, torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=torch.float64))


def test_what_reaches_the_head_is_told_by_patch() -> None:
    flow = torch.tensor([[[0.2, 0.4, 0.1, 0.1, 0.2], *[[0.0, 0, 0, 0, 1]] * 4]], dtype=torch.float64)
    by_class_token, by_all = attended(flow, slice(1), 2), attended(flow, slice(None), 2)
    torch.testing.assert_close(by_class_token[0], torch.tensor([[4, 1], [1, 2]]) / torch.tensor(8.0).double())
    assert by_all[0, 1, 1] > by_class_token[0, 1, 1]
    assert by_all.sum() == pytest.approx(1)


def test_half_of_the_attention_may_be_of_few_patches() -> None:
    even, sharp = torch.full((1, 4, 4), 1 / 16), torch.zeros(1, 4, 4)
    sharp[0, 2, 1] = 1
    assert half_share(even) == 0.5
    assert half_share(sharp) == 1 / 16
    assert half_share(torch.cat([even, sharp])) == pytest.approx((1 / 2 + 1 / 16) / 2)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rotary": 100.0, "qk_norm": True},
        {"position": "relative", "pool": "cls"},
        {"norm": "post", "attention_dropout": 0.5},
        {"stem": "hybrid"},
    ],
    ids=str,
)
def test_the_maps_are_those_that_the_model_computes(fields: dict[str, object]) -> None:
    """With them, values and output of each block make what its attention made."""
    model, inside = vit(**fields)
    x = inputs()
    modules = [module for module, _ in inside.attentions]
    with heard(modules, "input") as before, heard(modules, "output") as after, torch.no_grad():
        model(x)
    maps = attention_maps(model, inside, x)
    assert [tuple(weights.shape) for weights in maps] == [(2, 2, *[GRID**2 + (model.pool == "cls")] * 2)] * 3
    with torch.no_grad():
        for block, weights, tokens, made in zip(model.blocks, maps, before, after, strict=True):
            values = block.attention.qkv(tokens)[..., 32:].unflatten(2, (2, 8)).transpose(1, 2)
            torch.testing.assert_close(block.attention.output((weights @ values).transpose(1, 2).flatten(2)), made)


def test_hooks_are_gone_afterwards() -> None:
    model, inside = vit()
    attention_maps(model, inside, inputs())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_head_reads_what_the_model_says() -> None:
    """What reaches other tokens than those has no part in the logits."""
    pools = (
        {"pool": "cls"},
        {"pool": "cls", "distillation_token": True},
        *({"pool": p} for p in ("mean", "all", "map")),
    )
    for fields in (*pools, *(pool | {"registers": 2} for pool in pools)):
        model, inside = vit(**fields)
        with heard([inside.blocks[-1]], "output") as found, torch.enable_grad():
            logits = model(inputs())
            gradient = torch.autograd.grad(logits[:, 0].sum(), found[0])[0]
        read = gradient.abs().sum((0, 2)) > 0
        assert read[inside.pooled].all()
        read[inside.pooled] = False
        assert not read.any()

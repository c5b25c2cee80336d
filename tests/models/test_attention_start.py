"""Starts of attention that lend it a bias: what their products and maps are, and that nothing else changes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.models import build, parameters
from harness.models.attention_start import factors, shift_map
from harness.models.position import SinCosPosition2D
from harness.models.vit import ViT
from harness.spec import ViTSpec
from harness.spec.errors import InvalidInput

WIDTH, HEADS, GRID = 64, 4, 4


def model_of(start: str, seed: int = 0, image_size: int = 16, **changes) -> ViT:
    torch.manual_seed(seed)
    spec = ViTSpec(
        **({"patch_size": 4, "width": WIDTH, "heads": HEADS, "depth": 2, "attention_start": start} | changes)
    )
    model = build(spec, image_size=image_size, channels=1, classes=3)
    assert isinstance(model, ViT)
    return model


def products(model: ViT, block: int = 0) -> tuple[Tensor, Tensor]:
    """Q K^T of each head, (H, D, D), and V W_proj, (D, D): of rows, as papers write them."""
    attention = model.blocks[block].attention
    queries, keys, values = attention.qkv.weight.detach().double().chunk(3)
    heads = (part.view(HEADS, -1, WIDTH) for part in (queries, keys))
    return torch.einsum("hkd,hke->hde", *heads), values.T @ attention.output.weight.detach().double().T


def maps(model: ViT, images: Tensor) -> Tensor:
    """Softmax attention of the first block, (B, H, P, P), by its definition."""
    block = model.blocks[0]
    x = block.norm1(model.position(model.stem(images)))
    q, k, _ = block.attention.qkv(x).chunk(3, dim=-1)
    q, k = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k))
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).detach()


def test_mimetic_products_are_near_the_identities_of_the_paper() -> None:
    """Equal to a sketch in NumPy from the same draws: the nearest matrix of rank k keeps its greatest eigenspaces."""
    model = model_of("mimetic", seed=7)
    model_of("drawn", seed=7)  # leaves the generator where the start begins to draw
    eye = np.eye(WIDTH)
    for block in range(2):
        scores, values = products(model, block)
        for head in range(HEADS):
            whole = 0.7 * torch.randn(WIDTH, WIDTH, dtype=torch.float64).numpy() / WIDTH**0.5 + 0.7 * eye
            _, vectors = np.linalg.eigh(whole.T @ whole)
            kept = vectors[:, -WIDTH // HEADS :]
            np.testing.assert_allclose(scores[head], whole @ kept @ kept.T, atol=1e-5)
        whole = 0.4 * torch.randn(WIDTH, WIDTH, dtype=torch.float64).numpy() / WIDTH**0.5 - 0.4 * eye
        np.testing.assert_allclose(values, whole, atol=1e-5)


def test_mimetic_queries_are_like_keys_and_values_go_back_negative() -> None:
    scores, values = products(model_of("mimetic"))
    drawn_scores, drawn_values = products(model_of("drawn"))
    eye = torch.eye(WIDTH, dtype=torch.float64).flatten()

    def likeness(product: Tensor) -> float:
        return torch.corrcoef(torch.stack([product.flatten(), eye]))[0, 1].item()

    assert values.diagonal().mean().item() == pytest.approx(-0.4, abs=0.03)
    assert likeness(values) < -0.6
    for head, drawn in zip(scores, drawn_scores, strict=True):
        assert 0.15 < head.diagonal().mean().item() < 0.7  # k of D directions
        assert likeness(head) > 0.3
        assert abs(likeness(drawn)) < 0.1
    assert abs(likeness(drawn_values)) < 0.1


def test_mimetic_positions_start_as_sines_and_cosines_that_learn() -> None:
    for pool, first in (("mean", 0), ("cls", 1)):
        table = model_of("mimetic", pool=pool).position.table
        assert table.requires_grad
        torch.testing.assert_close(table[0, first:], SinCosPosition2D(GRID, WIDTH).table)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_impulse_heads_look_at_their_neighbour(monkeypatch: pytest.MonkeyPatch, pool: str) -> None:
    """At nothing but positions nearly alone, and through random patches still most."""
    monkeypatch.setattr(torch, "randperm", torch.arange)
    model = model_of("impulse", pool=pool, position_sd=1.0)
    assert isinstance(model, ViT)
    first = int(pool == "cls")
    if first:
        model.position.table = torch.nn.Parameter(model.position.table[:, first:])
    for images, least in ((torch.zeros(1, 1, 16, 16), 0.98), (torch.randn(50, 1, 16, 16), 0.75)):
        seen = maps(model, images).mean(0)
        for head, (down, right) in enumerate([(-1, -1), (-1, 0), (-1, 1), (0, -1)]):
            for row in range(max(0, -down), GRID):
                for column in range(max(0, -right), GRID - max(0, right)):
                    place = seen[head, row * GRID + column]
                    target = (row + down) * GRID + column + right
                    assert place.argmax() == target
            inside = shift_map(GRID, down + 1, right + 1).bool()
            assert seen[head][inside].mean() > least


def test_impulse_equals_a_sketch_by_normal_equations() -> None:
    """In NumPy: A = (E'E)^+ E' M E (E'E)^+ of the normalised positions E, its factors of norm .875 sqrt(k)."""
    model = model_of("impulse", seed=3, position_sd=0.7)
    plain = model_of("drawn", seed=3, position_sd=0.7)
    assert torch.equal(model.position.table, plain.position.table)
    rank, table = WIDTH // HEADS, plain.position.table[0].detach().double().numpy()
    normal = (table - table.mean(1, keepdims=True)) / np.sqrt(table.var(1, keepdims=True) + 1e-5)
    inverse = np.linalg.pinv(normal.T @ normal, rcond=1e-9, hermitian=True) @ normal.T  # 16 positions: rank k itself
    order = torch.randperm(9).tolist()
    wanted = np.zeros((HEADS, GRID**2, GRID**2))
    for head in range(HEADS):
        down, right = order[head] // 3 - 1, order[head] % 3 - 1
        for at in range(GRID**2):
            row, column = at // GRID + down, at % GRID + right
            if 0 <= row < GRID and 0 <= column < GRID:
                wanted[head, at, row * GRID + column] = 1
    noise = torch.nn.init.trunc_normal_(torch.empty(HEADS, 16, 16, dtype=torch.float64), std=0.0018, a=-0.006, b=0.006)
    wanted = np.where(wanted == 0, noise.numpy(), wanted)
    for head, found in enumerate(products(model)[0]):
        whole = inverse @ wanted[head] @ inverse.T
        sizes = np.sqrt(np.linalg.svd(whole, compute_uv=False)[:rank].sum())  # norm of either factor
        np.testing.assert_allclose(found, whole * (0.875**2 * rank / sizes**2), atol=1e-5)


def test_impulse_offsets_are_all_different_and_drawn() -> None:
    """The ninth head of a block has the last of the nine offsets; two blocks have other orders."""
    torch.manual_seed(0)
    model = model_of("impulse", width=144, heads=9, position_sd=1.0)
    table = model.position.table[0].detach()
    seen = []
    for block in model.blocks:
        q, k, _ = block.attention.qkv(block.norm1(table)).chunk(3, dim=-1)
        q, k = (part.unflatten(-1, (9, -1)).transpose(0, 1) for part in (q, k))
        inner = (q @ k.mT)[:, 5].argmax(-1)  # row 1, column 1, which has all neighbours
        seen.append(inner.tolist())
    assert [sorted(targets) for targets in seen] == 2 * [[0, 1, 2, 4, 5, 6, 8, 9, 10]]
    assert seen[0] != seen[1]


@pytest.mark.parametrize("start", ["mimetic", "impulse"])
def test_a_start_changes_attention_alone_and_no_cost(start: str) -> None:
    model, plain = (dict(model_of(name, seed=4).named_parameters()) for name in (start, "drawn"))
    changed = {name for name, value in plain.items() if not torch.equal(value, model[name])}
    attention = {f"blocks.{block}.attention.{part}.weight" for block in range(2) for part in ("qkv", "output")}
    assert changed == attention | ({"position.table"} if start == "mimetic" else set())
    assert parameters(model_of(start)) == parameters(model_of("drawn"))


@pytest.mark.parametrize("image_size", [4, 8, 32])
@pytest.mark.parametrize("start", ["mimetic", "impulse"])
def test_starts_are_finite_on_any_grid(start: str, image_size: int) -> None:
    model = model_of(start, image_size=image_size, initialisation="torch", qkv_bias=False)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert model(torch.randn(2, 1, image_size, image_size)).isfinite().all()


def test_factors_of_full_rank_give_the_product() -> None:
    product = torch.randn(3, 8, 8, dtype=torch.float64)
    left, right = factors(product, 8)
    torch.testing.assert_close(left @ right.mT, product)
    torch.testing.assert_close(left.norm(dim=1), right.norm(dim=1))  # neither is the larger


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_start": "mimetic", "position": "sincos_2d"}, "needs the table of position 'learned_1d'"),
        ({"attention_start": "impulse", "position": "none"}, "needs the table of position 'learned_1d', not 'none'"),
        ({"attention_start": "mimetic", "width": 18, "heads": 2}, "width of a multiple of 4, not 18"),
        ({"attention_start": "impulse", "position_sd": 0.0}, "position_sd must be above 0"),
        ({"attention_start": "convolutional"}, "one of 'drawn', 'mimetic', 'impulse'"),
    ],
)
def test_a_start_that_cannot_be_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ViTSpec(**changes)

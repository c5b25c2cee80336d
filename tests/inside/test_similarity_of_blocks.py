"""CKA: by its definition, for what is known to be alike and unlike, and block by block of two models."""

import itertools

import pytest
import torch
from seen_models import inputs, vit
from torch import Tensor

from harness.inside.similarity import block_grams, cka, hsic


def grams(*features: Tensor) -> Tensor:
    """(1, L, n, n) of features (n, d)."""
    return torch.stack([x.double() @ x.double().mT for x in features])[None]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(k: Tensor, other: Tensor) -> float:
    """The mean over all tuples of four different images of what the expectation is taken of."""
    tuples = list(itertools.permutations(range(len(k)), 4))
    terms = [k[i, j] * other[i, j] + k[i, j] * other[q, r] - 2 * k[i, j] * other[i, q] for i, j, q, r in tuples]
    return float(sum(terms) / len(terms))


def test_hsic_is_the_mean_over_all_tuples_of_images() -> None:
    k, other = (grams(random(6, 3, seed=seed))[0, 0] for seed in (0, 1))
    assert float(hsic(k, other)) == pytest.approx(by_definition(k, other))
    assert float(hsic(k, k)) == pytest.approx(by_definition(k, k))


def test_hsic_of_what_is_independent_is_unbiased() -> None:
    """The biased one is near tr(K) tr(L) / n^2 = 64 here."""
    draws = [grams(random(2000 * 8, 8, seed=seed).view(2000, 8, 8)).squeeze(0) for seed in (0, 1)]
    found = hsic(*draws)
    assert abs(float(found.mean())) < 4 * float(found.std()) / 2000**0.5
    assert float(found.std()) > 0.5


def test_cka_looks_through_rotations_factors_and_shifts() -> None:
    x = random(32, 5)
    rotation, _ = torch.linalg.qr(random(5, 5, seed=1))
    alike = grams(x, 3 * x @ rotation + random(1, 5, seed=2), torch.cat([x, x], dim=1))
    torch.testing.assert_close(cka(alike, alike), torch.ones(3, 3, dtype=torch.float64))


def test_cka_of_what_is_unlike() -> None:
    x, y, still = random(64, 4), random(64, 4, seed=1), torch.ones(64, 4)
    found = cka(grams(x, still), grams(x, y, still))
    assert found.shape == (2, 3)
    assert found[0, 0] == pytest.approx(1)
    assert abs(found[0, 1]) < 0.1
    assert found[1].tolist() == [0, 0, 0]
    assert found[0, 2] == 0


def test_minibatches_are_averaged_before_they_are_divided() -> None:
    first = torch.cat([grams(random(16, 3, seed=seed)) for seed in (0, 1)])
    second = torch.cat([grams(random(16, 3, seed=seed)) * scale for seed, scale in ((2, 1), (1, 5))])
    cross, own, other = (hsic(*pair).mean(0)[0] for pair in ((first, second), (first, first), (second, second)))
    torch.testing.assert_close(cka(first, second)[0, 0], cross / (own * other).sqrt())


def test_each_block_has_its_own() -> None:
    model, inside = vit()
    found = block_grams(model, inside.blocks, inputs(6))
    assert found.shape == (3, 6, 6)
    likeness = cka(found[None], found[None])
    torch.testing.assert_close(likeness.diagonal(), torch.ones(3, dtype=torch.float64))
    assert likeness[0, 2] < 1

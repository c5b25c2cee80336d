"""Why the shipped studies search an arm as they do: what designs of like cost say of a difference, by simulation."""

import numpy as np
import pytest
from scipy import stats

SEED_SD, VALIDATION_SD = 0.3, 0.45  # points of accuracy: of a training, and of what trials of a search are compared by
FALL = 5.0  # points lost at a tenth of the best learning rate, or at ten times that
DIFFERENCES = 2000


def cost(searches: int, trials: int, seeds: int) -> float:
    """Full-length trainings of an arm: trials are half as long."""
    return 0.5 * searches * trials + seeds


def simulated(searches: int, trials: int, seeds: int, *, reach: float, off: float = 0.2) -> tuple[float, float]:
    """Median half-width of the 95 % interval of a difference of two arms, and how far they stay below the accuracy of
    their best rates, in points.

    Each search tries the recipe's own rate and others within `reach` decades, one in each of as many parts of that
    range. Arms' best rates lie `off` decades (a standard deviation) from the recipe's.
    """
    rng = np.random.default_rng(0)
    others, shape = trials - 1, (DIFFERENCES, 2, searches)
    best = rng.normal(0, off, (DIFFERENCES, 2, 1, 1))
    places = np.arange(others) + rng.random((*shape, others))
    tried = np.concatenate([np.zeros((*shape, 1)), (2 * places / others - 1) * reach], axis=-1)
    lost = FALL * (tried - best) ** 2
    picked = (rng.normal(0, VALIDATION_SD, lost.shape) - lost).argmax(-1)[..., None]
    got = np.take_along_axis(lost, picked, -1)[..., 0]
    confirmed = np.array([len(range(search, seeds, searches)) for search in range(searches)])
    means = rng.normal(0, SEED_SD / confirmed**0.5, got.shape) - got
    variances = means.var(-1, ddof=1) / searches
    both = variances.sum(-1)
    freedom = both**2 / (variances**2 / (searches - 1)).sum(-1)  # Satterthwaite's
    return float(np.median(stats.t.ppf(0.975, freedom) * both**0.5)), float(got.mean())


@pytest.mark.parametrize("off", [0.1, 0.2, 0.3])
def test_five_searches_of_three_trials_say_more_than_four_of_four(off: float) -> None:
    few, many = (4, 4, 4), (5, 3, 5)
    assert cost(*many) < 1.05 * cost(*few)
    (wide, lost), (narrow, more) = (simulated(*design, reach=0.6, off=off) for design in (few, many))
    assert narrow < 0.9 * wide
    assert more - lost < 0.1


def test_a_third_trial_finds_better_rates_for_arms_that_differ_in_theirs() -> None:
    own = FALL * 0.3**2
    losses = [simulated(5, trials, 5, reach=0.6, off=0.3)[1] for trials in (2, 3)]
    assert losses[1] < 0.7 * losses[0]
    assert losses[1] < 0.6 * own


def test_a_range_of_a_factor_of_a_hundred_finds_less_than_one_of_sixteen() -> None:
    wide, near = (simulated(5, 3, 5, reach=reach)[1] for reach in (1.0, 0.6))
    assert near < 0.9 * wide

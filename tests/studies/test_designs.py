"""Why the shipped studies search an arm five times: what designs of equal cost say of a difference, by simulation."""

import numpy as np
import pytest
from scipy import stats

SEED_SD, VALIDATION_SD = 0.25, 0.3  # points of accuracy: of a training, and of what a trial is chosen by
DIFFERENCES = 1500


def cost(searches: int, trials: int, seeds: int) -> float:
    """Full-length trainings of an arm: searches share their first trial, and trials are half as long."""
    return (1 + searches * (trials - 1)) / 2 + seeds


def simulated(searches: int, trials: int, seeds: int, curvature: float) -> tuple[float, float]:
    """Median half-width of the 96 % interval of a difference between two arms alike, and their mean accuracy, points.

    An arm's accuracy falls with the square of the distance from its best setting, which lies around the first trial's;
    each search takes the best by validation, and the seeds take turns with what they have chosen.
    """
    rng = np.random.default_rng(0)
    best = rng.normal(0, 0.4, (DIFFERENCES, 2, 1, 1, 2))  # differences, arms, searches, trials, settings
    tried = rng.uniform(-1, 1, (DIFFERENCES, 2, searches, trials, 2))
    tried[..., 0, :] = 0
    true = -curvature * ((tried - best) ** 2).sum(-1)
    chosen = (true + rng.normal(0, VALIDATION_SD, true.shape)).argmax(-1, keepdims=True)
    confirmed = np.array([len(range(search, seeds, searches)) for search in range(searches)])
    means = np.take_along_axis(true, chosen, -1)[..., 0] + rng.normal(0, SEED_SD / confirmed**0.5, true.shape[:-1])
    variances = means.var(-1, ddof=1) / searches
    both = variances.sum(-1)
    freedom = both**2 / (variances**2 / (searches - 1)).sum(-1)  # Satterthwaite's
    return float(np.median(stats.t.ppf(0.98, freedom) * both**0.5)), float(means.mean())


@pytest.mark.parametrize("curvature", [0.5, 1.0, 2.0])
def test_five_searches_of_three_trials_say_more_than_three_of_four(curvature: float) -> None:
    few, many = (3, 4, 6), (5, 3, 5)
    assert cost(*many) < cost(*few)
    (wide, accuracy), (narrow, lower) = simulated(*few, curvature), simulated(*many, curvature)
    assert 0.6 < narrow / wide < 0.8
    assert accuracy - lower < 0.07


@pytest.mark.parametrize("curvature", [0.5, 1.0, 2.0])
def test_five_searches_of_two_trials_take_little_more_than_three_of_three(curvature: float) -> None:
    few, many = (3, 3, 3), (5, 2, 5)
    assert cost(*many) == cost(*few) + 1.5
    assert simulated(*many, curvature)[0] < 0.65 * simulated(*few, curvature)[0]

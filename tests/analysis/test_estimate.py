"""The interval holds its level: with few seeds, with images that decide, with seeds that decide."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulate import World, at_most, estimates, share

from harness.analysis.estimate import estimate_mean, image_components, resampled_means

REPEATS = 1000


def excludes(estimate, value: float) -> bool:
    return not estimate.ci_low <= value <= estimate.ci_high


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("world", [World(seed_sd=0.3), World(seed_sd=0.03, arm_image_sd=1.0)], ids=["seeds", "images"])
def test_without_a_difference_at_most_5_percent_of_intervals_exclude_zero(world: World, n: int) -> None:
    found = estimates(world, (0.93, 0.93), n, 250, repeats=REPEATS, seed=n)
    assert share([excludes(estimate, 0.0) for estimate, _ in found]) <= at_most(0.05, REPEATS)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_known_difference_is_covered_over_fresh_images_and_on_the_same_images(n: int) -> None:
    found = estimates(World(seed_sd=0.2), (0.95, 0.90), n, 250, repeats=REPEATS, seed=10 + n)
    assert share([not excludes(estimate, 0.05) for estimate, _ in found]) >= 0.93
    assert share([not excludes(estimate, truth) for estimate, truth in found]) >= 0.93


def test_a_difference_that_is_there_is_found() -> None:
    found = estimates(World(), (0.95, 0.90), 5, 500, repeats=200, seed=1)
    assert share([estimate.ci_low > 0 for estimate, _ in found]) > 0.8


def test_seeds_alone_miss_the_image_part() -> None:
    """The same data without predictions: too narrow for fresh images, which is why predictions are kept."""
    rng = np.random.default_rng(0)
    world = World(seed_sd=0.0, arm_image_sd=1.0, noise_sd=0.1)
    wrong = []
    for _ in range(300):
        images, _ = world.draw((0.93, 0.93), 10, 300, rng)
        wrong.append(excludes(estimate_mean(tuple(range(10)), images.mean(1), None, rng), 0.0))
    assert share(wrong) > 0.2


def test_without_predictions_it_is_students_interval() -> None:
    values = np.array([0.01, 0.03, 0.02, 0.05])
    found = estimate_mean((0, 1, 2, 3), values, None, np.random.default_rng(0))
    test = stats.ttest_1samp(values, 0)
    low, high = test.confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    assert found.p_value() == pytest.approx(test.pvalue)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_below_three_seeds_there_is_no_interval(n: int) -> None:
    found = estimate_mean(tuple(range(n)), np.full(n, 0.1), np.full((n, 5), 0.1), np.random.default_rng(0))
    assert np.isnan([found.ci_low, found.ci_high, found.p_value(), found.probability_positive()]).all()
    assert math.isnan(found.value) == (n == 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 8), st.floats(-0.1, 0.1))
def test_p_value_agrees_with_the_interval(seed: int, n: int, null: float) -> None:
    rng = np.random.default_rng(seed)
    images = (rng.random((n, 60)) < 0.9).astype(float) - (rng.random((n, 60)) < 0.85)
    found = estimate_mean(tuple(range(n)), images.mean(1), images, rng, resamples=100)
    assert (found.p_value(null) < 0.05) == excludes(found, null)
    mirrored = found.negated()
    assert mirrored.p_value(-null) == pytest.approx(found.p_value(null))
    assert mirrored.probability_positive() == pytest.approx(1 - found.probability_positive())


def test_equal_predictions_give_no_difference_and_a_tie() -> None:
    found = estimate_mean((0, 1, 2), np.zeros(3), np.zeros((3, 50)), np.random.default_rng(0))
    assert (found.ci_low, found.ci_high, found.p_value(), found.probability_positive()) == (0, 0, 1, 0.5)


def test_image_components_recover_what_was_planted() -> None:
    rng = np.random.default_rng(0)
    n, m = 6, 20_000
    values = rng.normal(0, 3, m) + rng.normal(0, 5, (n, 1)) + rng.normal(0, 2, (n, m))
    image, interaction = image_components(np.stack([values, -2 * values], axis=2))
    assert np.sqrt(image * m * [[1, -1], [-1, 1]]) == pytest.approx(3 * np.sqrt([[1, 2], [2, 4]]), rel=0.03)
    assert math.sqrt(interaction[0, 0] * n * m) == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("distinct", [3, 2000], ids=["counts", "normal limit"])
def test_resampled_means_spread_as_drawing_images_does(distinct: int) -> None:
    rng = np.random.default_rng(0)
    column = rng.integers(0, distinct, 3000) / distinct
    drawn = rng.choice(column, (2000, 3000)).mean(axis=1)
    assert resampled_means(column, rng, 2000).std() == pytest.approx(drawn.std(), rel=0.08)


def test_probability_positive_is_that_of_a_fresh_seed() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 1.0, (400, 30))
    found = [estimate_mean(tuple(range(30)), row, None, rng).probability_positive() for row in samples]
    assert np.mean(found) == pytest.approx(stats.norm.cdf(1.0), abs=0.015)

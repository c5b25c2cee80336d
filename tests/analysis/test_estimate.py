"""The interval holds its level: with few seeds, with images that decide, with seeds that decide."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from simulate import REPEATS, World, at_most, estimates, share
from statsmodels.stats.multitest import multipletests

from harness.analysis.estimate import (
    Variance,
    cell_variances,
    estimate_mean,
    holm,
    image_components,
    own_variances,
    satterthwaite,
)


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
    assert share([excludes(estimate, 0.05) for estimate, _ in found]) <= at_most(0.05, REPEATS)
    assert share([excludes(estimate, truth) for estimate, truth in found]) <= at_most(0.05, REPEATS)


def test_a_difference_that_is_there_is_found() -> None:
    found = estimates(World(), (0.95, 0.90), 5, 500, repeats=200, seed=1)
    assert share([estimate.ci_low > 0 for estimate, _ in found]) > 0.8


def test_seeds_alone_miss_the_image_part() -> None:
    """The same data without predictions: too narrow for fresh images, which is why predictions are kept."""
    rng = np.random.default_rng(0)
    world = World(seed_sd=0.0, arm_image_sd=1.0, noise_sd=0.1)
    wrong = []
    for _ in range(100):
        images, _ = world.draw((0.93, 0.93), 10, 300, rng)
        wrong.append(excludes(estimate_mean(tuple(range(10)), images.mean(1)), 0.0))
    assert share(wrong) > 0.2


def test_without_predictions_it_is_students_interval() -> None:
    values = np.array([0.01, 0.03, 0.02, 0.05])
    found = estimate_mean((0, 1, 2, 3), values)
    test = stats.ttest_1samp(values, 0)
    low, high = test.confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    assert found.p_value() == pytest.approx(test.pvalue)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_below_three_seeds_there_is_no_interval(n: int) -> None:
    found = estimate_mean(tuple(range(n)), np.full(n, 0.1), np.full((n, 5), 0.1))
    assert np.isnan([found.ci_low, found.ci_high, found.p_value(), found.probability_positive()]).all()
    assert math.isnan(found.value) == (n == 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 8), st.floats(-0.1, 0.1))
def test_p_value_agrees_with_the_interval(seed: int, n: int, null: float) -> None:
    rng = np.random.default_rng(seed)
    images = (rng.random((n, 60)) < 0.9).astype(float) - (rng.random((n, 60)) < 0.85)
    found = estimate_mean(tuple(range(n)), images.mean(1), images)
    assert (found.p_value(null) < 0.05) == excludes(found, null)
    mirrored = found.negated()
    assert mirrored.p_value(-null) == pytest.approx(found.p_value(null))
    assert mirrored.probability_positive() == pytest.approx(1 - found.probability_positive())


@pytest.mark.parametrize("m", [5, 50, 300, 5000])
def test_equal_predictions_are_no_certainty(m: int) -> None:
    """No interval has width zero: of m images answered alike, some 3 in m may differ."""
    found = estimate_mean((0, 1, 2), np.zeros(3), np.zeros((3, m)))
    assert found.ci_low < 0 < found.ci_high
    assert 1.5 / m < found.ci_high < 6 / m
    assert (found.p_value(), found.probability_positive()) == (1, 0.5)
    assert found.thin


def test_equal_values_without_predictions_have_no_interval() -> None:
    found = estimate_mean((0, 1, 2), np.full(3, 0.5))
    assert math.isnan(found.ci_low)
    assert not found.judgeable
    assert found.thin == "all gave the same, which does not tell how it varies"


@pytest.mark.parametrize(
    ("m", "differing", "carries"), [(90, 40, False), (150, 9, False), (150, 10, True), (9000, 9, False)]
)
def test_few_images_or_few_that_are_answered_differently_carry_no_verdict(
    m: int, differing: int, carries: bool
) -> None:
    images = np.zeros((4, m))
    images[np.arange(differing) % 4, np.arange(differing)] = 1
    assert (estimate_mean((0, 1, 2, 3), images.mean(1), images).thin == "") == carries


def luck(cells: int, *, searches: int, seeds: int, sd: float, repeats: int, heterogeneous: bool = False) -> list[bool]:
    """Whether intervals of a difference between two of `cells` cover it, with `sd` points between searches."""
    rng, covered = np.random.default_rng([cells, searches, seeds]), []
    of_seed = tuple(seed % searches for seed in range(seeds)) if searches > 1 else tuple(range(seeds))
    names = dict.fromkeys(of_seed)
    for _ in range(repeats):
        own = np.exp(rng.normal(0, 0.4, (cells, 1))) if heterogeneous else np.ones((cells, 1))
        setting = rng.normal(0, sd, (cells, searches))[:, np.arange(seeds) % searches]
        values = own * (setting + rng.normal(0, 0.25, (cells, seeds)))
        means = np.array([[row[np.equal(of_seed, name)].mean() for name in names] for row in values])
        parts, told = own_variances(means[:2], means[2:])
        df = min(parts.sum() ** 2 / ((parts**2).sum() / (len(names) - 1)), (told - 1) * (len(names) - 1))
        variance = Variance(float(parts.sum()), float(df))
        found = estimate_mean(tuple(range(seeds)), values[1] - values[0], replicates=of_seed, variance=variance)
        covered.append(not excludes(found, 0.0))
    return covered


@pytest.mark.parametrize("heterogeneous", [False, True], ids=["alike", "differing"])
@pytest.mark.parametrize("sd", [0.0, 0.4])
@pytest.mark.parametrize(("cells", "searches", "seeds"), [(2, 3, 6), (3, 3, 6), (6, 3, 6), (10, 4, 8)])
def test_intervals_cover_over_searches(cells: int, searches: int, seeds: int, sd: float, heterogeneous: bool) -> None:
    covered = luck(cells, searches=searches, seeds=seeds, sd=sd, repeats=300, heterogeneous=heterogeneous)
    assert at_most(0.05, 300) >= 1 - share(covered) > 0.01


def test_seeds_of_one_search_miss_the_luck_of_it() -> None:
    """Why searches are repeated: an interval over seeds alone covers what this search found, not what searches find."""
    assert share(luck(4, searches=1, seeds=5, sd=0.3, repeats=300)) < 0.7


def test_two_cells_say_what_their_paired_difference_says() -> None:
    """And of three each its own, without what a replicate does to all; of the quietest no less than what is left."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, (2, 5))
    assert cell_variances(means).sum() == pytest.approx(np.var(means[1] - means[0], ddof=1))
    many = rng.normal(0, [[1.0], [2.0], [3.0]], (3, 20_000)) + rng.normal(0, 5, 20_000)
    found = cell_variances(many)
    left = (many - many.mean(axis=0)).var(axis=1, ddof=1)
    assert found == pytest.approx([left[0], 4, 9], rel=0.05)


@pytest.mark.parametrize("sd", [(4, 1, 1), (4, 4, 1), (1, 1, 8), (0.3, 1, 1), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("cells", [3, 6])
def test_arms_that_vary_more_than_others_widen_their_own_intervals(cells: int, sd: tuple[float, ...]) -> None:
    """`sd`: of the two that are compared, and of the last; further ones vary by 1. By all cells at once, scaled as if
    they were alike, intervals of those that vary much cover .91 to .93, and those beside one that does are twice as
    wide."""
    rng, k, repeats = np.random.default_rng(cells), 5, 4000
    spread = np.array([*sd[:2], *[1.0] * (cells - 3), sd[2]])[:, None]
    means = rng.normal(0, spread, (repeats, cells, k)) + rng.normal(0, 0.5, (repeats, 1, k))
    found = [own_variances(each[:2], each[2:]) for each in means]
    parts, told = np.array([part for part, _ in found]), np.array([of for _, of in found])
    df = np.minimum(parts.sum(1) ** 2 / ((parts**2).sum(1) / (k - 1)), (told - 1) * (k - 1))
    half = special.stdtrit(df, 0.975) * np.sqrt(parts.sum(1) / k)
    covered = np.abs(means[:, 0].mean(-1) - means[:, 1].mean(-1)) <= half
    assert 0.935 <= covered.mean() <= 0.97
    paired = special.stdtrit(k - 1, 0.975) * (means[:, 0] - means[:, 1]).std(-1, ddof=1) / np.sqrt(k)
    assert np.median(half) < 1.03 * np.median(paired)


@pytest.mark.parametrize("df", [2, 3, 6])
@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0, 16.0])
def test_a_variance_of_few_replicates_beside_a_known_one_leaves_the_interval_its_level(df: int, ratio: float) -> None:
    rng, covered = np.random.default_rng(df), []
    for found in ratio * rng.chisquare(df, 4000) / df:
        half = special.stdtrit(satterthwaite(found, df, 1.0, math.inf), 0.975) * math.sqrt(found + 1)
        covered.append(abs(rng.normal(0, math.sqrt(ratio + 1))) <= half)
    assert share(covered) == pytest.approx(0.95, abs=0.015)


@given(st.lists(st.sampled_from([0.0, 1e-4, 0.01, 0.02, 0.04, 0.3, 1.0, math.nan]), max_size=8))
def test_holms_p_values_are_those_of_statsmodels(p_values: list[float]) -> None:
    """To the last digit; equal ones, and NaN, which stays where it is and counts nowhere."""
    known = [p for p in p_values if not math.isnan(p)]
    found = holm(p_values)
    assert list(map(math.isnan, found)) == list(map(math.isnan, p_values))
    assert not known or [p for p in found if not math.isnan(p)] == list(multipletests(known, method="holm")[1])


def test_a_wider_level_gives_a_wider_interval() -> None:
    values = np.array([0.01, 0.03, 0.02, 0.05])
    first, second = (estimate_mean((0, 1, 2, 3), values, level=level) for level in (0.95, 0.975))
    assert (second.ci_high - second.value) / (first.ci_high - first.value) == pytest.approx(
        stats.t.ppf(0.9875, 3) / stats.t.ppf(0.975, 3)
    )


def test_image_components_recover_what_was_planted() -> None:
    rng = np.random.default_rng(0)
    n, m = 6, 20_000
    values = rng.normal(0, 3, m) + rng.normal(0, 5, (n, 1)) + rng.normal(0, 2, (n, m))
    image, interaction = image_components(np.stack([values, -2 * values], axis=2))
    assert np.sqrt(image * m * [[1, -1], [-1, 1]]) == pytest.approx(3 * np.sqrt([[1, 2], [2, 4]]), rel=0.03)
    assert math.sqrt(interaction[0, 0] * n * m) == pytest.approx(2, rel=0.03)


def test_probability_positive_is_that_of_a_fresh_seed() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 1.0, (400, 30))
    found = [estimate_mean(tuple(range(30)), row).probability_positive() for row in samples]
    assert np.mean(found) == pytest.approx(stats.norm.cdf(1.0), abs=0.015)

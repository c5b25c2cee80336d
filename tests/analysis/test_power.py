import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.estimate import MeanEstimate, estimate_mean, holm, seeds_needed, what_settles


@pytest.mark.parametrize("effect", [0.6, 1.0, 2.0])
def test_seeds_needed_reach_the_power_in_simulation(effect: float) -> None:
    n = seeds_needed(0.01, 0.01 * effect)
    rng = np.random.default_rng(0)
    power = [
        float((stats.ttest_1samp(rng.normal(effect, 1, (4000, seeds)), 0, axis=1).pvalue < 0.05).mean())
        for seeds in (n - 1, n)
    ]
    assert power[0] < 0.82
    assert power[1] > 0.78


def test_seeds_needed_known_values() -> None:
    assert seeds_needed(1.0, 1.0) == 10  # Cohen 1988, table 2.4.1, one sample
    assert seeds_needed(1.0, 0.5) == 34
    assert seeds_needed(1.0, -0.5) == 34
    assert seeds_needed(0.0, 0.1) == 3
    assert seeds_needed(1e-9, 1.0) == 3
    assert seeds_needed(1.0, 0.01) == pytest.approx(78_490, rel=0.001)


@pytest.mark.parametrize("n", [3, 5, 10, 50])
def test_smallest_detectable_is_the_inverse_of_seeds_needed(n: int) -> None:
    values = np.random.default_rng(n).normal(0, 0.01, n)
    found = estimate_mean(tuple(range(n)), values)
    difference = found.smallest_detectable()
    assert seeds_needed(found.sd, difference * 1.001) <= n
    assert n == 3 or seeds_needed(found.sd, difference * 0.98) > n - 1


def test_what_settles_names_test_images_where_seeds_do_not_help() -> None:
    found = MeanEstimate(seeds=(0, 1, 2), value=0.001, sd=0.001, seed_error=0.001, image_error=0.002, images=10_000)
    assert "more than 46,000 test images" in what_settles(found, 0.003)
    assert "test images" not in what_settles(found, 0.01)


def test_nothing_is_promised_where_there_may_be_no_difference() -> None:
    found = MeanEstimate(seeds=(0, 1, 2), value=0.001, sd=0.001, seed_error=0.001, df=2.0)
    assert what_settles(found, 0.0009) == (
        "it lies within a standard error of the bound, and no number of seeds is known to settle that"
    )
    assert "about" in what_settles(found, 0.0015)


def test_where_searches_vary_searches_are_advised() -> None:
    found = MeanEstimate(seeds=tuple(range(6)), searches=3, value=0.002, seed_error=0.001, df=6.0)
    assert "searches, if the difference is what it seems" in what_settles(found, 0.002)


def test_holm_by_hand() -> None:
    found = holm([0.01, 0.04, math.nan, 0.03])
    assert found[:2] + found[3:] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(found[2])
    assert all(map(math.isnan, holm([math.nan])))

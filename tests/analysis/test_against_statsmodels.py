"""Formulas that are computed here, against statsmodels, which takes a second to import."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from harness.analysis.estimate import MeanEstimate, holm, over_seeds, seeds_needed


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_is_statsmodels_holm(p_values: list[float]) -> None:
    assert holm(p_values) == multipletests(p_values, method="holm")[1].tolist()


@pytest.mark.parametrize("seeds", [3, 5, 20, 100])
def test_detectable_effect_has_power_by_statsmodels(seeds: int) -> None:
    unit = MeanEstimate(seeds=tuple(range(seeds)), value=0.0, seed_error=1 / math.sqrt(seeds))
    assert TTestPower().power(unit.smallest_detectable(), seeds, 0.05) == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0, 3.0])
def test_seeds_needed_is_the_size_by_statsmodels(effect: float) -> None:
    size = TTestPower().solve_power(effect_size=effect, power=0.8, alpha=0.05)
    assert seeds_needed(1.0, effect) == max(3, math.ceil(float(size)))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12))
def test_interval_of_a_mean_is_scipys(values: list[float]) -> None:
    found = over_seeds(tuple(range(len(values))), np.array(values))
    error = stats.sem(values)
    if error > 0:
        expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert (found.ci_low, found.ci_high) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    else:
        assert found.ci_low == found.ci_high == np.mean(values)

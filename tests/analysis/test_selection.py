"""What was chosen because it stood out: critical values, and how often the intervals hold."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulate import REPEATS, at_most, evidences, records, share, study

from harness.analysis import analyse
from harness.analysis.answer import WIRING_TEST
from harness.analysis.estimate import MeanEstimate
from harness.analysis.selection import chosen, dunnett, level_with_best

ARMS = ("a", "b", "c", "d", "e")


def test_critical_values_against_published_tables() -> None:
    """Dunnett 1955, table 1a (one-sided, joint 95 %); for two arms, Student's."""
    assert dunnett(4, 20.0, 0.95) == pytest.approx(2.30, abs=0.005)
    assert dunnett(2, 10.0, 0.95) == pytest.approx(2.15, abs=0.005)
    assert dunnett(9, 30.0, 0.95) == pytest.approx(2.52, abs=0.02)
    assert dunnett(1, 7.0, 0.95) == pytest.approx(stats.t.ppf(0.95, 7), rel=1e-3)


def test_critical_values_are_those_of_scipys_dunnett_test_at_equal_n() -> None:
    """Its p-value of the largest difference is .05 where that is as large as the critical value."""
    rng = np.random.default_rng(0)
    groups, n = rng.normal(size=(4, 6)), 6
    groups -= groups.mean(axis=1, keepdims=True)
    scale = math.sqrt((groups**2).sum() / (4 * (n - 1)) * 2 / n)
    groups[1] += dunnett(3, 20.0, 0.95) * scale
    found = stats.dunnett(*groups[1:], control=groups[0], alternative="greater", random_state=rng)
    assert found.pvalue[0] == pytest.approx(0.05, abs=0.002)


def estimate(value: float, error: float = 1.0, df: float = 8.0) -> MeanEstimate:
    return MeanEstimate(seeds=(0, 1, 2, 3, 4), value=value, seed_error=error, df=df)


def test_a_chosen_one_has_bonferronis_interval() -> None:
    found = chosen(estimate(1.0), 4)
    assert found.ci_high - 1 == pytest.approx(stats.t.ppf(1 - 0.0125 / 2, 8))
    assert found.level == 0.95


def test_an_arm_is_level_with_the_best_unless_one_of_the_others_is_clearly_better() -> None:
    means = {"a": 10.0, "b": 8.5, "c": 7.0, "d": 9.9}

    def difference(one: str, two: str) -> MeanEstimate:
        return estimate(means[one] - means[two])

    critical = dunnett(3, 8.0, 0.95)
    assert 1.5 < critical < 3
    assert level_with_best(tuple(means), difference) == ["a", "b", "d"]
    assert level_with_best(tuple(means), lambda *_: MeanEstimate(value=math.nan)) == []
    few = lambda one, two: replace(difference(one, two), images=50)  # noqa: E731
    assert level_with_best(tuple(means), few) == list(means)


@pytest.mark.parametrize("gap", [0.0, 0.002, 0.01])
def test_the_best_arm_is_among_those_named(gap: float) -> None:
    """Two are best, the others behind by a gap."""
    of = study(dict.fromkeys(ARMS), seeds=3)
    simulated = evidences(of, lambda arm, _: 0.9 - gap * (arm not in "ab"))
    hits = ["a" in level_with_best(ARMS, one.difference) for one in simulated]
    assert 1 - share(hits) <= at_most(0.05, REPEATS)


def test_the_interval_of_the_best_gain_holds_after_the_choice() -> None:
    of, gain = study(dict.fromkeys(ARMS), seeds=3), []
    for one in evidences(of, lambda *_: 0.9):
        gains = [one.difference(arm, "ResNet-8") for arm in ARMS]
        gain.append(chosen(max(gains, key=lambda found: found.value), 5).sign == 0)
    assert share(gain) >= 1 - at_most(0.05, REPEATS)


def test_a_test_set_that_carries_no_verdict_is_a_test_of_the_wiring() -> None:
    found = analyse(records(study(), {"ResNet-8": 0.5, "ViT/7": 0.99, "ViT/14": 0.98}, images=40))
    assert (found.answer, found.conclusive) == (WIRING_TEST, False)
    assert found.numbers == "There are 40 test images; a verdict needs 100."

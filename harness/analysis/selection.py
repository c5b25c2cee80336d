"""Intervals of what was chosen because it stood out: the widest gap, the arm with the largest gain, the best arm.

Chosen of many, a difference seems larger than it is, and its nominal interval holds the truth too rarely.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from scipy import optimize, special, stats

from harness.analysis.estimate import MeanEstimate, with_interval

_NODES = 64  # of each integral; its error is far below what an interval shows
_MOST_DF = 1e5  # beyond it, Student's t is normal


def widest(found: MeanEstimate, arms: int) -> MeanEstimate:
    """The difference between two of so many arms, chosen as the widest: Tukey's interval for all pairs of them."""
    if not found.judgeable or arms < 3:
        return found
    half = _tukey(arms, min(found.df, _MOST_DF), found.level) * found.error
    return replace(found, ci_low=found.value - half, ci_high=found.value + half)


def chosen(found: MeanEstimate, of: int) -> MeanEstimate:
    """An estimate that was chosen of so many as the largest: Bonferroni's interval for all of them."""
    level = 1 - (1 - found.level) / max(1, of)
    return replace(with_interval(replace(found, level=level)), level=found.level)


def level_with_best(arms: Sequence[str], difference: Callable[[str, str], MeanEstimate]) -> list[str]:
    """The arms that may be the best one: multiple comparisons with the best (Hsu, Ann. Statist. 12, 1984, p. 1136).

    An arm is left out where the constrained interval of its mean minus the best of the others' ends at 0: where one of
    them is better by more than Dunnett's one-sided critical value for all the others. With the probability of the
    level the best arm is among those named. Each pair has its own standard error and degrees of freedom (Edwards and
    Hsu, J. Am. Stat. Assoc. 78, 1983, p. 965). Empty where a difference has no interval.
    """
    others = len(arms) - 1
    pairs = {(one, two): difference(one, two) for one in arms for two in arms if one != two}
    if not all(found.judgeable for found in pairs.values()):
        return []
    behind = {
        two
        for (_, two), found in pairs.items()
        if not found.thin and found.value > dunnett(others, min(found.df, _MOST_DF), found.level) * found.error
    }
    return [arm for arm in arms if arm not in behind]


@cache
def _tukey(arms: int, df: float, level: float) -> float:
    """Critical value of the largest of all differences between so many arms, in their standard errors."""
    return float(stats.studentized_range.ppf(level, arms, df)) / math.sqrt(2)


@cache
def dunnett(others: int, df: float, level: float) -> float:
    """One-sided critical value of the largest of so many differences from one arm, each pair correlated by 1/2.

    With z what all share and s the estimated standard deviation, in units of the true one, P(all below d) is the mean
    over both of Phi(d s sqrt(2) + z)^others (Dunnett, J. Am. Stat. Assoc. 50, 1955, p. 1096).
    """
    z, of_z = special.roots_hermitenorm(_NODES)
    shares, of_share = special.roots_legendre(_NODES)
    s = np.sqrt(stats.chi2.ppf((shares + 1) / 2, df) / df)

    def below(d: float) -> float:
        inner = special.ndtr(d * s[:, None] * math.sqrt(2) + z) ** others
        return float(of_share @ inner @ of_z) / (2 * math.sqrt(2 * math.pi))

    return float(optimize.brentq(lambda d: below(d) - level, 0.0, 1e3))

"""Intervals of what was chosen because it stood out: the arm with the largest gain, the best arm.

Chosen of many, a difference seems larger than it is, and its nominal interval holds the truth too rarely.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from harness.analysis.estimate import MeanEstimate, with_interval

_NODES = 64  # of each integral; its error is far below what an interval shows
Floats = npt.NDArray[np.float64]
_MOST_DF = 1e5  # beyond it, Student's t is normal


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
    behind = {two for (_, two), found in pairs.items() if not found.thin and _is_ahead(found, others)}
    return [arm for arm in arms if arm not in behind]


def _is_ahead(found: MeanEstimate, others: int) -> bool:
    """By Dunnett's critical value, which takes long to find and is no less than Student's: only beyond that."""
    df = min(found.df, _MOST_DF)
    if found.value <= float(special.stdtrit(df, found.level)) * found.error:
        return False
    return found.value > dunnett(others, df, found.level) * found.error


@cache
def dunnett(others: int, df: float, level: float) -> float:
    """One-sided critical value of the largest of so many differences from one arm, each pair correlated by 1/2.

    With z what all share, P(all below d) is the mean over s and z of Phi(d s sqrt(2) + z)^others (Dunnett, J. Am. Stat.
    Assoc. 50, 1955, p. 1096).
    """
    return _critical(lambda z, d: special.ndtr(d + z) ** others, df, level)


def _critical(within: Callable[[Floats, Floats], Floats], df: float, level: float) -> float:
    """The d at which the mean of `within(z, d s sqrt(2))` is `level`.

    z is standard normal, s the estimated standard deviation in units of the true one.
    """
    z, of_z, shares, of_share = _nodes()
    s = np.sqrt(2 * special.gammaincinv(df / 2, shares) / df)[:, None]

    def beyond(d: float) -> float:
        return float(of_share @ within(z, d * s * math.sqrt(2)) @ of_z) - level

    return float(optimize.brentq(beyond, 0.0, 1e3))


@cache
def _nodes() -> tuple[Floats, Floats, Floats, Floats]:
    """Points and weights of the mean over a standard normal, and of that over the shares of a distribution."""
    z, of_z = special.roots_hermitenorm(_NODES)
    shares, of_share = special.roots_legendre(_NODES)
    return z, of_z / math.sqrt(2 * math.pi), (shares + 1) / 2, of_share / 2

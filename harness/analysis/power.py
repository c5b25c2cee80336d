"""How many seeds, or test images, a question needs."""

import math
from functools import lru_cache

from scipy import optimize, special

from harness.analysis.estimate import FEWEST_SEEDS, LEVEL, MeanEstimate
from harness.spec.plural import counted

POWER = 0.8
"""Probability of showing a difference that is there, in every statement about needed seeds."""

MOST_SEEDS = 100
"""Beyond this many seeds, statements say `more than 100`."""
MOST_IMAGES = 1_000_000
"""The same for test images: where an estimate lies next to a bound, the formula asks for billions."""

_Z = float(-special.ndtri((1 - LEVEL) / 2) + special.ndtri(POWER))
"""A difference of so many standard errors is shown with this power, in the normal limit."""


def seeds_needed(sd_of_paired_difference: float, difference: float) -> int:
    """Fewest seeds with which a paired two-sided t test at level .05 shows `difference` with power .8; at least 3.

    Standard deviation and difference in the same unit. Raises ValueError for a difference of zero, which no number of
    seeds shows, and for a standard deviation that is not finite or below zero.
    """
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"difference is {difference}; it must be finite and not zero.")
    if not (sd_of_paired_difference >= 0 and math.isfinite(sd_of_paired_difference)):
        raise ValueError(f"sd_of_paired_difference is {sd_of_paired_difference}; it must be finite and at least 0.")
    in_errors = sd_of_paired_difference / abs(difference)
    seeds = max(FEWEST_SEEDS, math.ceil((_Z * in_errors) ** 2))  # a lower bound: the t test needs a few seeds more
    while in_errors and _power(1 / in_errors, seeds) < POWER:
        seeds += 1
    return seeds


@lru_cache(maxsize=256)
def detectable_effect(n: int) -> float:
    """The smallest true difference, in standard deviations, that n seeds show with power .8 at level .05."""
    return float(optimize.brentq(lambda effect: _power(effect, n) - POWER, 1e-3, 20.0))


def smallest_detectable(estimate: MeanEstimate) -> float:
    """The smallest true difference that this many seeds and images would have shown with power .8 at level .05."""
    if not estimate.judgeable:
        return math.nan
    return detectable_effect(estimate.n) * math.hypot(estimate.seed_error, estimate.image_error) * math.sqrt(estimate.n)


def what_settles(estimate: MeanEstimate, gap: float) -> str:
    """What it takes to tell the estimate from a bound that it lies `gap` away from, as a clause for a reason.

    The image part of the error does not fall with more seeds: where it alone hides the gap, test images are named.
    """
    left = gap**2 - (_Z * estimate.image_error) ** 2
    if gap != 0 and left <= 0:
        images = min(estimate.images * (_Z * estimate.image_error / gap) ** 2, MOST_IMAGES)
        digits = max(0, math.floor(math.log10(images)) - 1)  # all but the first two
        return f"settling it takes more than {round(images, -digits):,.0f} test images; more seeds alone are not enough"
    sd = estimate.seed_error * math.sqrt(estimate.n)
    # The normal bound, which the t test only raises, spares the search where it is beyond what is told.
    seeds = MOST_SEEDS + 1 if (_Z * sd) ** 2 >= MOST_SEEDS * left else seeds_needed(sd, math.sqrt(left))
    seeds = max(seeds, estimate.n + 1)  # a gap this size shows more often than not; this time it did not
    told = f"more than {MOST_SEEDS} seeds" if seeds > MOST_SEEDS else f"about {counted(seeds, 'seed')}"
    return f"settling it takes {told}"


def _power(effect: float, n: int) -> float:
    """Power of the two-sided t test of n values whose mean is `effect` standard deviations from the null.

    From the non-central t distribution; Cohen, Statistical Power Analysis, 1988, section 2.
    """
    bound, centre = -special.stdtrit(n - 1, (1 - LEVEL) / 2), effect * math.sqrt(n)
    power = 1 - float(special.nctdtr(n - 1, centre, bound)) + float(special.nctdtr(n - 1, centre, -bound))
    return 1.0 if math.isnan(power) else power  # the non-central t overflows where the power is 1

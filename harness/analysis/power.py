"""How many seeds, or test images, a question needs."""

import math
from functools import lru_cache

import pandas as pd
from scipy import optimize, special

from harness.analysis.cells import frame
from harness.analysis.estimate import FEWEST_SEEDS, LEVEL, MeanEstimate
from harness.analysis.evidence import evidence_of
from harness.analysis.wording import rounded_size
from harness.records.run_table import StudyRecords
from harness.spec.plural import counted

POWER = 0.8
"""Probability of showing a difference that is there, in every statement about needed seeds."""

MOST_SEEDS = 100
"""Beyond this many seeds, statements say `more than 100`."""
MOST_IMAGES = 1_000_000
"""The same for test images: where an estimate lies next to a bound, the formula asks for billions."""

_PILOT_COLUMNS = {
    "arm": "str",
    "baseline": "str",
    "train_size": "Int64",
    "n": "Int64",
    "sd": "float64",
    "difference": "float64",
    "seeds_needed": "Int64",
}


def seeds_needed(
    sd_of_paired_difference: float, difference: float, power: float = POWER, alpha: float = 1 - LEVEL
) -> int:
    """Fewest seeds with which a paired two-sided t test shows `difference` with the given power; at least 3.

    Standard deviation and difference in the same unit. Raises ValueError for a difference of zero, which no number of
    seeds shows, and for a standard deviation that is not finite or below zero.
    """
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"difference is {difference}; it must be finite and not zero.")
    if not (sd_of_paired_difference >= 0 and math.isfinite(sd_of_paired_difference)):
        raise ValueError(f"sd_of_paired_difference is {sd_of_paired_difference}; it must be finite and at least 0.")
    if sd_of_paired_difference == 0:
        return FEWEST_SEEDS
    effect = abs(difference) / sd_of_paired_difference
    z = float(-special.ndtri(alpha / 2) + special.ndtri(power))
    normal = (z / effect) ** 2  # a lower bound: the t test needs a few seeds more
    few, many = FEWEST_SEEDS, max(FEWEST_SEEDS, math.ceil(normal) + 10)
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if _power(effect, middle, alpha) >= power else (middle + 1, many)
    return few


@lru_cache(maxsize=256)
def detectable_effect(n: int) -> float:
    """The smallest true difference, in standard deviations, that n seeds show with power .8 at level .05."""
    return float(optimize.brentq(lambda effect: _power(effect, n, 1 - LEVEL) - POWER, 1e-3, 20.0))


def smallest_detectable(estimate: MeanEstimate) -> float:
    """The smallest true difference that this many seeds and images would have shown with power .8 at level .05."""
    if not estimate.judgeable:
        return math.nan
    return detectable_effect(estimate.n) * math.hypot(estimate.seed_error, estimate.image_error) * math.sqrt(estimate.n)


def what_settles(estimate: MeanEstimate, gap: float) -> str:
    """What it takes to tell the estimate from a bound that it lies `gap` away from, as a clause for a reason.

    The image part of the error does not fall with more seeds: where it alone hides the gap, test images are named.
    """
    if not estimate.judgeable:
        return f"settling it takes at least {FEWEST_SEEDS} seeds"
    z = float(-special.ndtri((1 - LEVEL) / 2) + special.ndtri(POWER))
    left = gap**2 - (z * estimate.image_error) ** 2
    if gap != 0 and left <= 0:
        images = min(estimate.images * (z * estimate.image_error / gap) ** 2, MOST_IMAGES)
        return f"settling it takes more than {rounded_size(images)} test images; more seeds alone are not enough"
    sd = estimate.seed_error * math.sqrt(estimate.n)
    # The normal bound, which the t test only raises, spares the search where it is beyond what is told.
    seeds = MOST_SEEDS + 1 if (z * sd) ** 2 >= MOST_SEEDS * left else seeds_needed(sd, math.sqrt(left))
    if seeds <= estimate.n:  # a gap this size shows more often than not; this time it did not
        seeds = estimate.n + 1
    told = f"more than {MOST_SEEDS} seeds" if seeds > MOST_SEEDS else f"about {counted(seeds, 'seed')}"
    return f"settling it takes {told}"


def pilot(records: StudyRecords, *, differences: tuple[float, ...] = (0.005, 0.01, 0.02)) -> pd.DataFrame:
    """Seeds needed to show differences of test accuracy (fractions), from the seeds that a study has so far.

    A row per arm, training size and difference: arm, baseline (the arm it is compared with), train_size, n (paired
    seeds), sd (of the paired difference, fraction), difference, seeds_needed (NA below two paired seeds). A standard
    deviation from few seeds is rough: from three it is easily off by a factor of two.
    """
    evidence = evidence_of(records)
    study = records.study
    rows = []
    for size in evidence.cells.sizes:
        for arm in study.arms:
            other = study.against(arm).name
            paired = evidence.difference(arm.name, other, size)
            for difference in differences:
                needed = seeds_needed(paired.sd, difference) if paired.n > 1 else pd.NA
                told = evidence.cells.train_size((arm.name, size))
                rows.append((arm.name, other, told, paired.n, paired.sd, difference, needed))
    return frame(rows, _PILOT_COLUMNS)


def _power(effect: float, n: int, alpha: float) -> float:
    """Power of the two-sided t test of n values whose mean is `effect` standard deviations from the null.

    From the non-central t distribution; Cohen, Statistical Power Analysis, 1988, section 2.
    """
    bound, centre = -special.stdtrit(n - 1, alpha / 2), effect * math.sqrt(n)
    power = 1 - float(special.nctdtr(n - 1, centre, bound)) + float(special.nctdtr(n - 1, centre, -bound))
    return 1.0 if math.isnan(power) else power  # the non-central t overflows where the power is 1

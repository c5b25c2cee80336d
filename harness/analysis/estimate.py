"""A mean over seeds and test images, with an interval that holds its level from three seeds on, and its power.

Model: the value of seed s on test image i is mean + seed effect + image effect + interaction, crossed. All seeds share
the test images, so the spread between seeds does not show the image effects. The variance of the mean has two parts:

- seeds: s^2 / n, with s^2 the variance of the n per-seed values (seed effects and interaction); the deviation follows
  s / sqrt(n) times Student's t with n - 1 degrees of freedom (a percentile bootstrap of few seeds covers too rarely);
- images: (MS_image - MS_interaction) / (n m), the image component of the two-way analysis of variance (Searle, Casella
  and McCulloch, Variance Components, 1992, chapter 4); the deviation is bootstrapped by drawing test images with
  replacement, scaled to that variance because the draws hold the interaction once more.

The mean's confidence distribution is the convolution of both (Behrens-Fisher; Weerahandi, JASA 88, 1993, p. 899): the
seed part exactly, the image part by resamples. It is exact when one part dominates and slightly conservative between.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from harness.spec import Estimate
from harness.spec.formats import counted

Floats = npt.NDArray[np.float64]

FEWEST_SEEDS = 3  # fewest seeds that an interval or a verdict may rest on

LEVEL = 0.95  # confidence level of every interval

POWER = 0.8  # probability of showing a difference that is there, in every statement about needed seeds

MOST_SEEDS, MOST_IMAGES = 100, 1_000_000
"""Statements say `more than` beyond these: next to a bound the formula asks for billions."""

_Z = float(-special.ndtri((1 - LEVEL) / 2) + special.ndtri(POWER))
"""A difference of so many standard errors is shown with this power, in the normal limit."""

_MOST_DISTINCT = 512
"""Above this many distinct per-image values (slopes over many sizes) the image part takes its normal limit."""


@dataclass(frozen=True, kw_only=True)
class MeanEstimate(Estimate):
    """A mean with its confidence distribution. Unit: that of the per-seed values.

    `value` is the mean over the seeds, NaN without any; the interval is NaN below three seeds.
    """

    seeds: tuple[int, ...] = ()  # seeds that it rests on
    sd: float = math.nan  # standard deviation of the per-seed values (n - 1); NaN below two seeds
    seed_error: float = math.nan  # standard error from the choice of seeds
    image_error: float = 0.0  # standard error from the choice of test images; 0 where no predictions tell
    images: int = 0  # test images; 0 where the estimate rests on seeds only
    deviations: Floats = field(default_factory=lambda: np.zeros(1), repr=False)
    """(resamples,) bootstrapped deviations of the mean due to test images; (1,) zero where it rests on seeds only."""

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def judgeable(self) -> bool:
        """Whether there are enough seeds for an interval."""
        return self.n >= FEWEST_SEEDS

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of zero, else 0."""
        return int(self.ci_low > 0) - int(self.ci_high < 0)

    def cdf(self, x: float) -> float:
        """Confidence that the true mean is at most x."""
        return self._student(x - self.value - self.deviations, self.seed_error)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p-value of `mean = null`; below .05 exactly where the interval excludes `null`."""
        below = self.cdf(null)
        return min(1.0, 2 * min(below, 1 - below)) if self.judgeable else math.nan

    def probability_positive(self) -> float:
        """Probability that the value of one fresh seed is above zero (a tie counts half).

        From the predictive distribution of one more seed: t with n - 1 degrees of freedom, scale s sqrt(1 + 1/n).
        """
        return self._student(self.value + self.deviations, self.seed_error * math.sqrt(self.n + 1))

    def smallest_detectable(self) -> float:
        """The smallest true difference that this many seeds and images would have shown with power .8 at level .05."""
        if not self.judgeable:
            return math.nan
        effect = float(optimize.brentq(lambda effect: _power(effect, self.n) - POWER, 1e-3, 20.0))
        return effect * math.hypot(self.seed_error, self.image_error) * math.sqrt(self.n)

    def _student(self, distances: Floats, scale: float) -> float:
        """Student's distribution function with n - 1 degrees of freedom, averaged over the image part."""
        if not self.judgeable:
            return math.nan
        with np.errstate(divide="ignore", over="ignore"):
            return float(special.stdtr(self.n - 1, distances / max(scale, 1e-300)).mean())

    def negated(self) -> "MeanEstimate":
        """The estimate of minus the mean."""
        return replace(self, value=-self.value, deviations=-self.deviations, ci_low=-self.ci_high, ci_high=-self.ci_low)


def _with_interval(found: MeanEstimate) -> MeanEstimate:
    return replace(found, ci_low=_quantile(found, (1 - LEVEL) / 2), ci_high=_quantile(found, (1 + LEVEL) / 2))


def _quantile(found: MeanEstimate, share: float) -> float:
    """Where the confidence distribution reaches `share`."""
    seed_part = found.value + found.seed_error * float(special.stdtrit(found.n - 1, share))
    low, high = (seed_part + float(end) for end in (found.deviations.min(), found.deviations.max()))
    if high - low < 1e-15 * max(1.0, abs(seed_part)):
        return seed_part
    if not found.cdf(low) < share < found.cdf(high):  # the bracket holds up to rounding
        return low if found.cdf(low) >= share else high
    return float(optimize.brentq(lambda x: found.cdf(x) - share, low, high, xtol=1e-9 * (high - low)))


def over_seeds(seeds: tuple[int, ...], values: Floats) -> MeanEstimate:
    """The mean of (n,) per-seed `values`, with Student's 95% interval over fresh seeds."""
    n = len(seeds)
    value = float(values.mean()) if n else math.nan
    sd = float(values.std(ddof=1)) if n > 1 else math.nan
    found = MeanEstimate(seeds=seeds, value=value, sd=sd)
    return _with_interval(replace(found, seed_error=sd / math.sqrt(n))) if found.judgeable else found


def estimate_mean(
    seeds: tuple[int, ...], values: Floats, images: Floats | None, rng: np.random.Generator, *, resamples: int = 2000
) -> MeanEstimate:
    """The mean of (n,) per-seed `values`, with a 95% interval over fresh seeds and test images.

    `images`: (n, m) the same value on each test image (rows average to `values`), or None where predictions are
    lacking; then the interval is Student's over seeds.
    """
    found = over_seeds(seeds, values)
    if images is None or not found.judgeable:
        return found
    image_error, noise = (math.sqrt(max(0.0, float(part.item()))) for part in image_components(images[:, :, None]))
    column = images.mean(axis=0)
    spread = float(column.std(ddof=1)) / math.sqrt(len(column))
    # Seeds cannot truly vary less than the interaction makes them: equal values of few seeds are luck.
    seed_error = max(found.seed_error, noise)
    deviations = resampled_means(column, rng, resamples) * (image_error / spread if spread else 0.0)
    found = replace(found, seed_error=seed_error, image_error=image_error, images=len(column), deviations=deviations)
    return _with_interval(found)


def image_components(values: Floats) -> tuple[Floats, Floats]:
    """(k, k) covariances of the means of (n, m, k) values due to images alone and to the interaction alone."""
    n, m, k = values.shape
    column = values.mean(axis=0)
    rest = (values - column - values.mean(axis=1, keepdims=True) + column.mean(axis=0)).reshape(-1, k)
    interaction = rest.T @ rest / ((n - 1) * (m - 1) * n * m)
    return np.cov(column, rowvar=False).reshape(k, k) / m - interaction, interaction


def resampled_means(column: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """(resamples,) means of m values drawn with replacement from the (m,) `column`, minus their average.

    Equal values are drawn together, by their counts: the same distribution at a small part of the cost.
    """
    m = len(column)
    distinct, counts = np.unique(column, return_counts=True)
    if len(distinct) > _MOST_DISTINCT:
        means = rng.normal(0.0, column.std() / math.sqrt(m), resamples)
    else:
        means = rng.multinomial(m, counts / m, size=resamples) @ distinct / m
    return np.asarray(means - means.mean(), dtype=np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (Scand. J. Statist. 6, 1979, p. 65); NaN stays NaN."""
    p = np.array(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(p))
    ascending = known[np.argsort(p[known])]
    p[ascending] = np.minimum(np.maximum.accumulate(p[ascending] * np.arange(len(known), 0, -1)), 1.0)
    return [float(value) for value in p]


def seeds_needed(sd: float, difference: float) -> int:
    """Fewest seeds with which a paired two-sided t test at level .05 shows `difference` with power .8; at least 3.

    `sd` is that of the paired difference, in the same unit.
    """
    in_errors = sd / abs(difference)
    seeds = max(FEWEST_SEEDS, math.ceil((_Z * in_errors) ** 2))  # a lower bound: the t test needs a few seeds more
    while in_errors and _power(1 / in_errors, seeds) < POWER:
        seeds += 1
    return seeds


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

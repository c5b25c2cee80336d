"""A mean over seeds and test images, with an interval that holds its level from three seeds on.

Model: the value of seed s on test image i is mean + seed effect + image effect + interaction, crossed. All seeds share
the test images, so averaging over seeds does not average out the image effects, and the spread between seeds does not
show them. The variance of the mean has two independent parts:

- seeds: s^2 / n, with s^2 the variance of the n per-seed values (it holds seed effects and interaction); the deviation
  follows s / sqrt(n) times Student's t with n - 1 degrees of freedom. A percentile bootstrap of three to five seeds
  would cover far too rarely;
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

Floats = npt.NDArray[np.float64]

FEWEST_SEEDS = 3
"""Fewest seeds that an interval or a verdict may rest on."""

LEVEL = 0.95
"""Confidence level of every interval."""

_MOST_DISTINCT = 512
"""Above this many distinct per-image values (slopes over many sizes) the image part takes its normal limit."""


@dataclass(frozen=True, kw_only=True)
class MeanEstimate(Estimate):
    """A mean with its confidence distribution. Unit: that of the per-seed values.

    `value` is the mean over the seeds, NaN without any; the interval is NaN below three seeds.
    """

    seeds: tuple[int, ...] = ()
    """Seeds that it rests on."""
    sd: float = math.nan
    """Standard deviation of the per-seed values (n - 1); NaN below two seeds."""
    seed_error: float = math.nan
    """Standard error from the choice of seeds."""
    image_error: float = 0.0
    """Standard error from the choice of test images; 0 where no predictions tell."""
    images: int = 0
    """Test images; 0 where the estimate rests on seeds only."""
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

    def _student(self, distances: Floats, scale: float) -> float:
        """Student's distribution function with n - 1 degrees of freedom, averaged over the image part."""
        if not self.judgeable:
            return math.nan
        with np.errstate(divide="ignore", over="ignore"):
            return float(special.stdtr(self.n - 1, distances / max(scale, 1e-300)).mean())

    def negated(self) -> "MeanEstimate":
        """The estimate of minus the mean."""
        return replace(self, value=-self.value, deviations=-self.deviations, ci_low=-self.ci_high, ci_high=-self.ci_low)


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
    image_error, noise = image_components(images)
    column = images.mean(axis=0)
    spread = float(column.std(ddof=1)) / math.sqrt(len(column))
    # Seeds cannot truly vary less than the interaction makes them: equal values of few seeds are luck.
    seed_error = max(found.seed_error, noise)
    deviations = resampled_means(column, rng, resamples) * (image_error / spread if spread else 0.0)
    found = replace(found, seed_error=seed_error, image_error=image_error, images=len(column), deviations=deviations)
    return _with_interval(found)


def image_components(images: Floats) -> tuple[float, float]:
    """Standard errors of the mean of (n, m) values due to images alone and to the interaction alone."""
    n, m = images.shape
    row, column = images.mean(axis=1), images.mean(axis=0)
    grand = column.mean()
    image_squares = n * float(((column - grand) ** 2).sum())
    seed_squares = m * float(((row - grand) ** 2).sum())
    rest = float(((images - grand) ** 2).sum()) - image_squares - seed_squares
    interaction = max(0.0, rest) / ((n - 1) * (m - 1))
    image = max(0.0, image_squares / (m - 1) - interaction)
    return math.sqrt(image / (n * m)), math.sqrt(interaction / (n * m))


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


def _with_interval(found: MeanEstimate) -> MeanEstimate:
    low, high = (_quantile(found, share) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return replace(found, ci_low=low, ci_high=high)


def _quantile(found: MeanEstimate, share: float) -> float:
    """Where the confidence distribution reaches `share`."""
    seed_part = found.value + found.seed_error * float(special.stdtrit(found.n - 1, share))
    low, high = seed_part + float(found.deviations.min()), seed_part + float(found.deviations.max())
    if high - low < 1e-15 * max(1.0, abs(seed_part)):
        return seed_part
    if found.cdf(low) >= share:  # the bracket holds up to rounding
        return low
    if found.cdf(high) <= share:
        return high
    return float(optimize.brentq(lambda x: found.cdf(x) - share, low, high, xtol=1e-9 * (high - low)))

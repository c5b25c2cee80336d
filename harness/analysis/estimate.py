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
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from harness.analysis.cells import Floats
from harness.spec import Estimate

FEWEST_SEEDS = 3
"""Fewest seeds that an interval or a verdict may rest on."""

LEVEL = 0.95
"""Confidence level of every interval."""

_MOST_DISTINCT = 512
"""Above this many distinct per-image values (slopes over many sizes) the image part takes its normal limit."""


_MOST_VALUES = 2**21
"""Values per seed and image that are held as float64 at a time."""

Numbers = Floats | npt.NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class MeanEstimate(Estimate):
    """A mean with its confidence distribution. Unit: that of the per-seed values.

    `value` is the mean over the seeds, NaN without any; the interval is NaN below three seeds.
    """

    seeds: tuple[int, ...]
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

    def cdf(self, x: float) -> float:
        """Confidence that the true mean is at most x."""
        with np.errstate(divide="ignore", over="ignore"):
            t = (x - self.value - self.deviations) / max(self.seed_error, 1e-300)
        return float(special.stdtr(self.n - 1, t).mean())

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p-value of `mean = null`; below .05 exactly where the interval excludes `null`."""
        if not self.judgeable:
            return math.nan
        below = self.cdf(null)
        return min(1.0, 2 * min(below, 1 - below))

    def probability_positive(self) -> float:
        """Probability that the value of one fresh seed is above zero (a tie counts half).

        From the predictive distribution of one more seed: t with n - 1 degrees of freedom, scale s sqrt(1 + 1/n).
        """
        if not self.judgeable:
            return math.nan
        scale = max(self.seed_error * math.sqrt(self.n + 1), 1e-300)
        with np.errstate(over="ignore"):
            t = (self.value + self.deviations) / scale
        return float(special.stdtr(self.n - 1, t).mean())

    def negated(self) -> "MeanEstimate":
        """The estimate of minus the mean."""
        return replace(self, value=-self.value, deviations=-self.deviations, ci_low=-self.ci_high, ci_high=-self.ci_low)


def estimate_mean(
    seeds: tuple[int, ...],
    values: Floats,
    images: Numbers | None,
    rng: np.random.Generator,
    *,
    resamples: int = 2000,
) -> MeanEstimate:
    """The mean of (n,) per-seed `values`, with a 95% interval over fresh seeds and test images.

    `images`: (n, m) the same value on each test image (rows average to `values`), or None where predictions are
    lacking; then the interval is Student's over seeds.
    """
    n = len(seeds)
    value = float(values.mean()) if n else math.nan
    sd = float(values.std(ddof=1)) if n > 1 else math.nan
    if n < FEWEST_SEEDS:
        return MeanEstimate(seeds=seeds, value=value, sd=sd)
    seed_error = sd / math.sqrt(n)
    if images is None:
        return _with_interval(MeanEstimate(seeds=seeds, value=value, sd=sd, seed_error=seed_error))
    image_error, noise = image_components(images)
    column = images.mean(axis=0)
    spread = float(column.std(ddof=1)) / math.sqrt(len(column))
    deviations = resampled_means(column, rng, resamples) * (image_error / spread if spread else 0.0)
    return _with_interval(
        MeanEstimate(
            seeds=seeds,
            value=value,
            sd=sd,
            # Seeds cannot truly vary less than the interaction makes them: equal values of few seeds are luck.
            seed_error=max(seed_error, noise),
            image_error=image_error,
            images=len(column),
            deviations=deviations,
        )
    )


def in_blocks(images: Numbers) -> Iterator[Numbers]:
    """The (n, m, ...) values, some seeds at a time: all of them as float64 could fill the memory."""
    seeds = max(1, _MOST_VALUES * len(images) // max(1, images.size))
    return (images[at : at + seeds] for at in range(0, len(images), seeds))


def image_components(images: Numbers) -> tuple[float, float]:
    """Standard errors of the mean of (n, m) values due to images alone and to the interaction alone."""
    n, m = images.shape
    row = images.mean(axis=1)
    column = images.mean(axis=0)
    grand = column.mean()
    image_squares = n * float(((column - grand) ** 2).sum())
    seed_squares = m * float(((row - grand) ** 2).sum())
    squares = sum(float(((block - grand) ** 2).sum()) for block in in_blocks(images))
    rest = squares - image_squares - seed_squares
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


def _with_interval(estimate: MeanEstimate) -> MeanEstimate:
    tail = (1 - LEVEL) / 2
    low, high = (_quantile(estimate, share) for share in (tail, 1 - tail))
    return replace(estimate, ci_low=low, ci_high=high)


def _quantile(estimate: MeanEstimate, share: float) -> float:
    """Where the confidence distribution reaches `share`."""
    seed_part = estimate.value + estimate.seed_error * float(special.stdtrit(estimate.n - 1, share))
    low, high = seed_part + float(estimate.deviations.min()), seed_part + float(estimate.deviations.max())
    if high - low < 1e-15 * max(1.0, abs(seed_part)):
        return seed_part
    if estimate.cdf(low) >= share:  # the bracket holds up to rounding
        return low
    if estimate.cdf(high) <= share:
        return high
    return float(optimize.brentq(lambda x: estimate.cdf(x) - share, low, high, xtol=1e-9 * (high - low)))

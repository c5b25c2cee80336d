"""A mean over searches, seeds and test images, its power, and an interval that holds its level from three seeds on.

Model: the value of a run is the mean, plus an effect of its search (the setting that its trials happened to find), one
of its seed, one of each test image. What varies independently are the *replicates*: the searches, each with the mean
of its seeds, or the single seeds where a cell was searched once. The variance of the mean has two parts:

- replicates: s^2 / k, with s^2 the variance of the k replicates. That of a few paired differences is known badly; where
  the cells of a study tell it, it is the sum of the variances of the cells compared, each taken from its own replicates
  without what these do to all cells alike (`own_variances`);
- images: where all runs share the test images, the spread between runs does not show the choice of images: it is
  (MS_image - MS_interaction) / (n m), the image component of the two-way analysis of variance (Searle, Casella and
  McCulloch, Variance Components, 1992, chapter 4). Where each seed draws its own, the share of images that two draws
  have in common takes its place (as in Nadeau and Bengio, Mach. Learn. 52, 2003, p. 239).

Half a pseudo-image answered better and half a one answered worse keep small test sets from certainty (Agresti and Min,
Stat. Med. 24, 2005, p. 729). Both parts together have Satterthwaite's degrees of freedom, for variances that few
replicates tell (`satterthwaite`). Nothing is drawn at random.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from harness.spec import Estimate
from harness.spec.formats import counted

Floats = npt.NDArray[np.float64]

FEWEST_SEEDS = 3  # fewest seeds that an interval or a verdict may rest on

FEWEST_IMAGES, FEWEST_DISCORDANT = 100, 10
"""Test images, and those of them that runs must answer differently, before a verdict may rest on them."""

LEVEL = 0.95  # confidence level of every interval where results were looked at once

POWER = 0.8  # probability of showing a difference that is there, in every statement about needed seeds

MOST_SEEDS, MOST_IMAGES = 100, 1_000_000
"""Statements say `more than` beyond these: next to a bound the formula asks for billions."""


COMPARABLE = 3.0  # how many times as much as those of a contrast another cell may vary that tells of it

_NEXT_ALPHA = 0.017  # about the level that a second look with half as many seeds again is judged at


class Variance(NamedTuple):
    """A variance with the degrees of freedom that it was estimated with."""

    value: float
    df: float


@dataclass(frozen=True, kw_only=True)
class MeanEstimate(Estimate):
    """A mean with its interval. Unit: that of the per-seed values.

    `value` is the mean over the replicates, NaN without any; the interval is NaN where nothing tells how they vary.
    """

    seeds: tuple[int, ...] = ()  # seeds that it rests on
    searches: int = 0  # independent searches that it rests on; 0 where every cell was searched once
    sd: float = math.nan  # standard deviation of the per-seed values (n - 1); NaN below two seeds
    seed_error: float = math.nan  # standard error from the choice of searches and seeds
    seed_df: float = math.nan  # degrees of freedom of `seed_error`
    image_error: float = 0.0  # standard error from the choice of test images; 0 where no predictions tell
    df: float = math.nan  # Satterthwaite's degrees of freedom of both parts together
    spread: float = math.nan  # standard deviation of the value of one fresh search and seed
    images: int = 0  # test images of a run; 0 where the estimate rests on seeds only
    discordant: int = 0  # of these, those on which it differs from zero in any seed
    level: float = LEVEL  # confidence level of the interval

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return math.hypot(self.seed_error, self.image_error)

    @property
    def judgeable(self) -> bool:
        """Whether there are enough seeds for an interval, and something tells how they vary."""
        return self.n >= FEWEST_SEEDS and self.error > 0 and self.df > 0

    @property
    def thin(self) -> str:
        """Why no verdict may rest on it although there are seeds enough, as a clause; empty where one may."""
        if self.n >= FEWEST_SEEDS and not self.judgeable:
            return "all gave the same, which does not tell how it varies"
        if 0 < self.images < FEWEST_IMAGES:
            return f"{counted(self.images, 'test image')}, and a verdict needs {FEWEST_IMAGES}"
        if self.images and self.discordant < FEWEST_DISCORDANT:
            told = f"the runs differ on {self.discordant} of {counted(self.images, 'test image')}"
            return f"{told}, and a verdict needs {FEWEST_DISCORDANT} such"
        return ""

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of zero and the test set carries that, else 0."""
        return 0 if self.thin else int(self.ci_low > 0) - int(self.ci_high < 0)

    def cdf(self, x: float) -> float:
        """Confidence that the true mean is at most x."""
        return float(special.stdtr(self.df, (x - self.value) / self.error)) if self.judgeable else math.nan

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p-value of `mean = null`, raised by what earlier looks have spent of its error.

        Below .05 exactly where the interval excludes `null`.
        """
        below = self.cdf(null)
        return min(1.0, 2 * min(below, 1 - below) * (1 - LEVEL) / (1 - self.level)) if self.judgeable else math.nan

    def probability_positive(self) -> float:
        """Probability that the value of one fresh search and seed is above zero (a tie counts half)."""
        fresh = math.hypot(self.spread, self.error)
        return float(special.stdtr(self.df, self.value / fresh)) if self.judgeable else math.nan

    def smallest_detectable(self) -> float:
        """The smallest true difference that such an estimate would have shown with power .8."""
        if not self.judgeable:
            return math.nan
        alpha = 1 - self.level
        return self.error * float(optimize.brentq(lambda gap: _power(gap, self.df, alpha) - POWER, 1e-3, 1e3))

    def negated(self) -> "MeanEstimate":
        """The estimate of minus the mean."""
        return replace(self, value=-self.value, ci_low=-self.ci_high, ci_high=-self.ci_low)


def estimate_mean(
    seeds: tuple[int, ...],
    values: Floats,
    images: Floats | None = None,
    *,
    replicates: Sequence[int] | None = None,
    variance: Variance | None = None,
    overlap: float = 1.0,
    image_variance: float = 0.0,
    level: float = LEVEL,
) -> MeanEstimate:
    """The mean of (n,) per-seed `values`, with an interval over fresh searches, seeds and test images.

    `images`: (n, m) the same value on each test image (rows average to `values`), or None where predictions are
    lacking; the interval is then over searches and seeds alone. `overlap`: the share of their test images that two
    seeds have in common, 1 where all have the same.
    `replicates`: the one that each seed belongs to, its search or itself. `variance`: that of a replicate, where more
    than these values tells it. `image_variance`: that of the mean due to images, where it is known without `images`.
    """
    n = len(seeds)
    replicates = range(n) if replicates is None else replicates
    names = list(dict.fromkeys(replicates))
    of_seed = np.array([names.index(name) for name in replicates], dtype=np.int64)
    means = np.bincount(of_seed, values) / np.bincount(of_seed) if n else np.array([])
    found = MeanEstimate(
        seeds=seeds,
        searches=len(names) if len(names) < n else 0,
        value=float(means.mean()) if n else math.nan,
        sd=float(values.std(ddof=1)) if n > 1 else math.nan,
        level=level,
    )
    if n < FEWEST_SEEDS or len(means) < 2:
        return found
    by_image, noise = (image_variance, 0.0) if images is None else _image_parts(images, overlap)
    between, df = variance or Variance(float(means.var(ddof=1)), len(means) - 1.0)
    between = max(between, noise * len(means))  # they cannot truly vary less than the interaction makes them
    within = values - means[of_seed]
    inner = float((within**2).sum()) / max(1, n - len(means))
    error2 = between / len(means)
    found = replace(
        found,
        seed_error=math.sqrt(error2),
        seed_df=df,
        image_error=math.sqrt(by_image),
        df=satterthwaite(error2, df, by_image, math.inf if images is None else images.shape[1] - 1.0),
        spread=math.sqrt(between + inner * (1 - len(means) / n)),
        images=0 if images is None else images.shape[1],
        discordant=0 if images is None else int((images != 0).any(axis=0).sum()),
    )
    return with_interval(found)


def with_interval(found: MeanEstimate) -> MeanEstimate:
    """The estimate with Student's interval at its level, where its errors tell one."""
    if not found.judgeable:
        return found
    half = float(special.stdtrit(found.df, (1 + found.level) / 2)) * found.error
    return replace(found, ci_low=found.value - half, ci_high=found.value + half)


def added(parts: Sequence[MeanEstimate], *, independent: bool) -> MeanEstimate:
    """The sum of estimates from different numbers of seeds, which share some, and their test images.

    `independent`: whether what a seed does to all alike is in none of them. Else the seeds' errors are taken to move
    together, as those of images always are, which is the most that they can.
    """
    first = min(parts, key=lambda part: part.n)
    found = replace(
        first, value=math.fsum(part.value for part in parts), ci_low=math.nan, ci_high=math.nan, sd=math.nan
    )
    if not all(part.judgeable for part in parts):
        return replace(found, seed_error=math.nan, df=math.nan)
    squares = [part.seed_error**2 for part in parts]
    freedom = sum(part**2 / each.seed_df for part, each in zip(squares, parts, strict=True))
    seed_df = sum(squares) ** 2 / freedom if independent and freedom else min(part.seed_df for part in parts)
    seed_error = math.sqrt(sum(squares)) if independent else sum(part.seed_error for part in parts)
    image_error = sum(part.image_error for part in parts)
    image_df = min(part.images for part in parts) - 1.0 if found.images else math.inf
    return with_interval(
        replace(
            found,
            seed_error=seed_error,
            seed_df=seed_df,
            image_error=image_error,
            df=satterthwaite(seed_error**2, seed_df, image_error**2, image_df),
            spread=math.sqrt(sum(part.spread**2 for part in parts)),
            discordant=max(part.discordant for part in parts),
        )
    )


def satterthwaite(first: float, first_df: float, second: float, second_df: float) -> float:
    """Degrees of freedom of the sum of two variances.

    For them each counts 1 + 2 / df times: one of few degrees of freedom is most often found too small, and would then
    seem not to matter. In simulations of 2 to 6 of them beside one that is known, at any ratio of the two, intervals
    at level .95 so cover .939 to .955; without it, .924 to .951.
    """
    first, second = first * (1 + 2 / first_df), second * (1 + 2 / second_df)
    total = first + second
    return total**2 / (first**2 / first_df + second**2 / second_df) if total else first_df


def _image_parts(images: Floats, overlap: float) -> tuple[float, float]:
    """Variances of the mean of (n, m) values due to the choice of images, and to the interaction with them."""
    m = images.shape[1]
    pseudo = ((float(np.abs(images).max()) or 1.0) / m) ** 2
    if overlap < 1:
        return overlap * (float(images.var(axis=1, ddof=1).mean()) / m + pseudo), 0.0
    shared, noise = (max(0.0, float(part.item())) for part in image_components(images[:, :, None]))
    return shared + pseudo, noise


def image_components(values: Floats) -> tuple[Floats, Floats]:
    """(k, k) covariances of the means of (n, m, k) values due to images alone and to the interaction alone."""
    n, m, k = values.shape
    column = values.mean(axis=0)
    rest = (values - column - values.mean(axis=1, keepdims=True) + column.mean(axis=0)).reshape(-1, k)
    # Not by BLAS: its threads wait for each other where a training has the cores, a hundred times as long as it takes.
    interaction = np.einsum("ij,ik->jk", rest, rest) / ((n - 1) * (m - 1) * n * m)
    return np.cov(column, rowvar=False).reshape(k, k) / m - interaction, interaction


def own_variances(own: Floats, others: Floats) -> tuple[Floats, int]:
    """(cells,) variances of a replicate of the `own` (cells, replicates) means, and of how many cells these are told.

    For contrasts of `own` in which what a replicate does to all cells alike cancels. It is told by `own` and by those
    of the `others` that vary at most COMPARABLE times as much: one that varies far more would hide it. In simulations
    of 3 to 10 cells and 3 or 5 replicates, alike or with one or two cells that vary a third, twice, four or eight times
    as much, intervals at level .95 of the difference of two cover .938 to .990, and are up to a quarter narrower than
    those of the paired differences; of all cells, one that varies eight times as much makes those of the others twice
    as wide. That replicates share their part with all cells alike is an assumption: where half of what they do is to
    cells of one family of models alone, intervals of a difference between families cover .938.
    """
    alike = others.var(axis=1, ddof=1) <= COMPARABLE * own.var(axis=1, ddof=1).max()
    cells = np.concatenate([own, others[alike]])
    return cell_variances(cells)[: len(own)], len(cells)


def cell_variances(means: Floats) -> Floats:
    """(cells,) variances of a replicate from (cells, replicates) means, without what replicates do to all cells alike.

    Unbiased (Grubbs, J. Am. Stat. Assoc. 43, 1948, p. 243) but for cells that vary less than others, for which what is
    left after the common part is the least that is taken. Drawn towards each other (empirical Bayes) variances give
    narrower intervals, which fall short of their level where the searches of some cells vary more than others'.
    """
    cells, k = means.shape
    rest = means - means.mean(axis=1, keepdims=True)
    left = np.asarray(((rest - rest.mean(axis=0)) ** 2).sum(axis=1) / (k - 1))
    if cells == 2:
        return 2 * left  # which of the two varies more cannot be told, and need not
    total = left.sum() * cells / (cells - 1)
    return np.asarray(np.maximum(left, (left - total / cells**2) / (1 - 2 / cells)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (Scand. J. Statist. 6, 1979, p. 65); NaN stays NaN."""
    p = np.array(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]  # statsmodels' own collects the garbage of the whole process, each time
    p[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in p]


def seeds_needed(sd: float, difference: float, alpha: float = 1 - LEVEL) -> int:
    """Fewest replicates with which a paired two-sided t test shows `difference` with power .8; at least 3.

    `sd` is that of the paired difference, in the same unit.
    """
    from statsmodels.stats.power import TTestPower

    if abs(difference) >= 10 * sd:
        return FEWEST_SEEDS
    found = TTestPower().solve_power(effect_size=abs(difference) / sd, alpha=alpha, power=POWER)
    return max(FEWEST_SEEDS, math.ceil(float(np.asarray(found).item())))


def what_settles(estimate: MeanEstimate, gap: float) -> str:
    """What it takes to tell the estimate from a bound that it lies `gap` away from, as a clause for a reason.

    Nothing is promised within a standard error of the bound, where there may be no difference from it at all. The image
    part of the error does not fall with more seeds: where it alone hides the gap, test images are named.
    """
    if not abs(gap) > estimate.error:  # neither is known, or both are 0: no less
        return "it lies within a standard error of the bound, and no number of seeds is known to settle that"
    z = float(-special.ndtri(_NEXT_ALPHA / 2) + special.ndtri(POWER))
    left = gap**2 - (z * estimate.image_error) ** 2
    if left <= 0 and not estimate.images:  # of moved images the answers to each are not kept
        return "settling it takes more test images; more seeds alone are not enough"
    if left <= 0:
        images = min(estimate.images * (z * estimate.image_error / gap) ** 2, MOST_IMAGES)
        digits = max(0, math.floor(math.log10(images)) - 1)  # all but the first two
        return f"settling it takes more than {round(images, -digits):,.0f} test images; more seeds alone are not enough"
    k = estimate.searches or estimate.n
    sd = estimate.seed_error * math.sqrt(k)
    # The normal bound, which the t test only raises, spares the search where it is beyond what is told.
    needed = MOST_SEEDS + 1 if (z * sd) ** 2 >= MOST_SEEDS * left else seeds_needed(sd, math.sqrt(left), _NEXT_ALPHA)
    needed = max(needed, k + 1)  # a gap this size shows more often than not; this time it did not
    noun = "search" if estimate.searches else "seed"
    number = f"more than {counted(MOST_SEEDS, noun)}" if needed > MOST_SEEDS else f"about {counted(needed, noun)}"
    return f"settling it takes {number}, if the difference is what it seems"


def _power(gap: float, df: float, alpha: float) -> float:
    """Power of the two-sided t test at a true difference of `gap` standard errors."""
    from statsmodels.stats.power import TTestPower

    power = float(TTestPower().power(gap, 1, alpha, df=df))
    return 1.0 if math.isnan(power) else power  # the non-central t overflows where the power is 1

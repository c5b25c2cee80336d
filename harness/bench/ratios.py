"""From times of rounds to medians, and to ratios with their intervals."""

from collections.abc import Sequence

import numpy as np

from harness.bench.rows import Ratio

RESAMPLES = 2000
LEVEL = 0.95


def ratio(
    own: Sequence[float],
    other: Sequence[float],
    *,
    to: str,
    precision: str | None = None,
    generator: np.random.Generator,
) -> Ratio:
    """How many times as fast one contender is as another, by the seconds that both took in the same rounds.

    The median over the rounds of other / own, with a percentile bootstrap interval over the rounds. Of one round there
    is no interval: both ends are the ratio itself.
    """
    assert len(own) == len(other) > 0, (len(own), len(other))
    ratios = np.asarray(other, dtype=np.float64) / np.asarray(own, dtype=np.float64)
    picked = generator.integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[picked], axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(to=to, precision=precision, median=float(np.median(ratios)), low=float(low), high=float(high))

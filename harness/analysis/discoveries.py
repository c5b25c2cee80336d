"""Many verdicts at once: which stand when each of them had its own chance to be wrong."""

from collections.abc import Sequence

import numpy as np

FALSE_DISCOVERIES = 0.05  # share of wrong verdicts that is expected, at most, among those that stand


def adjusted(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Benjamini and Yekutieli's procedure (Ann. Statist. 29, 2001, p. 1165); NaN stays NaN.

    A verdict stands where its own is FALSE_DISCOVERIES or less, however the tests depend on each other.
    """
    p = np.array(p_values, dtype=np.float64)
    order = np.argsort(-p)  # NaN is sorted last
    order = order[: np.isfinite(p).sum()]
    ranks = np.arange(len(order), 0, -1)
    p[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * len(order) * (1 / ranks).sum() / ranks))
    return [float(value) for value in p]

"""Many verdicts at once: which stand when each of them had its own chance to be wrong."""

from collections.abc import Sequence

import numpy as np

FALSE_DISCOVERIES = 0.05  # share of wrong verdicts that is expected, at most, among those that stand


def adjusted(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Benjamini and Yekutieli's procedure (Ann. Statist. 29, 2001, p. 1165); NaN stays NaN.

    A verdict stands where its own is FALSE_DISCOVERIES or less, however the tests depend on each other.
    """
    from statsmodels.stats.multitest import multipletests

    p = np.array(p_values, dtype=np.float64)
    known = np.isfinite(p)
    if known.any():
        p[known] = multipletests(p[known], alpha=FALSE_DISCOVERIES, method="fdr_by")[1]
    return [float(value) for value in p]

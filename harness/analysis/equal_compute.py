"""Two arms at equal compute, read off the learning curves of their runs."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from harness.analysis.estimate import Floats

Curve = tuple[Floats, Floats]  # (evaluations,) compute spent, ascending, and validation accuracy there


def difference_at_equal_compute(pairs: Iterable[Sequence[Curve]]) -> float:
    """The mean difference, first less second, where both runs of a pair have spent what the cheaper spends in all.

    Straight between evaluations. NaN where both spend the same, or a curve begins later.
    """
    found = []
    for pair in pairs:
        if not all(len(compute) for compute, _ in pair):
            return math.nan
        spent, begun = min(compute[-1] for compute, _ in pair), max(compute[0] for compute, _ in pair)
        if pair[0][0][-1] == pair[1][0][-1] or not begun <= spent:
            return math.nan
        found.append(float(np.subtract(*(np.interp(spent, *curve) for curve in pair))))
    return float(np.mean(found)) if found else math.nan

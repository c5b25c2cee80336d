"""Scaling laws: how an arm's error falls with the training size."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import optimize

from harness.analysis.estimate import Floats
from harness.analysis.evidence import Evidence
from harness.analysis.findings import LAW_COLUMNS, frame


def laws_table(evidence: Evidence) -> pd.DataFrame:
    """LAW_COLUMNS, a row per arm of a study of several training sizes: the law of its mean error over these."""
    study, rows = evidence.study, []
    for arm in study.all_arms if study.train_sizes else ():
        errors = [(size, 1 - evidence.mean((arm.name, size), "test_accuracy")) for size in study.train_sizes]
        points = np.array(errors, dtype=np.float64)
        rows.append((arm.name, *fit_law(points[np.isfinite(points[:, 1])])))
    return frame(rows, LAW_COLUMNS)


def law_error(n: Floats, a: float, b: float, c: float, d: float = 0.0) -> Floats:
    """The law's error, a fraction, at numbers of training images `n`: what is fitted, and what figures draw."""
    return np.asarray(a * (n + d) ** -b + c)


def law_formula(shifts: Iterable[float]) -> str:
    """The law as a reader sees it, with the shift where one of the fitted laws has it."""
    return f"error = a · {'(n + d)' if any(shifts) else 'n'}^−b + c"


def fit_law(points: Floats) -> tuple[float, float, float, float, float]:
    """a, b, c, d and r2 of error = a (n + d)^-b + c through (k, 2) points (n, error); NaN below three points.

    d is 0 for five points or fewer.
    """
    if len(points) < 3:
        return (math.nan,) * 5
    n, error = points.T
    scale = float(n[0])  # n in units of the smallest size, for a well-conditioned fit
    parameters = 4 if len(points) > 5 else 3  # few points do not tell the shift d from b
    start = [max(error[0] - error[-1], 1e-3), 0.5, max(0.5 * error.min(), 1e-6), 0.1][:parameters]
    bounds = (0.0, [np.inf, 5.0, 1.0, 10.0][:parameters])

    def misfit(law: Floats) -> Floats:
        return np.asarray(law_error(n / scale, *law) - error, dtype=np.float64)

    fit = optimize.least_squares(misfit, start, bounds=bounds, max_nfev=2000)
    if not fit.success:  # no convergence: no law, rather than a bad one
        return (math.nan,) * 5
    a, b, c, d = (*map(float, fit.x), 0.0)[:4]
    spread = float(((error - error.mean()) ** 2).sum())
    return a * scale**b, b, c, d * scale, 1 - 2 * float(fit.cost) / spread if spread else math.nan

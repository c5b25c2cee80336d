"""Every arm against the one it is compared with, paired by seed and test image, at each training size."""

import math

import numpy as np
import pandas as pd

from harness.analysis.cells import frame
from harness.analysis.evidence import Evidence
from harness.analysis.findings import COMPARISON_COLUMNS
from harness.analysis.power import smallest_detectable


def comparisons_table(evidence: Evidence) -> pd.DataFrame:
    """COMPARISON_COLUMNS; see `harness.analysis.estimate` for the interval and `Findings.comparisons` for the columns.

    Holm's correction runs over the arms of one training size: each size is a question of its own.
    """
    cells = evidence.cells
    against = {arm.name: cells.study.against(arm).name for arm in cells.study.arms}
    rows = []
    for size in cells.sizes:
        found = [(arm, evidence.difference(arm, other, size)) for arm, other in against.items()]
        p_values = [paired.p_value() for _, paired in found]
        for (arm, paired), p_value, p_holm in zip(found, p_values, holm(p_values), strict=True):
            accuracies = cells.values((arm, size), "test_accuracy", paired.seeds)
            rows.append(
                {
                    "arm": arm,
                    "baseline": against[arm],
                    "train_size": cells.train_size((arm, size)),
                    "n": paired.n,
                    "mean": float(accuracies.mean()) if paired.n else math.nan,
                    "sd": float(accuracies.std(ddof=1)) if paired.n > 1 else math.nan,
                    "difference": paired.value,
                    "ci_low": paired.ci_low,
                    "ci_high": paired.ci_high,
                    "p_value": p_value,
                    "p_holm": p_holm,
                    "probability_better": paired.probability_positive(),
                    "smallest_detectable": smallest_detectable(paired),
                }
            )
    return frame(rows, COMPARISON_COLUMNS)


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (Scand. J. Statist. 6, 1979, p. 65); NaN stays NaN."""
    p = np.array(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(p))
    ascending = known[np.argsort(p[known])]
    steps = p[ascending] * np.arange(len(known), 0, -1)
    adjusted = np.full(len(p), math.nan)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]

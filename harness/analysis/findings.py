"""What the analysis of a study computes: the numbers behind every table, figure and verdict of a report."""

from dataclasses import dataclass, field
from typing import get_args

import pandas as pd

from harness.spec.verdict import Verdict

COMPARISON_COLUMNS: dict[str, str] = {
    "arm": "str",
    "baseline": "str",
    "train_size": "Int64",
    "n": "Int64",
    "mean": "float64",
    "sd": "float64",
    "difference": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "p_value": "float64",
    "p_holm": "float64",
    "probability_better": "float64",
    "smallest_detectable": "float64",
}
"""comparisons.csv: test accuracy of each arm against the one it is compared with (difference = arm - baseline), per
training size. `baseline` names that arm: the study's baseline unless `Arm.against` says otherwise.

`n` counts the seeds that completed in both; `mean` and `sd` are the arm's accuracy over them. The interval of the
paired difference is over fresh seeds and test images (`harness.analysis.estimate`), `p_holm` corrects over the arms of
one training size, `probability_better` is that of one fresh seed's run beating the other's (a tie counts half), and
`smallest_detectable` the true difference that these seeds and images would have shown with power .8 at level .05."""

CLAIM_COLUMNS: dict[str, str] = {
    "claim": "str",
    "statement": "str",
    "source": "str",
    "verdict": "str",
    "estimate": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "reason": "str",
}
"""claims.csv: `claim` is a short name (kind and number), `reason` a sentence with the numbers that decide.

`estimate` and its interval: Better and GainsMore, the difference signed so that positive speaks for the claim;
Equivalent, arm minus other; Monotone, the weakest step, positive in the claim's direction; GapShrinks, the slope of
the lead, per 10x training images or over the range of shared levels; Crosses, the point of the crossing, in training
images or levels; CostGrows, the smallest ratio of a step in the claim's direction; of a study file's own kind, what its
`judge` gave."""

CROSSOVER_COLUMNS: dict[str, str] = {
    "arm": "str",
    "baseline": "str",
    "along": "str",
    "train_size": "Int64",
    "median": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "share": "float64",
    "smallest": "float64",
    "largest": "float64",
    "statement": "str",
}
"""Columns of `Findings.crossovers`: where the difference arm - baseline changes sign.

Along `train_size` (`train_size` then NA): an arm and the one that it is compared with, in training images. Along the
study's factor: two series and the training size at which their levels are compared, in levels. `median` with its
interval is NaN where no change is shown within the measured range, a bound of the interval also where it lies beyond
that range; `share` of the resamples change sign; `smallest` and `largest` are the measured ends."""

SLOPE_COLUMNS: dict[str, str] = {
    "arm": "str",
    "baseline": "str",
    "along": "str",
    "train_size": "Int64",
    "slope": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
}
"""Columns of `Findings.slopes`: how the difference arm - baseline changes, by its least-squares line; rows as in
`crossovers`. Along `train_size` per 10x training images; along the factor from the lowest to the highest level that
both series share."""

FRONTIER_COLUMNS: dict[str, str] = {
    "arm": "str",
    "baseline": "str",
    "level": "float64",
    "train_size": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "share": "float64",
    "statement": "str",
}
"""Columns of `Findings.frontier`: for two series and each level that both share, the `train_size` (training images, a
median with its interval) at which the difference arm - baseline changes sign; NaN as in `crossovers`."""

SHIFT_COLUMNS: dict[str, str] = {
    "arm": "str",
    "train_size": "Int64",
    "shift": "Int64",
    "metric": "str",
    "n": "Int64",
    "mean": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
}
"""Columns of `Findings.shifts`: `test_accuracy` on images moved by `shift` pixels, and `agreement`, the share of images
whose prediction is that for the image as it is; mean over the n seeds with its interval (Student's t)."""

VERDICTS = get_args(Verdict)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Results of `analyse`. Accuracies are fractions; intervals are 95 %; NaN where too few seeds allow none."""

    arms: pd.DataFrame
    """ARM_COLUMNS of `harness.analysis.summary`, a row per (arm, train_size), baseline first: n counts the completed
    runs, the interval is over seeds alone (Student's t), `caution` says why the arm seems not to have learned."""
    comparisons: pd.DataFrame
    """COMPARISON_COLUMNS."""
    claims: pd.DataFrame
    """CLAIM_COLUMNS."""
    crossovers: pd.DataFrame
    """CROSSOVER_COLUMNS. In studies of several training sizes a row per arm along `train_size`; for every two series
    whose arms are compared with each other at two levels or more, a row per training size along the factor."""
    laws: pd.DataFrame
    """Two-factor studies, a row per arm: arm, a, b, c, d of error = a * (n + d)**-b + c, and r2. d = 0 for five
    sizes or fewer; NaN below three."""
    slopes: pd.DataFrame
    """SLOPE_COLUMNS, with the rows of `crossovers`."""
    budget: pd.DataFrame
    """Tuning budget curve: arm, train_size, trials (k), expected_best (validation accuracy of the best of k)."""
    audit: pd.DataFrame
    """Tuning per (arm, train_size): arm, train_size, trials, completed, images (training images seen by all trials),
    best_validation_accuracy, at_edge, and per nuisance parameter `p.<name>` (chosen) and `edge.<name>` (distance of the
    chosen value to the nearer edge of its range, as a share of the range's width on its own scale)."""
    gaps: tuple[str, ...] = ()
    """One sentence for every cell with missing, diverged or failed runs."""
    warnings: tuple[str, ...] = ()
    """What changes the reading of the results: edge of range, few seeds, no search, unequal budgets, and results of
    several versions of the training code, devices or precisions."""
    answer: str = ""
    """The study's question answered in one computed sentence."""
    frontier: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(FRONTIER_COLUMNS)))
    """FRONTIER_COLUMNS, where a study has several training sizes and series that are compared with each other: the line
    in the plane of levels and training sizes on which the two are level; no rows otherwise."""
    shifts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SHIFT_COLUMNS)))
    """SHIFT_COLUMNS, where a study also tests on moved images; no rows otherwise."""
    main_factor_sizes: tuple[int, ...] = field(default=())
    """The training sizes of a two-factor study, ascending; empty otherwise."""

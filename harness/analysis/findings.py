"""What the analysis of a study computes: the numbers behind every table, figure and verdict of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.spec import Estimate

_NAMES = ("arm", "baseline", "along", "metric", "claim", "kind", "source", "verdict")
_TEXTS = (*_NAMES, "statement", "reason", "caution", "scales")
_ENDS = ("diverged", "out_of_memory", "failed", "missing")
_WHOLE = ("train_size", "n", "planned", "trials", "shift", "lost_runs", *_ENDS)
_MAYBE = ("limited_by_updates", "baseline_limited_by_updates")
_TYPES = dict.fromkeys(_TEXTS, "str") | dict.fromkeys(_WHOLE, "Int64") | dict.fromkeys(_MAYBE, "boolean")


def columns(names: str, **types: str) -> dict[str, str]:
    """Columns in order, with their types: float64 unless a table or its `types` says otherwise."""
    return {name: (_TYPES | types).get(name, "float64") for name in names.split()}


def frame(rows: Sequence[Any], types: Mapping[str, str]) -> pd.DataFrame:
    """A frame with exactly these columns, in order and with their types."""
    return pd.DataFrame(rows, columns=list(types)).astype(types)


ARM_COLUMNS = columns(
    "arm is_baseline level train_size planned n mean sd ci_low ci_high validation_accuracy params macs_per_image "
    "train_images_per_second eval_images_per_second peak_memory_bytes train_seconds "
    "diverged out_of_memory failed missing caution passes train_loss validation_loss limited_by_updates",
    is_baseline="bool",
    level="object",
)
"""A row per (arm, train_size), baseline first: `n` counts the completed runs, the interval of the mean test accuracy is
over fresh searches, seeds and test images, times and throughputs are medians, `caution` says why the arm seems not to
have learned. The last columns are those of `harness.analysis.limits`: `passes` over the training images, the losses at
the end, and whether more updates would serve the arm rather than more images."""

COMPARISON_COLUMNS = columns(
    "arm baseline train_size n mean sd difference ci_low ci_high p_value p_holm probability_better smallest_detectable "
    "difference_at_equal_compute passes train_loss validation_loss limited_by_updates baseline_limited_by_updates"
)
"""comparisons.csv: test accuracy of each arm against the one it is compared with (difference = arm - baseline), per
training size. `baseline` names that arm: the study's baseline unless `Arm.against` says otherwise.

`n` counts the seeds that completed in both; `mean` and `sd` are the arm's accuracy over them. The interval of the
paired difference is over fresh searches, seeds and test images (`harness.analysis.estimate`), `p_holm` corrects over
the arms of one training size, `probability_better` is that of one fresh run beating the other's (a tie counts half),
and `smallest_detectable` the true difference that such an estimate would have shown with power .8.

`difference_at_equal_compute`: in validation accuracy, where both runs have spent the training compute (images times
multiply-accumulates) that the cheaper one spends in all, read off learning curves; NaN where both spend the same.

`passes` to `limited_by_updates` are the arm's, as in ARM_COLUMNS; the last column is that of the other."""

CLAIM_COLUMNS = columns("claim kind statement source verdict estimate ci_low ci_high p_value lost_runs reason")
"""claims.csv: `claim` is a short name (type and number), `kind` one of `harness.spec.verdicts.KINDS`, `p_value` that of
the test that the verdict follows from (two-sided; empty for exact costs and where nothing was tested), `lost_runs` the
planned runs without a result that leave it inconclusive, `reason` a sentence with the numbers that decide.

`estimate` and its interval: Better and GainsMore, the difference signed so that positive speaks for the claim;
Equivalent, arm minus other; Monotone, the weakest step, positive in the claim's direction; GapShrinks, the slope of
the lead, per 10x training images or over the range of shared levels; Crosses, the point of the crossing, in training
images or levels; CostGrows, the smallest ratio of a step in the claim's direction; of a study file's own type, what its
`judge` gave."""

CROSSOVER_COLUMNS = columns("arm baseline along train_size crossing ci_low ci_high smallest largest statement")
"""Where the difference arm - baseline changes sign: along `train_size` (then NA), an arm and the one that it is
compared with, in training images; along the study's factor, two series at a training size, in levels.

`crossing` with its interval is NaN where no change is shown within the measured range; where two points only bracket a
change, the interval holds them and `crossing` is NaN. `smallest` and `largest` are the measured ends."""

SLOPE_COLUMNS = columns(
    "arm baseline along train_size slope ci_low ci_high error_ratio error_ratio_low error_ratio_high "
    "equivalence equivalence_low equivalence_high scales"
)
"""How the difference arm - baseline changes, by its least-squares line; rows as in CROSSOVER_COLUMNS. Along
`train_size` per 10x training images; along the factor from the lowest to the highest level that both series share.

`error_ratio`: the factor by which the arm's error over the baseline's changes over the same, above 1 where it grows;
`equivalence`: the one by which the data equivalence does, how many times the baseline's training images the arm needs
to be as accurate (NaN below three sizes, and where it is known at fewer than two). `scales` tells both at each point.
"""

FRONTIER_COLUMNS = columns("arm baseline level train_size ci_low ci_high statement", train_size="float64")
"""For two series and each level that both share, the `train_size` (training images, with its interval) at
which the difference arm - baseline changes sign; NaN as in CROSSOVER_COLUMNS."""

LAW_COLUMNS = columns("arm a b c d r2")
"""error = a (n + d)^-b + c of each arm: error as a fraction, n in training images; NaN below three sizes."""

BUDGET_COLUMNS = columns("arm train_size trials expected_best")
"""Validation accuracy expected of the best of so many trials."""

FRONT_COLUMNS = columns("cost group arm", cost="str", group="int64")
"""A row per arm of a front, from the cheapest to the dearest; `group` tells arms of other data apart."""

_AUDITED = "arm train_size search trials beyond completed images best_validation_accuracy at_edge widened"
AUDIT_COLUMNS = columns(
    _AUDITED, search="Int64", beyond="Int64", completed="Int64", images="Int64", at_edge="str", widened="str"
)
"""What each search spent and chose: `search` numbers those of a cell that has several; of its `trials`, those `beyond`
the edge of a range are of the parameters `widened`; `images` are the training images seen by all trials. Further
columns per nuisance parameter: `p.<name>`, the chosen value, and `edge.<name>`, as `edge_distance` has it for the range
with what was tried beyond."""

FEW_SHOT_COLUMNS = columns("arm train_size shots n mean ci_low ci_high difference difference_low difference_high")

SHIFT_COLUMNS = columns("arm train_size shift metric n mean ci_low ci_high")
"""`test_accuracy` on images moved by `shift` pixels, and `agreement`, the share of images whose prediction is that for
the image as it is; mean over the n seeds with its interval over searches and seeds."""

PATCH_COLUMNS = columns(
    "arm train_size patch_size macs_per_image n mean ci_low ci_high alone alone_mean difference difference_low "
    "difference_high",
    patch_size="int64",
    alone="str",
)
"""Test accuracy of a model trained for several sizes of patches, with patches of the side `patch_size` (pixels); and
its difference to the arm `alone` that is trained for that size only, paired by seed and image; NaN where none is."""

CLASS_COLUMNS = columns(
    "arm baseline label class_name images n mean ci_low ci_high difference difference_low difference_high share",
    label="int64",
    class_name="str",
    images="Int64",
)
"""Accuracy on the test `images` of a class and its difference to the arm that it is compared with, paired by seed and
image. `share`: how much of that difference over all images lies in this class; NaN where that is not significant."""

CONFUSION_COLUMNS = columns("arm baseline class_name taken_for share baseline_share", class_name="str", taken_for="str")
"""Shares of the images of a class that are taken for another one, by an arm and the one that it is compared with."""


@dataclass(frozen=True, kw_only=True)
class ByClass:
    """What predicted classes tell, at the largest training size; empty where they are not kept."""

    arms: tuple[str, ...] = ()  # the main arm, and the one that it is compared with
    table: pd.DataFrame = field(default_factory=lambda: frame([], CLASS_COLUMNS))
    """Of all arms with their data; with more than a hundred classes, of these two."""
    confusions: pd.DataFrame = field(default_factory=lambda: frame([], CONFUSION_COLUMNS))  # the most frequent first
    lines: tuple[str, ...] = ()  # in which classes the lead lies


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Results of `analyse`. Accuracies are fractions; intervals of `Evidence.level`; NaN where there are too few seeds.

    Each frame has the columns of its name, e.g. ARM_COLUMNS.
    """

    arms: pd.DataFrame
    comparisons: pd.DataFrame
    claims: pd.DataFrame
    crossovers: pd.DataFrame
    laws: pd.DataFrame  # studies of several training sizes, a row per arm
    slopes: pd.DataFrame
    budget: pd.DataFrame
    audit: pd.DataFrame
    gaps: tuple[str, ...] = ()  # one sentence for every cell with missing, diverged or failed runs
    warnings: tuple[str, ...] = ()
    """What changes the reading of the results: edge of range, few seeds, unequal budgets, several devices."""
    answer: str = ""
    """The study's question answered in a sentence or two, the verdict first."""
    numbers: str = ""  # the line below the answer: n, intervals, test images, compute
    finding: str = ""  # the answer's first sentence, the title of the main figure; empty where nothing is concluded
    answer_arms: tuple[str, ...] = ()  # those that the answer is about, first the one it speaks of
    effect: Estimate | None = None  # the estimate of that sentence where it is a difference of accuracies, a fraction
    main_figure: str = ""  # what the study names as its main figure; empty for the report's first
    unit: str = ""  # of the factor's levels, "px"; empty where the study names none
    level_with_best: tuple[str, ...] = ()
    """The arms that may be the best, of several with the same data and training size (`selection.level_with_best`)."""
    fronts: pd.DataFrame = field(default_factory=lambda: frame([], FRONT_COLUMNS))
    best: str = ""  # which arm is best, and which are not significantly worse, as a sentence
    conclusive: bool = True
    """Whether verdicts are to be read: not at scale smoke, nor with too few test images for any."""
    frontier: pd.DataFrame = field(default_factory=lambda: frame([], FRONTIER_COLUMNS))
    """Where two series are level, by level and training size; no rows in studies of one size."""
    shifts: pd.DataFrame = field(default_factory=lambda: frame([], SHIFT_COLUMNS))
    """No rows where a study does not test on moved images."""
    patches: pd.DataFrame = field(default_factory=lambda: frame([], PATCH_COLUMNS))
    """No rows where no model is trained for patches of several sizes."""
    few_shots: pd.DataFrame = field(default_factory=lambda: frame([], FEW_SHOT_COLUMNS))
    """Few-shot accuracy on another task by images of each class, and its difference to the reference arm; no rows where
    it is not asked for."""
    few_shot_crossings: tuple[str, ...] = ()
    """Whether it crosses where test accuracy does, for each arm against the one that it is compared with."""
    by_class: ByClass = field(default_factory=ByClass)
    main_factor_sizes: tuple[int, ...] = ()  # the training sizes of a two-factor study, ascending; empty otherwise

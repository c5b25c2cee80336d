"""How the trainings went: arms that did not learn, or not to the end, and the laws of their errors.

Training accuracy is not recorded (mixed labels have none), so how well an arm fits its own training images is told by
its training loss: exp(-loss) is the geometric mean of the probability given to the right class.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import optimize

from harness.analysis.estimate import Floats
from harness.analysis.evidence import Evidence
from harness.analysis.findings import LAW_COLUMNS, frame
from harness.analysis.wording import Cell, of_seeds, place
from harness.spec import IMAGENET, NAMED_SOURCES
from harness.spec.formats import counted, percent

LAST_SHARE = 0.2  # the end of a training that is looked at: its last fifth

STEEP_FALL = 0.15
"""A training loss that in the last fifth still falls by this share of the way from chance to where it ends was cut off.

A straight line from chance to the end falls by .2; of the 148 arms of the shipped results none falls by more than .134.
"""

MUCH_LESS = 0.6
"""An arm with less than this share of what the best arm has learned something else than the task, or nothing."""

APART, LEAST_APART = 5.0, 0.02
"""A seed this many robust standard deviations and this far (a fraction of the test images) below its cell's median is
of another kind than the others, unless these lie far apart themselves (`mixture_warnings`)."""

Cautions = Mapping[Cell, tuple[str, ...]]


def learning_cautions(evidence: Evidence) -> Cautions:
    """For each cell that seems not to have learned: why, a clause each."""
    curves, found = evidence.records.curves.dropna(subset=["update", "train_loss"]), {}
    of_cells = {cell: curves[curves["digest"].isin(evidence.digests(cell))] for cell in evidence.rows}
    losses = {cell: mean_curve(of_cell, "train_loss") for cell, of_cell in of_cells.items()}
    for cell in evidence.rows:
        classes, chance = _classes(evidence, cell)
        told = [_at_chance(evidence, cell, chance), _cut_off(losses[cell], classes)]
        if clauses := tuple(filter(None, (*told, _far_behind(evidence, cell, losses)))):
            found[cell] = clauses
    return found


def mixture_warnings(evidence: Evidence) -> Iterator[str]:
    """A sentence for each cell of which at most half of the seeds ended far below the others, as `APART` has it.

    The standard deviation is pooled over the cells of the study, as three seeds do not tell their own, from the median
    absolute deviation (Rousseeuw and Croux, J. Am. Stat. Assoc. 88, 1993, p. 1273), which such seeds do not move. The
    smallest deviation of each cell is left out: of an odd number it is the median's own. As cells may differ in their
    spread, the gap must also be more than 1 + 36 / k^2 times the range of the k others, about what Dixon's test asks
    for at level .05 (Ann. Math. Stat. 21, 1950, p. 488).
    """
    values = {cell: evidence.values(cell, "test_accuracy") for cell in evidence.rows}
    values = {cell: of_cell for cell, of_cell in values.items() if len(of_cell) > 2 and np.isfinite(of_cell).all()}
    deviations = [np.sort(np.abs(of_cell - np.median(of_cell)))[1:] for of_cell in values.values()]
    sd = 1.4826 * float(np.median(np.concatenate(deviations))) if deviations else math.nan
    for cell, of_cell in values.items():
        low = np.median(of_cell) - of_cell > max(APART * sd, LEAST_APART)
        if not low.any():
            continue
        others, below = of_cell[~low], of_cell[low]
        if others.min() - below.max() <= (1 + 36 / len(others) ** 2) * np.ptp(others):
            continue
        seeds = [seed for seed, is_low in zip(evidence.completed(cell), low, strict=True) if is_low]
        yield (
            f"{place(cell)}: {of_seeds(seeds)} reached {_span(below)}, the other {counted(len(others), 'seed')} "
            f"{_span(others)}: the mean hides a mixture, and intervals assume one kind of run."
        )


def _span(shares: Floats) -> str:
    """`61.20%`, or `84.10% to 85.00%`."""
    return " to ".join(dict.fromkeys(percent(share) for share in (shares.min(), shares.max())))


def mean_curve(evaluations: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Mean of a column by update, from the evaluations of one arm at one training size.

    Only where every seed was evaluated: elsewhere the mean would jump as seeds drop out.
    """
    by_update = evaluations.groupby("update")[column].agg(["mean", "count"])
    means: pd.Series[float] = by_update.loc[by_update["count"] == by_update["count"].max(), "mean"]
    return means


def _at_chance(evidence: Evidence, cell: Cell, chance: float) -> str:
    """Whether the interval of the mean test accuracy reaches chance, and so does some run's, over images alone.

    Below three seeds the mean's over images alone.
    """
    mean = evidence.contrast({cell: 1.0})
    images = [len(row) for row in evidence.predictions(cell, mean.seeds) if row is not None]
    most = chance + 1.96 * (math.sqrt(chance * (1 - chance) / min(images)) if images else 0.0)
    runs = evidence.values(cell, "test_accuracy", mean.seeds)
    if not (mean.ci_low <= chance and runs.min() <= most if mean.judgeable else mean.value <= most):
        return ""
    return (
        f"its test accuracy of {percent(mean.value, 1)} is not significantly above chance ({percent(chance, 1)}), "
        "so it has not been shown to have learned anything"
    )


def _cut_off(losses: "pd.Series[float]", classes: float) -> str:
    """Whether the training loss still falls steeply at the end. `losses`: by update, from three evaluations on."""
    if len(losses) < 3:
        return ""
    updates = losses.index.to_numpy(dtype=np.float64)
    end = losses.iloc[-1]
    before = float(np.interp((1 - LAST_SHARE) * updates[-1], updates, losses))
    if not before - end >= STEEP_FALL * (math.log(classes) - end) > 0:
        return ""
    return (
        f"its training loss still fell from {before:.2f} to {end:.2f} in the last fifth of its updates: "
        "it was stopped before it had learned what it could"
    )


def _far_behind(evidence: Evidence, cell: Cell, losses: Mapping[Cell, "pd.Series[float]"]) -> str:
    """Whether an arm is far behind the best one of its training size, on its own training images too.

    Far behind in validation alone is no sign: an arm that knows its training images by heart has learned.
    """
    scores = {other: evidence.mean(other, "validation_accuracy") for other in evidence.rows if other[1] == cell[1]}
    best = max(scores, key=lambda other: (-math.inf if math.isnan(scores[other]) else scores[other], other[0]))
    if losses[cell].empty or losses[best].empty or not scores[cell] < MUCH_LESS * scores[best]:
        return ""
    loss, least = losses[cell].iloc[-1], losses[best].iloc[-1]
    if math.exp(-loss) >= MUCH_LESS * math.exp(-least):
        return ""
    return (
        f"it fits neither its training images (loss {loss:.2f}, {best[0]} {least:.2f}) "
        f"nor the validation images ({percent(scores[cell], 1)}, {best[0]} {percent(scores[best], 1)})"
    )


def _classes(evidence: Evidence, cell: Cell) -> tuple[float, float]:
    """Number of classes, and the share of the test part's commonest one (1 / classes where not known).

    NaN where neither the results nor the source's name tell.
    """
    kind = evidence.study.data_of(evidence.study.arm(cell[0])).kind
    facts = IMAGENET if kind == "imagenet" else NAMED_SOURCES.get(kind)
    told = (evidence.records.provenance.get(key) for key in ("classes", "largest_class_share"))
    classes, share = (float(value) if isinstance(value, int | float) else math.nan for value in told)
    classes = facts.classes if facts else classes if classes > 1 else math.nan
    return classes, share if 0 < share <= 1 else 1 / classes


def laws_table(evidence: Evidence) -> pd.DataFrame:
    """LAW_COLUMNS, a row per arm of a study of several training sizes: the law of its mean error over these.

    None where sizes differ in their updates and in their passes over the images: errors would fall by both.
    """
    study, rows = evidence.study, []
    for arm in study.all_arms if study.train_sizes else ():
        updates = [study.recipe_of(arm).resolved_updates(size) for size in study.train_sizes]
        passes = [of_size / size for of_size, size in zip(updates, study.train_sizes, strict=True)]
        if len(set(updates)) > 1 and max(passes) > 1.05 * min(passes):  # passes are in whole updates
            continue
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
    """a, b, c, d and r2 of error = a (n + d)^-b + c through (k, 2) points (n, error); NaN below four points.

    d is 0 for five points or fewer. Through three points three numbers can always be laid, so that nothing is tested.
    """
    if len(points) < 4:
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

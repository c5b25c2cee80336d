"""Two-factor studies: how the difference to the baseline moves with the training size, and where it changes sign."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import interpolate, optimize

from harness.analysis.cells import Cell, Cells, Floats, generator
from harness.analysis.estimate import FEWEST_SEEDS, LEVEL, Estimate
from harness.analysis.evidence import Evidence
from harness.analysis.wording import described
from harness.spec import METRICS

_GRID = 241
"""Points over the measured range, evenly in log size, between which a sign change is interpolated."""

_MOST_SIZES_WITHOUT_SHIFT = 5
"""With this many training sizes or fewer, the scaling law has no shift d: the points do not tell it from b."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where `arm` overtakes `other`, or falls behind; differences are arm - other, positive = arm is better."""

    arm: str
    other: str
    metric: str
    sizes: tuple[int, ...] = ()
    """Training sizes with enough paired seeds, ascending."""
    seeds: tuple[int, ...] = ()
    """Seeds that are complete at all of these sizes."""
    ends: tuple[Estimate, Estimate] | None = None
    """The difference at the smallest and at the largest of these sizes; None below two sizes or three seeds."""
    median: float = math.nan
    """Training images at the sign change; NaN where none is shown within the measured range."""
    ci_low: float = math.nan
    ci_high: float = math.nan
    share: float = math.nan
    """Share of resamples whose difference has opposite signs at the two ends."""

    @property
    def end_signs(self) -> tuple[int, int]:
        """Sign of the difference at either end that its interval supports: 1, -1, or 0 where it includes zero."""
        return (0, 0) if self.ends is None else (supported_sign(self.ends[0]), supported_sign(self.ends[1]))

    @property
    def shown(self) -> bool:
        """Whether the differences at the two ends have opposite signs, each supported by its interval."""
        return math.prod(self.end_signs) < 0


def supported_sign(estimate: Estimate) -> int:
    """1 or -1 where the interval lies on one side of zero, else 0."""
    return int(estimate.ci_low > 0) - int(estimate.ci_high < 0)


def slope_weights(arm: str, other: str, sizes: tuple[int, ...]) -> dict[Cell, float]:
    """The contrast between cells that is the least-squares slope of (arm - other) per tenfold training size."""
    x = np.log10(np.array(sizes, dtype=np.float64))
    centred = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    weights: dict[Cell, float] = {(arm, size): float(weight) for size, weight in zip(sizes, centred, strict=True)}
    weights.update({(other, size): -float(weight) for size, weight in zip(sizes, centred, strict=True)})
    return weights


def slope(evidence: Evidence, arm: str, other: str, metric: str = "test_accuracy") -> Estimate | None:
    """The slope of (arm - other) per tenfold training images, in the metric's unit; None below two measured sizes.

    Each seed is a block over the sizes: a slope per seed (and test image), then their mean. So correlation between
    sizes needs no model, and the interval is as exact as that of one difference.
    """
    sizes = measured_sizes(evidence, arm, other, metric)
    return None if len(sizes) < 2 else evidence.contrast(slope_weights(arm, other, sizes), metric)


def measured_sizes(evidence: Evidence, arm: str, other: str, metric: str) -> tuple[int, ...]:
    """The training sizes at which both arms share at least three seeds, ascending."""
    return tuple(
        size
        for size in evidence.cells.study.train_sizes
        if len(evidence.shared_seeds(((arm, size), (other, size)), metric)) >= FEWEST_SEEDS
    )


def crossing(evidence: Evidence, arm: str, other: str, metric: str = "test_accuracy") -> Crossing:
    """The training size at which the difference of two arms changes sign, by interpolation in log size.

    The differences at the sizes are resampled jointly: seed blocks by normal weights scaled to a multivariate t with
    n - 1 degrees of freedom (so that every point of the curve has Student's interval, which a plain bootstrap of three
    seeds has not), test images by their covariance between sizes. Each resampled curve is interpolated by monotone
    cubics (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980, p. 238), which cannot invent a sign change. The interval
    holds the sizes whose interpolated difference could be zero (as Fieller's does). Nothing is extrapolated: resamples
    without a sign change count as beyond either end.
    """
    sizes = measured_sizes(evidence, arm, other, metric)
    cells: dict[Cell, float] = {(name, size): 1.0 for name in (arm, other) for size in sizes}
    seeds = evidence.shared_seeds(cells, metric) if len(sizes) > 1 else ()
    if len(seeds) < FEWEST_SEEDS:
        return Crossing(arm=arm, other=other, metric=metric, sizes=sizes, seeds=seeds)
    sign = 1.0 if METRICS[metric] == "up" else -1.0
    ends = [evidence.contrast({(arm, size): sign, (other, size): -sign}, metric) for size in (sizes[0], sizes[-1])]
    # Which of the two is called the arm must not matter, so the draws are those of the pair in order of name.
    curves = _resampled_curves(evidence, min(arm, other), max(arm, other), sizes, seeds, metric)
    changes = sign_changes(np.log(np.array(sizes, dtype=np.float64)), curves)
    inside = np.isfinite(changes)
    found = Crossing(
        arm=arm,
        other=other,
        metric=metric,
        sizes=sizes,
        seeds=seeds,
        ends=(ends[0], ends[1]),
        share=float(inside.mean()),
    )
    return _located(found, changes) if found.shown else found


def sign_changes(log_sizes: Floats, curves: Floats) -> Floats:
    """(r,) log sizes at which the (r, k) curves change sign; infinite for those with the same sign at both ends.

    Of several changes the middle one is taken. Which infinity says to which side of the range the nearer end points.
    """
    grid = np.linspace(log_sizes[0], log_sizes[-1], _GRID)
    heights = interpolate.PchipInterpolator(log_sizes, curves, axis=1)(grid)
    positive = heights > 0
    flips = positive[:, 1:] != positive[:, :-1]
    total = flips.sum(axis=1)
    rank = np.cumsum(flips, axis=1)
    at = np.argmax(flips & (rank == (total[:, None] + 1) // 2), axis=1)
    rows = np.arange(len(curves))
    left, right = heights[rows, at], heights[rows, at + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        places = grid[at] + (grid[1] - grid[0]) * left / (left - right)
    beyond = np.where(np.abs(heights[:, 0]) < np.abs(heights[:, -1]), -np.inf, np.inf)
    return np.where(total % 2 == 1, places, beyond)


def slopes_table(evidence: Evidence) -> pd.DataFrame:
    """See `Findings.slopes`; no rows in a study with one size."""
    study = evidence.cells.study
    types = {"arm": "str", "baseline": "str", "slope": "float64", "ci_low": "float64", "ci_high": "float64"}
    rows = []
    for arm in study.arms if study.train_sizes else ():
        fall = slope(evidence, arm.name, study.baseline.name)
        numbers = (math.nan,) * 3 if fall is None else (fall.value, fall.ci_low, fall.ci_high)
        rows.append((arm.name, study.baseline.name, *numbers))
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def crossovers_table(evidence: Evidence) -> pd.DataFrame:
    """See `Findings.crossovers`; no rows in a study with one size."""
    study = evidence.cells.study
    types = {"arm": "str", "baseline": "str", "median": "float64", "ci_low": "float64", "ci_high": "float64"} | {
        "share": "float64",
        "smallest": "Int64",
        "largest": "Int64",
        "statement": "str",
    }
    rows = []
    for arm in study.arms if study.train_sizes else ():
        found = crossing(evidence, arm.name, study.baseline.name)
        ends = (found.sizes[0], found.sizes[-1]) if found.sizes else (None, None)
        numbers = (found.median, found.ci_low, found.ci_high, found.share)
        rows.append((arm.name, study.baseline.name, *numbers, *ends, statement(found)))
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def statement(found: Crossing) -> str:
    """The crossover in a sentence: a size with its interval, or that none is shown and what is known at the ends."""
    if found.ends is None:
        return (
            f"No crossing can be judged: {len(found.seeds)} seeds are complete over {len(found.sizes)} training sizes, "
            f"and at least {FEWEST_SEEDS} over 2 are needed."
        )
    span = f"{found.sizes[0]:,} to {found.sizes[-1]:,} training images"
    first, last = found.end_signs
    if found.shown:
        verb = "overtakes" if last > 0 else "falls behind"
        return (
            f"{found.arm} {verb} {found.other} at about {found.median:,.0f} training images "
            f"[{_edge(found, found.ci_low)}, {_edge(found, found.ci_high)}]; "
            f"{100 * found.share:.0f} % of resamples cross (n = {len(found.seeds)} seeds)."
        )
    if first == last != 0:
        leader = found.arm if first > 0 else found.other
        return f"No crossing in the measured range, {span}: {leader} leads at both ends; any crossing lies beyond it."
    open_end = next((found.sizes[i], found.ends[i]) for i in (1, 0) if found.end_signs[i] == 0)
    return (
        f"No crossing is shown in the measured range, {span}: at {open_end[0]:,} the difference is "
        f"{described(found.metric, open_end[1])}; {100 * found.share:.0f} % of resamples cross."
    )


def laws_table(cells: Cells) -> pd.DataFrame:
    """The scaling law error = a (n + d)^-b + c of each arm's mean error over the training sizes (at least three).

    A row per arm: arm, a, b, c, d, r2; error as a fraction, n in training images. d = 0 for five sizes or fewer.
    """
    study = cells.study
    rows = []
    for arm in study.all_arms if study.train_sizes else ():
        points = [(size, cells.values((arm.name, size), "test_accuracy")) for size in study.train_sizes]
        means = [(size, 1 - float(np.nanmean(of))) for size, of in points if np.isfinite(of).any()]
        rows.append((arm.name, *fit_law(np.array(means, dtype=np.float64).reshape(-1, 2))))
    types = {"arm": "str"} | dict.fromkeys(("a", "b", "c", "d", "r2"), "float64")
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def fit_law(points: Floats) -> tuple[float, float, float, float, float]:
    """a, b, c, d and r2 of error = a (n + d)^-b + c through (k, 2) points (n, error); NaN below three points."""
    if len(points) < 3:
        return (math.nan,) * 5
    n, error = points.T
    scale = float(n[0])  # n in units of the smallest size, for a well-conditioned fit
    shifted = len(points) > _MOST_SIZES_WITHOUT_SHIFT

    def law(x: Floats, a: float, b: float, c: float, d: float = 0.0) -> Floats:
        return np.asarray(a * (x + d) ** -b + c)

    start = [max(error[0] - error[-1], 1e-3), 0.5, max(0.5 * error.min(), 1e-6), 0.1][: 4 if shifted else 3]
    upper = [np.inf, 5.0, 1.0, 10.0][: len(start)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optimize.OptimizeWarning)  # about the covariance, which is not used
            fitted, _ = optimize.curve_fit(law, n / scale, error, p0=start, bounds=(0.0, upper), max_nfev=2000)
    except RuntimeError:  # no convergence: no law, rather than a bad one
        return (math.nan,) * 5
    a, b, c, d = (*map(float, fitted), 0.0)[:4]
    spread = float(((error - error.mean()) ** 2).sum())
    rest = float(((law(n / scale, *fitted) - error) ** 2).sum())
    return a * scale**b, b, c, d * scale, 1 - rest / spread if spread else math.nan


def _located(found: Crossing, changes: Floats) -> Crossing:
    """With median and interval; an end of the interval beyond the measured range stays NaN."""
    tail = (1 - LEVEL) / 2
    low = np.quantile(changes, tail, method="lower")
    high = np.quantile(changes, 1 - tail, method="higher")
    median = np.median(changes[np.isfinite(changes)])
    images = [float(np.exp(value)) if np.isfinite(value) else math.nan for value in (median, low, high)]
    return Crossing(
        arm=found.arm,
        other=found.other,
        metric=found.metric,
        sizes=found.sizes,
        seeds=found.seeds,
        ends=found.ends,
        share=found.share,
        median=images[0],
        ci_low=images[1],
        ci_high=images[2],
    )


def _edge(found: Crossing, size: float) -> str:
    if math.isfinite(size):
        return f"{size:,.0f}"
    return f"beyond {found.sizes[0]:,}" if math.isnan(found.ci_low) else f"beyond {found.sizes[-1]:,}"


def _resampled_curves(
    evidence: Evidence, first: str, second: str, sizes: tuple[int, ...], seeds: tuple[int, ...], metric: str
) -> Floats:
    """(resamples, sizes) draws of the mean difference first - second at each size."""
    cells = evidence.cells
    blocks = np.stack(  # (seeds, sizes)
        [cells.values((first, size), metric, seeds) - cells.values((second, size), metric, seeds) for size in sizes],
        axis=1,
    )
    rng = generator(evidence.seed, "crossing", metric, first, second)
    n, resamples = len(seeds), evidence.resamples
    weights = rng.standard_normal((resamples, n)) / math.sqrt(n * (n - 1))
    stretch = np.sqrt((n - 1) / rng.chisquare(n - 1, (resamples, 1)))
    curves: Floats = blocks.mean(axis=0) + (weights @ (blocks - blocks.mean(axis=0))) * stretch
    root = _image_root(evidence, first, second, sizes, seeds) if metric == "test_accuracy" else None
    return curves if root is None else curves + rng.standard_normal((resamples, len(sizes))) @ root


def _image_root(
    evidence: Evidence, first: str, second: str, sizes: tuple[int, ...], seeds: tuple[int, ...]
) -> Floats | None:
    """(sizes, sizes) root of the covariance of the differences due to test images; None where predictions are lacking.

    The two-way analysis of variance of `image_components`, with covariances between sizes.
    """
    layers: list[Floats] = []
    for size in sizes:
        layer = evidence.images({(first, size): 1.0, (second, size): -1.0}, seeds)
        if layer is None or (layers and layer.shape != layers[0].shape):
            return None
        layers.append(layer)
    values = np.stack(layers, axis=2)  # (seeds n, images m, sizes)
    n, m = values.shape[:2]
    column = values.mean(axis=0)
    rest = values - column - values.mean(axis=1, keepdims=True) + column.mean(axis=0)
    flat = rest.reshape(n * m, -1)
    interaction = flat.T @ flat / ((n - 1) * (m - 1))
    image = (np.atleast_2d(np.cov(column, rowvar=False)) - interaction / n) / m
    spectrum, axes = np.linalg.eigh(image)
    return np.asarray((axes * np.sqrt(np.maximum(spectrum, 0.0))).T)

"""Contrasts between the cells of a study, with their intervals."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from harness.analysis.cells import Cells, Row, few_shots_of, measured, number, rows_by_cell
from harness.analysis.equal_compute import difference_at_equal_compute
from harness.analysis.estimate import (
    FEWEST_SEEDS,
    LEVEL,
    Floats,
    MeanEstimate,
    Variance,
    added,
    estimate_mean,
    holm,
    own_variances,
)
from harness.analysis.findings import COMPARISON_COLUMNS, frame
from harness.analysis.limits import Limit, limit_of
from harness.analysis.looks import level_for
from harness.analysis.patches import correct_at, mean_cost, patch_size_of, with_patch_tests
from harness.analysis.wording import Cell, listed, named, place
from harness.records.correctness import Correct
from harness.records.data_facts import test_overlap
from harness.records.run_table import StudyRecords
from harness.spec.claims import EXACT

Scale = Literal["plain", "log", "log_error"]
"""What a contrast adds up: a metric, its natural logarithm, or that of the error, 1 - metric, for an accuracy."""

Answered = Correct | Floats  # (m,) per test image
BY_IMAGE = ("test_accuracy", "balanced_accuracy", "top5_accuracy")
"""Metrics that are means over the test images of what is kept of each."""
SHIFTED = ("shifted_accuracy", "shift_agreement")
"""Metrics that are means over moved test images, of each of which nothing is kept."""


@dataclass(frozen=True, kw_only=True)
class Evidence(Cells):
    """What tables, claims and figures of a study are made from.

    The frames `runs` (confirm runs that have a result), `trials`, `curves` (evaluations of confirm runs) and `shifts`
    are copies, which may be changed, with the columns of the tables of the same names. Runs of cells or seeds that the
    study does not plan count nowhere else. Each contrast is computed once.
    """

    seed: int = 0  # root of the generators of claims of a study file's own kinds
    level: float = LEVEL  # confidence level of every interval
    _known: dict[Any, MeanEstimate] = field(default_factory=dict, repr=False)
    _replicates_known: dict[Any, dict[Cell, list[float]]] = field(default_factory=dict, repr=False)

    runs = property(lambda self: self.records.runs.copy())
    trials = property(lambda self: self.records.trials.copy())
    curves = property(lambda self: self.records.curves.copy())
    shifts = property(lambda self: self.records.shifts.copy())

    @property
    def comparisons(self) -> pd.DataFrame:
        """A row per arm and training size against the arm that it is compared with, COMPARISON_COLUMNS.

        Holm's correction runs over the arms of one training size: each size is a question of its own.
        """
        rows = []
        for size in self.sizes:
            found = [self.difference(arm, other, size) for arm, other in self.against.items()]
            adjusted = holm([paired.p_value() for paired in found])
            for (arm, other), paired, p_holm in zip(self.against.items(), found, adjusted, strict=True):
                own = self.values((arm, size), "test_accuracy", paired.seeds)
                names = (arm, other, self.train_size((arm, size)))
                mean, sd = self._mean(own, paired.seeds), (own.std(ddof=1) if paired.n > 1 else math.nan)
                interval = (paired.value, paired.ci_low, paired.ci_high, paired.p_value(), p_holm)
                runs = [
                    [self._by_compute(self.rows[name, size][seed]) for name in (arm, other)] for seed in paired.seeds
                ]
                rest = (paired.probability_positive(), paired.smallest_detectable(), difference_at_equal_compute(runs))
                limits = (*astuple(self.limit((arm, size))), self.limit((other, size)).limited_by_updates)
                rows.append((*names, paired.n, mean, sd, *interval, *rest, *limits))
        return frame(rows, COMPARISON_COLUMNS)

    def _by_compute(self, row: Row) -> tuple[Floats, Floats]:
        """The compute spent until each evaluation of a run, ascending, and the validation accuracy there.

        Compute is images seen times multiply-accumulates per image, times `passes`.
        """
        curve = self._curves.get(str(row["digest"]))
        if curve is None:
            return np.array([]), np.array([])
        seen, accuracy = curve[["images_seen", "validation_accuracy"]].to_numpy(dtype=np.float64).T
        return seen * number(row["macs_per_image"]) * self.passes(str(row["arm"])), accuracy

    def passes(self, name: str) -> float:
        """How often an update of an arm goes through its images, in passes with patches of the model's own size."""
        arm = self.study.arm(name)
        return self.study.recipe_of(arm).passes * mean_cost(self.records, arm)

    def limit(self, cell: Cell) -> Limit:
        """Whether the number of updates limits a cell, by its completed runs."""
        runs = [self.rows[cell][seed] for seed in self.completed(cell)]
        recipe = self.study.recipe_of(self.study.arm(cell[0]))
        return limit_of(recipe, runs, [self._curves.get(str(run["digest"])) for run in runs])

    @cached_property
    def _curves(self) -> dict[str, pd.DataFrame]:
        """The evaluations of each run that measured its validation accuracy, by digest."""
        curves = self.records.curves
        if curves.empty:
            return {}
        known = curves.dropna(subset=["images_seen", "validation_accuracy"]).sort_values("images_seen")
        return {str(digest): of_run for digest, of_run in known.groupby("digest")}

    @property
    def against(self) -> dict[str, str]:
        """The arm that each arm besides the baseline is compared with, by name."""
        return {arm.name: self.study.against(arm).name for arm in self.study.arms}

    def absent(self, cells: Iterable[Cell], metric: str) -> str:
        """Why nothing can be judged that rests on these cells, as a clause; empty where nothing is amiss.

        Runs that did not complete (those that are left would flatter an arm), or too few seeds. What a claim is refused
        for, the answer and a crossing are refused for too.
        """
        cells = list(dict.fromkeys(cells))
        if lost := [f"{place(cell)} {told}" for cell in cells for told in self.unfinished(cell)]:
            more = f"; and {len(lost) - 4} more" if len(lost) > 4 else ""
            return f"{'; '.join(lost[:4])}{more}: runs without a result may be just those that would decide"
        if unmeasured := [place(cell) for cell in cells if not np.isfinite(self.values(cell, metric)).all()]:
            return f"not every run of {listed(unmeasured)} has measured its {named(metric)}"
        n = self.fewest_seeds(cells)
        return f"{n} of at least {FEWEST_SEEDS} seeds planned: too few for an interval" if n < FEWEST_SEEDS else ""

    def mean(self, cell: Cell, metric: str) -> float:
        """Mean of a column over the completed runs that have it, each search counting once; NaN without any."""
        return self._mean(self.values(cell, metric), self.completed(cell))

    def _mean(self, values: Floats, seeds: Iterable[int]) -> float:
        """What `estimate_mean` gives for the (n,) values of these seeds that are finite."""
        known = {seed: value for seed, value in zip(seeds, values.tolist(), strict=True) if math.isfinite(value)}
        return estimate_mean(tuple(known), np.array([*known.values()]), replicates=self.replicates(known)).value

    def median(self, cell: Cell, metric: str, seeds: Iterable[int] | None = None) -> float:
        """The same for the median, over the runs of the given seeds (all completed ones by default)."""
        known = measured(self.values(cell, metric, seeds))
        return float(np.median(known)) if len(known) else math.nan

    def answers(self, cell: Cell, metric: str, seeds: Iterable[int]) -> Sequence[Answered | None]:
        """Per seed, the (m,) values on the m test images that one of BY_IMAGE is the mean of; None if not kept.

        Balanced accuracy has fixed weights, those of the images at hand: too wide an interval for uneven classes.
        """
        if (size := patch_size_of(metric)) is not None:
            return correct_at(self.records, self.study.arm(cell[0]), self.digests(cell, seeds), size)
        if metric == "test_accuracy":
            return self.predictions(cell, seeds)
        if metric == "top5_accuracy":
            return [self.records.top5.get(digest) for digest in self.digests(cell, seeds)]
        kept = [self.records.classes.get(digest) for digest in self.digests(cell, seeds)]
        return [None if classes is None else classes.weighted for classes in kept]

    def contrast(
        self, weights: Mapping[Cell, float], metric: str = "test_accuracy", *, scale: Scale = "plain"
    ) -> MeanEstimate:
        """The weighted sum over cells of a metric on a scale, over the seeds complete in all.

        Where a study has fewer seeds at some training sizes, the sum of one contrast for each number of seeds.
        With weights {arm: 1, baseline: -1} the paired difference. A contrast and its negative agree to the last digit.
        That seeds give the same of an exact cost is no luck: its interval is the value.
        """
        terms = sorted(weights.items(), key=lambda term: (term[0][0], term[0][1] or 0))
        if next((weight for _, weight in terms if weight), 0.0) < 0:
            return self.contrast({cell: -weight for cell, weight in terms}, metric, scale=scale).negated()
        key = (tuple(terms), metric, scale)
        if key not in self._known:
            alike: dict[tuple[int, ...], dict[Cell, float]] = {}
            for cell, weight in terms:
                alike.setdefault(self.seeds_at(cell[1]), {})[cell] = weight
            parts = [self._of_alike(part, metric, scale) for part in alike.values() or [{}]]
            found = added(parts, independent=all(map(_cancels, alike.values()))) if len(parts) > 1 else parts[0]
            if metric in EXACT:
                least = 1e-12 * max(1.0, abs(found.value))  # stands for no error at all
                found = replace(found, ci_low=found.value, ci_high=found.value, seed_error=least, df=1e9)
            self._known[key] = found
        return self._known[key]

    def _of_alike(self, weights: Mapping[Cell, float], metric: str, scale: Scale) -> MeanEstimate:
        """The contrast of cells for which the same seeds are planned."""
        seeds = self.shared_seeds(weights, metric)
        values = np.zeros(len(seeds))
        for cell, weight in weights.items():
            values += weight * self._column(cell, metric, scale, seeds)
        by_image = metric in BY_IMAGE or patch_size_of(metric)
        return estimate_mean(
            seeds,
            values,
            self._by_image(weights, seeds, scale, metric) if by_image else None,
            replicates=self.replicates(seeds),
            variance=self._variance(weights, metric, scale, seeds),
            overlap=self.overlap,
            image_variance=self._shifted_variance(weights, metric) if scale == "plain" else 0.0,
            level=self.level,
        )

    def _shifted_variance(self, weights: Mapping[Cell, float], metric: str) -> float:
        """An upper bound of what the choice of test images adds to a metric on moved images, 0 for other metrics.

        Which moved images were answered right is not kept: the binomial variance of each cell stands for them, and what
        the cells have in common, which would make a difference surer, is left out.
        """
        if metric not in SHIFTED:
            return 0.0
        variance = 0.0
        for cell, weight in weights.items():
            images = [len(row) for row in self.predictions(cell) if row is not None]
            share = self.mean(cell, metric)
            variance += weight**2 * share * (1 - share) / min(images) if images and math.isfinite(share) else 0.0
        return variance * self.overlap

    def replicates(self, seeds: Iterable[int]) -> tuple[int, ...]:
        """What varies independently, for each seed: its search, where a cell was searched several times, or itself."""
        repeated = self.study.search.repeats > 1
        return tuple(self.study.search_of(seed) if repeated else seed for seed in seeds)

    @cached_property
    def overlap(self) -> float:
        """The share of its test images that a seed has in common with another, 1 where all have the same."""
        arms = self.study.all_arms
        drawn = [test_overlap(self.records, arm) for arm in arms if self.study.data_of(arm).resplit]
        return 1.0 if len(drawn) < len(arms) else max(drawn)

    def _column(self, cell: Cell, metric: str, scale: Scale, seeds: Iterable[int]) -> Floats:
        """(n,) values on a scale; NaN where a run made no error, which has no logarithm."""
        column = self.values(cell, metric, seeds)
        if scale == "plain":
            return column
        positive = 1 - column if scale == "log_error" else column
        return np.log(np.where(positive > 0, positive, np.nan))

    def _variance(
        self, weights: Mapping[Cell, float], metric: str, scale: Scale, seeds: tuple[int, ...]
    ) -> Variance | None:
        """That of a weighted sum of cells from one search or seed, by the variances of the cells (Satterthwaite).

        None where runs are lacking, or where what a replicate does to all cells of a size does not cancel.
        """
        k, sizes = len(set(self.replicates(seeds))), list[Variance]()
        if k < 2 or not _cancels(weights):
            return None
        for size in dict.fromkeys(cell[1] for cell in weights):
            own = {cell: weight for cell, weight in weights.items() if cell[1] == size}
            known = self._replicate_means(metric, scale, size)
            if set(seeds) != set(self.seeds_at(size)) or not own.keys() <= known.keys():
                return None
            others = [means for cell, means in known.items() if cell not in own]
            found, cells = own_variances(np.array([known[cell] for cell in own]), np.array(others).reshape(-1, k))
            parts = [weight**2 * part for weight, part in zip(own.values(), found.tolist(), strict=True)]
            square = sum(part**2 for part in parts) / (k - 1)
            most = (cells - 1) * (k - 1)  # the cells' residuals are not independent: they sum to zero
            sizes.append(Variance(sum(parts), min(sum(parts) ** 2 / square, most) if square else most))
        value, square = sum(part.value for part in sizes), sum(part.value**2 / part.df for part in sizes)
        return Variance(value, value**2 / square) if square else None

    def _replicate_means(self, metric: str, scale: Scale, size: int | None) -> Mapping[Cell, list[float]]:
        """Of the cells of a training size that have all their runs: the mean of each search, or of each seed."""
        key = (metric, scale, size)
        if key not in self._replicates_known:
            seeds = self.seeds_at(size)
            names = np.array(self.replicates(seeds))
            cells = [cell for cell in self.rows if cell[1] == size and len(self.completed(cell)) == len(seeds)]
            columns = {cell: self._column(cell, metric, scale, seeds) for cell in cells}
            self._replicates_known[key] = {
                cell: [float(column[names == name].mean()) for name in dict.fromkeys(names.tolist())]
                for cell, column in columns.items()
                if np.isfinite(column).all()
            }
        return self._replicates_known[key]

    def difference(self, arm: str, other: str, size: int | None = None, metric: str = "test_accuracy") -> MeanEstimate:
        """The paired difference of `metric`, arm - other, at one training size (None in a study of one size)."""
        return self.contrast({(arm, size): 1.0, (other, size): -1.0}, metric)

    def shared_seeds(self, cells: Iterable[Cell], metric: str) -> tuple[int, ...]:
        """Seeds that completed in every cell and have a value of `metric` there, ascending."""
        shared = set(self.seeds)
        for cell in cells:
            known = zip(self.completed(cell), self.values(cell, metric), strict=True)
            shared &= {seed for seed, value in known if math.isfinite(value)}
        return tuple(sorted(shared))

    def _by_image(
        self, weights: Mapping[Cell, float], seeds: tuple[int, ...], scale: Scale, metric: str
    ) -> Floats | None:
        """The (seeds, images) values that a contrast of accuracies is the mean of; None where nothing tells them.

        The logarithm of an error is a mean over images to first order (delta method).
        """
        if scale == "plain":
            return weighted_answers([(weight, self.answers(cell, metric, seeds)) for cell, weight in weights.items()])
        errors = {cell: 1 - self.values(cell, metric, seeds)[:, None] for cell in weights}
        if scale == "log" or not all((error > 0).all() for error in errors.values()):
            return None
        parts = [(-weight / errors[cell], self.answers(cell, metric, seeds)) for cell, weight in weights.items()]
        answers = weighted_answers(parts)
        centre = sum(weight * (np.log(errors[cell]) - 1 + 1 / errors[cell]) for cell, weight in weights.items())
        return None if answers is None else answers + centre


def evidence_of(records: StudyRecords, *, seed: int = 0) -> Evidence:
    """The planned runs of a study, whatever the order of the rows."""
    rows, completed, few_shots = dict[Cell, dict[int, Row]](), with_patch_tests(records), few_shots_of(records)
    for cell, of_cell in rows_by_cell(records.study, records.runs).items():
        planned = (row for row in reversed(of_cell) if row["seed"] in records.study.seeds_at(cell[1]))
        rows[cell] = {
            int(row["seed"]): completed(row) | few_shots.get(str(row["digest"]), {}) for row in planned
        }  # of a run that stands there twice, the first
    return Evidence(records=records, rows=rows, seed=seed, level=level_for(records))


def _cancels(weights: Mapping[Cell, float]) -> bool:
    """Whether what a seed or a search does to all cells of a training size alike is not in a contrast."""
    of_sizes = dict[int | None, list[float]]()
    for (_, size), weight in weights.items():
        of_sizes.setdefault(size, []).append(weight)
    return all(abs(sum(own)) <= 1e-9 * max(map(abs, own)) for own in of_sizes.values())


def weighted_answers(parts: Sequence[tuple[float | Floats, Sequence[Answered | None]]]) -> Floats | None:
    """(seeds, images) weighted sum of the answers per seed; None where some are lacking or do not fit each other."""
    images = {0 if row is None else len(row) for _, rows in parts for row in rows}
    if len(images) != 1 or min(images) < 2:
        return None
    return np.asarray(sum(weight * np.array(rows, dtype=np.float64) for weight, rows in parts))


def generator(seed: int, *names: object) -> np.random.Generator:
    """A generator for one computation, from the analysis' seed and the names of what it is about."""
    text = json.dumps([seed, *map(str, names)])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))

"""Contrasts between cells: paired by seed and test image, each computed once per analysis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.cells import Cell, Cells, cells_of, generator
from harness.analysis.estimate import MeanEstimate, Numbers, estimate_mean
from harness.records.run_table import StudyRecords
from harness.spec import ResolvedStudy

Key = tuple[tuple[tuple[Cell, float], ...], str, bool]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What claims and figures of a study are made from: its tidy frames, and contrasts between its cells.

    The frames are copies, which may be changed; their columns are those of the tables of the same names.
    """

    cells: Cells
    seed: int
    """Root of the generators; see `generator`."""
    resamples: int
    records: StudyRecords | None = None
    """None where nothing asks for frames."""
    _known: dict[Key, MeanEstimate] = field(default_factory=dict, repr=False)

    @property
    def study(self) -> ResolvedStudy:
        return self.cells.study

    @property
    def runs(self) -> pd.DataFrame:
        """A row per confirm run that has a result, whatever its status."""
        return self._frame("runs")

    @property
    def trials(self) -> pd.DataFrame:
        """A row per tuning trial that has a result."""
        return self._frame("trials")

    @property
    def curves(self) -> pd.DataFrame:
        """A row per evaluation of a confirm run."""
        return self._frame("curves")

    @property
    def shifts(self) -> pd.DataFrame:
        """A row per confirm run and shift of the test images."""
        return self._frame("shifts")

    @property
    def comparisons(self) -> pd.DataFrame:
        """A row per arm and training size against the arm that it is compared with."""
        from harness.analysis.comparisons import comparisons_table

        return comparisons_table(self)

    def _frame(self, name: str) -> pd.DataFrame:
        frame: pd.DataFrame = getattr(self.records, name)
        return frame.copy()

    def contrast(
        self, weights: Mapping[Cell, float], metric: str = "test_accuracy", *, log: bool = False
    ) -> MeanEstimate:
        """The weighted sum over cells of a metric (or of its natural logarithm), over the seeds complete in all.

        With weights {arm: 1, baseline: -1} the paired difference. A contrast and its negative agree to the last digit.
        """
        terms = sorted(weights.items(), key=lambda term: (term[0][0], term[0][1] or 0))
        if next((weight for _, weight in terms if weight), 0.0) < 0:
            return self.contrast({cell: -weight for cell, weight in terms}, metric, log=log).negated()
        key = (tuple(terms), metric, log)
        if key not in self._known:
            self._known[key] = self._estimate(dict(terms), metric, log=log)
        return self._known[key]

    def difference(self, arm: str, other: str, size: int | None = None, metric: str = "test_accuracy") -> MeanEstimate:
        """The paired difference of `metric`, arm - other, at one training size (None in a study of one size)."""
        return self.contrast({(arm, size): 1.0, (other, size): -1.0}, metric)

    def shared_seeds(self, cells: Mapping[Cell, float] | tuple[Cell, ...], metric: str) -> tuple[int, ...]:
        """Seeds that completed in every cell and have a value of `metric` there, ascending."""
        shared = set(self.cells.study.seeds)
        for cell in cells:
            seeds = self.cells.completed(cell)
            measured = np.isfinite(self.cells.values(cell, metric, seeds))
            shared &= {seed for seed, known in zip(seeds, measured, strict=True) if known}
        return tuple(sorted(shared))

    def images(self, weights: Mapping[Cell, float], seeds: tuple[int, ...]) -> Numbers | None:
        """(seeds, images) weighted sum over cells of the correctness; None where predictions are lacking or differ.

        In int8 where the weights are whole numbers, as they are of a difference.
        """
        whole = all(float(weight).is_integer() for weight in weights.values())
        kind = np.dtype(np.int8 if whole and sum(map(abs, weights.values())) <= 127 else np.float64)
        total: npt.NDArray[Any] | None = None
        for cell, weight in weights.items():
            kept = self.cells.answers(cell, seeds)
            if kept is None or (total is not None and total.shape != kept.shape):
                return None
            part = kept.astype(kind) * kind.type(weight)
            total = part if total is None else total + part
        return total

    def _estimate(self, weights: dict[Cell, float], metric: str, *, log: bool) -> MeanEstimate:
        seeds = self.shared_seeds(weights, metric)
        values = np.zeros(len(seeds))
        for cell, weight in weights.items():
            column = self.cells.values(cell, metric, seeds)
            values += weight * (np.log(column) if log else column)
        images = self.images(weights, seeds) if metric == "test_accuracy" and not log else None
        rng = generator(self.seed, "contrast", metric, *weights.items())
        return estimate_mean(seeds, values, images, rng, resamples=self.resamples)


def evidence_of(records: StudyRecords, *, seed: int = 0, resamples: int = 2000) -> Evidence:
    """The cells of a study, ready for contrasts; `resamples` is the number of bootstrap draws of test images."""
    return Evidence(cells=cells_of(records), seed=seed, resamples=resamples, records=records)

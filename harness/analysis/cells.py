"""The confirm runs of a study by cell (arm, training size) and seed, in one canonical order."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.records.correctness import Correct
from harness.records.run_table import StudyRecords
from harness.spec import ResolvedStudy

Cell = tuple[str, int | None]
"""Name of an arm and a training size; None in studies with one size, whatever that size is."""

Floats = npt.NDArray[np.float64]

MISSING = "missing"
"""State of a planned run that left no result."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The results of the planned confirm runs; rows of cells or seeds that the study does not plan are left out."""

    study: ResolvedStudy
    rows: Mapping[Cell, Mapping[int, Mapping[str, Any]]]
    """For each cell of the study, the row of `runs` of each seed that has a result."""
    correct: Mapping[str, Correct]
    """Per-image correctness by digest."""
    repeated: int = 0
    """Rows left out because another row has the same arm, size and seed (the lowest digest stands)."""

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The sizes of the cells: the study's training sizes, or (None,)."""
        return self.study.train_sizes or (None,)

    def state(self, cell: Cell, seed: int) -> str:
        """Status of a planned run, or `missing`."""
        row = self.rows[cell].get(seed)
        return MISSING if row is None else str(row["status"])

    def completed(self, cell: Cell) -> tuple[int, ...]:
        """Seeds of the cell's completed runs, ascending."""
        return tuple(seed for seed in sorted(self.rows[cell]) if self.state(cell, seed) == "completed")

    def values(self, cell: Cell, metric: str, seeds: Iterable[int] | None = None) -> Floats:
        """(n,) values of a column over the given seeds (all completed ones by default); NaN where not measured."""
        chosen = self.completed(cell) if seeds is None else seeds
        return np.array([number(self.rows[cell][seed][metric]) for seed in chosen], dtype=np.float64)

    def predictions(self, cell: Cell, seeds: Iterable[int]) -> list[Correct | None]:
        """Per seed, the (m,) correctness of the run on the m test images; None where it was not kept."""
        return [self.correct.get(digest) for digest in self.digests(cell, seeds)]

    def answers(self, cell: Cell, seeds: Sequence[int]) -> Correct | None:
        """(seeds, images) correctness; None where predictions are lacking, or are of fewer than two images."""
        kept = [row for row in self.predictions(cell, seeds) if row is not None]
        if len(kept) < max(1, len(seeds)) or len({row.shape for row in kept}) > 1 or kept[0].size < 2:
            return None
        return np.stack(kept)

    def mean(self, cell: Cell, metric: str) -> float:
        """Mean of a column over the completed runs that have it; NaN without any."""
        return mean_of(self.values(cell, metric))

    def digests(self, cell: Cell, seeds: Iterable[int] | None = None) -> list[str]:
        """Of the runs of the given seeds, all completed ones by default."""
        return [str(self.rows[cell][seed]["digest"]) for seed in (self.completed(cell) if seeds is None else seeds)]

    def train_size(self, cell: Cell) -> int | None:
        """Training images of a cell; for studies with one size as the rows have it, else as the study asks."""
        if cell[1] is not None:
            return cell[1]
        for _, row in sorted(self.rows[cell].items()):
            if not math.isnan(number(row["train_size"])):
                return int(row["train_size"])
        return self.study.data_of(self.study.arm(cell[0])).train_size


def cells_of(records: StudyRecords) -> Cells:
    """The confirm runs of a study, whatever the order of the rows."""
    study = records.study
    two_factor = bool(study.train_sizes)
    rows: dict[Cell, dict[int, Mapping[str, Any]]] = {(arm.name, size): {} for arm, size in study.cells}
    repeated = 0
    for row in sorted(records.runs.to_dict("records"), key=lambda row: str(row["digest"])):
        size, seed = number(row["train_size"]), number(row["seed"])
        if math.isnan(seed) or (two_factor and math.isnan(size)):
            continue
        cell = (str(row["arm"]), int(size) if two_factor else None)
        if cell not in rows or int(seed) not in study.seeds:
            continue
        repeated += int(seed) in rows[cell]
        rows[cell].setdefault(int(seed), cast("dict[str, Any]", row))
    return Cells(study=study, rows=rows, correct=records.correct, repeated=repeated)


def number(value: Any) -> float:
    """A cell of a frame as a float; missing values as NaN."""
    return math.nan if value is None or value is pd.NA else float(value)


def finite(values: Floats) -> Floats:
    """The values that are measured."""
    return values[np.isfinite(values)]


def mean_of(values: Floats) -> float:
    """Mean of the values that are measured; NaN without any."""
    known = finite(values)
    return float(known.mean()) if len(known) else math.nan


def frame(rows: Sequence[Any], columns: Mapping[str, str]) -> pd.DataFrame:
    """A frame with exactly these columns, in order and with their types."""
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def generator(seed: int, *names: object) -> np.random.Generator:
    """A generator for one computation, from the analysis' seed and the names of what it compares.

    Each comparison has its own, so that a further arm in the study does not move the interval of another.
    """
    text = json.dumps([seed, *map(str, names)])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))

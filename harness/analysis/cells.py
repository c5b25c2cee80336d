"""The planned runs of a study by cell (arm, training size) and seed."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.estimate import Floats
from harness.analysis.wording import Cell, of_seeds
from harness.records.correctness import Correct
from harness.records.run_table import StudyRecords
from harness.records.runs import STATUSES
from harness.spec import FewShot, ResolvedStudy

Row = Mapping[str, Any]

FEW_SHOT = "few_shot_accuracy"


def few_shot_of(shots: int, asked: FewShot) -> str:
    """The metric: few-shot accuracy from so many images of each class; that of the most has a column of its own."""
    return FEW_SHOT if shots == asked.shots[-1] else f"{FEW_SHOT} of {shots}"


def few_shots_of(records: StudyRecords) -> dict[str, dict[str, float]]:
    """Of each run, by digest, its few-shot accuracy from each number of images of a class, by metric."""
    asked, found = records.study.few_shot, dict[str, dict[str, float]]()
    if asked is None:
        return found
    for row in records.few_shots.to_dict("records"):
        found.setdefault(row["digest"], {})[few_shot_of(row["shots"], asked)] = row["few_shot_accuracy"]
    return found


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What the runs of each cell have measured, whatever is made of it."""

    records: StudyRecords
    rows: Mapping[Cell, Mapping[int, Row]]
    """For each cell of the study, in its order, the row of `runs` of each planned seed that has a result."""
    left_out: frozenset[int] = frozenset()  # planned seeds that count nowhere: another evidence has their very runs

    @property
    def study(self) -> ResolvedStudy:
        return self.records.study

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The planned seeds, in the study's order."""
        return self.seeds_at(None)

    def seeds_at(self, size: int | None) -> tuple[int, ...]:
        """Those that are planned at a training size of the study."""
        return tuple(seed for seed in self.study.seeds_at(size) if seed not in self.left_out)

    def fewest_seeds(self, cells: Iterable[Cell]) -> int:
        """The number of seeds planned in that of the cells which has fewest; without cells, in all."""
        return min((len(self.seeds_at(size)) for _, size in cells), default=len(self.seeds))

    @property
    def planned_runs(self) -> int:
        return sum(len(self.seeds_at(size)) for _, size in self.rows)

    @cached_property
    def searches(self) -> dict[Cell, list[Row]]:
        """The rows of `trials` of each cell of the study, by number."""
        return rows_by_cell(self.study, self.records.trials, "trial")

    @property
    def sizes(self) -> tuple[int | None, ...]:
        return self.study.train_sizes or (None,)

    def train_size(self, cell: Cell) -> int | None:
        """Training images of a cell; for studies with one size as the rows have it, else as the study asks."""
        for row in self.rows[cell].values():
            return int(row["train_size"])
        return self.study.data_of(self.study.arm(cell[0]), cell[1]).size

    def states(self, cell: Cell) -> dict[str, list[int]]:
        """The planned seeds of a cell by status; `missing` are those without a result."""
        found: dict[str, list[int]] = {status: [] for status in (*STATUSES, "missing")}
        for seed in sorted(self.seeds_at(cell[1])):
            found[str(self.rows[cell].get(seed, {"status": "missing"})["status"])].append(seed)
        return found

    def completed(self, cell: Cell) -> tuple[int, ...]:
        """Seeds of the cell's completed runs, ascending."""
        return self._completed[cell]

    @cached_property
    def _completed(self) -> dict[Cell, tuple[int, ...]]:
        return {cell: tuple(self.states(cell)["completed"]) for cell in self.rows}

    def unfinished(self, cell: Cell) -> list[str]:
        """The planned runs that did not complete: `seeds 1 and 3 diverged`, `seed 4 missing`."""
        states = [(status, seeds) for status, seeds in self.states(cell).items() if seeds and status != "completed"]
        return [f"{of_seeds(seeds)} {status.replace('_', ' ')}" for status, seeds in states]

    def values(self, cell: Cell, metric: str, seeds: Iterable[int] | None = None) -> Floats:
        """(n,) values of a column over the given seeds (all completed ones by default); NaN where not measured."""
        chosen = self.completed(cell) if seeds is None else tuple(seeds)
        key = (cell, metric, chosen)
        if key not in self._columns:
            found = np.array([number(self.rows[cell][seed].get(metric)) for seed in chosen], dtype=np.float64)
            found.flags.writeable = False
            self._columns[key] = found
        return self._columns[key]

    @cached_property
    def _columns(self) -> dict[tuple[Cell, str, tuple[int, ...]], Floats]:
        """What `values` has told, as every contrast asks for it."""
        return {}

    def digests(self, cell: Cell, seeds: Iterable[int] | None = None) -> list[str]:
        """Of the runs of the given seeds, all completed ones by default."""
        return [str(self.rows[cell][seed]["digest"]) for seed in (self.completed(cell) if seeds is None else seeds)]

    def predictions(self, cell: Cell, seeds: Iterable[int] | None = None) -> list[Correct | None]:
        """Per seed, the (m,) correctness of the run on the m test images; None where it was not kept."""
        return [self.records.correct.get(digest) for digest in self.digests(cell, seeds)]


def rows_by_cell(study: ResolvedStudy, table: pd.DataFrame, *order: str) -> dict[Cell, list[Row]]:
    """The rows of each cell of the study, in the order of some columns and then of the digests."""
    found: dict[Cell, list[Row]] = {(arm.name, size): [] for arm, size in study.cells}
    for row in () if table.empty else table.sort_values([*order, "digest"]).to_dict("records"):
        cell = (str(row["arm"]), int(row["train_size"]) if study.train_sizes else None)
        found.get(cell, []).append({str(name): value for name, value in row.items()})
    return found


def number(value: Any) -> float:
    """A cell of a frame as a float; missing values as NaN."""
    return math.nan if value is None or value is pd.NA else float(value)


def measured(values: Floats) -> Floats:
    """The values that are finite."""
    return values[np.isfinite(values)]

"""How far each cell of a study is: its search, the setting it chose, its confirm runs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.execution.engines import Rehearsal
from harness.execution.plan import Cell, Plan
from harness.records.files import RecordsError
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder, RunResult
from harness.spec import ResolvedStudy, Run


@dataclass(frozen=True)
class Trial:
    """A finished trial as a search sees it; the validation accuracy of one that has not completed means nothing."""

    number: int
    values: Mapping[str, Any]
    status: str
    score: float | None


def chosen(history: Sequence[Trial]) -> Trial | None:
    """The trial with the best validation accuracy, the earliest among equals; None when none completed."""
    scored = [trial for trial in history if trial.status == "completed" and trial.score is not None]
    return max(scored, key=lambda trial: (trial.score, -trial.number), default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A run that has a result."""

    cell: Cell
    run: Run
    result: RunResult
    runs: Path  # where the run folders lie
    chosen: bool = False  # for a trial: whether its setting is the one that is confirmed

    @property
    def folder(self) -> RunFolder:
        """Made when it is asked for: a study has tens of thousands of these."""
        return RunFolder(self.runs / self.run.digest)


class CellProgress:
    """Follows one cell from trial to trial and then through its confirm runs; knows what the run folders tell."""

    def __init__(self, study: ResolvedStudy, cell: Cell, runs: Path, known: dict[str, RunResult] | None = None) -> None:
        """`runs`: where the run folders lie, which are only read; `known`: results by digest, not read again."""
        self.cell = cell
        self.damaged: dict[str, str] = {}  # what is wrong with a result, by digest; such a run counts as not done
        self.study, self._runs = study, runs
        self._known = {} if known is None else known
        self._trials: list[Finished] = []
        self._confirmed: dict[int, Finished] = {}
        self._to_try: Run | None = None

    def catch_up(self) -> None:
        """Look for the results of the runs that can be trained now. Trials of a cell come one after the other."""
        while not self.is_tuned:
            if not self._take_in(self._next_trial()):
                return
        for run in list(self._unconfirmed.values()):
            self._take_in(run)

    def ended(self, run: Run, result: RunResult) -> None:
        """Take in the result that a run has left."""
        self._known[run.digest] = result
        if self._take_in(run) and run.trial is not None:
            self.catch_up()  # what comes next may have a result from an earlier launch

    def next_run(self, under_way: Collection[str]) -> Run | None:
        """The first run that can be trained now and is not among the digests `under_way`; reads no files."""
        runs = self._unconfirmed if self.is_tuned else {self._next_trial().digest: self._next_trial()}
        return next((run for digest, run in runs.items() if digest not in under_way), None)

    @property
    def is_tuned(self) -> bool:
        """Whether every trial of the search has a result."""
        return len(self._trials) == self.cell.trials

    @property
    def remaining(self) -> int:
        """Training images still to be seen: a measure of the work that is left in this cell."""
        left = (self.cell.trials - len(self._trials)) * self.cell.trial_updates
        left += (len(self.cell.seeds) - len(self._confirmed)) * self.cell.recipe.total_updates
        return left * self.cell.recipe.batch_size

    def finished(self) -> Iterator[Finished]:
        """Every run of the cell that has a result: trials in order, then confirm runs by seed."""
        best = chosen(self._history) if self.is_tuned else None
        for item in self._trials:
            yield replace(item, chosen=best is not None and item.run.trial == best.number)
        for seed in self.cell.seeds:
            if seed in self._confirmed:
                yield self._confirmed[seed]

    def folder_of(self, run: Run) -> RunFolder:
        return RunFolder(self._runs / run.digest)

    @property
    def _history(self) -> list[Trial]:
        done = [(item.run.values, item.result.status, item.result.validation_accuracy) for item in self._trials]
        return [Trial(number, *each) for number, each in enumerate(done)]

    def _next_trial(self) -> Run:
        if self._to_try is None:
            values = self.cell.own_values
            if self._trials and self.cell.parameters:
                from harness.execution.optuna_search import propose

                space = self.study.search.space_of(self.cell.arm)
                values = propose(self.study.search, space, self.study.name, self._history)
            self._to_try = self.cell.trial(len(self._trials), values)
        return self._to_try

    @cached_property
    def _unconfirmed(self) -> dict[str, Run]:
        """Confirm runs without a result by digest, by seed: of the best trial's setting, else the recipe's own."""
        best = chosen(self._history)
        runs = [self.cell.confirm(seed, best.values if best else self.cell.own_values) for seed in self.cell.seeds]
        return {run.digest: run for run in runs}

    def _take_in(self, run: Run) -> bool:
        """Keep the result of a run, which is the next trial or unconfirmed; False where it has none."""
        try:
            result = self._known.get(run.digest) or self.folder_of(run).result()
        except RecordsError as error:
            self.damaged[run.digest], result = str(error), None
        if result is None:
            return False
        item = Finished(cell=self.cell, run=run, result=result, runs=self._runs)
        if run.trial is None:
            self._confirmed[run.config.seed] = item
            self._unconfirmed.pop(run.digest, None)
        else:
            self._trials.append(item)
            self._to_try = None
        return True


def open_cells(plan: Plan, folder: Path, known: Mapping[str, RunResult] | None = None) -> list[CellProgress]:
    """The progress of each cell, as far as the run folders tell; reads only, and no result that is `known`."""
    shared = dict(known or {})
    cells = [CellProgress(plan.study, cell, StudyFolder(folder).runs, shared) for cell in plan.cells]
    for cell in cells:
        cell.catch_up()
    return cells


def rehearsals(cells: Collection[CellProgress], again: Collection[Finished]) -> list[Rehearsal]:
    """What is tried before runs: of each cell with runs to train, or with one of those `again`, its smallest batch."""
    repeated, tried = {item.cell.key for item in again}, []
    for progress in cells:
        cell = progress.cell
        if progress.remaining or cell.key in repeated:
            config = cell.confirm(0, cell.own_values).config
            recipe = replace(config.recipe, batch_size=progress.study.smallest_part(cell.arm), accumulate=1)
            tried.append(Rehearsal(arm=cell.arm.name, config=replace(config, recipe=recipe), facts=cell.facts))
    return tried

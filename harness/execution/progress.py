"""How far each cell of a study is: its search, the setting it chose, its confirm runs."""

from collections.abc import Iterator
from pathlib import Path

from harness.execution.collect import Finished
from harness.execution.plan import Cell
from harness.execution.tuning import Trial, chosen, mirror, propose, rungs
from harness.records.files import RecordsError
from harness.records.runs import RunFolder, RunResult
from harness.spec import ResolvedStudy, Run, Rung
from harness.spec.recipe import evaluation_points


class CellProgress:
    """Follows one cell from trial to trial and then through its confirm runs.

    All that it knows comes from the run folders: a search that was interrupted goes on where it stopped.
    """

    def __init__(self, study: ResolvedStudy, cell: Cell, work: Path) -> None:
        """`work`: the study's work folder, which is only read."""
        self.cell = cell
        self.damaged: dict[str, str] = {}
        """What is wrong with a run's result, by digest; such a run counts as not done."""
        self._study = study
        self._space = study.search.space_of(cell.arm)
        self._work = work
        self._trials: list[Finished] = []
        self._confirmed: dict[int, Finished] = {}
        self._next_trial: Run | None = None

    def ready(self) -> list[Run]:
        """The runs that can be trained now and have no result yet. Trials of a cell come one after the other."""
        while not self.is_tuned:
            run = self._next_trial or self._propose()
            self._next_trial = run
            result = self._result_of(run)
            if result is None:
                return [run]
            self._trials.append(Finished(cell=self.cell, run=run, result=result, folder=self.folder_of(run)))
            self._next_trial = None
        runs = [self.cell.confirm(seed, self.values) for seed in self.cell.seeds]
        missing = []
        for run in runs:
            if run.config.seed in self._confirmed:
                continue
            result = self._result_of(run)
            if result is None:
                missing.append(run)
            else:
                self._confirmed[run.config.seed] = Finished(
                    cell=self.cell, run=run, result=result, folder=self.folder_of(run)
                )
        return missing

    @property
    def is_tuned(self) -> bool:
        """Whether every trial of the search has a result."""
        return len(self._trials) == self.cell.trials

    @property
    def search_name(self) -> tuple[str, str, int]:
        """Study, arm and training size: what a search is called, and what its proposals follow from."""
        return (self._study.name, *self.cell.key)

    def keep_search(self, storage: str) -> None:
        """Mirror the finished trials into an Optuna database, for Optuna's own tools."""
        study, (arm, size) = self._study, self.cell.key
        mirror(storage, f"{study.name} · {study.scale} · {arm} · {size}", self._space, self._history())

    @property
    def values(self) -> dict[str, object]:
        """The chosen setting of the nuisance parameters: the best trial's, or the recipe's own without a search."""
        best = chosen(self._history())
        return dict(best.values) if best else self.cell.own_values

    @property
    def remaining(self) -> int:
        """Training images still to be seen: a measure of the work that is left in this cell."""
        updates = self.cell.recipe.updates or 0
        left = (self.cell.trials - len(self._trials)) * self.cell.trial_updates
        left += (len(self.cell.seeds) - len(self._confirmed)) * updates
        return left * self.cell.recipe.batch_size

    def finished(self) -> Iterator[Finished]:
        """Every run of the cell that has a result: trials in order, then confirm runs by seed."""
        best = chosen(self._history()) if self.is_tuned else None
        for item in self._trials:
            is_chosen = best is not None and item.run.trial == best.number
            yield Finished(cell=item.cell, run=item.run, result=item.result, folder=item.folder, chosen=is_chosen)
        for seed in self.cell.seeds:
            if seed in self._confirmed:
                yield self._confirmed[seed]

    def folder_of(self, run: Run) -> RunFolder:
        return RunFolder(self._work / "runs" / run.digest)

    def _history(self) -> list[Trial]:
        return [
            Trial(
                number=number,
                values=item.run.values,
                status=item.result.status,
                score=item.result.validation_accuracy if item.result.status == "completed" else None,
                curve=self._curve(item) if self._study.search.pruning else {},
            )
            for number, item in enumerate(self._trials)
        ]

    def _propose(self) -> Run:
        number, history = len(self._trials), self._history()
        stops: tuple[Rung, ...] = ()
        if self._study.search.pruning:
            stops = rungs(sorted(evaluation_points(self.cell.trial_recipe)), history)
        if number == 0 or not self._space:
            return self.cell.trial(number, self.cell.own_values, stops)
        return self.cell.trial(number, propose(self._study.search, self._space, self._study.name, history), stops)

    def _curve(self, item: Finished) -> dict[int, float]:
        events = item.folder.journal()
        return {event["update"]: event["validation_accuracy"] for event in events if event["event"] == "evaluated"}

    def _result_of(self, run: Run) -> RunResult | None:
        try:
            return self.folder_of(run).result()
        except RecordsError as error:
            self.damaged[run.digest] = str(error)
            return None

"""How far each cell of a study is: its searches, the settings that they chose, its confirm runs."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.execution.engines import Rehearsal
from harness.execution.plan import Cell, Plan
from harness.records.files import RecordsError
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder, RunResult
from harness.spec import ResolvedStudy, Run, Space
from harness.spec.search import Setting, at_edge, beyond, round_beyond, widened

Again = Callable[[RunResult], str]


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
    chosen: bool = False  # for a trial: whether its setting is one that is confirmed
    at_edge: tuple[str, ...] = ()  # parameters of a chosen trial on an edge of what its search has tried

    @property
    def folder(self) -> RunFolder:
        """Made when it is asked for: a study has tens of thousands of these."""
        return RunFolder(self.runs / self.run.digest)


class SearchProgress:
    """Follows one of a cell's searches: its trials so far, those that can be trained now, the setting it chooses."""

    def __init__(self, study: ResolvedStudy, cell: Cell, number: int) -> None:
        self.number, self.runs = number, list[Run]()  # the trials that are known, by number: trial 0 first
        self._study, self._cell = study, cell
        self._space, self._rounds = study.search.space_of(cell.arm), 0
        self._results: dict[str, RunResult] = {}
        self._go_on()

    def take_in(self, run: Run, result: RunResult) -> None:
        """Take in the result of one of its trials; what comes next may follow from it."""
        self._results[run.digest] = result
        self._go_on()

    @property
    def to_train(self) -> list[Run]:
        """Trials that can be trained now, by number; none where the search has ended."""
        return [run for run in self.runs if run.digest not in self._results]

    @property
    def best(self) -> Run | None:
        """The trial whose setting is confirmed; None while the search goes on, and where no trial completed."""
        found = None if self.to_train else chosen(self.history)
        return None if found is None else self.runs[found.number]

    @property
    def history(self) -> list[Trial]:
        """The trials that are known, those without a result as `planned`."""
        done = [(run.values, self._results.get(run.digest)) for run in self.runs]
        told = [(values, of.status, of.validation_accuracy) if of else (values, "planned", None) for values, of in done]
        return [Trial(number, *each) for number, each in enumerate(told)]

    @property
    def ranges(self) -> Space:
        """The ranges with what was tried beyond their edges."""
        return widened(self._space, (run.values for run in self.runs[self._cell.trials :]))

    def _go_on(self) -> None:
        """Add the trials that follow from what is known."""
        search, cell = self._study.search, self._cell
        if cell.trials and not self.runs:
            self.runs.append(cell.trial(0, cell.own_values, self.number))
        while len(self.runs) < cell.trials and (search.sampler == "qmc" or not self.to_train):
            from harness.execution.optuna_search import propose

            values = propose(search, self._space, self._study.name, self.history, self.number)
            self.runs.append(cell.trial(len(self.runs), values, self.number))
        while self._rounds < search.widenings and not self.to_train and (best := chosen(self.history)) is not None:
            own, count = (
                Setting(cell.arm.model, self._study.recipe_of(cell.arm)),
                round_beyond(cell.trials, self._space),
            )
            found = beyond(own, self.ranges, best.values, count)
            self._rounds = self._rounds + 1 if found else search.widenings
            self.runs += [cell.trial(len(self.runs) + k, values, self.number) for k, values in enumerate(found)]


class CellProgress:
    """Follows one cell from trial to trial and then through its confirm runs; knows what the run folders tell."""

    def __init__(
        self,
        study: ResolvedStudy,
        cell: Cell,
        runs: Path,
        known: dict[str, RunResult] | None = None,
        again: Again = lambda result: "",
    ) -> None:
        """`runs`: where the run folders lie, only read; `known`: results by digest; `again`: see `open_cells`."""
        self.cell, self._again = cell, again
        self.damaged: dict[str, str] = {}  # what is wrong with a result, by digest; such a run counts as not done
        self.study, self._runs = study, runs
        self._known = {} if known is None else known
        self.searches = [SearchProgress(study, cell, number) for number in range(cell.searches)]
        self._trials, self._confirmed = dict[str, Finished](), dict[int, Finished]()  # by digest, by seed
        self._to_train: dict[str, Run] = {}  # what can be trained now and has no result, by digest
        self._open_up()

    def catch_up(self) -> None:
        """Look for the results of the runs that can be trained now, and of those that follow from them."""
        self._look_at(list(self._to_train.values()))

    def ended(self, run: Run, result: RunResult) -> None:
        """Take in the result that a run has left."""
        self._known[run.digest] = result
        self._look_at([run])  # what comes next may have a result from an earlier launch

    def next_run(self, under_way: Collection[str]) -> Run | None:
        """The first run that can be trained now and is not among the digests `under_way`; reads no files."""
        return next((run for digest, run in self._to_train.items() if digest not in under_way), None)

    @property
    def planned(self) -> int:
        """Runs in all, as far as is known: trials beyond the edges of ranges count from when they are due."""
        known = (max(self.cell.trials, len(search.runs)) for search in self.searches)
        return sum(known) + len(self.cell.seeds)

    @property
    def remaining(self) -> int:
        """Training images still to be seen: a measure of the work that is left in this cell."""
        confirms = len(self.cell.seeds) - len(self._confirmed)
        trials = self.planned - len(self.cell.seeds) - len(self._trials)
        return trials * self.cell.trial_images + confirms * self.cell.recipe.total_images

    def finished(self) -> Iterator[Finished]:
        """Every run of the cell that has a result: trials by search, then confirm runs by seed."""
        best = {run.digest: search for search in self.searches if (run := search.best) is not None}
        for item in sorted(self._trials.values(), key=lambda item: (item.run.search or 0, item.run.trial)):
            ranges = best[item.run.digest].ranges if item.run.digest in best else None
            yield item if ranges is None else replace(item, chosen=True, at_edge=at_edge(ranges, item.run.values))
        for seed in self.cell.seeds:
            if seed in self._confirmed:
                yield self._confirmed[seed]

    def folder_of(self, run: Run) -> RunFolder:
        return RunFolder(self._runs / run.digest)

    def _open_up(self) -> list[Run]:
        """Find what can be trained now; gives what could not be before. Trials go first, by number."""
        runs = [run for search in self.searches for run in search.to_train]
        runs.sort(key=lambda run: run.trial or 0)
        for place, seed in enumerate(self.cell.seeds):
            search = self.searches[place % len(self.searches)]
            if not search.to_train and seed not in self._confirmed:
                runs.append(self._confirm(seed, search))
        before, self._to_train = self._to_train, {run.digest: run for run in runs}
        return [run for digest, run in self._to_train.items() if digest not in before]

    def _confirm(self, seed: int, search: SearchProgress) -> Run:
        """The confirm run of a seed: of the best trial's setting, else the recipe's own."""
        values = self.cell.own_values if search.best is None else search.best.values
        return self.cell.confirm(seed, values, search.number)

    def _look_at(self, runs: Sequence[Run]) -> None:
        """Take in the results that these runs, which can be trained now, have, and those of what follows from them."""
        while runs:
            taken = [run for run in runs if self._take_in(run)]
            runs = self._open_up() if any(run.trial is not None for run in taken) else ()

    def _take_in(self, run: Run) -> bool:
        """Keep the result of a run that can be trained now; False where it has none."""
        try:
            known = self._known.get(run.digest)
            result = known or self.folder_of(run).result()
        except RecordsError as error:
            self.damaged[run.digest], known, result = str(error), None, None
        if result is not None and known is None and (reason := self._again(result)):
            self.damaged[run.digest], result = reason, None
        if result is None:
            return False
        item = Finished(cell=self.cell, run=run, result=result, runs=self._runs)
        self._to_train.pop(run.digest, None)
        if run.trial is None:
            self._confirmed[run.config.seed] = item
        else:
            self._trials[run.digest] = item
            self.searches[run.search or 0].take_in(run, result)
        return True


def open_cells(
    plan: Plan, folder: Path, known: Mapping[str, RunResult] | None = None, again: Again = lambda result: ""
) -> list[CellProgress]:
    """The progress of each cell, as far as the run folders tell; reads only, and no result that is `known`.

    `again`: why a result that is not known does not stand, as a sentence; empty where it does.
    """
    shared = dict(known or {})
    cells = [CellProgress(plan.study, cell, StudyFolder(folder).runs, shared, again) for cell in plan.cells]
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

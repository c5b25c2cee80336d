"""The mirror of the searches in the Optuna storage that PATCHBENCH_SEARCHES names: a study of Optuna's for each search.

Nothing is read back from it: a search goes on from the records alone.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.execution.plan import make_plan
from harness.execution.progress import CellProgress, SearchProgress, Trial, open_cells
from harness.records.files import RecordsError, sha256
from harness.records.runs import RunFolder
from harness.spec import ResolvedStudy, Run, Space, canonical_json
from harness.spec.formats import counted
from harness.tracking.background import Background, OutOfTimeError
from harness.tracking.databases import SEARCHES, Database, key_of, named_database
from harness.tracking.store import Say

if TYPE_CHECKING:
    import optuna

CLOSE_SECONDS = 10.0  # what the end of a launch waits for it, at most


@dataclass(frozen=True, kw_only=True)
class _Search:
    """One search as it is now, for another thread."""

    title: str
    identity: str  # of what it searches, whatever it has tried
    space: Space
    ended: tuple[tuple[Trial, Run, RunFolder], ...]


class SearchMirror(Background):
    """Shows the trials of a launch as they end, else those that `close` makes up; idle where no storage is named."""

    def __init__(self, cells: Iterable[CellProgress], *, results: Path, say: Say, is_launch: bool = True) -> None:
        self._database, self._results = named_database(SEARCHES), results
        shown = self._database.shown if self._database else ""
        super().__init__("The database of the searches", shown, say, is_launch=is_launch)
        self._key, self._storage = "", None  # Optuna's, once it is open
        self._searches: dict[str, _Search] = {}  # by identity
        self._shown: dict[str, int] = {}  # trials of each search that are known to be there
        self.added = 0
        if self._database is None:
            self._is_whole = True
            self._ended.set()
        else:
            for cell in cells:
                self.changed(cell)
            self._begin()

    def changed(self, cell: CellProgress) -> None:
        """A trial of this cell may have ended; returns at once."""
        if self._database is not None:
            self._searches |= {found.identity: found for of in cell.searches if (found := _look_at(cell, of))}
            self._wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(CLOSE_SECONDS)

    def _work(self) -> None:
        super()._work()
        self._let_go()

    def _let_go(self) -> None:
        if self._storage is not None:
            self._storage.engine.dispose()

    def _pass(self, *, closing: bool) -> None:
        """Add the trials that lack, those of all searches once the storage was opened (again)."""
        assert self._database is not None
        if not self._is_open:
            self._let_go()
            self._key, self._storage, self._shown = key_of(self._results), _open(self._database), {}
            self._is_open = True
        for identity, search in list(self._searches.items()):
            if self._shown.get(identity) != len(search.ended):
                with _plain_errors():
                    self._bring_up(self._database, search)
                self._shown[identity] = len(search.ended)

    def _bring_up(self, database: Database, search: _Search) -> None:
        import optuna

        identity = sha256(f"{self._key} {search.identity}".encode())[:8]
        with database.opening():  # another process may make up the same
            study = optuna.create_study(
                storage=self._storage,
                study_name=f"{search.title} · {identity}",
                direction="maximize",
                load_if_exists=True,
            )
            there = {(of.user_attrs.get("digest"), of.values and of.value) for of in study.get_trials(deepcopy=False)}
            for trial, run, folder in search.ended:
                made = _frozen(trial, run, folder, search.space)
                if (run.digest, made.values and made.value) not in there:
                    if time.monotonic() > self._deadline:
                        raise OutOfTimeError
                    study.add_trial(made)
                    self.added += 1


def make_up(study: ResolvedStudy, folder: Path, *, results: Path, say: Say, limit: float) -> int | None:
    """Add to the storage what it lacks, in `limit` seconds; how many trials, None where no storage is named."""
    if named_database(SEARCHES) is None:
        return None
    mirror = SearchMirror(open_cells(make_plan(study), folder), results=results, say=say, is_launch=False)
    mirror.close(limit)
    return mirror.added


def _look_at(cell: CellProgress, search: SearchProgress) -> _Search | None:
    """A search that has begun."""
    if not search.runs:
        return None
    study, (arm, size) = cell.study, cell.cell.key
    title = f"{study.name}/{study.scale} · {arm} · {counted(size, 'image')}"
    title += f" · search {search.number}" if cell.cell.searches > 1 else ""
    what = [title, search.runs[0].digest, study.search.space_of(cell.cell.arm), study.search.sampler]
    trials = zip(search.history, search.runs, strict=True)
    ended = tuple((trial, run, cell.folder_of(run)) for trial, run in trials if trial.status != "planned")
    return _Search(title=title, identity=sha256(canonical_json(what).encode()), space=search.ranges, ended=ended)


def _open(database: Database) -> Any:
    """Optuna's storage there; its tables are made where they lack."""
    import optuna

    with _plain_errors(), database.opening():
        return optuna.storages.RDBStorage(database.bounded)


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """The database's own error instead of the one that Optuna wraps it in."""
    import optuna

    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise error.__cause__ or error from None


def _frozen(trial: Trial, run: Run, folder: RunFolder, space: Space) -> "optuna.trial.FrozenTrial":
    """A trial as Optuna shows it: with the validation accuracy by update, and when it was trained."""
    import optuna

    from harness.execution.optuna_search import frozen

    scored = replace(trial, score=trial.score if trial.status == "completed" else None)
    made = frozen(scored, space, optuna.trial.TrialState.FAIL)
    outside = {key: value for key, value in trial.values.items() if key not in made.params}
    made.user_attrs = {"trial": trial.number, "digest": run.digest, "status": trial.status, **outside}
    with contextlib.suppress(RecordsError):  # the result is whole; only its curve is lost
        events = folder.journal()
        if events:
            made.datetime_start = datetime.fromtimestamp(events[0]["time"] / 1000 - events[0].get("seconds", 0))
            made.datetime_complete = datetime.fromtimestamp(events[-1]["time"] / 1000)
        made.intermediate_values = {
            event["update"]: event["validation_accuracy"]
            for event in events
            if event["event"] == "evaluated" and event.get("validation_accuracy") is not None
        }
    return made

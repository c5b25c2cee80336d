"""Fewer seeds and searches at the largest training sizes: what is trained, counted, verified and extended."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from finished_study import finish, run_in, tables_only
from tiny_studies import SPACE, tiny_study

from harness.execution.plan import make_plan
from harness.execution.verify import verify
from harness.records.status import read_status
from harness.spec import Search

STUDY = tiny_study(
    train_sizes=(60, 120), long_from=120, long_seeds=2, search=Search(space=SPACE, trials=2, repeats=3, sampler="qmc")
)


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    with tables_only():
        yield


def test_the_plan_has_fewer_searches_and_seeds_where_trainings_are_long() -> None:
    plan = make_plan(STUDY)
    assert {cell.key[1]: (cell.searches, cell.seeds) for cell in plan.cells} == {60: (3, (0, 1, 2)), 120: (2, (0, 1))}
    assert plan.runs == 2 * (3 * 2 + 3) + 2 * (2 * 2 + 2)


@pytest.mark.slow
def test_the_study_is_whole_with_them_and_more_are_added_to_what_is_there(tmp_path: Any) -> None:
    kept = finish(tmp_path, STUDY)
    runs, trials = kept.records.runs, kept.records.trials
    assert Counter(runs["train_size"]) == {60: 6, 120: 4}
    assert Counter(trials["train_size"]) == {60: 12, 120: 8}
    assert set(runs[runs["train_size"] == 120]["search"]) == {0, 1}
    status = read_status(kept.folder)
    assert (status.planned, status.statuses) == (30, {"completed": 30})
    assert verify(kept.folder).faults == ()
    witness, records = run_in(kept.folder, replace(STUDY, long_seeds=3))
    assert len(witness.trained) == 2 * (2 + 1)
    now = records.runs
    assert Counter(now["train_size"]) == {60: 6, 120: 6}
    assert set(runs["digest"]) <= set(now["digest"])

"""What the bench says of a study's time adds up, and its synthetic records are records like any other."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.overhead import RunTimes, by_cause, times_of
from harness.bench.synthetic import Shape, synthetic_study, write_study_records
from harness.execution.plan import make_plan
from harness.execution.results import rebuild
from harness.execution.verify import verify
from harness.records.runs import RunFolder
from harness.training.perform import perform
from harness.training.settings import WorkerSettings


def run(began: float, ended: float) -> RunTimes:
    """Half of a run's time in updates, a quarter in evaluations, an eighth before the first update."""
    span = ended - began
    return RunTimes(began=began, ended=ended, stepping=span / 2, evaluating=span / 4, starting=span / 8)


def test_every_second_of_every_worker_has_one_cause() -> None:
    # Two workers from 0 to 20: one trains 2-6 and 7-15, the other 3-9.
    seconds = by_cause([run(2, 6), run(3, 9), run(7, 15)], began=0, ended=20, workers=2)
    assert seconds == pytest.approx(
        {
            "updates": 9,
            "evaluation": 4.5,
            "start of workers, data, model": 2.25,
            "journal, checkpoints, predictions, result": 2.25,
            "coordinator between runs": 1 + 1,
            "no run left": 6,
            "imports, data check and plan before the first run": 4,
            "tables, report and mirror after the last run": 10,
        }
    )


@given(st.integers(1, 4), st.lists(st.tuples(st.floats(0, 3), st.floats(0.5, 9)), min_size=1, max_size=20))
def test_the_causes_add_up_to_the_time_of_all_workers(workers: int, spans: list[tuple[float, float]]) -> None:
    free, runs = [5.0] * workers, []
    for wait, length in spans:
        at = free.index(min(free))
        began = max(free[at] + wait, runs[-1].began if runs else 0.0)
        runs.append(run(began, began + length))
        free[at] = began + length
    random.Random(0).shuffle(runs)
    seconds = by_cause(runs, began=0.0, ended=300.0, workers=workers)
    assert sum(seconds.values()) == pytest.approx(300 * workers)
    assert all(spent >= -1e-9 for spent in seconds.values())


def test_the_times_of_a_training_lie_within_it(tmp_path) -> None:
    study = synthetic_study(Shape(arms=2, sizes=1, seeds=1))
    study = replace(study, recipe=replace(study.recipe, updates=20, evaluations=4))
    planned = make_plan(study).cells[0].confirm(0, {})
    folder = RunFolder(tmp_path / planned.digest)
    perform(planned, folder, WorkerSettings(device="cpu", threads=torch.get_num_threads()))
    times = times_of(folder)
    assert times.stepping > 0
    assert times.evaluating > 0
    assert times.starting > 0
    # The journal's times are whole milliseconds, a file's time of change is the kernel's last tick.
    assert times.stepping + times.evaluating + times.starting < times.ended - times.began + 0.1


def test_synthetic_records_are_reported_and_verified(tmp_path) -> None:
    shape = Shape(arms=3, sizes=2, seeds=3, trials=2)
    folder = write_study_records(tmp_path, shape, images=200)
    findings = rebuild(folder, print)
    assert findings.gaps == ()
    assert len(findings.arms) == 6
    assert verify(folder).faults == ()

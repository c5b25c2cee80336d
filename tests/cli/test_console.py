"""What a person is told while a study runs: counts by arm, speed and time left, against a clock that the tests turn."""

import io
import re
from dataclasses import dataclass, replace

import pytest
from rich.console import Console

from harness.console import Progress
from harness.execution.plan import make_plan
from harness.records.runs import RunResult
from harness.spec import Arm, DataSpec, LogUniform, Recipe, ResNetSpec, ResolvedStudy, Search, ViTSpec

STUDY = ResolvedStudy(
    name="tiny",
    scale="smoke",
    question="Does it work?",
    source="a test",
    factor="patch_size",
    data=DataSpec(source="digits", train_size=100),
    recipe=Recipe(updates=200, batch_size=16, precision="fp32"),
    baseline=Arm("ResNet", ResNetSpec(depth=8, width=4)),
    arms=(Arm("ViT/4", ViTSpec(patch_size=4, width=16, depth=1, heads=2), level=4),),
    seeds=(0, 1, 2, 3, 4),
    search=Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-1)}, trials=4, updates=100),
)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def watched(study=STUDY, *, terminal=False, quiet=False, done=0, workers=None):
    """A Progress that follows a study, its clock, what it prints, and the runs of its first cell."""
    clock, out = Clock(), io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None, quiet=quiet, _environ={})
    progress = Progress(console, workers=workers, clock=clock)
    plan = make_plan(study)
    runs = [run for cell in plan.cells for run in runs_of(cell)]
    progress.planned(plan, runs[:done])
    return progress, clock, out, runs


def runs_of(cell):
    trials = [cell.trial(number, {"learning_rate": 1e-3 * (number + 1)}) for number in range(cell.trials)]
    return [*trials, *(cell.confirm(seed, {"learning_rate": 1e-3}) for seed in cell.seeds)]


def result(run, status="completed", **fields):
    images = 0 if status == "failed" else run.config.recipe.updates * run.config.recipe.batch_size
    return RunResult(digest=run.digest, status=status, **({"images_seen": images, "reason": "of a test"} | fields))


def shown(progress):
    out = io.StringIO()
    Console(file=out, width=120, color_system=None, _environ={}).print(progress.display())
    return out.getvalue()


def carry_out(progress, clock, run, seconds, status="completed"):
    progress.started(run)
    clock.now += seconds
    progress.ended(run, result(run, status))


def test_the_first_line_says_what_is_to_do():
    *_, out, _ = watched()
    images = 2 * (4 * 100 + 5 * 200) * 16
    assert out.getvalue() == f"tiny at scale smoke: 18 runs, {images:,} images to train on\n"
    *_, out, _ = watched(done=5)
    images -= (4 * 100 + 200) * 16
    assert out.getvalue() == f"tiny at scale smoke: 18 runs, {images:,} images to train on; 5 are done already\n"


def test_totals_count_runs_by_what_became_of_them():
    progress, clock, out, runs = watched()
    carry_out(progress, clock, runs[0], 16)
    carry_out(progress, clock, runs[1], 8)
    carry_out(progress, clock, runs[2], 8, "diverged")
    progress.started(runs[3])
    progress.ended(runs[3], None)  # an attempt without result will be made again
    assert progress.summary().startswith("3 of 18 runs done (1 diverged), 0 running, time left ")
    progress.started(runs[3])
    progress.started(runs[9])
    # 4800 images took 32 s; the other arm is taken to be as fast.
    assert progress.summary().startswith("3 of 18 runs done (1 diverged), 2 running, 300 images/s, time left ")
    assert "diverged: of a test\n" in out.getvalue()
    assert "tiny at scale smoke: 3 of 18 runs done" in shown(progress)
    assert f"{runs[3].label}: 0 of 100 updates" in shown(progress)
    progress.ended(runs[3], result(runs[3], "out_of_memory"))
    assert progress.summary().startswith("4 of 18 runs done (1 diverged, 1 out of memory), 1 running")


def test_no_time_left_is_told_before_a_speed_is_known():
    progress, clock, out, runs = watched()
    progress.started(runs[0])
    progress.started(runs[9])
    clock.now += 60  # data and libraries are loaded
    progress.beat(runs[0], 1)
    clock.now += 1
    progress.beat(runs[0], 2)
    assert progress.seconds_left() is None
    assert progress.summary() == "0 of 18 runs done, 2 running, time left not known yet"
    assert out.getvalue().splitlines()[1:] == [f"tiny at scale smoke: {progress.summary()}"]
    clock.now += 9
    progress.beat(runs[0], 101)
    # 100 updates of 16 images in 10 s, on two workers; the 60 s before are no part of it.
    assert progress.seconds_left() == pytest.approx((2 * (4 * 100 + 5 * 200) - 101) / 10 / 2, rel=0.1)
    assert ", 320 images/s, time left 2 min" in progress.summary()


def test_a_resumed_run_is_not_taken_for_a_fast_one():
    progress, clock, _, runs = watched()
    progress.started(runs[0])
    progress.beat(runs[0], 90)
    clock.now += 5
    progress.beat(runs[0], 95)
    left = (4 * 100 + 5 * 200) * 2 - 95
    assert progress.seconds_left() == pytest.approx(left)  # an update took a second
    clock.now += 5
    progress.ended(runs[0], result(runs[0], train_seconds=100.0))
    assert progress.seconds_left() == pytest.approx(left - 5)


def test_nothing_is_left_in_the_end():
    progress, clock, _, runs = watched(done=17)
    progress.started(runs[17])
    assert progress.seconds_left() is None
    clock.now += 10
    progress.ended(runs[17], result(runs[17]))
    assert progress.summary() == "18 of 18 runs done, 0 running, time left 0 s"


@dataclass
class Worker:
    run: object
    began: float
    seconds: float


def simulated(study, speeds, workers, start_seconds=1.0):
    """Time and time left told by it, every half second of a study whose runs take `speeds` seconds per image."""
    cells_at_once = len(make_plan(study).cells)
    progress, clock, _, _ = watched(study, workers=None if workers <= cells_at_once else workers)
    cells = [
        {"trials": [run for run in runs_of(cell) if run.trial is not None], "confirms": runs_of(cell)[cell.trials :]}
        for cell in make_plan(study).cells
    ]
    active: list[tuple[Worker, dict]] = []
    told = []

    def images(run):
        return run.config.recipe.updates * run.config.recipe.batch_size

    def remaining(cell):
        mine = [worker.run for worker, owner in active if owner is cell]
        return sum(map(images, [*cell["trials"], *cell["confirms"], *mine]))

    def following(cell):
        if any(owner is cell and worker.run.trial is not None for worker, owner in active):
            return None
        return next(iter(cell["trials"] or cell["confirms"]), None)

    while True:
        for worker, cell in list(active):
            passed = clock.now - worker.began
            if passed >= worker.seconds:
                active.remove((worker, cell))
                progress.ended(worker.run, result(worker.run))
            elif passed > start_seconds:
                share = (passed - start_seconds) / (worker.seconds - start_seconds)
                progress.beat(worker.run, int(share * worker.run.config.recipe.updates))
        while len(active) < workers:
            cell = max((cell for cell in cells if following(cell)), key=remaining, default=None)
            if cell is None:
                break
            run = following(cell)
            (cell["trials"] or cell["confirms"]).remove(run)
            active.append((Worker(run, clock.now, start_seconds + images(run) * speeds[run.arm]), cell))
            progress.started(run)
        if not active:
            return clock.now - 1000.0, told
        told.append((clock.now - 1000.0, progress.seconds_left()))
        clock.now += 0.5


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("speeds", [{"ResNet": 0.01, "ViT/4": 0.05}, {"ResNet": 0.04, "ViT/4": 0.01}])
@pytest.mark.parametrize("sizes", [(), (50, 100)])
def test_the_time_left_is_about_right_after_a_tenth_of_a_study_whose_arms_differ(workers, speeds, sizes):
    took, told = simulated(replace(STUDY, train_sizes=sizes), speeds, workers)
    later = [(at, left) for at, left in told if at >= took / 10]
    assert len(later) > 50
    for at, left in later:
        # Workers wait for trials at times, which makes a study longer than its work.
        assert left == pytest.approx(took - at, rel=0.2 if workers == 1 else 0.5, abs=took / 20), (
            f"after {at} s of {took} s"
        )


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_prints_nothing(terminal):
    progress, clock, out, runs = watched(terminal=terminal, quiet=True)
    with progress:
        for run in runs[:3]:
            progress.started(run)
            clock.now += 100
            progress.beat(run, 50)
            progress.note("a note")
            progress.ended(run, result(run, "failed"))
    assert out.getvalue() == ""


def test_lines_come_every_twenty_seconds_where_there_is_no_terminal():
    progress, clock, out, runs = watched()
    progress.started(runs[0])
    for update in range(1, 61):
        clock.now += 1
        progress.beat(runs[0], update)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1 + 3
    assert all(re.fullmatch(r"tiny at scale smoke: 0 of 18 runs done, 1 running, .*", line) for line in lines[1:])
    assert "time left 46 min 20 s" in lines[1]  # 16 images in a second, 2,780 updates


def test_runs_without_signs_of_life_are_told_of_too():
    progress, clock, out, runs = watched()
    carry_out(progress, clock, runs[0], 30)
    assert "1 of 18 runs done, 0 running, time left 13 min 30 s" in out.getvalue()


def test_a_terminal_shows_the_totals_while_it_runs():
    progress, clock, out, runs = watched(terminal=True)
    with progress:
        carry_out(progress, clock, runs[0], 16)
        progress._live.refresh()
    assert "tiny at scale smoke: 1 of 18 runs done" in out.getvalue()


def test_markup_in_names_and_notes_is_text():
    name = "[bold]B[/bold] [/red]"
    study = replace(STUDY, name="[red]tiny", arms=(replace(STUDY.arms[0], name=name),))
    progress, clock, out, runs = watched(study)
    carry_out(progress, clock, runs[9], 30, "diverged")
    progress.started(runs[10])
    progress.note("see [link] [/b]")
    for text in (shown(progress), out.getvalue()):
        assert name in text
        assert "[red]tiny at scale smoke" in text
    assert out.getvalue().count("[red]tiny at scale smoke: ") == 2  # the first line, and one after half a minute
    assert "see [link] [/b]\n" in out.getvalue()


def test_trials_beyond_an_edge_are_reckoned_with_when_they_begin():
    search = replace(STUDY.search, widenings=1)
    progress, clock, out, runs = watched(replace(STUDY, search=search))
    assert "18 runs (at most 22), " in out.getvalue()
    assert "0 of 18 runs done" in progress.summary()
    cell = make_plan(replace(STUDY, search=search)).cells[0]
    carry_out(progress, clock, runs[0], 10.0)
    carry_out(progress, clock, cell.trial(cell.trials, {"learning_rate": 0.5}), 10.0)
    assert "2 of 19 runs done" in progress.summary()
    for run in runs[1:]:
        carry_out(progress, clock, run, 10.0)
    assert "19 of 19 runs done" in progress.summary()
    assert progress.seconds_left() == 0


def test_the_latest_validation_accuracy_stands_beside_each_training():
    progress, clock, out, runs = watched()
    progress.started(runs[0])
    progress.started(runs[9])
    progress.evaluated(runs[0], 0.5)
    progress.evaluated(runs[0], 0.877)
    lines = shown(progress).splitlines()
    assert lines[1] == f"  {runs[0].label}: 0 of 100 updates, validation accuracy 87.7%"
    assert lines[2].endswith("updates")
    clock.now += 60
    progress.beat(runs[0], 50)
    assert " ".join(out.getvalue().split()).endswith(f"; validation accuracy: {runs[0].label} 87.7%")

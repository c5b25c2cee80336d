"""What the harness adds to training: where a study's time goes, and how long its commands take.

Every command runs in a fresh process, as it does for a user, with data already in the cache.
"""

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.bench.synthetic import Shape, write_study_records
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder

_STUDY = """
from dataclasses import replace

from harness.spec import Arm, Scale, Search, Study
from studies import _recipes as r

STUDY = Study(
    question="Where does the time of a study go?", source="the bench", factor="architecture",
    scales={{
        "laptop": Scale(
            data=r.{data}, recipe=replace(r.{recipe}, updates={updates}), baseline=Arm("ResNet-8", r.{resnet}),
            arms=(Arm("ViT", r.{vit}),), seeds=(0, 1, 2), search=Search(trials=0),
        )
    }},
)
"""

_UNTIL_FIRST_UPDATE = """
import os, signal, sys, time
from pathlib import Path
from harness.__main__ import main
from harness.console import Progress

told = Path(sys.argv.pop(1))

def beat(self, run, update):
    told.write_text(str(time.time()))
    os.kill(os.getpid(), signal.SIGINT)

Progress.beat = beat
main()
"""
"""The command line, until the coordinator hears of an update; it writes the time into the file named first."""

_LAPTOP = {"data": "FASHION_MNIST", "recipe": "LAPTOP", "resnet": "RESNET8", "vit": "VIT_XS"}
_SMOKE = {"data": "DIGITS", "recipe": "SMOKE", "resnet": "RESNET_SMOKE", "vit": "VIT_SMOKE"}

_REPORTED = Shape(arms=10, sizes=10, seeds=5, trials=5)
"""The study of 1,000 runs whose report is timed."""

_TRAINING = ("updates", "evaluation", "no run left")
"""Causes that are no overhead."""


@dataclass(frozen=True, kw_only=True)
class RunTimes:
    """When one training of a study did what; seconds since 1970."""

    began: float
    """The coordinator wrote its configuration, the last thing before it starts the worker."""
    ended: float
    """Its result was written."""
    stepping: float
    """Seconds in updates: batches, augmentation, forward, backward, optimiser."""
    evaluating: float
    """Seconds in evaluations on validation, and on test."""
    starting: float
    """Seconds from `began` to the first update."""


def measure(settings: Settings) -> list[Row]:
    """Rows for a study's time by cause, the first update, the commands, and a report of 1,000 runs."""
    return [
        *study_shares(settings),
        *first_update(settings),
        *commands(settings),
        *report(settings),
    ]


def study_shares(settings: Settings) -> list[Row]:
    """A row per cause: its share (%) of the time that a study of six trainings had on its workers."""
    study, results = _study_file(settings, updates=60 if settings.quick else 1000), settings.folder / "shares"
    workers = settings.most_threads
    began = time.time()
    _command("--results", str(results), "run", str(study), "--scale", "laptop", "--workers", str(workers), "--quiet")
    ended = time.time()
    kept = StudyFolder(results / study.stem / "laptop").runs
    runs = [times_of(RunFolder(path)) for path in kept.iterdir()]
    seconds = by_cause(runs, began=began, ended=ended, workers=workers)
    overhead = sum(spent for cause, spent in seconds.items() if cause not in _TRAINING)
    whole = workers * (ended - began)
    details = {"trainings": len(runs), "seconds": round(ended - began, 1)}
    return [
        Row(
            part="overhead",
            what=f"share of a study: {cause}",
            contender="patchbench",
            value=100 * spent / whole,
            unit="%",
            threads=workers,
            details=details,
        )
        for cause, spent in {**seconds, "overhead in all": overhead}.items()
    ]


def by_cause(runs: Sequence[RunTimes], *, began: float, ended: float, workers: int) -> dict[str, float]:
    """Worker seconds of a study by cause; their sum is `workers` times (ended - began), seconds since 1970.

    `updates` are what is wanted, and `evaluation` belongs to a training too. `no run left` is a worker's time after
    its last training while another one still trains, which comes from runs of unequal length.
    """
    first, last = min(run.began for run in runs), max(run.ended for run in runs)
    free = [first] * workers  # since when each worker has had nothing to do
    between = 0.0
    for run in sorted(runs, key=lambda run: run.began):
        worker = max((at for at in range(workers) if free[at] <= run.began), key=lambda at: free[at], default=0)
        between += max(0.0, run.began - free[worker])
        free[worker] = run.ended
    inside = {
        "updates": sum(run.stepping for run in runs),
        "evaluation": sum(run.evaluating for run in runs),
        "start of workers, data, model": sum(run.starting for run in runs),
    }
    return {
        **inside,
        "journal, checkpoints, predictions, result": sum(run.ended - run.began for run in runs) - sum(inside.values()),
        "coordinator between runs": between,
        "no run left": sum(last - since for since in free),
        "imports, data check and plan before the first run": workers * (first - began),
        "tables, report and mirror after the last run": workers * (ended - last),
    }


def first_update(settings: Settings) -> list[Row]:
    """Seconds from `patchbench run` to the end of the first update of the first training."""
    study, found = _study_file(settings, updates=60), []
    for number in range(2 if settings.quick else 5):
        told, results = settings.folder / f"first-{number}", settings.folder / f"results-{number}"
        arguments = ["--results", str(results), "run", str(study), "--scale", "laptop", "--quiet"]
        began = time.time()
        command = [sys.executable, "-c", _UNTIL_FIRST_UPDATE, str(told), *arguments]
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603 (our own code)
        found.append(float(told.read_text()) - began)
    return [_timed("command to first update", found)]


def commands(settings: Settings) -> list[Row]:
    """Seconds of the commands that train nothing."""
    study = str(_study_file(settings, updates=60))
    results = ["--results", str(settings.folder / "commands")]
    listed = [_command(*results, "list") for _ in range(3 if settings.quick else 7)]
    planned = [_command(*results, "plan", study, "--scale", "laptop") for _ in range(1 if settings.quick else 3)]
    return [_timed("patchbench list", listed), _timed("patchbench plan", planned)]


def report(settings: Settings) -> list[Row]:
    """Seconds of a report and of `patchbench status` of a study of 1,000 runs, or of 40 for a quick look."""
    shape = Shape(arms=4, sizes=2, seeds=3, trials=2) if settings.quick else _REPORTED
    folder = write_study_records(settings.folder / "reported", shape, images=10_000)
    imported = "from pathlib import Path; from harness.execution.results import rebuild"
    rebuilt = f"{imported}; rebuild(Path({str(folder)!r}), print)"
    status = ("--results", str(folder.parents[1]), "status", folder.parent.name, "--scale", folder.name)
    rounds = 1 if settings.quick else 3
    return [
        _timed(f"report of {shape.runs:,} runs", [_python("-c", rebuilt) for _ in range(rounds)]),
        _timed(f"status of {shape.runs:,} runs", [_command(*status) for _ in range(rounds)]),
    ]


def times_of(folder: RunFolder) -> RunTimes:
    """What a completed run's records tell of its time: when config.json and result.json were written, the journal."""
    result = folder.result()
    assert result is not None
    assert result.train_seconds is not None
    events = [event for event in folder.journal() if event["event"] == "evaluated"]
    # Between two evaluations lie updates, whose seconds are known, and one evaluation.
    evaluation = statistics.median(
        (after["time"] - before["time"]) / 1000 - (after["seconds"] - before["seconds"])
        for before, after in pairwise(events)
    )
    tested = len(folder.predictions()[0]) / (result.eval_images_per_second or math.inf)
    began = folder.config_path.stat().st_mtime
    return RunTimes(
        began=began,
        ended=folder.result_path.stat().st_mtime,
        stepping=result.train_seconds,
        evaluating=evaluation * len(events) + tested,
        starting=events[0]["time"] / 1000 - events[0]["seconds"] - evaluation - began,
    )


def _study_file(settings: Settings, *, updates: int) -> Path:
    """A study file of two arms and three seeds with the recipe of the laptop scale, or of the smoke scale if quick."""
    path = settings.folder / f"shares_{updates}.py"
    path.write_text(_STUDY.format(updates=updates, **(_SMOKE if settings.quick else _LAPTOP)))
    return path


def _command(*arguments: str) -> float:
    """Seconds of a command of patchbench that must succeed."""
    return _python("-m", "harness", *arguments)


def _python(*arguments: str) -> float:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)  # noqa: S603 (ours)
    if done.returncode:
        raise RuntimeError(
            f"python {' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr[-2000:]}"
        )
    return time.perf_counter() - began


def _timed(what: str, seconds: Sequence[float]) -> Row:
    return Row(
        part="overhead",
        what=what,
        contender="patchbench",
        value=statistics.median(seconds),
        unit="s",
        best=min(seconds),
        details={"rounds": len(seconds)},
    )

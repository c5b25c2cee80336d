"""Tiny studies that have been run once, for tests that go on with copies of them or damage them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
from tiny_studies import SPACE, Witness, tiny_study

from harness.analysis import Findings
from harness.execution import publish, runner, verify
from harness.execution.runner import Options, run_study
from harness.records.files import write_json
from harness.records.run_table import StudyRecords
from harness.report import content, document
from harness.spec import ResolvedStudy, Search

STUDY = tiny_study(seeds=(0, 1), search=Search(space=SPACE, trials=2), test_shifts=(1,))
CLOCK = [
    "train_seconds",
    "train_images_per_second",
    "eval_images_per_second",
    "peak_memory_bytes",
    "eval_peak_memory_bytes",
]


@dataclass(frozen=True, repr=False)
class Kept:
    """A results folder and what it holds when nothing is damaged."""

    folder: Path
    """`results/tiny/smoke`."""
    records: StudyRecords
    witness: Witness
    """What was told of its first run."""

    @contextmanager
    def copy(self, *, work: bool = True) -> Iterator[Path]:
        """A copy of the study's folder, in a results folder of its own."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "results" / "tiny" / "smoke"
            shutil.copytree(self.folder, folder, ignore=None if work else shutil.ignore_patterns("work"))
            yield folder


@contextmanager
def without_mirrors() -> Iterator[None]:
    """No MLflow, whose database takes longer than a tiny study."""
    with patch.object(runner, "Mirror"):
        yield


def write_document(records: StudyRecords, findings: Findings, folder: Path) -> list[Path]:
    """Of a report, what the command line prints."""
    path = folder / "report.json"
    write_json(path, document(records, findings, ()))
    return [path]


@contextmanager
def tables_only() -> Iterator[None]:
    """Neither mirrors nor pages, which take most of the time of a tiny study."""
    nothing: Any = lambda *arguments: []  # noqa: E731
    with (
        without_mirrors(),
        patch.object(runner, "is_reported_apart", return_value=False),
        patch.object(publish, "write_report", write_document),
        patch.object(verify, "write_report", nothing),
    ):
        yield


@contextmanager
def no_figures() -> Iterator[None]:
    """Reports with all but their figures, whose drawing takes most of the time."""
    with patch.object(content, "drawn", lambda view: []):
        yield


def run_in(folder: Path, study: ResolvedStudy = STUDY, **options: Any) -> tuple[Witness, StudyRecords]:
    """Run the study into `results/tiny/smoke` (or go on with it)."""
    witness = Witness()
    made = Options(results=folder.parents[1], engine="inline", command="a test", **options)
    records, _ = publish.read_results(run_study(study, made, witness))
    return witness, records


def assert_same_tables(one: StudyRecords, other: StudyRecords) -> None:
    """All but the times; a parameter that is 0 throughout reads back as an integer."""
    pd.testing.assert_frame_equal(one.runs.drop(columns=CLOCK), other.runs.drop(columns=CLOCK), check_dtype=False)
    for name in ("trials", "curves", "shifts"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_dtype=False)
    assert one.correct.keys() == other.correct.keys()
    assert all((one.correct[digest] == other.correct[digest]).all() for digest in one.correct)


def finish(folder: Path, study: ResolvedStudy = STUDY) -> Kept:
    """The study, run once with its report."""
    with without_mirrors():
        witness, records = run_in(folder / "tiny" / "smoke", study)
    return Kept(folder / "tiny" / "smoke", records, witness)

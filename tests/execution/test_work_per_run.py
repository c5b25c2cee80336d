"""What must be linear in a study's runs does a constant work per run."""

import cProfile
import pstats
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from finished_study import no_figures
from synthetic_records import Shape, synthetic_study, write_study_records

from harness.execution.plan import make_plan
from harness.execution.progress import open_cells
from harness.execution.publish import collect, rebuild
from harness.execution.verify import verify
from harness.records.layout import study_folder
from harness.records.runs import RunFolder


def calls(work: Callable[[], object]) -> int:
    """Function calls that `work` makes: a measure of its work that no other process disturbs."""
    with cProfile.Profile() as profile:
        work()
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def work_of(folder: Path, seeds: int) -> dict[str, int]:
    """Calls per step for a study of two arms and so many seeds."""
    shape = Shape(arms=2, sizes=1, seeds=seeds)
    study, results = synthetic_study(shape), folder / str(seeds)
    # From run to run, as the coordinator goes: the next one, its records, its end.
    coordinated = calls(lambda: write_study_records(results, shape, images=50))
    plan, kept = make_plan(study), study_folder(study, results)
    cells = open_cells(plan, kept)
    return {
        "coordinate": coordinated,
        "plan": calls(lambda: [cell.confirm(seed, {}).digest for cell in plan.cells for seed in cell.seeds]),
        "resume": calls(lambda: open_cells(plan, kept)),
        "collect": calls(lambda: collect(study, [item for cell in cells for item in cell.finished()], {})),
    }


def test_work_is_linear_in_the_runs(tmp_path) -> None:
    work_of(tmp_path / "first", 1)  # what is made once and kept
    few, some, many = (work_of(tmp_path, seeds) for seeds in (10, 20, 40))
    for step in few:
        # Twice as many runs more, twice as many calls more; a quadratic step would make nearly four times as many.
        assert many[step] - some[step] < 2.5 * (some[step] - few[step]), step


def test_the_coordinator_looks_only_for_results_of_earlier_launches(tmp_path) -> None:
    shape = Shape(arms=2, sizes=1, seeds=10, trials=2)
    with patch.object(RunFolder, "result", autospec=True, side_effect=RunFolder.result) as looked:
        write_study_records(tmp_path, shape, images=50)
    # After each trial, when the next one may have a result, and for each confirm run after the last trial.
    assert looked.call_count == shape.arms * (shape.trials - 1 + shape.seeds)


@pytest.mark.parametrize(
    ("program", "is_loaded"),
    [
        ("from harness.__main__ import main\ntry: main()\nexcept SystemExit: pass", False),
        ("a_script_of_a_user = 1", True),
    ],
)
def test_the_process_of_a_run_does_not_load_the_command_line(program: str, is_loaded: bool, tmp_path: Path) -> None:
    """As multiprocessing would, which is told of a program by its name or its file."""
    (tmp_path / "program").write_text(
        f"import sys\nsys.argv = ['patchbench', '--version']\n{program}\n"
        "from multiprocessing import spawn\nprint(sorted(spawn.get_preparation_data('')))"
    )
    done = subprocess.run([sys.executable, tmp_path / "program"], capture_output=True, text=True, check=True)
    assert ("init_main_from" in done.stdout) == is_loaded


def test_synthetic_records_are_reported_and_verified(tmp_path) -> None:
    shape = Shape(arms=3, sizes=2, seeds=3, trials=2)
    folder = write_study_records(tmp_path, shape, images=200)
    with no_figures():
        findings = rebuild(folder, print)
        assert findings.gaps == ()
        assert len(findings.arms) == 6
        assert verify(folder).faults == ()

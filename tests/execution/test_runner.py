"""The loop that drives a study. MLflow's mirror is tested in tests/tracking, and with whole studies in tests/cli."""

import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import pandas as pd
import pytest
from finished_study import CLOCK, Kept, no_figures, tables_only
from tiny_studies import VIT, Witness, tiny_study

import harness.execution.engines.worker as inline_engine
from harness.analysis import Findings
from harness.execution import launch, publish, runner
from harness.execution.engines import Happening, Prepared
from harness.execution.publish import read_results, rebuild
from harness.execution.runner import Options, run_study
from harness.execution.stopping import StudyInterrupted
from harness.records.run_table import StudyRecords
from harness.records.runs import RunFolder, RunResult
from harness.records.write_lock import StudyLock
from harness.report import write_report
from harness.spec import Arm, InvalidInput, ResolvedStudy, Search
from harness.training import perform


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    with tables_only():
        yield


def ran(study: ResolvedStudy, options: Options) -> tuple[Witness, StudyRecords, Findings]:
    witness = Witness()
    return witness, *read_results(run_study(study, options, witness))


@contextlib.contextmanager
def pages() -> Iterator[None]:
    """With the report's pages, which the other tests go without."""
    with patch.object(publish, "write_report", write_report), no_figures():
        yield


def timeless(records: StudyRecords) -> list[pd.DataFrame]:
    return [records.runs.drop(columns=CLOCK), records.trials, records.curves, records.shifts]


def assert_same(one: StudyRecords, other: StudyRecords) -> None:
    for left, right in zip(timeless(one), timeless(other), strict=True):
        pd.testing.assert_frame_equal(left, right)
    assert one.correct.keys() == other.correct.keys()
    assert all((one.correct[digest] == other.correct[digest]).all() for digest in one.correct)


def test_a_study_ends_with_every_run_once(plain: Kept) -> None:
    records, findings = read_results(plain.folder)
    assert len(plain.witness.trained) == 6
    assert records.runs["digest"].is_unique
    assert list(zip(records.runs["arm"], records.runs["seed"], strict=True)) == [
        (arm, seed) for arm in ("ResNet", "ViT/4") for seed in (0, 1, 2)
    ]
    assert set(records.runs["status"]) == {"completed"}
    assert records.runs["test_accuracy"].between(0, 1).all()
    assert records.runs["params"].gt(0).all()
    assert len(records.curves) == 6 * 2
    assert findings.gaps == ()
    for name in ("report.html", "REPORT.md", "study.json", "comparisons.csv", "claims.csv"):
        assert (plain.folder / name).stat().st_size > 0


def test_what_is_finished_is_not_trained_again(plain: Kept, again: Path, inline: Options) -> None:
    names = ("runs.csv", "trials.csv", "curves.csv", "claims.csv")
    kept = [(again / name).read_bytes() for name in names]
    for name in names[1:]:
        (again / name).unlink()
    with pages():
        witness, records, _ = ran(tiny_study(), inline)
    assert witness.trained == []
    assert [(again / name).read_bytes() for name in names] == kept
    assert_same(plain.records, records)


@pytest.mark.slow
def test_a_report_needs_the_tables_only(again: Path, tmp_path: Path) -> None:
    page, claims = (again / "report.html").read_bytes(), (again / "claims.csv").read_bytes()
    (again / "work").rename(tmp_path / "elsewhere")
    (again / "report.html").unlink()
    (again / "claims.csv").unlink()
    with pages():
        rebuild(again, print)
    assert (again / "report.html").read_bytes() == page
    assert (again / "claims.csv").read_bytes() == claims


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_launch_reads_each_result_once(again: Path, inline: Options, *, has_failed: bool) -> None:
    runs = again / "work" / "runs"
    if has_failed:
        failed = RunFolder(sorted(runs.iterdir())[0])
        failed.write_result(RunResult(digest=failed.path.name, status="failed"))
    there = sorted(path.name for path in runs.iterdir())
    with patch.object(RunFolder, "result", autospec=True, side_effect=RunFolder.result) as read:
        witness, records, _ = ran(tiny_study(), inline)
    looked = [call.args[0].path.name for call in read.call_args_list]
    assert sorted(set(looked)) == there
    assert len(looked) - len(there) <= 3 * has_failed  # whether there is one by now, of the run without
    assert len(witness.trained) == has_failed
    assert len(records.runs) == len(there)


@pytest.mark.slow
@pytest.mark.usefixtures("again")
def test_more_seeds_train_only_what_is_missing(inline: Options) -> None:
    witness, records, _ = ran(tiny_study(seeds=(0, 1, 2, 3)), inline)
    assert [(run.arm, run.config.seed) for run in witness.trained] == [("ResNet", 3), ("ViT/4", 3)]
    assert len(records.runs) == 8


@pytest.mark.slow
def test_a_study_has_the_same_results_in_one_process_and_in_several(tuned: Kept, processes: Options) -> None:
    _, records, _ = ran(tuned.records.study, processes)
    assert_same(tuned.records, records)
    assert len(records.trials) == 6
    assert records.trials.groupby("arm")["chosen"].sum().tolist() == [1, 1]


def test_the_chosen_trial_is_confirmed(tuned: Kept) -> None:
    records = tuned.records
    for arm, trials in records.trials.groupby("arm"):
        best = trials.sort_values(["validation_accuracy", "trial"], ascending=[False, True]).iloc[0]
        assert best["chosen"]
        confirmed = records.runs[records.runs["arm"] == arm]
        assert set(confirmed["p.learning_rate"]) == {best["p.learning_rate"]}
    assert set(records.trials["images_seen"]) == {8 * 16}
    own = records.trials[records.trials["trial"] == 0]
    assert set(own["p.learning_rate"]) == {3e-3}


def test_trials_are_kept_from_the_test_split(tuned: Kept) -> None:
    paths = sorted(tuned.folder.glob("work/runs/*/result.json"))
    assert len(paths) == 6 + 6
    for path in paths:
        result = json.loads(path.read_text())["result"]
        config = json.loads((path.parent / "config.json").read_text())["config"]
        assert (result["test_accuracy"] is None) == (config["phase"] == "tune")
        assert (path.parent / "predictions.npz").exists() == (config["phase"] == "confirm")


class StopAfter(Witness):
    """Asks for a stop, as a signal would, when the n-th run starts."""

    def __init__(self, number: int, how: signal.Signals) -> None:
        super().__init__()
        self.on_start = lambda run: os.kill(os.getpid(), how) if len(self.trained) == number else None


@pytest.mark.slow
def test_an_interrupted_study_goes_on_to_the_same_result(tuned: Kept, processes: Options) -> None:
    study = tuned.records.study
    for number, how in ((1, signal.SIGINT), (4, signal.SIGTERM)):
        with pytest.raises(StudyInterrupted):
            run_study(study, processes, StopAfter(number, how))
    witness, resumed, _ = ran(study, processes)
    assert witness.trained
    assert_same(tuned.records, resumed)


@pytest.mark.slow
def test_a_killed_worker_is_replaced(plain: Kept, processes: Options) -> None:
    killed: list[str] = []

    class Killer(Witness):
        def started(self, run: object) -> None:
            import multiprocessing

            super().started(run)  # type: ignore[arg-type]
            if not killed:
                child = multiprocessing.active_children()[0]
                killed.append(child.name)
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)

    witness = Killer()
    records, findings = read_results(run_study(tiny_study(), processes, witness))
    assert any("attempt 1 of 3 failed" in note and "SIGKILL" in note for note in witness.notes)
    assert findings.gaps == ()
    assert_same(plain.records, records)
    assert records.runs["peak_memory_bytes"].gt(0).all()


@pytest.mark.slow
def test_a_run_that_always_fails_is_a_gap_and_the_others_complete(
    inline: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inline_engine.perform
    attempts: list[str] = []

    def fails_for_one(run: object, *arguments: object, **named: object) -> object:
        if run.arm == "ViT/4" and run.config.seed == 1:  # type: ignore[attr-defined]
            attempts.append("x")
            raise OSError("the moon is full")
        return real(run, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(inline_engine, "perform", fails_for_one)
    witness, records, findings = ran(tiny_study(), inline)
    assert len(attempts) == 3
    assert records.runs["status"].tolist().count("completed") == 5
    failed = records.runs[records.runs["status"] == "failed"]
    assert failed[["arm", "seed"]].to_numpy().tolist() == [["ViT/4", 1]]
    assert any("the moon is full" in note and "log" in note for note in witness.notes)
    assert findings.gaps
    monkeypatch.setattr(inline_engine, "perform", real)
    witness, records, findings = ran(tiny_study(), inline)
    assert len(witness.trained) == 1
    assert findings.gaps == ()


def test_a_divergence_is_a_result_and_not_tried_again(inline: Options) -> None:
    hot = Arm("hot", VIT, level=1, changes={"recipe.learning_rate": 1e30, "recipe.optimizer": "sgd"})
    study = tiny_study(arms=(hot,), search=Search())
    witness, records, findings = ran(study, inline)
    assert records.runs[records.runs["arm"] == "hot"]["status"].tolist() == ["diverged"] * 3
    assert len(witness.trained) == 6
    assert findings.gaps
    witness, _, _ = ran(study, inline)
    assert witness.trained == []


@pytest.mark.slow
def test_a_damaged_result_is_set_aside_and_trained_again(plain: Kept, again: Path, inline: Options) -> None:
    runs = again / "work" / "runs"
    paths = sorted(runs.glob("*/result.json"))
    content = bytearray(paths[0].read_bytes())
    content[content.index(b"test_accuracy") + 20] ^= 1
    paths[0].write_bytes(bytes(content))
    paths[1].with_name("predictions.npz").write_bytes(b"")
    witness, second, _ = ran(tiny_study(), inline)
    assert len(witness.trained) == 2
    assert sum("trained again" in note for note in witness.notes) == 2
    assert len(list((runs.parent / "set_aside").iterdir())) == 2
    assert_same(plain.records, second)


@pytest.mark.slow
def test_results_of_other_numerics_are_never_mixed_in_silence(
    again: Path, inline: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (launch, runner, perform):
        monkeypatch.setattr(module, "NUMERICS", 2)
    before = {path: path.read_bytes() for path in again.rglob("*") if path.is_file()}
    with pytest.raises(InvalidInput, match=r"6 finished runs .* have numerics 1, and this code has 2: .*--set-aside"):
        ran(tiny_study(), inline)
    assert {path: path.read_bytes() for path in again.rglob("*") if path.is_file()} == before
    witness, records, findings = ran(tiny_study(), dataclasses.replace(inline, accept_code_change=True))
    assert witness.trained == []
    witness, records, findings = ran(
        tiny_study(seeds=(0, 1, 2, 3)), dataclasses.replace(inline, accept_code_change=True)
    )
    assert records.provenance["numerics"] == "1, 2"
    assert any("different numerics (1 and 2)" in warning for warning in findings.warnings)
    witness, records, _ = ran(tiny_study(), dataclasses.replace(inline, set_aside=True))
    assert len(witness.trained) == 6
    assert records.provenance["numerics"] == "2"


@pytest.mark.slow
def test_results_of_other_settings_are_kept_apart(plain: Kept, again: Path, inline: Options) -> None:
    table = (again / "runs.csv").read_bytes()
    other = tiny_study(recipe=dataclasses.replace(tiny_study().recipe, updates=6))
    with pytest.raises(StudyInterrupted):
        run_study(other, inline, StopAfter(1, signal.SIGINT))
    assert read_results(again)[0].study == plain.records.study
    notes: list[str] = []
    findings = rebuild(again, notes.append)
    assert (again / "runs.csv").read_bytes() == table
    assert findings.gaps == ()
    witness, records, _ = ran(other, inline)
    assert set(records.runs["updates"]) == {6}
    assert any("other settings (recipe.updates)" in note for note in witness.notes)
    assert [path.read_bytes() for path in (again / "work" / "set_aside").glob("results.*/runs.csv")] == [table]


def test_memory_of_a_shared_process_is_not_given_to_a_run(plain: Kept) -> None:
    """To one in a process of its own it is: `test_a_killed_worker_is_replaced`."""
    assert plain.records.runs["peak_memory_bytes"].isna().all()


@pytest.mark.slow
def test_a_second_launch_is_refused(again: Path, inline: Options) -> None:
    with (
        StudyLock(again / "work" / "lock"),
        pytest.raises(InvalidInput, match=f"already running: process {os.getpid()} on "),
    ):
        ran(tiny_study(), inline)
    ran(tiny_study(), inline)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_bad_input_is_refused_before_anything_is_written(inline: Options, engine: str) -> None:
    options = dataclasses.replace(inline, engine=engine, device="cuda:9")
    with pytest.raises(InvalidInput, match=r"cuda:9.*valid on this machine: auto, cpu"):
        ran(tiny_study(), options)
    assert not options.results.exists()


@pytest.mark.slow
def test_tables_are_never_replaced_by_poorer_ones(again: Path) -> None:
    for path in sorted(again.glob("work/runs/*/result.json"))[:2]:
        path.unlink()
    witness = Witness()
    findings = rebuild(again, witness.note)
    assert witness.notes == ["The work folder lacks runs that the tables have; the report is made from the tables."]
    assert findings.gaps == ()
    assert len(read_results(again)[0].runs) == 6


def test_an_unfinished_study_is_reported_with_its_gaps(again: Path) -> None:
    for path in sorted(again.glob("work/runs/*/result.json"))[:2]:
        path.unlink()
    (again / "runs.csv").unlink()
    findings = rebuild(again, print)
    assert len(read_results(again)[0].runs) == 4
    assert findings.arms["missing"].sum() == 2
    assert findings.gaps


@pytest.mark.slow
def test_cells_with_the_most_work_left_start_first(inline: Options) -> None:
    study = tiny_study(train_sizes=(20, 100), recipe=dataclasses.replace(tiny_study().recipe, updates=None, epochs=1))
    witness, _, _ = ran(study, inline)
    assert witness.trained[0].config.data.train_size == 100


def test_locks_that_may_end_with_this_machine_are_told_of(
    inline: Options, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = SimpleNamespace(mountpoint=str(inline.results.parent), fstype="nfs", opts="rw,nolock")
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: [mount])
    run_study(tiny_study(seeds=(0,)), inline, witness)
    (note,) = (note for note in witness.notes if "may keep locks to one machine" in note)
    assert note.startswith(f"note: {inline.results.parent} (nfs: rw,nolock)")
    assert "one machine at a time" in note


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """One with a run under way, of which nothing is heard."""
    engine = MagicMock(active=1, capacity=1)
    monkeypatch.setattr(runner, "prepare", lambda *_: (Prepared(devices=("cpu",), data=()), engine))
    monkeypatch.setattr(runner.Runner, "_fill", lambda self, engine: self._active.update(a=MagicMock()))
    monkeypatch.setattr(runner.Runner, "_write_status", lambda self: None)
    return engine


@pytest.mark.parametrize("waits", [1, 2])
def test_a_cluster_that_goes_with_the_signal_leaves_a_study_that_goes_on(
    inline: Options, witness: Witness, engine: MagicMock, waits: int
) -> None:
    """Slurm signals all of a job: the cluster may end before the coordinator, in its wait or in the next one."""

    def wait(seconds: float) -> list[Happening]:
        if engine.wait.call_count == 1:
            signal.raise_signal(signal.SIGTERM)
        if engine.wait.call_count == waits:
            raise InvalidInput("The Ray cluster no longer answers.")
        return []

    engine.wait.side_effect = wait
    with pytest.raises(StudyInterrupted):
        run_study(tiny_study(), inline, witness)
    assert "The Ray cluster no longer answers." in witness.notes
    engine.close.assert_called_once()


def test_a_cluster_that_goes_without_a_signal_is_told_of(inline: Options, witness: Witness, engine: MagicMock) -> None:
    engine.wait.side_effect = InvalidInput("The Ray cluster no longer answers.")
    with pytest.raises(InvalidInput, match="no longer answers"):
        run_study(tiny_study(), inline, witness)

"""What MLflow holds after a study, after faults, and after the mirror was made up from the records."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tracking_records import RESNET, Records

from harness.records.runs import Journal, Shift
from harness.report.style import marks
from harness.spec import DataSpec
from harness.spec.palette import colours
from harness.tracking import Mirror
from harness.tracking.entries import read_entry
from harness.tracking.experiment import Experiment
from harness.tracking.store import Store

Lock = Callable[[], sqlite3.Connection]


def mirror_of(records: Records) -> Mirror:
    return Mirror(
        records.study,
        records.folder,
        results=records.results,
        command="make study NAME=patch_size",
        say=records.said.append,
    )


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_launch_is_a_parent_run_and_each_training_one_child(records: Records) -> None:
    with mirror_of(records) as mirror:
        done = records.complete(0)
        trial = records.complete(0, arm=RESNET, trial=3)
        for digest in (done, trial):
            mirror.changed(digest)
        mirror.close()
    assert records.said == []
    (parent,) = records.parents()
    assert parent.info.run_name.startswith("launch 20")
    assert parent.info.status == "FINISHED"
    tags = parent.data.tags
    assert (tags["study"], tags["scale"], tags["command"]) == ("patch_size", "smoke", "make study NAME=patch_size")
    assert 0 < parent.data.metrics["system/system_memory_usage_percentage"] < 100
    assert 0 <= parent.data.metrics["system/cpu_utilization_percentage"] <= 100
    child = records.child(done)
    assert child.info.run_name == "ViT/4 · seed 0 · 55,000 images"
    expected = {
        "study": "patch_size",
        "scale": "smoke",
        "arm": "ViT/4",
        "phase": "confirm",
        "seed": "0",
        "train_size": "55000",
        "digest": done,
        "status": "completed",
        "code_fingerprint": "c0de",
        "mlflow.parentRunId": parent.info.run_id,
    }
    assert expected.items() <= child.data.tags.items()
    assert "trial" not in child.data.tags
    assert records.child(trial).info.run_name == "ResNet-8 · trial 3 · 55,000 images"
    assert records.child(trial).data.tags["trial"] == "3"
    experiment = records.client().get_experiment(child.info.experiment_id)
    assert experiment.artifact_location == (records.results / "mlartifacts/patch_size/smoke").as_uri()


def test_params_metrics_times_and_data_are_those_of_the_records(records: Records) -> None:
    digest = records.complete(0)
    assert records.sync() == 1
    child, events = records.child(digest), records.run_folder(digest).journal()
    params = child.data.params
    assert params["model.width"] == "24"
    assert params["recipe.learning_rate"] == "0.001"
    assert params["recipe.augmentation.flip"] == "False"
    assert params["data.train_size"] == "55000"
    assert params["data_hash"] == "d" * 64
    history = records.history(digest)
    final = [point for point in history if point not in records.journal_points(digest)]
    assert set(records.journal_points(digest)) < set(history)
    assert final == [
        ("cost/train_images_per_second", 0, 5000.0, events[-1]["time"]),
        ("model/params", 0, 1234.0, events[-1]["time"]),
        ("test/accuracy", 0, 0.9, events[-1]["time"]),
        ("test/loss", 0, 0.3, events[-1]["time"]),
    ]
    assert child.info.start_time == events[0]["time"] - 500
    assert child.info.end_time == events[-1]["time"]
    (data,) = child.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("fashion_mnist", "d" * 36)
    assert "d" * 64 in data.dataset.source


def test_the_loss_has_the_points_of_its_curve_and_a_run_the_colour_of_its_arm(records: Records) -> None:
    digest = records.start(0)
    journal = Journal(records.run_folder(digest).journal_path)
    journal.append("evaluated", update=4, train_loss=2.5, validation_loss=2.0, loss_curve=[[2, 3.0], [4, 2.0]])
    journal.append("evaluated", update=5, train_loss=1.5, validation_loss=1.0, loss_curve=[])
    journal.close()
    entry = read_entry(records.run_folder(digest), "patch_size", "smoke", colours(records.study))
    losses = [(point.step, point.value) for point in entry.points if point.key == "train/loss"]
    assert losses == [(2, 3.0), (4, 2.0)]
    assert [point.step for point in entry.points if point.key == "validation/loss"] == [4, 5]
    assert entry.tags["mlflow.runColor"] == marks(records.study)["ViT/4"].colour == "#0173b2"


def test_a_launch_shows_question_answer_and_the_means_of_all_arms_once(records: Records) -> None:
    records.complete(0)
    report = records.folder / "report.json"
    arm = {"arm": "ViT/4, moved", "train_size": 500, "mean": 0.5, "validation_accuracy": 0.25}
    nothing = {"arm": "ResNet-8", "train_size": 500, "mean": None, "validation_accuracy": None}
    said = {"question": "Which?", "answer": "This.", "numbers": "n = 1", "arms": [arm, nothing]}
    report.write_text(json.dumps(said))
    for _ in range(2):
        records.sync(artifacts=[report])
    (parent,) = records.parents()
    assert parent.data.tags["mlflow.note.content"] == "**Which?**\n\nThis.\n\nn = 1"
    assert parent.data.metrics == {"test/accuracy/ViT 4  moved": 0.5, "validation/accuracy/ViT 4  moved": 0.25}
    report.write_text(json.dumps(said | {"arms": [arm | {"mean": 0.4}]}))
    records.sync(artifacts=[report])
    history = records.client().get_metric_history(parent.info.run_id, "test/accuracy/ViT 4  moved")
    assert [(point.step, point.value) for point in history] == [(500, 0.5), (500, 0.4)]


def test_the_test_of_shifted_images_is_a_curve_over_the_shift_and_not_doubled(
    records: Records, empty_database: Path
) -> None:
    digest = records.start()
    records.evaluate(digest, 50, 100)
    shifts = tuple(Shift(pixels=pixels, accuracy=0.9 - 0.1 * pixels, agreement=1 / (1 + pixels)) for pixels in (1, 4))
    records.finish(digest, shifts=shifts, attention_macs_per_image=0)
    time = records.run_folder(digest).journal()[-1]["time"]
    expected = {
        ("test/shifted_accuracy", 0, 0.9, time),
        ("test/shifted_accuracy", 1, 0.8, time),
        ("test/shifted_accuracy", 4, 0.5, time),
        ("test/shift_agreement", 0, 1.0, time),
        ("test/shift_agreement", 1, 0.5, time),
        ("test/shift_agreement", 4, 0.2, time),
        ("model/attention_macs_per_image", 0, 0.0, time),
    }
    assert records.sync() == 1
    before = records.history(digest)
    assert {point for point in before if "shift" in point[0] or "attention" in point[0]} == expected
    assert records.sync() == 0
    shutil.copy(empty_database, records.results / "mlflow.db")  # played back from the records
    assert records.sync() == 1
    assert records.history(digest) == before


@pytest.mark.parametrize("status", ["diverged", "out_of_memory", "failed"])
def test_a_training_without_a_score_is_failed_with_its_status(records: Records, status: str) -> None:
    digest = records.start()
    records.finish(digest, status)
    records.sync()
    assert records.child(digest).info.status == "FAILED"
    assert records.child(digest).data.tags["status"] == status


def test_a_long_value_is_cut_at_mlflows_limit(records: Records) -> None:
    records.study = replace(records.study, data=DataSpec(source="imagefolder:/" + "x" * 7000))
    digest = records.complete()
    assert records.sync() == 1
    assert len(records.child(digest).data.params["data.source"]) == 6000


def test_syncing_again_changes_nothing(records: Records) -> None:
    digests = [records.complete(seed) for seed in range(3)]
    assert records.sync() == 3
    before = [records.history(digest) for digest in digests], [run.to_dictionary() for run in records.runs()]
    assert records.sync() == 0
    assert ([records.history(digest) for digest in digests], [run.to_dictionary() for run in records.runs()]) == before


def test_a_training_grows_while_it_runs_and_is_one_run_over_two_launches(records: Records) -> None:
    digest = records.start()
    with mirror_of(records) as mirror:
        records.evaluate(digest, 10)
        mirror.changed(digest)
        wait_until(lambda: records.client().get_experiment_by_name("patch_size/smoke") and len(records.runs()) == 2)
        wait_until(lambda: len(records.history(digest)) == 6)
        assert records.child(digest).info.status == "RUNNING"
        records.evaluate(digest, 20, 30)
        mirror.changed(digest)
        wait_until(lambda: len(records.history(digest)) == 18)
    first_parent = records.child(digest).data.tags["mlflow.parentRunId"]
    assert records.child(digest).info.status == "KILLED", "it waits to be resumed"
    assert [run.info.status for run in records.parents()] == ["KILLED"]
    with mirror_of(records) as mirror:
        records.evaluate(digest, 40)
        records.finish(digest)
        mirror.changed(digest)
    assert len(records.parents()) == 2
    assert records.child(digest).data.tags["mlflow.parentRunId"] == first_parent
    assert records.child(digest).info.status == "FINISHED"
    assert set(records.journal_points(digest)) < set(records.history(digest))


def test_a_torn_last_line_waits(records: Records) -> None:
    digest = records.start()
    records.evaluate(digest, 10)
    with records.run_folder(digest).journal_path.open("ab") as journal:
        journal.write(b'{"event": "evaluated", "upd')
    records.sync()
    assert records.history(digest) == records.journal_points(digest)
    records.evaluate(digest, 20)
    records.sync()
    assert len(records.history(digest)) == 12


def test_an_evaluation_done_again_after_a_rewind_is_not_logged_twice(records: Records) -> None:
    digest = records.start()
    records.evaluate(digest, 10)
    kept = records.run_folder(digest).journal_path.stat().st_size
    records.evaluate(digest, 20)
    records.sync()
    before = records.history(digest)
    os.truncate(records.run_folder(digest).journal_path, kept)
    records.sync()
    assert records.history(digest) == records.journal_points(digest) == before[::2]
    time.sleep(0.01)
    records.evaluate(digest, 20, 30)
    records.finish(digest)
    records.sync()
    steps = [(key, step) for key, step, _, _ in records.history(digest)]
    assert len(steps) == len(set(steps)) == 3 * 6 + 4
    assert set(records.journal_points(digest)) < set(records.history(digest))


def test_other_numbers_for_the_same_training_replace_its_run(records: Records) -> None:
    digest = records.complete()
    records.sync()
    old = records.child(digest)
    shutil.rmtree(records.run_folder(digest).path)
    records.start()
    records.evaluate(digest, 50, 100, loss=3.0)
    records.finish(digest)
    assert records.sync() == 1
    new = records.child(digest)
    assert new.info.run_id != old.info.run_id
    assert new.data.tags["mlflow.parentRunId"] == old.data.tags["mlflow.parentRunId"]
    assert set(records.journal_points(digest)) < set(records.history(digest))
    assert records.sync() == 0


@pytest.mark.parametrize(
    "step", ["create_run", "log_inputs", "log_batch", "_log_params", "_log_metrics", "_set_tags", "set_terminated"]
)
def test_a_failure_before_any_write_is_completed_by_the_next_sync(
    records: Records, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = records.complete(0)
    records.sync()
    digest = records.complete(1)
    client = records.client()
    owner = type(client) if hasattr(client, step) else type(client._tracking_client.store)

    def kill(*arguments: object, **options: object) -> None:
        raise PermissionError("not now")

    with monkeypatch.context() as patch:
        patch.setattr("harness.tracking.background._PATIENCE_SECONDS", 0.0)
        patch.setattr(owner, step, kill)
        assert records.sync() == 0
        assert "lacks part of the records" in records.said[-1]
    assert records.sync() == 1
    assert records.sync() == 0
    assert len(records.runs()) == 3
    child, other = records.child(digest), records.child(undisturbed)
    assert child.info.status == "FINISHED"
    assert child.data.params.keys() == other.data.params.keys()
    assert child.data.tags.keys() == other.data.tags.keys()
    assert len(child.inputs.dataset_inputs) == 1
    assert len(records.history(digest)) == len(records.history(undisturbed))


def test_a_killed_launch_does_not_stay_running(records: Records) -> None:
    experiment = Experiment(Store.of(records.results), "patch_size", "smoke")
    experiment.launch("of a killed process", start=1_000, command="make study")
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (parent,) = records.parents()
    host = parent.data.tags["process"].rpartition(":")[0]
    records.client().set_tag(parent.info.run_id, "process", f"{host}:{int(done.stdout)}")
    records.complete()
    records.sync()
    assert [run.info.status for run in records.parents()] == ["KILLED"]


@pytest.mark.slow
def test_a_locked_database_blocks_nobody_and_is_made_up(records: Records, exclusive: Lock) -> None:
    digest = records.complete()
    lock = exclusive()
    mirror = mirror_of(records)
    began = time.monotonic()
    for _ in range(1000):
        mirror.changed(digest)
    assert time.monotonic() - began < 0.5
    wait_until(lambda: records.said)
    assert "database is locked" in records.said[0]
    lock.close()
    mirror.close()
    assert len(records.said) == 1
    assert records.child(digest).info.status == "FINISHED"


@pytest.mark.slow
def test_close_gives_up_after_its_time_and_sync_makes_it_up(records: Records, exclusive: Lock) -> None:
    digest = records.complete()
    lock = exclusive()
    mirror = mirror_of(records)
    mirror.changed(digest)
    began = time.monotonic()
    mirror.close(timeout=2.5)
    assert time.monotonic() - began < 3.5
    assert len(records.said) == 2, "one note when it began, one that something is missing"
    assert "lacks part of the records: OperationalError: database is locked" in records.said[1]
    mirror._ended.wait(10)
    lock.close()
    assert records.sync() == 1
    assert set(records.journal_points(digest)) < set(records.history(digest))


def test_a_database_deleted_in_mid_launch_is_made_up_by_the_launch(records: Records) -> None:
    first = records.complete(0)
    mirror = mirror_of(records)
    wait_until(lambda: records.client().get_experiment_by_name("patch_size/smoke") and len(records.runs()) == 2)
    (records.results / "mlflow.db").unlink()
    second = records.complete(1)
    mirror.changed(second)
    mirror.close()
    assert records.said == []
    assert len(records.parents()) == 1
    for digest in (first, second):
        assert set(records.journal_points(digest)) < set(records.history(digest))


def test_a_deleted_database_is_made_up_by_sync(records: Records) -> None:
    digests = [records.complete(seed) for seed in range(2)]
    records.sync()
    before = [records.history(digest) for digest in digests]
    (records.results / "mlflow.db").unlink()
    assert records.sync() == 2
    assert [records.history(digest) for digest in digests] == before
    assert [run.info.status for run in records.parents()] == ["FINISHED"]


def damaged(content: bytes, way: str) -> bytes:
    match way:
        case "other content":
            return b"not a database" * 100
        case "cut":
            return content[: len(content) // 2]
        case _:  # the header and the first tables are whole
            return content[:8192] + bytes(len(content) - 8192)


@pytest.mark.parametrize("way", ["other content", "cut", "zeros"])
def test_a_damaged_database_is_set_aside_and_made_up(records: Records, way: str) -> None:
    digests = [records.complete(seed) for seed in range(2)]
    records.sync()
    before = [records.history(digest) for digest in digests]
    database = records.results / "mlflow.db"
    content = damaged(database.read_bytes(), way)
    database.write_bytes(content)
    assert records.sync() == 2
    assert [records.history(digest) for digest in digests] == before
    (kept,) = (records.results / "work" / "set_aside").iterdir()
    assert kept.read_bytes() == content
    (said,) = records.said
    assert "MLflow's database was damaged" in said
    records.sync()
    assert len(records.said) == 1, "told once"


def test_a_database_that_the_user_names_is_never_moved(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tracking.background._PATIENCE_SECONDS", 0.0)
    database = records.results / "mine.db"
    database.write_bytes(b"not a database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    records.complete()
    assert records.sync() == 0
    assert database.read_bytes() == b"not a database" * 100
    assert "MLflow lacks part of the records" in records.said[0]


def test_an_unusable_database_is_noted_once_and_raises_nothing(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.tracking.background._PATIENCE_SECONDS", 0.0)
    database = records.results / "mlflow.db"
    database.unlink()
    database.mkdir()
    records.complete()
    assert records.sync() == 0
    assert len(records.said) == 1
    assert "MLflow lacks part of the records" in records.said[0]


@pytest.mark.slow
def test_a_dead_server_is_given_up_in_bounded_time(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{probe.getsockname()[1]}")
    digest = records.complete()
    began = time.monotonic()
    mirror = mirror_of(records)
    mirror.changed(digest)
    mirror.close(timeout=3)
    assert time.monotonic() - began < 5
    assert "lacks part of the records" in records.said[-1]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert records.sync() == 1


def test_a_damaged_run_is_named_and_the_others_are_mirrored(records: Records) -> None:
    bad, good = records.complete(0), records.complete(1)
    with records.run_folder(bad).result_path.open("ab") as file:
        file.write(b"x")
    assert records.sync() == 1
    assert records.child(good).info.status == "FINISHED"
    assert len(records.said) == 1
    assert bad[:12] in records.said[0]


def test_report_figures_and_tables_are_artifacts_of_the_launch(records: Records) -> None:
    digest = records.complete()
    (records.folder / "figures").mkdir()
    (records.folder / "figures" / "accuracy.png").write_bytes(b"picture")
    (records.folder / "runs.csv").write_text("arm\n")
    paths = [records.folder / "figures", records.folder / "runs.csv", records.folder / "absent.html"]
    mirror = mirror_of(records)
    mirror.changed(digest)
    mirror.close(artifacts=paths)
    (records.folder / "runs.csv").write_text("arm,seed\n")
    records.sync(artifacts=paths)
    (parent,) = records.parents()
    client = records.client()
    assert [item.path for item in client.list_artifacts(parent.info.run_id)] == ["figures", "runs.csv"]
    kept = records.results / "mlartifacts/patch_size/smoke" / parent.info.run_id / "artifacts"
    assert (kept / "figures" / "accuracy.png").read_bytes() == b"picture"
    assert (kept / "runs.csv").read_text() == "arm,seed\n"


def test_two_processes_that_make_up_the_same_study_make_no_duplicates(records: Records) -> None:
    digests = [records.complete(seed) for seed in range(3)]
    store = Store.of(records.results)
    first, second = (Experiment(store, "patch_size", "smoke") for _ in range(2))
    for digest in digests:
        entry = read_entry(records.run_folder(digest), "patch_size", "smoke")
        assert entry is not None
        for experiment in (first, second):
            experiment.update(entry, parent="parent", unfinished="KILLED")
        assert set(records.journal_points(digest)) < set(records.history(digest))
    assert len(records.runs()) == 3


def test_nothing_is_loaded_for_a_study_without_runs(tmp_path: Path) -> None:
    script = (
        "import sys, harness.tracking\n"
        "from pathlib import Path\n"
        "assert harness.tracking.sync(None, Path(sys.argv[1]), results=Path(sys.argv[1]), say=print) == 0\n"
        "assert not {'mlflow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])


def test_a_training_is_caught_up_in_one_batch(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    calls: list[str] = []

    def count(name: str) -> None:
        original = getattr(MlflowClient, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(MlflowClient, name, counted)

    for name in ("create_run", "log_inputs", "log_batch", "set_terminated", "get_metric_history"):
        count(name)
    records.complete(0)
    records.sync()
    calls.clear()
    digest = records.start(1)
    records.evaluate(digest, *range(1, 101))
    records.finish(digest)
    records.sync()
    assert calls == ["create_run", "log_inputs", "log_batch", "set_terminated"]
    assert set(records.journal_points(digest)) < set(records.history(digest))


def test_many_changes_become_few_batches(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    original = Mirror._pass
    monkeypatch.setattr(Mirror, "_pass", lambda self, **how: (passes.append(1), original(self, **how))[1])
    digest = records.start()
    with mirror_of(records) as mirror:
        for update in range(1, 51):
            records.evaluate(digest, update)
            mirror.changed(digest)
            time.sleep(0.02)
    assert len(passes) < 20
    assert len(records.history(digest)) == 50 * 6


def test_more_points_than_a_batch_holds(records: Records) -> None:
    digest = records.start()
    records.evaluate(digest, *range(1, 201))
    records.finish(digest)
    assert records.sync() == 1
    assert len(records.history(digest)) == 200 * 6 + 4
    assert records.sync() == 0

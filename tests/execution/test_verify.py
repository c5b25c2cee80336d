"""`patchbench verify`: what holds, what does not, and what cannot be compared."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import finished_study
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from finished_study import STUDY, Kept, run_in, tables_only

from harness.__main__ import cli
from harness.execution import publish
from harness.execution.verify import Verification, verify
from harness.records import manifest
from harness.records.correctness import Classes, read_answers, write_answers
from harness.records.files import read_json, sha256, write_json
from harness.records.run_table import load_records
from harness.records.runs import RunFolder
from harness.records.write_lock import StudyLock
from harness.report import content as report
from harness.spec import InvalidInput, canonical_json


def checked(folder: Path) -> Verification:
    with tables_only():
        return verify(folder)


def with_hash(folder: Path, name: str) -> None:
    """Forge the manifest's entry of a changed file, so that only its content can tell."""
    content = read_json(folder / "manifest.json")
    content["files"][name] = sha256((folder / name).read_bytes())
    write_json(folder / "manifest.json", content)


def changed_cell(path: Path, column: str, value: str, row: int = 0) -> None:
    rows = list(csv.reader(path.read_text().splitlines()))
    rows[row + 1][rows[0].index(column)] = value
    path.write_text("".join(",".join(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def figures() -> list[list[Any]]:
    """What was drawn of `kept` by the first who asked for it."""
    return []


@pytest.fixture
def drawn_once(figures: list[list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that are made again have the figures of the first: all are of one study, and drawing takes long."""
    draw = report.drawn

    def drawn(view: Any) -> list[Any]:
        if not figures:
            figures.append(draw(view))
        return list(figures[0])

    monkeypatch.setattr(report, "drawn", drawn)


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("work", [True, False])
def test_a_finished_study_holds_to_the_byte(kept: Kept, work: bool) -> None:
    """Its figures, too: what is compared here was drawn again."""
    with kept.copy(work=work) as folder:
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        found = verify(folder)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert found.faults == ()
    counts = {check.what: check.checked for check in found.checks}
    assert counts["digests, made again from study.json"] == 4 + 4
    published = read_json(kept.folder / "manifest.json")["files"].keys()
    assert counts["report, made again"] == len(published - set(manifest.SOURCES))
    assert counts["published files, by their SHA-256"] == len(published)
    assert counts.get("run folders: configuration, journal, result", 0) == (8 if work else 0)
    assert any("no work folder" in note for note in found.notes) != work


def test_the_manifest_has_every_published_file(kept: Kept) -> None:
    published = {path.relative_to(kept.folder).as_posix() for path in kept.folder.rglob("*") if path.is_file()}
    published = {name for name in published if not name.startswith("work/")} - {"manifest.json"}
    assert read_json(kept.folder / "manifest.json")["files"].keys() == published
    assert {"study.json", "runs.csv", "predictions.npz", "report.html", "REPORT.md"} < published
    assert "figures/accuracy_by_class.png" in published


PUBLISHED = [*manifest.SOURCES, "REPORT.md", "claims.csv", "figures/learning_curves.png"]
for absent in ("patches.csv", "few_shots.csv"):  # of flexible patches and of another task, which this study lacks
    PUBLISHED.remove(absent)


@pytest.mark.parametrize("name", PUBLISHED)
def test_one_changed_byte_of_a_published_file_is_found(kept: Kept, name: str) -> None:
    with kept.copy(work=False) as folder:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        (fault,) = (fault for fault in checked(folder).faults if fault.expected.startswith("SHA-256"))
        assert fault.path == name
        assert fault.expected == f"SHA-256 {sha256((kept.folder / name).read_bytes())}"
        assert fault.found == sha256(bytes(content))
        if name in manifest.SOURCES:
            with pytest.raises(InvalidInput, match=rf"{name} was changed after it was written: .*Restore the file; or"):
                publish.rebuild(folder, print)


@pytest.mark.parametrize(
    ("table", "column", "value", "what"),
    [
        ("runs.csv", "test_accuracy", "0.5", r"predictions\.npz"),
        ("runs.csv", "seed", "7", "digest [0-9a-f]{64} in row 2"),
        ("runs.csv", "arm", "SomeNet", "digest None in row 2"),
        ("runs.csv", "train_size", "101", "digest None in row 2"),
        ("runs.csv", "digest", "ab" * 32, "digest [0-9a-f]{64}"),
        ("runs.csv", "p.learning_rate", "0.5", "digest [0-9a-f]{64}"),
        ("runs.csv", "p.learning_rate", "", "digest None"),
        ("runs.csv", "p.learning_rate", "-1", "digest None"),
    ],
)
def test_a_copy_without_runs_is_held_against_its_study(
    kept: Kept, table: str, column: str, value: str, what: str
) -> None:
    rows = list(csv.DictReader((kept.folder / table).read_text().splitlines()))
    row = next(
        i for i, row in enumerate(rows) if row[column] != value and (table != "trials.csv" or row["chosen"] != "True")
    )
    with kept.copy(work=False) as folder:
        changed_cell(folder / table, column, value, row)
        with_hash(folder, table)
        faults = [str(fault) for fault in checked(folder).faults]
    assert any(re.search(what, fault) for fault in faults), faults


def as_before_classes(folder: Path) -> dict[str, Any]:
    """Make a study's tables those of a version that kept no predicted classes; returns the arrays left."""
    with np.load(folder / "predictions.npz") as content:
        arrays = {name: content[name] for name in ("digests", "lengths", "bits")}
    np.savez_compressed(folder / "predictions.npz", **arrays)
    runs = pd.read_csv(folder / "runs.csv", dtype=str, keep_default_na=False)
    runs.drop(columns=["balanced_accuracy", "top5_accuracy"]).to_csv(folder / "runs.csv", index=False)
    for name in ("predictions.npz", "runs.csv"):
        with_hash(folder, name)
    return arrays


def test_answers_that_are_not_the_runs_are_found(kept: Kept) -> None:
    with kept.copy(work=False) as folder:
        arrays = as_before_classes(folder)
        arrays["bits"][0] ^= 0b10000000
        np.savez_compressed(folder / "predictions.npz", **arrays)
        with_hash(folder, "predictions.npz")
        (fault,) = checked(folder).faults
    assert fault.path == "runs.csv"
    assert "by predictions.npz" in fault.expected


@pytest.mark.parametrize("work", [True, False])
def test_results_of_before_classes_were_kept_hold(kept: Kept, work: bool) -> None:
    with kept.copy(work=work) as folder:
        as_before_classes(folder)
        assert checked(folder).faults == ()
        records = load_records(folder)
        assert (records.classes, records.top5) == ({}, {})
        assert records.runs[["balanced_accuracy", "top5_accuracy"]].isna().all(axis=None)


def test_classes_are_kept_and_held_against_the_runs(kept: Kept) -> None:
    """Other wrong classes fit answers and accuracies; the run folders tell."""
    with kept.copy() as folder:
        classes = load_records(folder).classes
        assert classes.keys() == set(kept.records.runs["digest"])
        answers = read_answers(folder / "predictions.npz")
        others = {
            digest: Classes(pair.labels, np.where(pair.correct, pair.labels, (pair.labels + 1) % 10))
            for digest, pair in classes.items()
        }
        write_answers(folder / "predictions.npz", replace(answers, classes=others))
        with_hash(folder, "predictions.npz")
        faults = checked(folder).faults
        assert {fault.path for fault in faults} == {"predictions.npz"}
        assert faults[0].expected.startswith("the classes in work/runs/")
        first = classes[min(classes)]
        with np.load(folder / "predictions.npz") as content:
            arrays = dict(content)
        arrays["mistakes"][0] = first.labels[~first.correct][0]
        np.savez_compressed(folder / "predictions.npz", **arrays)
        with_hash(folder, "predictions.npz")
        (fault,) = checked(folder).faults
    assert fault.path == "tables"
    assert "its classes do not fit its answers" in fault.found


@pytest.mark.parametrize("metric", ["balanced_accuracy", "top5_accuracy"])
def test_metrics_made_from_classes_are_held_against_them(kept: Kept, metric: str) -> None:
    with kept.copy(work=False) as folder:
        changed_cell(folder / "runs.csv", metric, "0.5")
        with_hash(folder, "runs.csv")
        (fault,) = checked(folder).faults
    assert re.match(rf"{metric} \S+ of run \w+ \(by predictions\.npz\)", fault.expected)


def a_run(folder: Path, phase: str = "confirm") -> RunFolder:
    """The first run folder of a phase."""
    paths = sorted((folder / "work" / "runs").iterdir())
    return next(run for run in map(RunFolder, paths) if run.config()["config"]["phase"] == phase)


@pytest.mark.parametrize("name", ["config.json", "journal.jsonl", "result.json", "predictions.npz"])
def test_one_changed_digit_in_a_run_folder_is_found(kept: Kept, name: str) -> None:
    with kept.copy() as folder:
        run = a_run(folder)
        content = bytearray((run.path / name).read_bytes())
        at = (
            len(content) // 2
            if name == "predictions.npz"
            else next(at for at in range(len(content) // 2, len(content)) if content[at : at + 1] in b"12345678")
        )
        content[at] ^= 1
        (run.path / name).write_bytes(content)
        faults = checked(folder).faults
    assert any(fault.path.startswith(f"work/runs/{run.path.name}/") for fault in faults)
    assert any(name in f"{fault.path} {fault.found}" for fault in faults)


def test_a_result_that_was_forged_with_its_hash_is_found_in_the_tables(kept: Kept) -> None:
    with kept.copy() as folder:
        run = a_run(folder)
        body = read_json(run.result_path)["result"] | {"test_accuracy": 0.999}
        write_json(run.result_path, {"result": body, "sha256": sha256(canonical_json(body).encode())})
        paths = {fault.path for fault in checked(folder).faults}
    assert paths == {"runs.csv", "shifts.csv"}


def test_a_row_without_its_run_is_found(kept: Kept) -> None:
    with kept.copy() as folder:
        run = a_run(folder)
        run.result_path.unlink()
        found = checked(folder)
    assert [fault.path for fault in found.faults] == ["runs.csv"]
    assert "1 run folders have no result yet." in found.notes


LATER = ("series", "attention_macs_per_image", "search")
"""Columns that tables of earlier versions lack."""


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("work", [False, True], ids=["a copy", "with its runs"])
def test_results_of_an_earlier_version_hold_with_notes(kept: Kept, work: bool) -> None:
    with kept.copy(work=work) as folder:
        (folder / "manifest.json").unlink()
        (folder / "REPORT.md").write_text("as an earlier version wrote it")
        for table in ("runs.csv", "trials.csv"):
            rows = list(csv.reader((folder / table).read_text().splitlines()))
            left = [at for at, name in enumerate(rows[0]) if name not in LATER]
            rows = [[row[at] for at in left] for row in rows]
            (folder / table).write_text("".join(",".join(row) + "\n" for row in rows))
        content = read_json(folder / "study.json")
        del content["provenance"]["numerics"]
        write_json(folder / "study.json", content)
        found = verify(folder)
    assert found.faults == ()
    assert any("no manifest.json" in note for note in found.notes)
    assert any("not compared byte by byte: " in note and "REPORT.md" in note for note in found.notes)


@pytest.mark.usefixtures("drawn_once")
def test_a_report_that_other_libraries_drew_is_a_note_and_one_of_this_version_a_fault(kept: Kept) -> None:
    with kept.copy(work=False) as folder:
        (folder / "REPORT.md").write_text("changed")
        with_hash(folder, "REPORT.md")
        assert [fault.path for fault in verify(folder).faults] == ["REPORT.md"]
        content = read_json(folder / "manifest.json")
        content["made_by"]["matplotlib"] = "1.0"
        write_json(folder / "manifest.json", content)
        found = verify(folder)
    assert found.faults == ()
    assert any(note.startswith("Made by another version (matplotlib 1.0, now ") for note in found.notes)


def test_a_study_that_runs_is_not_verified(kept: Kept) -> None:
    with (
        kept.copy() as folder,
        StudyLock(folder / "work" / "lock"),
        pytest.raises(InvalidInput, match="already running"),
    ):
        verify(folder)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret", "a/../../b"])
def test_a_manifest_names_files_of_its_folder_only(kept: Kept, path: str) -> None:
    with kept.copy(work=False) as folder:
        write_json(folder / "manifest.json", {"files": {path: "0" * 64}, "made_by": {}})
        with pytest.raises(InvalidInput, match="not a file of this folder"):
            publish.read_results(folder)
        assert checked(folder).faults[0].path == "manifest.json"


def test_the_command_exits_0_or_2_and_names_each_file(kept: Kept) -> None:
    with kept.copy(work=False) as folder, tables_only():
        arguments = ["--results", str(folder.parents[1]), "verify", "tiny", "--scale", "smoke"]
        whole = CliRunner().invoke(cli, arguments)
        assert whole.exit_code == 0
        assert "note: There is no work folder" in whole.output
        changed_cell(folder / "runs.csv", "test_accuracy", "0.5")
        broken = CliRunner().invoke(cli, arguments)
        assert broken.exit_code == 2
        assert "does not hold: runs.csv: expected SHA-256 " in broken.output
        content = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).output)
    assert not content["holds"]
    assert {fault["path"] for check in content["checks"] for fault in check["faults"]} == {"runs.csv"}


@pytest.mark.slow
def test_going_on_with_a_study_renews_the_manifest(kept: Kept) -> None:
    with kept.copy() as folder, tables_only():
        before = read_json(folder / "manifest.json")["files"]
        run_in(folder, finished_study.STUDY.__class__(**{**vars(STUDY), "seeds": (0, 1, 2)}))
        after = read_json(folder / "manifest.json")["files"]
        assert before["runs.csv"] != after["runs.csv"]
        assert verify(folder).faults == ()

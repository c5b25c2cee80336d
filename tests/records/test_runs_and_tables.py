"""A run's folder, a study's tables and study.json: what is written is what is read, and damage is noticed."""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.records import csv_text
from harness.records.correctness import Answers, Classes, read_answers, write_answers
from harness.records.files import RecordsError, sha256, write_json
from harness.records.run_table import (
    ADDED_COLUMNS,
    CURVE_COLUMNS,
    RUN_COLUMNS,
    SHIFT_COLUMNS,
    TRIAL_COLUMNS,
    StudyRecords,
    load_records,
    with_columns,
    write_tables,
)
from harness.records.runs import RunFolder, RunResult, Shift
from harness.records.status import read_status
from harness.records.study_file import read_study, write_study
from harness.records.write_lock import StudyLock, caution
from harness.spec import (
    TUNE_SEED,
    Arm,
    Augmentation,
    Better,
    Choice,
    CostGrows,
    Crosses,
    DataSpec,
    Equivalent,
    GapShrinks,
    InvalidInput,
    LogUniform,
    Monotone,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    Run,
    RunConfig,
    Search,
    Uniform,
    ViTSpec,
    canonical_json,
)

VIT = ViTSpec(patch_size=4, width=16, depth=2, heads=2, layer_scale=1e-5, position="sincos_2d", head_hidden=8)
SAID = {"statement": "It holds.", "source": "arXiv 2010.11929, Fig. 1"}
NAMES = ("=1+1", "-x", "@sum", "'quoted", "''", 'a, "b"', "Ä→✓", "NA", "None", "nan", "007")

STUDY = ResolvedStudy(
    name="patch_size",
    scale="smoke",
    question="Do smaller patches help?",
    source="arXiv 2010.11929",
    factor="patch_size",
    data=DataSpec(source="digits", image_size=8),
    recipe=Recipe(epochs=2.5, clip_norm=None, ema_decay=0.99, augmentation=Augmentation(shift=1, mixup=0.2)),
    baseline=Arm("ResNet-8", ResNetSpec(depth=8)),
    arms=(
        Arm("small", VIT, level=2),
        Arm("middle", VIT, level=4, changes={"recipe.augmentation": Augmentation(erase=0.5), "data.split_seed": 3}),
        Arm("large", ResNetSpec(depth=50), level=8.5, changes={"recipe.weight_decay": 1}),
    ),
    train_sizes=(100, 200),
    seeds=(0, 7),
    search=Search(
        space={"learning_rate": LogUniform(low=1e-4, high=1e-1), "momentum": Uniform(low=0, high=0.9)},
        by_family={"vit": {"optimizer": Choice(values=("adamw", "muon")), "accumulate": Choice(values=(1, 2))}},
        trials=4,
        updates=10,
        sampler="random",
    ),
    minutes=0.5,
    claims=(
        Better(arm="small", than="ResNet-8", margin=0.01, train_size="largest", **SAID),
        Better(arm="small", than="ResNet-8", train_size=100, conditions="JFT", **SAID),
        Equivalent(arm="small", to="middle", within=0.02, metric="test_loss", **SAID),
        Monotone(metric="test_accuracy", along="patch_size", direction="down", slack=0.01, **SAID),
        Monotone(metric="test_accuracy", along="train_size", direction="up", arm="small", **SAID),
        GapShrinks(leader="ResNet-8", follower="small", **SAID),
        Crosses(leader="ResNet-8", follower="small", **SAID),
        CostGrows(along="patch_size", direction="down", factor=2, **SAID),
    ),
    changes_after_first_look=("The learning rate's range was widened.",),
)
LEVELS = tuple(Arm(name, replace(VIT, width=16 + 4 * at), level=level) for at, (name, level) in enumerate(
    zip(NAMES, ("cls", "4", 4, None, "=2", "none", "None", 1e-7, "", "'", "1e3"), strict=True)
))  # fmt: skip
TEXTS = replace(STUDY, arms=LEVELS, claims=())
SHIFTED = replace(STUDY, test_shifts=(1, 2))


# --- study.json -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", [STUDY, TEXTS], ids=["every claim", "odd names"])
def test_a_study_read_back_is_the_study(tmp_path, study):
    write_study(tmp_path, study, {"command": "patchbench run patch_size"})
    found, provenance = read_study(tmp_path)
    assert found == study
    assert provenance == {"command": "patchbench run patch_size"}
    assert [type(claim) for claim in found.claims] == [type(claim) for claim in study.claims]
    assert [found.recipe_of(arm) for arm in found.all_arms] == [study.recipe_of(arm) for arm in study.all_arms]
    assert repr(found.search.by_family["vit"]["accumulate"]) == "Choice(kind='choice', values=(1, 2))"  # not 1.0


@pytest.mark.parametrize(
    "damage",
    [
        lambda study: study.pop("recipe"),
        lambda study: study["recipe"].update(batch_size=0),
        lambda study: study["recipe"].update(optimizer="lion"),
        lambda study: study["arms"][0]["changes"].update({"recipe.learning_rat": 1}),
        lambda study: study["arms"][0]["changes"].update({"model.width": 1}),
        lambda study: study["arms"][0].pop("changes"),
        lambda study: study.update(arms=3),
        lambda study: study["claims"][0].update(arm="nobody"),
    ],
)
def test_a_damaged_study_is_named(tmp_path, damage):
    write_study(tmp_path, STUDY, {})
    path = tmp_path / "study.json"
    content = json.loads(path.read_text())
    damage(content["study"])
    path.write_text(json.dumps(content))
    with pytest.raises(RecordsError, match=r"Could not read .*study\.json: "):
        read_study(tmp_path)


# --- tables -----------------------------------------------------------------------------------------------------------


def records(study=TEXTS):
    rng = np.random.default_rng(0)
    runs, trials, curves, correct = [], [], [], {}
    for at, arm in enumerate(study.all_arms):
        place = {"study": study.name, "scale": study.scale, "arm": arm.name, "train_size": 100, "digest": f"{at:064d}"}
        done = at % 3 != 1
        runs.append(
            place
            | {"is_baseline": at == 0, "level": arm.level, "series": "" if at % 2 else "=post"}
            | {"seed": at, "status": "completed" if done else "diverged"}
            | {
                "updates": 12,
                "images_seen": 10**12 + at,
                "device": "cpu",
                "precision": "fp32",
                "code_fingerprint": "0e1",
            }
            | ({"test_accuracy": round(rng.random(), 9), "params": 2**53 + 1, "macs_per_image": at} if done else {})
            | ({"p.learning_rate": 1e-7 * at, "p.optimizer": "None"} if at else {})
        )
        trials.append(
            place
            | {"trial": at, "status": "failed", "images_seen": 7, "chosen": bool(at % 2)}
            | {"at_edge": "learning_rate, weight_decay" if done else ""}
            | {"device": "cpu", "precision": "bf16", "code_fingerprint": "0e1"}
        )
        curves.append(place | {"seed": at, "update": 4, "images_seen": 64, "train_loss": 1e-300, "learning_rate": 0.5})
        correct[place["digest"]] = rng.random(at) < 0.5
    curves = [{key: value for key, value in row.items() if key in CURVE_COLUMNS} for row in curves]
    shifts = [
        {key: value for key, value in row.items() if key in SHIFT_COLUMNS}
        | {"shift": pixels, "test_accuracy": round(rng.random(), 9), "agreement": 1 / (1 + pixels)}
        for row in curves
        for pixels in ((0, *study.test_shifts) if study.test_shifts else ())
    ]
    return StudyRecords(
        study=study,
        provenance={},
        runs=with_columns(runs, RUN_COLUMNS),
        trials=with_columns(trials, TRIAL_COLUMNS),
        curves=with_columns(curves, CURVE_COLUMNS),
        shifts=with_columns(shifts, SHIFT_COLUMNS),
        correct=correct,
    )


def test_tables_read_back_are_the_tables(tmp_path):
    written = records()
    write_tables(tmp_path, written)
    found = load_records(tmp_path)
    for name in ("runs", "trials", "curves"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(written, name), rtol=1e-9, obj=name)
    levels = [None if isinstance(level, float) and np.isnan(level) else level for level in found.runs["level"]]
    assert levels == [arm.level for arm in TEXTS.all_arms]
    assert [type(level) for level in levels] == [type(arm.level) for arm in TEXTS.all_arms]
    assert found.correct.keys() == written.correct.keys()
    assert all(np.array_equal(found.correct[digest], written.correct[digest]) for digest in written.correct)
    assert found.study == written.study


def test_shifts_are_kept_where_the_study_has_them(tmp_path):
    written = records(SHIFTED)
    assert len(written.shifts) == 3 * 4
    write_tables(tmp_path / "shifted", written)
    found = load_records(tmp_path / "shifted")
    pd.testing.assert_frame_equal(found.shifts, written.shifts, rtol=1e-9)
    write_tables(tmp_path / "again", found)
    assert (tmp_path / "again" / "shifts.csv").read_bytes() == (tmp_path / "shifted" / "shifts.csv").read_bytes()
    (tmp_path / "shifted" / "shifts.csv").unlink()
    with pytest.raises(RecordsError, match=r"Could not read .*shifts\.csv"):
        load_records(tmp_path / "shifted")


def test_without_them_there_is_no_table_and_an_empty_frame(tmp_path):
    write_tables(tmp_path, records(STUDY))
    assert not (tmp_path / "shifts.csv").exists()
    found = load_records(tmp_path).shifts
    pd.testing.assert_frame_equal(found, with_columns([], SHIFT_COLUMNS), check_index_type=False)


def test_tables_of_version_0_1_are_read(tmp_path):
    """They lack what was added since: in study.json, in runs.csv, and the whole of shifts.csv."""
    written = records(STUDY)
    write_tables(tmp_path, written)
    for name in ("runs", "curves"):
        frame = pd.read_csv(tmp_path / f"{name}.csv", dtype=str, keep_default_na=False)
        frame.drop(columns=[*set(ADDED_COLUMNS) & set(frame.columns)]).to_csv(tmp_path / f"{name}.csv", index=False)
    content = json.loads((tmp_path / "study.json").read_text())
    del content["study"]["test_shifts"]
    (tmp_path / "study.json").write_text(json.dumps(content))
    found = load_records(tmp_path)
    old = [name for name in written.runs.columns if name not in ADDED_COLUMNS]
    pd.testing.assert_frame_equal(found.runs[old], written.runs[old], rtol=1e-9)
    assert found.runs["series"].tolist() == [""] * len(found.runs)
    assert found.runs["attention_macs_per_image"].isna().all()
    for table, before in ((found.runs, written.runs), (found.curves, written.curves)):
        added = set(ADDED_COLUMNS) & set(before.columns)
        assert {name: str(table[name].dtype) for name in added} == {name: str(before[name].dtype) for name in added}
    assert found.curves["loss_spikes"].isna().all()
    assert found.study == STUDY
    assert found.shifts.empty


def test_tables_written_again_are_the_same_bytes(tmp_path):
    write_tables(tmp_path / "a", records())
    write_tables(tmp_path / "b", load_records(tmp_path / "a"))
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_empty_tables_keep_their_types(tmp_path):
    empty = StudyRecords(
        study=STUDY,
        provenance={},
        runs=with_columns([], RUN_COLUMNS),
        trials=with_columns([], TRIAL_COLUMNS),
        curves=with_columns([], CURVE_COLUMNS),
    )
    write_tables(tmp_path, empty)
    found = load_records(tmp_path)
    for name in ("runs", "trials", "curves"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(empty, name), obj=name, check_index_type=False)
    assert found.correct == {}


def test_no_cell_is_a_formula(tmp_path):
    write_tables(tmp_path, records())
    cells = [cell.strip('"') for line in (tmp_path / "runs.csv").read_text().splitlines() for cell in line.split(",")]
    assert [cell for cell in cells if cell.startswith(("=", "+", "@"))] == []
    assert "'=1+1" in cells


@given(st.text())
def test_what_is_made_safe_can_be_told_from_what_was_so(text):
    assert csv_text.as_written(csv_text.safe(text)) == text
    assert not csv_text.safe(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_table_without_a_column_is_named(tmp_path):
    write_tables(tmp_path, records())
    frame = pd.read_csv(tmp_path / "runs.csv", dtype=str).drop(columns=["seed", "status"])
    frame.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(RecordsError, match=r"runs\.csv: it lacks the columns seed, status\."):
        load_records(tmp_path)


@given(st.dictionaries(st.text("0123456789abcdef", min_size=1, max_size=64), st.lists(st.booleans(), max_size=20)))
def test_predictions_unpacked_are_those_packed(tmp_path_factory, answers):
    path = tmp_path_factory.getbasetemp() / "predictions.npz"
    bits = {digest: np.array(bits, dtype=np.bool_) for digest, bits in answers.items()}
    some = sorted(bits)[::2]
    labels = {digest: np.arange(len(bits[digest]), dtype=np.uint16) * 40 for digest in some}  # of one byte, of two
    classes = {digest: Classes(own, np.where(bits[digest], own, own + 1)) for digest, own in labels.items()}
    top5 = {digest: ~bits[digest] for digest in sorted(bits)[1::2]}
    write_answers(path, Answers(correct=bits, classes=classes, top5=top5))
    found = read_answers(path)
    assert {digest: bits.tolist() for digest, bits in found.correct.items()} == answers
    assert {digest: bits.tolist() for digest, bits in found.top5.items()} == {
        digest: [not bit for bit in answers[digest]] for digest in top5
    }
    assert found.classes.keys() == classes.keys()
    assert all(np.array_equal(found.classes[digest], pair) for digest, pair in classes.items())


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("mistakes", lambda array: array + 1, "its classes do not fit its answers"),
        ("mistakes", lambda array: array[:-1], "its numbers of images and classes do not fit"),
        ("whose", lambda array: array + 1, "its numbers of images and classes do not fit"),
        ("labels", lambda array: array[:-1], "its numbers of images and classes do not fit"),
        ("labels", lambda array: array.astype(np.int16), "labels is of type int16"),
        ("class_digests", lambda array: array[:1], "its numbers of images and classes do not fit"),
        ("top5", lambda array: array[:-1], "its numbers of runs, images and answers do not fit"),
        ("bits", lambda array: array ^ 1, "its numbers of images and classes do not fit"),
    ],
)
def test_classes_that_do_not_fit_the_answers_are_refused(tmp_path, name, change, told):
    path, classes = tmp_path / "predictions.npz", Classes(np.arange(8, dtype=np.uint16), np.full(8, 3, np.uint16))
    of_both = {"a": classes, "b": classes}
    correct = {digest: pair.correct for digest, pair in of_both.items()}
    write_answers(path, Answers(correct=correct, classes=of_both, top5=correct))
    with np.load(path) as content:
        arrays = dict(content)
    np.savez_compressed(path, **{**arrays, name: change(arrays[name])})
    with pytest.raises(RecordsError, match=rf"predictions\.npz: .*{told}"):
        read_answers(path)


def test_labels_that_runs_share_are_kept_once_and_earlier_files_are_read(tmp_path):
    path, rng = tmp_path / "predictions.npz", np.random.default_rng(0)
    labels = [rng.integers(0, 10, images).astype(np.uint16) for images in (500, 300)]
    classes = {
        name: Classes(labels[place], np.where(rng.random(len(labels[place])) < 0.8, labels[place], 3).astype(np.uint16))
        for name, place in zip("abcd", (0, 1, 0, 1), strict=True)
    }
    correct = {name: pair.correct for name, pair in classes.items()}
    write_answers(path, Answers(correct=correct, classes=classes))
    with np.load(path) as content:
        arrays = dict(content)
    assert len(arrays["labels"]) == 800
    assert len(arrays["mistakes"]) == sum(int((~right).sum()) for right in correct.values())
    np.testing.assert_equal(dict(read_answers(path).classes), classes)
    del arrays["whose"], arrays["mistakes"]
    joined = {name: np.concatenate([getattr(pair, name) for pair in classes.values()]) for name in Classes._fields}
    np.savez_compressed(path, **{**arrays, **joined})
    np.testing.assert_equal(dict(read_answers(path).classes), classes)


def test_classes_without_their_labels_are_refused(tmp_path):
    path = tmp_path / "predictions.npz"
    pair = Classes(np.zeros(8, np.uint16), np.zeros(8, np.uint16))
    write_answers(path, Answers(correct={"a": pair.correct}, classes={"a": pair}))
    with np.load(path) as content:
        arrays = dict(content)
    del arrays["labels"]
    np.savez_compressed(path, **arrays)
    with pytest.raises(RecordsError, match=r"predictions\.npz"):
        read_answers(path)


@pytest.mark.parametrize("part", [0, 20, 100, -30])
def test_damaged_predictions_are_named(tmp_path, part):
    write_tables(tmp_path, records())
    path = tmp_path / "predictions.npz"
    path.write_bytes(path.read_bytes()[:part])
    with pytest.raises(RecordsError, match=r"Could not read .*predictions\.npz"):
        load_records(tmp_path)


# --- a run's folder ---------------------------------------------------------------------------------------------------

RUN = Run(
    arm="small",
    config=RunConfig(
        phase="confirm",
        seed=0,
        model=VIT,
        recipe=Recipe(updates=3),
        data=DataSpec(source="digits"),
        data_hash="0" * 64,
        channels=1,
        classes=10,
    ),
    values={"learning_rate": 1e-3},
)


@pytest.fixture
def folder(tmp_path):
    """A run with a result."""
    folder = RunFolder(tmp_path / RUN.digest)
    folder.write_config(RUN)
    files = folder.write_predictions(np.arange(300, dtype=np.uint16), np.zeros(300, dtype=np.uint16))
    shifts = (Shift(pixels=1, accuracy=0.25, agreement=0.5),)
    folder.write_result(
        RunResult(digest=RUN.digest, status="completed", test_accuracy=0.5, updates=3, shifts=shifts, files=files)
    )
    return folder


def test_a_result_read_back_is_the_result(folder):
    result = folder.result()
    assert (result.status, result.test_accuracy, result.test_loss, result.updates) == ("completed", 0.5, None, 3)
    labels, predicted = folder.answers()[0]
    assert labels.tolist() == list(range(300))
    assert predicted.tolist() == [0] * 300
    assert folder.config()["arm"] == "small"


SHIFTS = (Shift(pixels=1, accuracy=0.25, agreement=0.5), Shift(pixels=3, accuracy=0.125, agreement=0.0))


def test_tests_of_shifted_images_read_back_are_those_written(folder):
    result = RunResult(digest=RUN.digest, status="completed", test_accuracy=0.5, shifts=SHIFTS)
    folder.write_result(result)
    assert folder.result() == result
    assert folder.result().shift_curve == (Shift(pixels=0, accuracy=0.5, agreement=1.0), *SHIFTS)
    assert replace(result, shifts=()).shift_curve == ()


def rewritten(folder, **changes):
    """The result with other content and the hash of that: as another version of the package might write it."""
    body = json.loads(folder.result_path.read_text())["result"] | changes
    write_json(folder.result_path, {"result": body, "sha256": sha256(canonical_json(body).encode())})


def test_what_another_version_wrote_is_read_as_far_as_it_is_known(folder):
    known = {"pixels": 1, "accuracy": 0.25, "agreement": 0.5}
    rewritten(folder, shifts=[known | {"median": 0.2}], weather="fine")
    assert folder.result().shifts == SHIFTS[:1]
    body = json.loads(folder.result_path.read_text())["result"]
    for name in ("shifts", "attention_macs_per_image"):
        del body[name]
    write_json(folder.result_path, {"result": body, "sha256": sha256(canonical_json(body).encode())})
    assert (folder.result().shifts, folder.result().attention_macs_per_image) == ((), None)


@pytest.mark.parametrize(
    "shifts",
    [
        None,
        3,
        "ab",
        {"pixels": 1},
        [1],
        [None],
        [[]],
        [{}],
        [{"pixels": 1, "accuracy": 0.5}],
        [{"pixels": "1", "accuracy": 0.5, "agreement": 0.5}],
        [{"pixels": 1.5, "accuracy": 0.5, "agreement": 0.5}],
        [{"pixels": 1, "accuracy": None, "agreement": 0.5}],
    ],
    ids=repr,
)
def test_shifts_that_are_none_are_no_result(folder, shifts):
    rewritten(folder, shifts=shifts)
    with pytest.raises(RecordsError, match=r"Could not read .*result\.json: "):
        folder.result()


def test_any_flipped_bit_of_a_result_is_noticed(folder):
    whole = folder.result()
    content = folder.result_path.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1
        folder.result_path.write_bytes(bytes(damaged))
        try:
            assert folder.result() == whole  # white space only
            assert json.loads(damaged) == json.loads(content)
        except RecordsError:
            pass


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"test_accuracy": 0.6}, "its hash does not match its content"),
        ({"status": "splendid"}, "status: Input should be 'completed'"),
        ({"digest": "0" * 64}, "its hash does not match its content"),
        ({"updates": None}, "updates: Input should be a valid integer"),
    ],
)
def test_a_changed_result_is_noticed(folder, edit, message):
    content = json.loads(folder.result_path.read_text())
    content["result"] |= edit
    folder.result_path.write_text(json.dumps(content))
    with pytest.raises(RecordsError, match=message):
        folder.result()


def test_the_result_of_another_run_is_noticed(folder, tmp_path):
    other = RunFolder(tmp_path / ("1" * 64))
    shutil.copytree(folder.path, other.path)
    with pytest.raises(RecordsError, match="its hash does not match its content"):
        other.result()
    with pytest.raises(RecordsError, match="does not match the digest in its folder's name"):
        other.config()


@pytest.mark.parametrize("at", [0, 40, 200, -5])
def test_a_flipped_bit_of_the_predictions_is_noticed(folder, at):
    content = bytearray(folder.predictions_path.read_bytes())
    content[at] ^= 1
    folder.predictions_path.write_bytes(bytes(content))
    with pytest.raises(RecordsError, match=r"predictions\.npz is missing or damaged"):
        folder.result()


def test_lost_or_cut_predictions_are_noticed(folder):
    content = folder.predictions_path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        folder.predictions_path.write_bytes(content[:length])
        with pytest.raises(RecordsError, match=r"Could not read .*predictions\.npz"):
            folder.answers()[0]
    folder.predictions_path.unlink()
    with pytest.raises(RecordsError, match="is missing or damaged"):
        folder.result()
    with pytest.raises(RecordsError, match=r"Could not read .*predictions\.npz"):
        folder.answers()[0]


@pytest.mark.parametrize("key", ["seed", "classes"])
def test_a_changed_configuration_is_noticed(folder, key):
    content = json.loads(folder.config_path.read_text())
    content["config"][key] += 1
    folder.config_path.write_text(json.dumps(content))
    with pytest.raises(RecordsError, match="it was changed"):
        folder.config()
    folder.write_config(RUN)
    assert folder.config()["config"]["seed"] == 0


def test_a_run_without_a_result_has_none(tmp_path):
    assert RunFolder(tmp_path / RUN.digest).result() is None


def test_a_cleared_folder_is_kept_aside(folder, tmp_path):
    folder.clear(tmp_path / "aside")
    folder.clear(tmp_path / "aside")  # nothing left to set aside
    assert [path.name for path in (tmp_path / "aside").iterdir()] == [f"{RUN.digest}.0"]
    assert (tmp_path / "aside" / f"{RUN.digest}.0" / "result.json").exists()


# --- status and provenance --------------------------------------------------------------------------------------------


def planned_run(study, arm, *, size=100, seed=None, trial=None, values=None, **recipe):
    """A run as the plan of `study` has it, with tuned values, but for the changes of its recipe."""
    own, values = study.recipe_of(arm).resolved(size), values or {}
    updates = own.updates if trial is None else study.trial_updates(own)
    config = RunConfig(
        phase="confirm" if trial is None else "tune",
        seed=TUNE_SEED if seed is None else seed,
        model=arm.model,
        recipe=replace(own, **({"updates": updates} | values | recipe)),
        data=replace(study.data_of(arm, size), image_size=8, validation_size=180),
        data_hash="ab" * 32,
        channels=1,
        classes=10,
    )
    return Run(arm=arm.name, config=config, trial=trial, values=values)


def finish(folder, run, status="completed"):
    runs = RunFolder(folder / "work" / "runs" / run.digest)
    runs.write_config(run)
    runs.write_result(RunResult(digest=run.digest, status=status))
    return run.digest


def test_the_status_counts_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path = tmp_path / "results" / "patch_size" / "smoke"
    write_study(tmp_path, STUDY, {})
    resnet, small = STUDY.baseline, STUDY.arms[0]
    finish(tmp_path, planned_run(STUDY, resnet, seed=0))
    finish(tmp_path, planned_run(STUDY, STUDY.arms[1], size=200, seed=7))
    finish(tmp_path, planned_run(STUDY, small, seed=7), "diverged")
    finish(tmp_path, planned_run(STUDY, small, trial=3, values={"optimizer": "muon", "learning_rate": 0.07}), "failed")
    torn = tmp_path / "work" / "runs" / "torn"
    torn.mkdir()
    (torn / "result.json").write_text("{")
    status = read_status(tmp_path)
    assert status.planned == 4 * 2 * (4 + 2)
    assert status.statuses == {"completed": 2, "diverged": 1, "failed": 1}
    assert status.running == []
    assert status.as_text() == (
        "patch_size at scale smoke: 48 runs planned; 2 completed, 1 diverged, 1 failed.\n"
        "Nothing is running; go on with: patchbench run patch_size --scale smoke"
    )


RESNET = STUDY.baseline


@pytest.mark.parametrize(
    "run",
    [
        planned_run(STUDY, RESNET, seed=3),
        planned_run(STUDY, RESNET, seed=0, size=50),
        planned_run(STUDY, RESNET, seed=0, updates=500),
        planned_run(STUDY, RESNET, seed=0, batch_size=64),
        planned_run(STUDY, RESNET, seed=0, augmentation=Augmentation(shift=2, mixup=0.2)),
        planned_run(STUDY, RESNET, seed=0, optimizer="sgd"),  # tuned for the ViTs only
        planned_run(STUDY, RESNET, trial=4),
        planned_run(STUDY, RESNET, trial=0, updates=500),
        planned_run(STUDY, replace(RESNET, model=VIT), seed=0),
        planned_run(STUDY, replace(RESNET, name="gone"), seed=0),
        planned_run(replace(STUDY, data=DataSpec(source="digits", image_size=8, split_seed=1)), RESNET, seed=0),
    ],
    ids=["seed", "size", "budget", "batch", "nested", "optimiser", "trial", "trial's budget", "model", "arm", "split"],
)
def test_runs_of_other_settings_are_not_counted(tmp_path, run):
    write_study(tmp_path, STUDY, {})
    finish(tmp_path, run)
    assert read_status(tmp_path).statuses == {}


def test_a_trial_that_two_searches_have_made_counts_once(tmp_path):
    write_study(tmp_path, STUDY, {})
    for rate in (0.01, 0.02):
        finish(tmp_path, planned_run(STUDY, RESNET, trial=0, values={"learning_rate": rate}))
    assert read_status(tmp_path).statuses == {"completed": 1}


@pytest.mark.parametrize("is_pruned", [False, True])
def test_a_study_of_version_0_1_is_read_unless_its_trials_were_stopped_early(tmp_path, is_pruned):
    write_study(tmp_path, STUDY, {})
    content = json.loads((tmp_path / "study.json").read_text())
    content["study"]["search"] |= {"pruning": is_pruned, "storage": None}
    (tmp_path / "study.json").write_text(json.dumps(content))
    if is_pruned:
        with pytest.raises(RecordsError, match=r"search\.pruning"):
            read_study(tmp_path)
    else:
        assert read_study(tmp_path)[0] == STUDY


def with_tables(folder):
    """Tables of four diverged or completed runs and four failed trials, and the runs' folders; their digests."""
    kept = records(STUDY)
    digests = []
    for at, arm in enumerate(STUDY.all_arms):
        digests.append(finish(folder, planned_run(STUDY, arm, seed=0)))
        kept.runs.loc[at, "digest"] = digests[-1]
        kept.trials.loc[at, "digest"] = finish(folder, planned_run(STUDY, arm, trial=0), "failed")
    write_tables(folder, kept)
    return digests


def test_a_copy_without_its_work_folder_is_counted_by_its_tables(tmp_path):
    first, *_ = with_tables(tmp_path)
    finish(tmp_path, planned_run(STUDY, RESNET, seed=7))
    assert read_status(tmp_path).statuses == {"completed": 5, "failed": 4}
    RunFolder(tmp_path / "work" / "runs" / first).clear(tmp_path / "work" / "set_aside")  # to be done again
    assert read_status(tmp_path).statuses == {"completed": 4, "failed": 4}
    shutil.rmtree(tmp_path / "work")
    assert read_status(tmp_path).statuses == {"completed": 3, "diverged": 1, "failed": 4}


def test_tables_of_an_earlier_launch_do_not_count_for_a_later_one(tmp_path):
    with_tables(tmp_path)
    later = replace(STUDY, recipe=replace(STUDY.recipe, epochs=5.0), seeds=(0, 7, 8))
    write_study(tmp_path / "work", later, {})
    finish(tmp_path, planned_run(later, RESNET, seed=8))
    status = read_status(tmp_path)
    assert status.planned == 4 * 2 * (4 + 3)
    assert status.statuses == {"completed": 1}


SAYS = {
    "process": os.getpid(),
    "host": platform.node(),
    "planned": 56,
    "done": {"completed": 5, "failed": 1},
    "running": [{"run": "small · seed 0", "update": 1200, "updates": 2000}],
}


def test_a_coordinator_at_work_speaks_for_itself(tmp_path):
    with_tables(tmp_path)
    lock = StudyLock(tmp_path / "work" / "lock")
    write_json(tmp_path / "work" / "status.json", SAYS)
    with lock:
        status = read_status(tmp_path)
        assert (status.planned, status.statuses) == (56, {"completed": 5, "failed": 1})
        assert status.as_text().splitlines()[1:] == [
            f"Process {os.getpid()} on {platform.node()} is at work.",
            "  small · seed 0: 1,200 of 2,000 updates",
        ]
    running = [SAYS["running"][0] | {"device": "cuda:3"}]
    said = SAYS | {"running": running, "set_aside": {"cuda:1": "ECC error"}}
    write_json(tmp_path / "work" / "status.json", said)
    with lock:
        assert read_status(tmp_path).as_text().splitlines()[2:] == [
            "  small · seed 0: 1,200 of 2,000 updates, cuda:3",
            "cuda:1 is set aside: ECC error",
        ]
    status = read_status(tmp_path)  # its file may stay behind
    assert status.statuses == {"completed": 4, "failed": 4}
    assert status.running == []
    assert status.coordinator.startswith("Nothing is running")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "[1]", '["ab"]', "{}", "3", json.dumps(SAYS | {"process": 1}), json.dumps(SAYS | {"host": "there"})],
)
def test_what_a_coordinator_did_not_say_is_counted(tmp_path, content):
    write_study(tmp_path, STUDY, {})
    finish(tmp_path, planned_run(STUDY, RESNET, seed=0))
    with StudyLock(tmp_path / "work" / "lock"):
        (tmp_path / "work" / "status.json").write_text(content)
        status = read_status(tmp_path)
    assert status.coordinator == f"Process {os.getpid()} on {platform.node()} is at work."
    assert (status.statuses, status.running) == ({"completed": 1}, [])


def test_asking_for_the_status_changes_nothing(tmp_path):
    with_tables(tmp_path)
    (tmp_path / "work" / "lock").write_text('{"pid": 1}')  # as a killed process leaves it
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert read_status(tmp_path).coordinator.startswith("Nothing is running")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_lock_tells_its_holder_and_stays_with_it(tmp_path):
    lock = StudyLock(tmp_path / "lock")
    assert lock.holder() is None
    assert not (tmp_path / "lock").exists()
    with lock:
        for _ in range(2):
            assert StudyLock(tmp_path / "lock").holder()["pid"] == os.getpid()
        with pytest.raises(InvalidInput, match="already running"):
            StudyLock(tmp_path / "lock").__enter__()
        (tmp_path / "lock").write_text("not JSON")
        assert StudyLock(tmp_path / "lock").holder() == {}
    assert lock.holder() is None


def test_a_look_at_the_lock_keeps_nobody_from_taking_it(tmp_path):
    path = tmp_path / "lock"
    path.write_text("{}")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        release = threading.Timer(0.03, file.close)
        release.start()
        with StudyLock(path):
            release.join()


@pytest.mark.parametrize(
    ("kind", "options", "holds"),
    [
        ("ext4", "rw", True),
        ("nfs4", "rw,local_lock=none", True),
        ("nfs", "rw,nolock", False),
        ("lustre", "rw,flock", True),
        ("lustre", "rw,localflock", False),
        ("fuse.sshfs", "rw", False),
    ],
)
def test_locks_that_end_with_a_machine_are_told_of(tmp_path, monkeypatch, kind, options, holds):
    shared, above = tmp_path / "shared", tmp_path
    mounts = [SimpleNamespace(mountpoint=str(above), fstype="ext4", opts="rw")]
    mounts.append(SimpleNamespace(mountpoint=str(shared), fstype=kind, opts=options))
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: mounts)
    assert caution(tmp_path / "other") == ""
    assert (caution(shared / "results") == "") == holds


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package's sources."""
    root = tmp_path_factory.mktemp("package")
    shutil.copytree(Path(harness.__file__).parent, root / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def fingerprint(root):
    code = "from harness.records import provenance as p; print(p.PACKAGE, p.code_fingerprint())"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    place, found = done.stdout.split()
    assert Path(place) == (root / "harness").resolve()
    return found


def change(path, line="changed = 1"):
    path.write_text(path.read_text() + f"\n{line}\n")


def test_the_fingerprint_is_of_the_training_code_alone(package):
    before = fingerprint(package)
    assert len(before) == 16
    kept = [
        "report/page.py",
        "analysis/shipped_claims.py",
        "execution/runner.py",
        "records/files.py",
        "tracking/mirror.py",
    ]
    for name in kept:
        change(package / "harness" / name)
    loop = package / "harness" / "training" / "loop.py"
    change(loop, "# a comment")
    loop.write_text(loop.read_text().replace('"""One training', '"""Another word: one training', 1))
    assert fingerprint(package) == before
    found = {before}
    for name in ("training/loop.py", "models/vit.py", "data/augmentation.py", "spec/recipe.py"):
        change(package / "harness" / name)
        found.add(fingerprint(package))
    (package / "harness" / "training" / "new.py").write_text("")
    assert len(found | {fingerprint(package)}) == 6

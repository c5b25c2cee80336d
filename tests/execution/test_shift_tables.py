"""A study that also tests shifted images, from its runs to its tables; and one whose arm learns from a teacher."""

import dataclasses
import shutil
from collections.abc import Iterator

import pandas as pd
import pytest
from finished_study import Kept, finish, tables_only
from tiny_studies import RESNET, VIT, Witness, tiny_study

from harness.execution.publish import read_results, rebuild
from harness.execution.runner import Options, run_study
from harness.records.run_table import SHIFT_COLUMNS, StudyRecords
from harness.spec import Arm, Distillation, ResolvedStudy, Search


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    """Report and mirrors have tests of their own, and take longer than these trainings."""
    with tables_only():
        yield


def ran(study: ResolvedStudy, options: Options) -> tuple[Witness, StudyRecords]:
    witness = Witness()
    records, _ = read_results(run_study(study, options, witness))
    return witness, records


def shifted(**changes: object) -> ResolvedStudy:
    """Three arms, one of them diverging, with two seeds, tested as they are and shifted by one pixel and by three."""
    hot = Arm("hot", VIT, level=1, changes={"recipe.learning_rate": 1e30, "recipe.optimizer": "sgd"})
    arms = (Arm("ViT/4", VIT, level=4, series="ViT"), hot)
    return tiny_study(arms=arms, seeds=(0, 1), test_shifts=(1, 3), **changes)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    with tables_only():
        return finish(tmp_path_factory.mktemp("tested"), shifted(search=Search()))


def test_shifts_are_in_the_tables(tested: Kept) -> None:
    records = tested.records
    table = records.shifts
    assert list(table.columns) == list(SHIFT_COLUMNS)
    assert table[["arm", "seed", "shift"]].to_numpy().tolist() == [
        [arm, seed, shift] for arm in ("ResNet", "ViT/4") for seed in (0, 1) for shift in (0, 1, 3)
    ]
    assert set(table["train_size"]) == {100}
    assert table[["test_accuracy", "agreement"]].apply(lambda column: column.between(0, 1)).all(axis=None)
    by_shift = {shift: rows.set_index("digest") for shift, rows in table.groupby("shift")}
    runs = records.runs.set_index("digest")
    assert runs.loc[runs["arm"] == "hot", ["shifted_accuracy", "shift_agreement"]].isna().all(axis=None)
    runs = runs[runs["arm"] != "hot"]
    assert by_shift[0]["agreement"].eq(1).all()
    pd.testing.assert_series_equal(by_shift[0]["test_accuracy"], runs["test_accuracy"])
    pd.testing.assert_series_equal(by_shift[3]["test_accuracy"], runs["shifted_accuracy"], check_names=False)
    pd.testing.assert_series_equal(by_shift[3]["agreement"], runs["shift_agreement"], check_names=False)
    assert records.runs["series"].tolist() == ["", "", "ViT", "ViT", "", ""]
    assert (runs["attention_macs_per_image"] > 0).tolist() == [False, False, True, True]


def test_the_table_is_rebuilt_and_set_aside_like_the_others(tested: Kept, inline: Options) -> None:
    folder = inline.results / "tiny" / "smoke"
    shutil.copytree(tested.folder, folder)
    before = (folder / "shifts.csv").read_bytes()
    (folder / "shifts.csv").unlink()
    rebuild(folder, print)
    assert (folder / "shifts.csv").read_bytes() == before
    pd.testing.assert_frame_equal(read_results(folder)[0].shifts, tested.records.shifts)
    witness, plain = ran(dataclasses.replace(tested.records.study, test_shifts=()), inline)
    assert any("other settings (test_shifts)" in note for note in witness.notes)
    assert plain.shifts.empty
    assert plain.runs["shifted_accuracy"].isna().all()
    assert not (folder / "shifts.csv").exists()
    aside = folder / "work" / "set_aside"
    assert [path.read_bytes() for path in aside.glob("results.*/shifts.csv")] == [before]


def test_an_arm_learns_from_a_teacher(inline: Options) -> None:
    student = dataclasses.replace(VIT, pool="cls", distillation_token=True)
    teacher = Distillation(teacher=RESNET, learning_rate=3e-3)
    arm = Arm("distilled", student, level=1, changes={"recipe.distillation": teacher})
    study = tiny_study(arms=(arm,), seeds=(0, 1), search=Search())
    _, records = ran(study, inline)
    assert set(records.runs["status"]) == {"completed"}
    work = inline.results / "tiny" / "smoke" / "work"
    logs = [path.read_text() for path in work.glob("runs/*/journal.jsonl")]
    assert sum('"taught"' in log for log in logs) == 2
    assert not list(work.glob("runs/*/teacher.*"))
    assert len(records.curves) == 4 * 2

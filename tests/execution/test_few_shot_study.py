"""A study whose confirm runs are evaluated on another task, from its plan to its tables and claims."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from finished_study import tables_only
from tiny_studies import Witness, tiny_study

from harness.analysis import analyse
from harness.execution.plan import make_plan
from harness.execution.publish import read_results
from harness.execution.runner import Options, run_study
from harness.records.run_table import load_records
from harness.report.result_tables import few_shots_table
from harness.report.view import View
from harness.spec import Arm, Better, DataSpec, InvalidInput, ResolvedStudy, Search, Torchvision
from harness.spec.few_shot import FewShot

ASKED = FewShot(data=DataSpec(source="digits", split_seed=1), shots=(2, 4), draws=2)
CLAIM = Better(statement="It is.", source="a test", arm="ViT/4", than="ResNet", metric="few_shot_accuracy")


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    with tables_only():
        yield


def evaluated(**changes: object) -> ResolvedStudy:
    return tiny_study(**({"few_shot": ASKED, "claims": (CLAIM,), "seeds": (0, 1, 2), "search": Search()} | changes))


@pytest.mark.slow
def test_the_accuracy_stands_in_the_table_of_runs_and_is_read_back(inline: Options) -> None:
    witness = Witness()
    records, _ = read_results(run_study(evaluated(), inline, witness))
    assert records.study.few_shot == ASKED
    told = {result.digest: result.few_shots for result in witness.results}
    for digest, accuracy in zip(records.runs["digest"], records.runs["few_shot_accuracy"], strict=True):
        assert [of.shots for of in told[digest]] == [2, 4]
        assert accuracy == pytest.approx(told[digest][-1].accuracy)
    assert records.study.claims == (CLAIM,)
    findings = analyse(records)
    means = records.runs.groupby("arm")["few_shot_accuracy"].mean()
    told = findings.few_shots.query("shots == 4").set_index("arm")
    assert told["mean"].to_dict() == pytest.approx(means.to_dict())
    assert told.loc["ViT/4", "difference"] == pytest.approx(means["ViT/4"] - means["ResNet"])
    table = few_shots_table(View(records, findings))
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        *(("ResNet", "2"), ("ResNet", "4"), ("ViT/4", "2"), ("ViT/4", "4")),
    ]
    assert table.caption.startswith("What the features are worth to scikit-learn's digits, with")
    fewer = records.few_shots.query("shots == 2").groupby("arm")["few_shot_accuracy"].mean()
    assert findings.few_shots.query("shots == 2").set_index("arm")["mean"].to_dict() == pytest.approx(fewer.to_dict())
    assert findings.claims["estimate"].tolist() == pytest.approx([means["ViT/4"] - means["ResNet"]])
    (records.folder / "few_shots.csv").unlink()  # as in results of before it was kept
    assert analyse(load_records(records.folder)).few_shots["mean"].tolist()[1::2] == pytest.approx(means.tolist())


def test_confirm_runs_alone_have_another_digest() -> None:
    plain, asked = (make_plan(tiny_study(few_shot=few)).cells[0] for few in (None, ASKED))
    assert plain.trial(1, {}).digest == asked.trial(1, {}).digest
    assert plain.confirm(0, {}).digest != asked.confirm(0, {}).digest
    assert asked.confirm(0, {}).config.few_shot.data.image_size == 8
    other = make_plan(tiny_study(few_shot=replace(ASKED, draws=3))).cells[0]
    assert other.confirm(0, {}).digest != asked.confirm(0, {}).digest


def test_the_images_of_the_other_task_get_the_size_of_the_models() -> None:
    study = tiny_study(few_shot=ASKED, data=DataSpec(source="digits", image_size=12, train_size=100))
    assert {cell.few_shot.data.image_size for cell in make_plan(study).cells} == {12}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"few_shot": replace(ASKED, shots=(5, 200))}, r"few_shot.shots is \(5, 200\), but digits has 125 training"),
        ({"few_shot": replace(ASKED, data=DataSpec(source="digits", image_size=16))}, "few_shot.data.image_size is 16"),
        ({"few_shot": replace(ASKED, data=DataSpec(source="cifar10"))}, "cifar10 has 3 channels, the model 1"),
        ({"arms": (Arm("own", Torchvision("resnet18"), level=4),), "claims": ()}, "arm 'own' is of kind 'torchvision'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(changes: dict, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execution.plan.content_hash", lambda spec: "0" * 64)
    with pytest.raises(InvalidInput, match=message):
        make_plan(evaluated(**changes))


@pytest.mark.parametrize("shots", [(), (5, 2), (3, 3)])
def test_shots_ascend(shots: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"few_shot.shots is \(.*\); at least one is needed, ascending, each once"):
        FewShot(data=DataSpec(source="digits"), shots=shots)


def test_pixels_of_the_other_task_are_moved_as_those_of_the_training() -> None:
    with pytest.raises(InvalidInput, match=r"few_shot.data.moved_share is 0.5; its pixels are moved as"):
        FewShot(data=DataSpec(source="digits", moved_share=0.5))

"""A study whose seeds draw training, validation and test images of their own: its runs, its report, its check."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import finished_study
import numpy as np
import pytest
from finished_study import Kept, assert_same_tables, no_figures, run_in, tables_only
from tiny_studies import SPACE, VIT, Witness, tiny_study

from harness.data import load
from harness.execution.plan import make_plan
from harness.execution.publish import read_results
from harness.execution.runner import Options, run_study
from harness.execution.verify import verify
from harness.records.data_facts import of_provenance, test_overlap
from harness.records.files import RecordsError
from harness.records.runs import RunFolder
from harness.spec import TUNE_SEED, Arm, DataSpec, Search
from harness.training import perform

overlap = test_overlap  # no test, whatever its name
del test_overlap

STUDY = tiny_study(
    data=DataSpec(source="digits", train_size=100, resplit=True),
    arms=(Arm("ViT/4", VIT, level=4),),
    seeds=(0, 1, 2),
    search=Search(space=SPACE, trials=2),
    test_shifts=(1,),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    with no_figures():
        return finished_study.finish(tmp_path_factory.mktemp("drawn"), STUDY)


@pytest.mark.slow
def test_all_arms_of_a_seed_are_tested_on_its_images_and_no_two_seeds_on_the_same(drawn: Kept) -> None:
    tested: dict[int, list[list[int]]] = {}
    for row in drawn.records.runs.to_dict("records"):
        labels, predicted = RunFolder(drawn.folder / "work" / "runs" / str(row["digest"])).answers()[0]
        tested.setdefault(row["seed"], []).append(labels.tolist())
        np.testing.assert_array_equal(drawn.records.correct[str(row["digest"])], labels == predicted)
    assert {len(arms) for arms in tested.values()} == {2}
    for seed, arms in tested.items():
        expected = load(STUDY.data, phase="confirm", seed=seed).test.labels.tolist()
        assert all(labels == expected for labels in arms)
    assert len({tuple(arms[0]) for arms in tested.values()}) == 3


def test_every_training_loads_the_images_of_its_own_seed(tmp_path: Path) -> None:
    with tables_only(), patch.object(perform, "load", wraps=load) as loaded:
        run_in(tmp_path / "tiny" / "smoke", replace(STUDY, seeds=(0, 5)))
    asked = [(call.kwargs["phase"], call.kwargs["seed"]) for call in loaded.call_args_list]
    assert sorted(set(asked)) == [("confirm", 0), ("confirm", 5), ("tune", TUNE_SEED)]
    assert len(asked) == 2 * (2 + 2)


@pytest.mark.slow
def test_processes_have_the_same_results(drawn: Kept, processes: Options) -> None:
    with tables_only():
        records, _ = read_results(run_study(STUDY, processes, Witness()))
    assert_same_tables(drawn.records, records)


@pytest.mark.slow
def test_more_seeds_leave_the_others_as_they_are(drawn: Kept) -> None:
    with drawn.copy() as folder, tables_only():
        witness, records = run_in(folder, replace(STUDY, seeds=(0, 1, 2, 3)))
        assert {run.config.seed for run in witness.trained} == {3}
        assert all((records.correct[digest] == answers).all() for digest, answers in drawn.records.correct.items())


@pytest.mark.slow
@pytest.mark.parametrize("work", [True, False])
def test_it_holds_and_reports_say_how_images_were_drawn(drawn: Kept, work: bool) -> None:
    with drawn.copy(work=work) as folder, no_figures():
        assert verify(folder).faults == ()
    said = "draws its own training, validation and test images from all 1,797"
    for page in ("REPORT.md", "report.html"):
        assert said in (drawn.folder / page).read_text()
    assert json.loads((drawn.folder / "report.json").read_text())["data"][0]["resplit"] is True


def test_only_what_is_drawn_anew_changes_digests() -> None:
    fixed = replace(STUDY, data=replace(STUDY.data, resplit=False))
    for plain, other in zip(make_plan(fixed).cells, make_plan(STUDY).cells, strict=True):
        assert plain.data_hash == other.data_hash
        one, two = (cell.confirm(0, cell.own_values).config for cell in (plain, other))
        assert one.data == replace(two.data, resplit=False)
        assert one.digest != two.digest


def test_the_overlap_of_two_seeds_is_known_to_the_analysis(drawn: Kept) -> None:
    records = drawn.records
    (facts,) = of_provenance(records.provenance)
    assert overlap(records, STUDY.baseline) == facts.test / facts.images == 360 / 1797
    assert records.provenance["classes"] == 10
    expected = np.concatenate([load(STUDY.data, phase="confirm", seed=seed).test.labels for seed in STUDY.seeds])
    assert records.provenance["largest_class_share"] == round(np.bincount(expected).max() / len(expected), 6)
    drawn_once = [set(map(bytes, load(STUDY.data, phase="confirm", seed=s).test.images.numpy())) for s in range(8)]
    shared = [len(one & other) / 360 for at, one in enumerate(drawn_once) for other in drawn_once[:at]]
    assert np.mean(shared) == pytest.approx(360 / 1797, abs=0.03)
    fixed = replace(STUDY, data=replace(STUDY.data, resplit=False))
    assert overlap(replace(records, study=fixed), STUDY.baseline) == 0
    assert overlap(replace(records, provenance={}), STUDY.baseline) == 360 / 1797
    own = replace(STUDY, data=replace(STUDY.data, source="npz:own.npz"))
    with pytest.raises(RecordsError, match=r"does not tell how many images npz:own\.npz has"):
        overlap(replace(records, study=own), STUDY.baseline)

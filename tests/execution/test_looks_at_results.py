"""Studies that are extended, changed and reported again: what is pooled, and which looks are kept."""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from finished_study import finish, no_figures, run_in, tables_only
from tiny_studies import SPACE, Witness, tiny_study

from harness import api
from harness.__main__ import cli
from harness.analysis.evidence import evidence_of
from harness.analysis.looks import level_of
from harness.execution import publish
from harness.execution.pooling import pooled, with_seeds
from harness.execution.publish import read_results, rebuild
from harness.execution.runner import Options, run_study
from harness.execution.stopping import StudyInterrupted
from harness.execution.verify import verify
from harness.records.files import RecordsError, sha256
from harness.records.looks import NAME, read_ledger
from harness.records.status import read_status
from harness.report import write_report
from harness.spec import InvalidInput, Run, Search

STUDY = tiny_study(scale="laptop")


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    with tables_only():
        yield


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`results/tiny/laptop` of a study that was run once."""
    folder = tmp_path_factory.mktemp("looked") / "results" / "tiny" / "laptop"
    with tables_only():
        run_in(folder, STUDY)
    return folder


@pytest.fixture
def folder(looked_at: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(looked_at.parents[1], tmp_path / "results")
    return tmp_path / "results" / "tiny" / "laptop"


@pytest.mark.slow
def test_a_first_launch_registers_and_its_report_is_a_look(looked_at: Path) -> None:
    ledger = read_ledger(looked_at)
    assert ledger.registered is not None
    assert ledger.registered.study["seeds"] == [0, 1, 2]
    (look,) = ledger.looks
    assert (look.level, look.spends, look.changed, look.completed) == (0.96, True, (), 6)
    assert {len(runs) for runs in look.runs.values()} == {3}
    assert read_results(looked_at)[0].provenance["preregistered"] == ledger.registered.preregistered == look.digest
    assert "looked at in 1 report." in read_status(looked_at).as_text()


@pytest.mark.slow
def test_a_study_is_registered_before_its_first_run(tmp_path: Path) -> None:
    def stop(run: Run) -> None:
        assert read_ledger(folder).registered is not None
        signal.raise_signal(signal.SIGTERM)

    witness, folder = Witness(), tmp_path / "results" / "tiny" / "laptop"
    witness.on_start = stop
    with pytest.raises(StudyInterrupted):
        run_study(STUDY, Options(results=folder.parents[1], engine="inline"), witness)
    assert read_ledger(folder).looks == (), "nothing was shown"
    first = read_ledger(folder).registered
    run_in(folder, STUDY)
    assert read_ledger(folder).registered == first
    assert len(read_ledger(folder).looks) == 1


@pytest.mark.slow
def test_a_report_made_again_is_the_same_look(folder: Path) -> None:
    before = (folder / NAME).read_bytes()
    rebuild(folder, print)
    run_in(folder, STUDY)
    run_in(folder, replace(STUDY, question="In other words, does it work?"))
    assert (folder / NAME).read_bytes() == before
    shutil.rmtree(folder / "work")
    rebuild(folder, print)
    assert (folder / NAME).read_bytes() == before
    assert read_results(folder)[0].looks == read_ledger(folder)
    assert verify(folder).faults == ()


def test_an_extended_study_pools_its_runs_and_has_the_level_of_a_second_look(folder: Path) -> None:
    first = read_results(folder)[0]
    witness, records = run_in(folder, with_seeds(STUDY, folder.parents[1], 5))
    assert sorted(run.config.seed for run in witness.trained) == [3, 3, 4, 4]
    assert set(first.runs["digest"]) < set(records.runs["digest"])
    assert [(look.level, look.seeds_added) for look in records.looks.looks] == [(0.96, ()), (level_of([3, 5]), (3, 4))]
    found = evidence_of(records).difference("ViT/4", "ResNet")
    assert (found.n, found.level) == (5, level_of([3, 5]))
    assert evidence_of(first).difference("ViT/4", "ResNet").level == 0.96
    assert verify(folder).faults == ()


@pytest.mark.slow
def test_the_page_of_an_extended_study_says_so_in_one_place(folder: Path) -> None:
    with patch.object(publish, "write_report", write_report), no_figures():
        run_in(folder, with_seeds(STUDY, folder.parents[1], 5))
    text = (folder / "REPORT.md").read_text()
    assert "95% interval" not in text
    assert text.count("95%") == text.count("98.7% intervals (95% over all looks)") == 1
    assert "Difference \\[98.7%\\]" in text
    assert text.count("at level 98.7%, so that all looks together are wrong in at most 5% of studies") == 1
    assert "before the first run" in text
    assert "changed since: seeds" in text


@pytest.mark.parametrize("declared", [(0,), (5,), (0, 1), (5, 6, 0)])
def test_seeds_that_have_results_are_pooled_whatever_the_study_declares_now(
    folder: Path, declared: tuple[int, ...]
) -> None:
    asked = replace(STUDY, seeds=declared)
    study, note = pooled(asked, folder)
    new = tuple(seed for seed in declared if seed > 2)
    assert study.seeds == (0, 1, 2, *new)
    missing = ", ".join(str(seed) for seed in (0, 1, 2) if seed not in declared).replace(", 2", " and 2")
    assert f"those of {'seed' if ' ' not in missing else 'seeds'} {missing}, which the study does not declare" in note
    shutil.rmtree(folder / "work")
    assert pooled(asked, folder) == (study, note), "of a copy, too"


@pytest.mark.slow
def test_seeds_of_other_settings_or_without_a_result_are_not_pooled(folder: Path) -> None:
    other = replace(STUDY, recipe=replace(STUDY.recipe, updates=9), seeds=(7,))
    assert pooled(other, folder) == (other, "")
    more = replace(STUDY, seeds=(0, 1, 2, 3, 4, 5))
    assert pooled(more, folder) == (more, "")
    witness, records = run_in(folder, other)
    assert (records.study.seeds, len(witness.trained)) == ((7,), 2)
    ledger = read_ledger(folder)
    assert ledger.looks[1].changed_since_look == ("recipe.updates", "seeds")
    (aside,) = (folder / "work" / "set_aside").iterdir()
    assert read_results(aside)[0].looks.looks == ledger.looks[:1], "the ledger goes on here, and is whole there"
    assert len(run_in(folder, STUDY)[1].looks.looks) == 2, "the first look again"


@pytest.mark.slow
def test_more_seeds_keep_the_search_that_each_seed_was_confirmed_with(tmp_path: Path) -> None:
    search = Search(space=SPACE, trials=2, repeats=2)
    study = replace(STUDY, search=search, seeds=(4, 1, 7))
    folder = finish(tmp_path, replace(study, scale="smoke")).folder
    study = replace(study, scale="smoke")
    before = read_results(folder)[0].runs
    extended = with_seeds(replace(study, seeds=(1, 4)), tmp_path, 5)
    assert extended.seeds == (4, 1, 7, 0, 2)
    witness, records = run_in(folder, replace(study, seeds=(1, 4, 0, 2)))
    assert records.study.seeds == (4, 1, 7, 0, 2)
    assert len([run for run in witness.trained if run.trial is None]) == 4
    assert set(before["digest"]) < set(records.runs["digest"])


@pytest.mark.parametrize(("number", "seeds"), [(1, (4,)), (2, (4, 0)), (5, (4, 0, 9, 1, 2))])
def test_so_many_seeds_are_the_declared_ones_first(tmp_path: Path, number: int, seeds: tuple[int, ...]) -> None:
    assert with_seeds(replace(STUDY, seeds=(4, 0, 9)), tmp_path, number).seeds == seeds


def test_fewer_seeds_than_were_trained_are_refused_with_the_remedy(folder: Path) -> None:
    told = r"--seeds is 2, but 3 seeds of this study have been trained \(0, 1, 2\).* Give --seeds 3 or more, or another"
    with pytest.raises(InvalidInput, match=told):
        with_seeds(STUDY, folder.parents[1], 2)
    with pytest.raises(InvalidInput, match=told):
        api.run(STUDY, results=folder.parents[1], device="cpu", seeds=2)
    for number in ("0", "-1", "many"):
        words = ["run", "patch_size", "--scale", "smoke", "--seeds", number]
        done = CliRunner().invoke(cli, ["--results", str(folder.parents[1]), *words])
        assert (done.exit_code, "--seeds" in done.output) == (2, True)


@pytest.mark.slow
def test_results_of_before_looks_were_kept_are_a_first_look_at_the_next_launch(folder: Path) -> None:
    (folder / NAME).unlink()
    (folder / "manifest.json").unlink()
    rebuild(folder, print)
    assert not (folder / NAME).exists()
    assert evidence_of(read_results(folder)[0]).level == 0.95
    _, records = run_in(folder, STUDY)
    assert (records.looks.seen, [look.level for look in records.looks.looks]) == (1, [0.95])
    _, records = run_in(folder, replace(STUDY, seeds=(0, 1, 2, 3)))
    assert [look.level for look in records.looks.looks] == [0.95, level_of([3, 4])]


@pytest.mark.slow
def test_a_damaged_or_missing_ledger_is_refused_before_anything_is_trained(folder: Path) -> None:
    path, more = folder / NAME, replace(STUDY, seeds=(0, 1, 2, 3))
    content = path.read_bytes()
    for damaged in (content[:-40], content.replace(b'"spends": true', b'"spends": false'), None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        before = sorted(folder.rglob("*"))
        for reports in (lambda: run_in(folder, more), lambda: rebuild(folder, print)):
            with pytest.raises(RecordsError, match=NAME):
                reports()
        assert sorted(folder.rglob("*")) == before
    path.write_bytes(content)
    assert len(run_in(folder, more)[0].trained) == 2


@pytest.mark.slow
def test_verify_holds_the_ledger_against_the_study_and_the_results(folder: Path) -> None:
    path, known = folder / NAME, folder / "manifest.json"
    for before, now in ((b'"updates": 8', b'"updates": 9'), (b'"runs_of": "', b'"runs_of": "0')):
        content, hashes = path.read_bytes(), known.read_bytes()
        assert before in content
        path.write_bytes(content.replace(before, now))
        known.write_bytes(hashes.replace(sha256(content).encode(), sha256(path.read_bytes()).encode()))
        assert {fault.path for fault in verify(folder).faults} == {NAME}
        path.write_bytes(content)
        known.write_bytes(hashes)
    assert verify(folder).faults == ()

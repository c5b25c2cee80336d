"""Several searches of each arm, whose settings the confirm seeds take turns with, and trials beyond edges of ranges."""

import contextlib
import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from finished_study import Kept, assert_same_tables, finish, run_in, tables_only
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_studies import SPACE, Witness, tiny_study

from harness.execution import launch, progress, runner
from harness.execution.optuna_search import propose
from harness.execution.plan import make_plan
from harness.execution.progress import CellProgress, Trial
from harness.execution.publish import read_results
from harness.execution.runner import Options, run_study
from harness.execution.stopping import StudyInterrupted
from harness.execution.verify import verify
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder, RunResult
from harness.records.status import read_status
from harness.spec import TUNE_SEED, Choice, InvalidInput, LogUniform, Recipe, Run, Search, Uniform
from harness.spec.search import STEP_BEYOND, Setting, beyond
from harness.tracking.entries import read_entry
from harness.training import perform

REPEATED = Search(space=SPACE, trials=3, repeats=2, sampler="qmc")
STUDY = tiny_study(search=REPEATED)
RATES = {"learning_rate": LogUniform(low=1e-3, high=1e-2)}


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    with tables_only():
        yield


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    with tables_only():
        return finish(tmp_path_factory.mktemp("repeated"), STUDY)


def followed(tmp_path: Any, search: Search, scores: Any, **changes: Any) -> tuple[CellProgress, list[Run]]:
    """A cell whose runs have ended with `scores(run)` on validation, and the runs in the order of their training."""
    study, trained = tiny_study(search=search, **changes), list[Run]()
    cell = CellProgress(study, make_plan(study).cells[0], tmp_path)
    while (run := cell.next_run(())) is not None:
        trained.append(run)
        cell.ended(run, RunResult(digest=run.digest, status="completed", validation_accuracy=scores(run)))
    return cell, trained


@pytest.mark.slow
def test_every_search_measures_all_that_it_compares_on_a_seed_of_its_own(repeated: Kept) -> None:
    trials = repeated.records.trials
    for arm in ("ResNet", "ViT/4"):
        of_arm = trials[trials["arm"] == arm]
        assert of_arm["search"].tolist() == [0, 0, 0, 1, 1, 1]
        assert of_arm["trial"].tolist() == [0, 1, 2, 0, 1, 2]
        first = of_arm[of_arm["trial"] == 0]
        assert first["p.learning_rate"].nunique() == 1
        assert first["validation_accuracy"].nunique() == 2
    trained = [run for run in repeated.witness.trained if run.trial is not None]
    assert {(run.search, run.config.seed) for run in trained} == {(0, TUNE_SEED), (1, TUNE_SEED + 1)}
    assert trials["digest"].is_unique


def test_seeds_take_turns_with_the_settings_that_the_searches_choose(repeated: Kept) -> None:
    runs, trials = repeated.records.runs, repeated.records.trials
    for arm in ("ResNet", "ViT/4"):
        chosen = set[str]()
        for row in runs[runs["arm"] == arm].to_dict("records"):
            assert row["search"] == STUDY.search_of(row["seed"]) == row["seed"] % 2
            of_search = trials[(trials["arm"] == arm) & (trials["search"] == row["search"])]
            best = of_search.loc[of_search["validation_accuracy"].idxmax()]
            assert row["p.learning_rate"] == pytest.approx(best["p.learning_rate"])
            chosen.add(best["digest"])
        assert set(trials[(trials["arm"] == arm) & trials["chosen"]]["digest"]) == chosen


def test_seeds_are_assigned_by_their_place_not_their_number(tmp_path: Any) -> None:
    _, trained = followed(tmp_path, REPEATED, lambda run: run.values["learning_rate"], seeds=(9, 4, 7))
    assert {run.config.seed: run.search for run in trained if run.trial is None} == {9: 0, 4: 1, 7: 0}


def test_the_plan_counts_the_trials_of_each_search() -> None:
    plan = make_plan(STUDY)
    assert plan.runs == plan.most_runs == 2 * (2 * 3 + 3)
    assert {cell.images_planned for cell in plan.cells} == {(6 * 8 + 3 * 8) * 16}


def test_one_search_is_what_it_was_before_there_could_be_several(tmp_path: Any) -> None:
    """One search draws, seeds and numbers as then."""
    _, trained = followed(tmp_path, Search(space=SPACE, trials=3), lambda run: run.values["learning_rate"])
    before = ["9f7b28286a61", "ca64dd28804c", "f6e939447cd2", "77a9d19e065f", "66e4756a8d40", "7e94a127d933"]
    assert [run.digest[:12] for run in trained] == before
    assert {run.search for run in trained} == {None}


def test_trials_of_qmc_wait_for_none(tmp_path: Any) -> None:
    """All of them can be trained at once; those of a sampler that learns come one after the other in each search."""

    def at_once(sampler: Any) -> list[tuple[int | None, int | None]]:
        study = tiny_study(search=Search(space=SPACE, trials=3, repeats=2, sampler=sampler))
        cell, active = CellProgress(study, make_plan(study).cells[0], tmp_path), dict[str, Run]()
        while (run := cell.next_run(active)) is not None:
            active[run.digest] = run
        return [(run.search, run.trial) for run in active.values()]

    assert at_once("qmc") == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert at_once("tpe") == [(0, 0), (1, 0)]


def test_searches_go_on_side_by_side_and_seeds_begin_when_theirs_has_ended(tmp_path: Any) -> None:
    study = tiny_study(search=Search(space=SPACE, trials=2, repeats=2))
    cell = CellProgress(study, make_plan(study).cells[0], tmp_path)

    def end(run: Run | None) -> None:
        assert run is not None
        cell.ended(run, RunResult(digest=run.digest, status="completed", validation_accuracy=0.5))

    end(cell.next_run(()))
    end(cell.next_run(()))
    one = cell.next_run(())
    assert one is not None
    other = cell.next_run({one.digest})
    assert [(run.search, run.trial) for run in (one, other) if run] == [(0, 1), (1, 1)]
    end(one)
    ready = cell.next_run({other.digest}) if other else None
    assert ready is not None
    assert (ready.trial, ready.config.seed, ready.search) == (None, 0, 0)
    end(other)
    assert cell.remaining == 3 * 8 * 16


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["qmc", "tpe"])
def test_a_study_stopped_anywhere_goes_on_as_if_undisturbed(repeated: Kept, tmp_path: Any, sampler: Any) -> None:
    study = tiny_study(search=Search(space=SPACE, trials=3, repeats=2, sampler=sampler))
    whole = repeated if sampler == "qmc" else finish(tmp_path / "whole", study)
    folder = tmp_path / "stopped" / "tiny" / "smoke"
    options = Options(results=folder.parents[1], engine="inline", command="a test")
    for number in (2, 5):
        witness = Witness()
        witness.on_start = lambda run, witness=witness, number=number: _stop(len(witness.trained) == number)
        with contextlib.suppress(StudyInterrupted, KeyboardInterrupt):
            run_study(study, options, witness)
    _, records = run_in(folder, study)
    assert_same_tables(records, whole.records)


def _stop(now: bool) -> None:
    if now:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_finished_study_holds_and_a_changed_search_does_not(repeated: Kept) -> None:
    with repeated.copy() as folder:
        assert verify(folder).faults == ()
        assert read_status(folder).complete
        path = folder / "trials.csv"
        rows = list(csv.reader(path.read_text().splitlines()))
        column = rows[0].index("search")
        rows[2][column] = "1"  # its seed is that of search 0
        path.write_text("".join(",".join(row) + "\n" for row in rows))
        assert any(fault.path == "trials.csv" and "digest" in fault.expected for fault in verify(folder).faults)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["other numerics", "failed"])
def test_results_that_are_due_late_stand_no_more_than_others(
    repeated: Kept, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its first trial, as searches but the first were kept before, a search hides what its seeds have left."""
    with repeated.copy() as folder:
        trials, runs = repeated.records.trials, repeated.records.runs
        for digest in trials[(trials["trial"] == 0) & (trials["search"] == 1)]["digest"]:
            shutil.rmtree(StudyFolder(folder).runs / digest)
        late = runs[runs["search"] == 1]["digest"].tolist()
        if what == "failed":
            for digest in late:
                run = RunFolder(StudyFolder(folder).runs / digest)
                result = run.result()
                assert result is not None
                run.write_result(replace(result, status="failed"))
        else:
            for module in (launch, runner, perform):
                monkeypatch.setattr(module, "NUMERICS", 2)
        witness, records = run_in(folder, STUDY, set_aside=what != "failed")
        assert set(late) <= {run.digest for run in witness.trained}
        assert set(records.runs["status"]) == {"completed"}
        assert records.provenance["numerics"] == ("1" if what == "failed" else "2")


def test_a_copy_without_its_runs_is_complete_by_its_tables(repeated: Kept) -> None:
    with repeated.copy(work=False) as folder:
        status = read_status(folder)
        assert (status.planned, status.complete) == (18, True)


def test_tables_of_before_have_no_number_of_a_search(repeated: Kept) -> None:
    with repeated.copy(work=False) as folder:
        for name in ("runs", "trials"):
            path = folder / f"{name}.csv"
            rows = list(csv.reader(path.read_text().splitlines()))
            column = rows[0].index("search")
            path.write_text("".join(",".join(row[:column] + row[column + 1 :]) + "\n" for row in rows))
        (folder / "manifest.json").unlink()
        records, _ = read_results(folder)
        assert records.runs["search"].isna().all()
        assert records.trials["search"].isna().all()


def test_runs_are_named_with_their_search(repeated: Kept) -> None:
    trial, confirm = (
        next(run for run in repeated.witness.trained if run.search == 1 and (run.trial is None) == is_confirm)
        for is_confirm in (False, True)
    )
    runs = StudyFolder(repeated.folder).runs
    entry, of_confirm = (read_entry(RunFolder(runs / run.digest), "tiny", "smoke") for run in (trial, confirm))
    assert trial.label == f"ResNet · 100 images · search 1, trial {trial.trial}"
    assert entry.name == f"ResNet · search 1, trial {trial.trial} · 100 images"
    assert entry.tags["search"] == of_confirm.tags["search"] == "1"
    assert confirm.label == "ResNet · 100 images · seed 1"


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            Search(space=SPACE, trials=3, repeats=4),
            r"repeats is 4, but with 3 seeds .* Give 4 seeds or more, or set .*=3",
        ),
        (
            Search(space=SPACE, trials=1, repeats=2),
            r"repeats is 2, search.trials 1: .* Set search.trials=2 or more, or",
        ),
        (Search(repeats=2), r"repeats is 2, search.trials 0"),
    ],
)
def test_searches_that_try_nothing_or_that_no_seed_confirms_are_refused(search: Search, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        tiny_study(search=search)


def test_a_number_of_searches_below_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"search\.repeats is 0; it must be 1 or more"):
        Search(space=SPACE, trials=3, repeats=0)


# --- what qmc proposes -----------------------------------------------------------------------------------------------


def proposed(search: int, space: Any = SPACE, own: Any = None, trials: int = 9, **changes: Any) -> list[dict[str, Any]]:
    of = Search(space=space, trials=trials, sampler=changes.pop("sampler", "qmc"))
    history = [Trial(0, own or {"learning_rate": 3e-3, "label_smoothing": 0.0}, "planned", None)]
    while len(history) < trials:
        values = propose(of, space, changes.get("study", "study"), history, search)
        history.append(Trial(len(history), values, "planned", None))
    return [dict(trial.values) for trial in history[1:]]


def test_points_follow_from_the_names_of_study_and_search_alone() -> None:
    first = proposed(0)
    assert proposed(0, own={"learning_rate": 0.1, "label_smoothing": 0.1}) == first
    assert proposed(0, trials=5) == first[:4]
    assert proposed(1) != first
    assert proposed(0, study="other") != first


def test_points_fill_a_range_evenly() -> None:
    """Of eight scrambled Sobol points each eighth of the range has one; of eight random points hardly ever."""
    space = {"a": Uniform(low=0.0, high=8.0), "b": LogUniform(low=1.0, high=256.0)}
    for search in range(3):
        points = proposed(search, space, {"a": 1.0, "b": 1.0})
        assert sorted(int(point["a"]) for point in points) == list(range(8))
        assert len({int(point["b"]).bit_length() for point in points}) == 8


def test_a_grid_that_is_used_up_is_measured_by_each_search() -> None:
    grid = {"optimizer": Choice(values=("adamw", "sgd", "muon")), "nesterov": Choice(values=(True, False))}
    own = {"optimizer": "adamw", "nesterov": True}
    for search in range(3):
        points = proposed(search, grid, own, trials=6)
        assert len({tuple(point.values()) for point in [own, *points]}) == 6


def test_searches_of_a_sampler_that_learns_differ_too() -> None:
    assert proposed(0, sampler="tpe") != proposed(1, sampler="tpe")


# --- beyond the edges of ranges --------------------------------------------------------------------------------------


def wide(widenings: int, **changes: Any) -> Search:
    return Search(space=RATES, trials=4, sampler="qmc", widenings=widenings, **changes)


ON_EDGE = Recipe(updates=8, batch_size=16, learning_rate=1e-2, evaluations=2, precision="fp32")


def rising(run: Run) -> float:
    return min(1.0, float(run.values["learning_rate"]))


def test_a_search_goes_on_beyond_the_edge_on_which_its_best_value_lies(tmp_path: Any) -> None:
    cell, trained = followed(tmp_path, wide(2), rising, recipe=ON_EDGE)
    trials = [run for run in trained if run.trial is not None]
    assert [run.values["learning_rate"] for run in trials[4:]] == [0.01414, 0.02, 0.02828, 0.04]
    assert [run.trial for run in trials] == list(range(8))
    assert {run.values["learning_rate"] for run in trained if run.trial is None} == {0.04}
    assert cell.planned == 8 + 3
    assert cell.remaining == 0
    (best,) = (item for item in cell.finished() if item.chosen)
    assert (best.run.trial, best.at_edge) == (7, ("learning_rate",))
    assert make_plan(cell.study).most_runs == 2 * (8 + 3)


@pytest.mark.parametrize(
    ("widenings", "scores"),
    [(0, rising), (2, lambda run: 1 - abs(run.values["learning_rate"] - 3e-3))],
    ids=["not asked for", "not on an edge"],
)
def test_a_search_that_has_no_reason_to_go_on_does_not(tmp_path: Any, widenings: int, scores: Any) -> None:
    cell, trained = followed(tmp_path, wide(widenings), scores)
    assert max(run.trial for run in trained if run.trial is not None) == 3
    assert cell.planned == len(trained) == 4 + 3


def test_each_of_several_searches_goes_on_for_itself(tmp_path: Any) -> None:
    """Trial 0, on the edge, is the best of search 1 alone."""

    def scores(run: Run) -> float:
        return 0.5 if run.trial == 0 else (0.9, 0.1)[run.search or 0]

    cell, trained = followed(tmp_path, wide(1, repeats=2), scores, recipe=ON_EDGE, seeds=(0, 1, 2, 3))
    assert [run.search for run in trained if (run.trial or 0) > 3] == [1, 1]
    rates = {run.config.seed: run.values["learning_rate"] for run in trained if run.trial is None}
    assert rates[1] == rates[3] == 1e-2
    assert rates[0] == rates[2] < 1e-2
    assert cell.remaining == 0


@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(0.0, 0.5),
    width=st.floats(0.01, 0.4),
    place=st.sampled_from([0.0, 0.02, 0.97, 1.0]),
    count=st.integers(1, 4),
)
def test_nothing_is_tried_that_the_field_refuses(low: float, width: float, place: float, count: int) -> None:
    space = {"label_smoothing": Uniform(low=low, high=low + width)}
    study = tiny_study(recipe=Recipe(updates=8, batch_size=16, label_smoothing=low))
    own = Setting(study.baseline.model, study.recipe)
    found = beyond(own, space, {"label_smoothing": low + place * width}, count)
    for values in found:
        own.with_values(values)
        assert not low < values["label_smoothing"] < low + width * (1 - 1e-3)
        assert values["label_smoothing"] <= low + width * (1.01 + STEP_BEYOND["uniform"])
    assert len(found) in ((0, count) if place < 0.5 else (count,))


def test_the_other_parameters_keep_the_best_setting() -> None:
    study = tiny_study()
    space = {**RATES, "weight_decay": LogUniform(low=1e-3, high=1.0), "label_smoothing": Choice(values=(0.0, 0.1))}
    best = {"learning_rate": 1e-3, "weight_decay": 0.1, "label_smoothing": 0.1}
    found = beyond(Setting(study.baseline.model, study.recipe), space, best, 2)
    assert found == [{**best, "learning_rate": 7.071e-4}, {**best, "learning_rate": 5e-4}]


def test_a_study_that_was_searched_on_is_told_of_and_holds(tmp_path: Any) -> None:
    short = replace(ON_EDGE, updates=2, evaluations=1)
    study = tiny_study(search=wide(1, repeats=2), seeds=(0, 1), recipe=short)
    with patch.object(progress, "chosen", lambda history: max(history, key=lambda one: one.values["learning_rate"])):
        folder = finish(tmp_path, study).folder
        assert verify(folder).faults == ()
    records, found = read_results(folder)
    assert records.runs["p.learning_rate"].tolist() == [0.02] * 4
    assert found.audit["trials"].tolist() == [6] * 4
    assert found.audit["beyond"].tolist() == [2] * 4
    assert found.audit["widened"].tolist() == ["learning_rate"] * 4
    told = "went on beyond it, by the same rule: ResNet 4 trials (learning_rate) and ViT/4 4 trials (learning_rate)."
    assert any(text.endswith(told) for text in found.warnings)
    assert not any("tuned equally" in text for text in found.warnings)
    for _ in ("with its runs", "from its tables"):
        status = read_status(folder)
        assert (status.planned, status.complete) == (2 * (8 + 4 + 2), True)
        shutil.rmtree(StudyFolder(folder).work, ignore_errors=True)

"""Every arm is tuned on the same images: nothing that is tuned changes them, and nothing is trained twice."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from finished_study import tables_only
from tiny_studies import SPACE, Witness, tiny_study

from harness.execution.plan import make_plan
from harness.execution.publish import read_results
from harness.execution.runner import Options, run_study
from harness.records.status import read_status
from harness.spec import Choice, InvalidInput, LogUniform, Search
from harness.spec.search import NEVER_TUNED


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    with tables_only():
        yield


@pytest.mark.parametrize("name", NEVER_TUNED)
@pytest.mark.parametrize("place", ["space", "by_family", "by_arm"])
def test_what_sets_the_images_is_never_tuned(name: str, place: str) -> None:
    space: dict[str, Any] = {name: Choice(values=(20, 60))}
    fields: dict[str, Any] = (
        {"space": space} if place == "space" else {place: {"ViT/4" if place == "by_arm" else "vit": space}}
    )
    with pytest.raises(InvalidInput, match=rf"tunes '{name}', which all trainings must share"):
        Search(**fields, trials=2)


@pytest.mark.parametrize(
    "values", [(0.1, 0.1), ("sgd", "adamw", "sgd"), (1, 1.0), (float("nan"), 1.0), (1.0, float("inf"))]
)
def test_a_choice_has_each_value_once_and_finite_ones(values: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"each given once|must be finite"):
        Choice(values=values)


def test_another_batch_size_sees_the_same_images() -> None:
    search = Search(space={"batch_size": Choice(values=(4, 8, 32)), **SPACE}, trials=3, updates=4)
    plan = make_plan(tiny_study(search=search))
    for cell in plan.cells:
        assert cell.images_planned == 3 * 4 * 16 + 3 * 8 * 16
        for size in (4, 8, 16, 32):
            values = {**cell.own_values, "batch_size": size}
            for run, images in ((cell.trial(1, values), 4 * 16), (cell.confirm(0, values), 8 * 16)):
                recipe = run.config.recipe
                assert recipe.updates is not None
                assert (recipe.batch_size, recipe.updates * recipe.batch_size) == (size, images)


def test_a_batch_size_that_does_not_divide_the_images_is_refused() -> None:
    search = Search(space={"batch_size": Choice(values=(16, 48))}, trials=2)
    with pytest.raises(InvalidInput, match=r"tries batch size 48 .* 128 images .* Take sizes that divide 128, or"):
        make_plan(tiny_study(search=search))


def test_tuned_batch_sizes_are_trained_on_what_was_announced(inline: Options, witness: Witness) -> None:
    space = {"batch_size": Choice(values=(8, 32)), "learning_rate": LogUniform(low=1e-3, high=1e-1)}
    study = tiny_study(search=Search(space=space, trials=4), seeds=(0,))
    folder = run_study(study, inline, witness)
    records, findings = read_results(folder)
    assert set(records.runs["images_seen"]) == {8 * 16}
    whole = records.trials[records.trials["status"] == "completed"]
    assert set(whole["images_seen"]) == {8 * 16}
    assert set(records.trials["p.batch_size"]) > {16}
    assert findings.audit["trials"].tolist() == [4, 4]
    assert findings.audit["images"].tolist() == [4 * 8 * 16] * 2
    assert not [text for text in findings.warnings if "equally" in text or "differ in length" in text]
    assert read_status(folder).complete


def test_a_grid_that_is_used_up_is_said_and_nothing_trained_twice(inline: Options, witness: Witness) -> None:
    space = {"label_smoothing": Choice(values=(0.0, 0.1)), "optimizer": Choice(values=("sgd", "adam"))}
    study = tiny_study(search=Search(space=space, trials=9), seeds=(0,))
    assert [study.trials_of(arm) for arm in study.all_arms] == [5, 5]  # the own setting, with Muon, is no choice
    assert make_plan(study).runs == 2 * (5 + 1)
    folder = run_study(study, inline, witness)
    trained = [run.digest for run in witness.trained]
    assert len(trained) == len(set(trained)) == 2 * (5 + 1)
    records, findings = read_results(folder)
    tried = records.trials[["arm", "p.label_smoothing", "p.optimizer"]].drop_duplicates()
    assert len(tried) == len(records.trials) == 2 * 5
    (told,) = [text for text in findings.warnings if "settings" in text]
    assert told.startswith("There are only 5 settings to try for ResNet, ViT/4: all of them are tried, and the other 4")
    status = read_status(folder)
    assert (status.planned, status.complete) == (12, True)


def test_an_arm_with_a_smaller_grid_gets_fewer_trials_and_is_named() -> None:
    grid = {"learning_rate": None, "label_smoothing": Choice(values=(0.0, 0.1))}
    study = tiny_study(search=Search(space=SPACE, by_arm={"ViT/4": grid}, trials=4))
    assert [study.trials_of(arm) for arm in study.all_arms] == [4, 2]
    (told,) = study.used_up
    assert told.startswith("There are only 2 settings to try for ViT/4")
    assert replace(study, search=replace(study.search, trials=2)).used_up == ()

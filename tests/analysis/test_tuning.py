import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate import records, study

from harness.analysis import analyse
from harness.analysis.tuning import expected_best
from harness.spec import Choice, LogUniform, Search, Uniform
from harness.spec.search import EDGE, at_edge, edge_distance

SPACE = {"learning_rate": LogUniform(low=1e-4, high=1e-1), "weight_decay": Uniform(low=0.0, high=0.5)}


def trial(arm: str, number: int, score: float | None, **more: Any) -> dict[str, Any]:
    row = {"study": "simulated", "scale": "laptop", "arm": arm, "train_size": 55_000, "trial": number}
    row |= {"status": "completed", "validation_accuracy": score, "images_seen": 1280, "chosen": False, "at_edge": ""}
    return row | {"digest": f"{arm}{number}", "p.learning_rate": 3e-3, "p.weight_decay": 0.2} | more


def analysed(trials: list[dict[str, Any]]):
    of = study({"ViT/7": 7.0}, search=Search(space=SPACE, trials=4))
    return analyse(records(of, {"ResNet-8": 0.9, "ViT/7": 0.9}, trials=trials, images=50))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_expected_best_is_the_mean_over_all_subsets(scores: list[float]) -> None:
    brute = [np.mean([max(subset) for subset in combinations(scores, k)]) for k in range(1, len(scores) + 1)]
    assert expected_best(scores) == pytest.approx(brute)


def test_expected_best_of_a_thousand_trials_is_finite() -> None:
    curve = expected_best(np.linspace(0, 1, 1000))
    assert np.isfinite(curve).all()
    assert curve[[0, -1]] == pytest.approx([0.5, 1.0])
    assert (np.diff(curve) > 0).all()


def test_failed_trials_count_as_the_worst_score() -> None:
    trials = [trial("ViT/7", 0, 0.8), trial("ViT/7", 1, None, status="diverged"), trial("ViT/7", 2, 0.6)]
    budget = analysed(trials).budget
    assert list(budget["trials"]) == [1, 2, 3]
    assert list(budget["expected_best"]) == pytest.approx([1.4 / 3, 2.2 / 3, 0.8])


def test_edge_distance_is_on_the_ranges_own_scale() -> None:
    rate = SPACE["learning_rate"]
    assert edge_distance(rate, 1e-4) == 0
    assert edge_distance(rate, math.sqrt(1e-4 * 1e-1)) == pytest.approx(0.5)
    assert edge_distance(rate, 1e-2) == pytest.approx(1 / 3)
    assert edge_distance(SPACE["weight_decay"], 0.45) == pytest.approx(0.1)
    assert edge_distance(SPACE["weight_decay"], 0.6) < 0
    assert math.isnan(edge_distance(Choice(values=("a", "b")), "a"))


def test_at_edge_names_the_parameters() -> None:
    assert at_edge(SPACE, {"learning_rate": 0.099, "weight_decay": 0.2}) == ("learning_rate",)
    assert at_edge(SPACE, {"learning_rate": 3e-3, "weight_decay": EDGE * 0.5}) == ("weight_decay",)
    assert at_edge(SPACE | {"optimizer": Choice(values=("adam", "sgd"))}, {"optimizer": "sgd"}) == ()


def test_audit_and_warning_of_a_value_on_the_edge() -> None:
    trials = [trial(arm, i, 0.5 + 0.1 * i) for arm in ("ResNet-8", "ViT/7") for i in range(3)]
    trials.append(trial("ResNet-8", 3, 0.7))
    trials.append(trial("ViT/7", 3, 0.95, chosen=True, **{"p.learning_rate": 0.095}))
    found = analysed(trials)
    audit = found.audit.set_index("arm")
    assert list(audit.loc["ViT/7", ["trials", "completed", "images", "at_edge"]]) == [4, 4, 5120, "learning_rate"]
    assert audit.loc["ViT/7", "p.learning_rate"] == 0.095
    assert audit.loc["ViT/7", "edge.learning_rate"] == pytest.approx(math.log(0.1 / 0.095) / math.log(1000))
    assert audit.loc["ResNet-8", "at_edge"] == ""
    assert found.warnings[-1] == (
        "ViT/7: the chosen learning_rate 0.095 lies on the edge of its range [0.0001, 0.1]; "
        "widen the range and search again."
    )


def test_an_edge_beyond_which_there_is_nothing_is_no_reason_to_widen() -> None:
    """No weight decay is below 0, though there are larger ones than .5."""
    none, most = ([trial("ViT/7", 0, 0.9, chosen=True, **{"p.weight_decay": value})] for value in (0.0, 0.5))
    assert analysed(none).audit["at_edge"].tolist() == analysed(most).audit["at_edge"].tolist() == ["weight_decay"]
    assert not any("widen" in text for text in analysed(none).warnings)
    assert any("widen" in text for text in analysed(most).warnings)


def test_an_arm_none_of_whose_trials_has_a_score_has_no_score_to_show() -> None:
    """Not 0.00 %: nothing was measured, and the settings that were confirmed were not chosen."""
    trials = [trial("ResNet-8", i, 0.5) for i in range(3)]
    trials += [trial("ViT/7", i, None, status=status) for i, status in enumerate(("diverged", "failed", "diverged"))]
    found = analysed(trials)
    audit = found.audit.set_index("arm")
    assert list(audit["trials"]) == [3, 3]
    assert list(audit["completed"]) == [3, 0]
    assert audit.loc["ViT/7", ["best_validation_accuracy", "p.learning_rate"]].isna().all()
    assert audit.loc["ResNet-8", "best_validation_accuracy"] == 0.5
    assert set(found.budget["arm"]) == {"ResNet-8"}
    assert "ViT/7: none of its 3 trials has a score, so the search chose no setting." in found.warnings


def repeated(trials: list[dict[str, Any]], **changes: Any):
    of = study({"ViT/7": 7.0}, search=Search(space=SPACE, trials=3, repeats=2, **changes), seeds=4)
    return analyse(records(of, {"ResNet-8": 0.9, "ViT/7": 0.9}, trials=trials, images=50))


def searched(arm: str, *scores: float | None, **more: Any) -> list[dict[str, Any]]:
    """Trial 0, which the two searches of an arm share, and the two trials of each; a score of None has diverged."""
    places = [(pd.NA, 0), (0, 1), (0, 2), (1, 1), (1, 2)]
    return [
        trial(arm, number, score, search=search, digest=f"{arm}{search}{number}")
        | ({"status": "diverged"} if score is None else {})
        | more
        for (search, number), score in zip(places, scores, strict=True)
    ]


def test_each_search_has_its_row_with_the_trial_that_they_share() -> None:
    trials = searched("ResNet-8", 0.8, 0.7, 0.9, 0.6, 0.5) + searched("ViT/7", 0.1, 0.7, 0.2, 0.3, 0.4)
    for row, rate in zip(trials, np.geomspace(2e-4, 5e-2, 10), strict=True):
        row["p.learning_rate"] = rate
    found = repeated(trials)
    audit = found.audit
    assert list(zip(audit["arm"], audit["search"], audit["trials"], strict=True)) == [
        ("ResNet-8", 0, 3), ("ResNet-8", 1, 3), ("ViT/7", 0, 3), ("ViT/7", 1, 3)
    ]  # fmt: skip
    assert audit["best_validation_accuracy"].tolist() == [0.9, 0.8, 0.7, 0.4]
    assert audit["p.learning_rate"].tolist() == [trials[at]["p.learning_rate"] for at in (2, 0, 6, 9)]
    assert not any("equally" in text for text in found.warnings)
    assert found.budget.groupby("arm")["trials"].max().tolist() == [5, 5]


def test_searches_that_chose_an_edge_share_a_sentence() -> None:
    trials = searched("ResNet-8", *[0.5] * 5) + searched("ViT/7", 0.5, 0.7, 0.6, 0.6, 0.8)
    trials[6]["p.learning_rate"], trials[9]["p.learning_rate"] = 0.095, 0.098
    assert repeated(trials).warnings[-1] == (
        "ViT/7, searches 0 and 1: the chosen learning_rate 0.095 and 0.098 lie on the edge of their range "
        "[0.0001, 0.1]; widen the range and search again."
    )


def test_a_search_without_any_score_is_named() -> None:
    trials = searched("ResNet-8", *[0.5] * 5) + searched("ViT/7", None, 0.5, 0.5, None, None)
    assert (
        "ViT/7, search 1: none of its 3 trials has a score, so the search chose no setting."
        in repeated(trials).warnings
    )


def test_trials_beyond_an_edge_make_tuning_no_less_equal() -> None:
    """They are told apart, and the range that they have tried is the one whose edge counts."""
    trials = searched("ResNet-8", *[0.5] * 5) + searched("ViT/7", 0.5, 0.7, 0.6, 0.4, 0.4)
    trials[6]["p.learning_rate"] = 0.1
    beyond = trial("ViT/7", 3, 0.6, search=0, digest="beyond") | {"p.learning_rate": 0.2}
    found = repeated([*trials, beyond], widenings=1)
    of_vit = found.audit[found.audit["arm"] == "ViT/7"]
    assert of_vit["beyond"].tolist() == [1, 0]
    assert of_vit["widened"].tolist() == ["learning_rate", ""]
    assert of_vit["at_edge"].tolist() == ["", ""]
    assert found.warnings[-1] == (
        "Searches whose best value lay on an edge of its range went on beyond it, by the same rule: "
        "ViT/7 1 trial (learning_rate)."
    )


def test_unequal_budgets_are_said() -> None:
    trials = [trial("ResNet-8", 0, 0.5), trial("ResNet-8", 1, 0.5), trial("ViT/7", 0, 0.5, images_seen=640)]
    warnings = analysed(trials).warnings
    assert "The arms were not tuned equally: ResNet-8 2 trials and ViT/7 1 trial." in warnings
    assert "The arms' trials differ in length: ResNet-8 1,280 images and ViT/7 640 images." in warnings


def test_the_length_of_trials_none_of_which_completed_is_not_compared() -> None:
    cut = trial("ViT/7", 0, None, status="diverged", images_seen=256)
    fruitless = "ViT/7: none of its 1 trial has a score, so the search chose no setting."
    assert analysed([trial("ResNet-8", 0, 0.5), cut]).warnings == (fruitless,)


def test_no_search_is_said() -> None:
    found = analyse(records(study(), {"ResNet-8": 0.9, "ViT/14": 0.9, "ViT/7": 0.9}))
    assert any(warning.startswith("No search:") for warning in found.warnings)
    assert found.budget.empty
    assert found.audit.empty


def test_means_count_each_search_once_in_every_table() -> None:
    """Five seeds of two searches: three have the one, two the other."""
    of = study({"ViT/7": 7.0}, search=Search(space=SPACE, trials=4, repeats=2))
    found = analyse(records(of, {"ResNet-8": 0.9, "ViT/7": 0.8}, seed_sd=0.02))
    means, (row,) = found.arms.set_index("arm")["mean"], found.comparisons.to_dict("records")
    assert row["mean"] == pytest.approx(means["ViT/7"])
    assert row["difference"] == pytest.approx(means["ViT/7"] - means["ResNet-8"])


def test_a_best_that_is_the_outermost_tried_is_told_where_accuracy_rises_towards_it() -> None:
    rates = np.geomspace(1e-3, 1e-2, 5)  # a tenth of the range on either side of it is never reached
    rising = [trial("ViT/7", i, 0.5 + 0.1 * i, **{"p.learning_rate": rate}) for i, rate in enumerate(rates)]
    jumping = [
        trial("ViT/7", i, score, **{"p.learning_rate": rate})
        for i, (score, rate) in enumerate(zip((0.7, 0.8, 0.5, 0.6, 0.9), rates, strict=True))
    ]
    told = (
        "The higher the learning rate, the better the trials of ViT/7, up to the highest that was tried: the best may "
        "lie beyond it."
    )
    assert told in analysed(rising).warnings
    assert (
        told.replace("higher", "lower").replace("highest", "lowest")
        in analysed([row | {"validation_accuracy": 1 - row["validation_accuracy"]} for row in rising]).warnings
    )
    for trials in (jumping, rising[1:]):
        assert not [text for text in analysed(trials).warnings if "lie beyond" in text]


@pytest.mark.parametrize("harder", [0, 1])
def test_what_splits_do_to_scores_hides_no_order_of_settings(harder: int) -> None:
    """Within each of two searches accuracy rises with the rate, and one has by far the easier images."""
    rates = {0: (1e-3, 4e-3, 1e-2), 1: (2e-3, 8e-3, 2e-2)}
    rising = [
        trial(
            "ViT/7",
            place,
            0.5 + 0.2 * abs(search - harder) + 0.1 * rate + 0.02 * place,
            search=search,
            digest=f"{search}{place}",
        )
        | {"p.learning_rate": rate}
        for search, tried in rates.items()
        for place, rate in enumerate(tried)
    ]
    told = "The higher the learning rate, the better the trials of ViT/7, up to the highest that was tried"
    assert [text for text in repeated(rising).warnings if told in text]


def test_searches_that_left_the_recipe_as_it_was_are_counted() -> None:
    trials = searched("ResNet-8", 0.9, 0.7, 0.8, 0.6, 0.5) + searched("ViT/7", 0.5, 0.7, 0.2, 0.3, 0.4)
    told = "every trial was worse than the recipe's own setting, which was then trained."
    of_all = " Its trial, one for all searches of an arm, had another seed than most of theirs."
    assert f"In 3 of 4 searches {told}{of_all}" in repeated(trials).warnings
    own = trials + [trials[at] | {"search": 1, "digest": str(at)} for at in (0, 5)]
    own = [row | ({"search": 0} if pd.isna(row["search"]) else {}) for row in own]
    assert f"In 3 of 4 searches {told}" in repeated(own).warnings
    trials[2]["validation_accuracy"] = 0.95
    assert not [text for text in repeated(trials).warnings if told in text]


def test_trials_much_shorter_than_trainings_are_told_of() -> None:
    trials = [
        trial(arm, i, 0.5, images_seen=images) for arm in ("ResNet-8", "ViT/7") for i, images in enumerate((800, 1600))
    ]
    kept = records(
        study({"ViT/7": 7.0}, search=Search(space=SPACE, trials=2)),
        {"ResNet-8": 0.9, "ViT/7": 0.9},
        trials=trials,
        images=50,
    )
    told = (
        "Trials saw as little as 1/8 of the images that a training sees (ResNet-8): the best setting of short "
        "trainings need not be that of long ones."
    )
    for images, is_short in ((12_800, True), (3200, False)):
        found = analyse(replace(kept, runs=kept.runs.assign(images_seen=images)))
        assert (told in found.warnings) == is_short == any("Trials saw" in text for text in found.warnings)

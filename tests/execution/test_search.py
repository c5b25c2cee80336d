from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tiny_studies import SPACE

from harness.execution.optuna_search import propose
from harness.execution.progress import Trial, chosen
from harness.spec import Choice, LogUniform, Search, Uniform
from harness.spec.search import STARTUP_TRIALS

SEARCH = Search(space=SPACE, trials=12)
OWN = {"learning_rate": 3e-3, "label_smoothing": 0.0}


def undisturbed(trials: int, score: Any, study: str = "study") -> list[Trial]:
    history = [Trial(number=0, values=OWN, status="completed", score=score(OWN))]
    while len(history) < trials:
        values = propose(SEARCH, SPACE, study, history)
        history.append(Trial(number=len(history), values=values, status="completed", score=score(values)))
    return history


def peak(values: dict[str, Any]) -> float:
    return 1 - abs(values["learning_rate"] - 0.03)


def test_a_search_killed_after_trial_5_goes_on_as_if_undisturbed() -> None:
    whole = undisturbed(12, peak)
    resumed = whole[:5]
    while len(resumed) < 12:
        values = propose(SEARCH, SPACE, "study", list(resumed))
        resumed.append(Trial(number=len(resumed), values=values, status="completed", score=peak(values)))
    assert [trial.values for trial in resumed] == [trial.values for trial in whole]


def test_proposals_do_not_repeat_and_depend_on_the_search() -> None:
    whole = undisturbed(12, peak)
    assert len({tuple(trial.values.items()) for trial in whole}) == 12
    other = undisturbed(12, peak, study="other study")
    assert [trial.values for trial in whole[1:]] != [trial.values for trial in other[1:]]


def test_arms_try_the_same_settings_until_their_scores_teach_the_sampler_otherwise() -> None:
    one, other = undisturbed(12, peak), undisturbed(12, lambda values: values["learning_rate"])
    same = [left.values == right.values for left, right in zip(one, other, strict=True)]
    assert all(same[:STARTUP_TRIALS])
    assert not all(same)


def test_the_sampler_learns() -> None:
    """A third of uniform draws would lie within a factor of three of the peak."""
    late = [trial.values["learning_rate"] for trial in undisturbed(40, peak)[20:]]
    assert sum(0.01 < rate < 0.09 for rate in late) >= 12


def test_a_setting_that_diverged_is_never_proposed_again() -> None:
    space = {"optimizer": Choice(values=("adamw", "sgd", "muon"))}
    history = [
        Trial(number=0, values={"optimizer": "adamw"}, status="diverged", score=None),
        Trial(number=1, values={"optimizer": "sgd"}, status="out_of_memory", score=None),
    ]
    for name in "abcdefgh":
        assert propose(SEARCH, space, name, history) == {"optimizer": "muon"}


@given(low=st.floats(1e-6, 1e-2), factor=st.floats(1.5, 1e4), number=st.integers(1, 6))
def test_proposals_stay_inside_their_ranges(low: float, factor: float, number: int) -> None:
    space = {"a": LogUniform(low=low, high=low * factor), "b": Uniform(low=-low, high=low)}
    history = [
        Trial(number=index, values={"a": low * 1.1, "b": 0.0}, status="completed", score=0.5) for index in range(number)
    ]
    values = propose(SEARCH, space, "study", history)
    assert low <= values["a"] <= low * factor
    assert -low <= values["b"] <= low


def test_an_own_setting_outside_the_range_does_no_harm() -> None:
    history = [Trial(number=0, values={"learning_rate": 5.0, "label_smoothing": 0.0}, status="completed", score=0.9)]
    assert 1e-4 <= propose(SEARCH, SPACE, "study", history)["learning_rate"] <= 1e-1


def test_the_best_completed_trial_is_chosen_the_earliest_among_equals() -> None:
    def trial(number: int, status: str, score: float | None) -> Trial:
        return Trial(number=number, values={}, status=status, score=score)

    history = [trial(0, "completed", 0.8), trial(1, "diverged", None), trial(2, "completed", 0.9)]
    history += [trial(3, "completed", 0.9), trial(4, "failed", None)]
    assert chosen(history) == history[2]
    assert chosen([trial(0, "diverged", None)]) is None


def test_an_own_choice_outside_the_searched_ones_does_no_harm() -> None:
    history = [Trial(number=0, values={"learning_rate": 1e-2, "label_smoothing": 0.3}, status="completed", score=0.9)]
    assert propose(SEARCH, SPACE, "study", history)["label_smoothing"] in (0.0, 0.1)


def test_every_choice_is_tried_before_one_is_repeated() -> None:
    space = {"optimizer": Choice(values=("adamw", "sgd", "muon"))}
    history: list[Trial] = []
    for number in range(3):
        values = propose(SEARCH, space, "study", history)
        history.append(Trial(number=number, values=values, status="completed", score=0.5))
    assert {trial.values["optimizer"] for trial in history} == {"adamw", "sgd", "muon"}

"""The level of the intervals of studies that are looked at again: how it falls, and what errors it leaves."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from simulate import records, study

from harness.analysis import analyse
from harness.analysis.evidence import evidence_of
from harness.analysis.looks import _level, current, level_for, level_of, untold
from harness.records.looks import Ledger, Look, registration
from harness.records.run_table import StudyRecords
from harness.spec import ResolvedStudy
from harness.spec.formats import confidence

SEEDS = st.lists(st.integers(3, 200), min_size=1, max_size=5)


def test_the_first_look_leaves_something_for_later_ones() -> None:
    assert level_of([3]) == level_of([10]) == 0.96


def test_half_as_many_seeds_again_cost_less_than_a_study_of_their_own() -> None:
    assert 0.015 < 1 - level_of([10, 15]) < 0.025
    assert _level((0.0,)) == pytest.approx(1 - 0.008 / 0.96, abs=1e-4), "nothing shared"
    assert _level((0.0,)) > level_of([3, 300]) > level_of([3, 6]) > level_of([3, 4])


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_levels_never_fall_and_their_errors_add_up_to_less_than_the_whole(seeds: list[int]) -> None:
    levels = [level_of(seeds[: number + 1]) for number in range(len(seeds))]
    assert all(0.96 <= before <= now < 1 for before, now in pairwise([0.96, *levels]))
    apart = [_level((0.0,) * number) for number in range(len(seeds))]
    assert all(alone >= level for alone, level in zip(apart, levels, strict=True))
    assert 1 - math.prod(apart) <= 0.05


def test_the_normal_distribution_of_three_looks_spends_what_it_should() -> None:
    """Against draws of estimates that are correlated as pooled ones."""
    rng, correlations = np.random.default_rng(0), (0.8, 0.7)
    z = [rng.normal(size=400_000)]
    for correlation in correlations:
        z.append(correlation * z[-1] + math.sqrt(1 - correlation**2) * rng.normal(size=400_000))
    wrong = np.zeros(400_000, bool)
    for number, (values, spent) in enumerate(zip(z, (0.04, 0.048, 0.0496), strict=True)):
        wrong |= np.abs(values) > -special.ndtri((1 - _level(correlations[:number])) / 2)
        assert wrong.mean() == pytest.approx(spent, abs=0.001)


@pytest.mark.parametrize("seeds", [(3, 5), (3, 4, 5), (3, 5, 8), (5, 8, 12), (3, 10, 30), (10, 15, 22), (3, 4, 40)])
def test_students_test_of_few_seeds_is_wrong_in_at_most_5_percent_over_all_looks(seeds: tuple[int, ...]) -> None:
    values = np.random.default_rng(len(seeds)).normal(size=(300_000, seeds[-1]))
    wrong = np.zeros(len(values), bool)
    for number, n in enumerate(seeds):
        part = values[:, :n]
        t = part.mean(axis=1) / (part.std(axis=1, ddof=1) / math.sqrt(n))
        wrong |= np.abs(t) > -special.stdtrit(n - 1, (1 - level_of(seeds[: number + 1])) / 2)
    assert 0.04 < wrong.mean() <= 0.0505


# --- looks that were kept ---------------------------------------------------------------------------------------------


def of(seeds: int, **changes: object) -> StudyRecords:
    return records(replace(study({"ViT/7": 7.0}, seeds=seeds), scale="laptop", **changes), lambda arm, size: 0.8)


def looked(*of_looks: StudyRecords) -> Ledger:
    """The ledger of a study of which these were reported, one after the other."""
    ledger = Ledger(registration(of_looks[0].study, {"git_revision": "f00"}))
    for number, each in enumerate(of_looks):
        look = current(replace(each, looks=ledger))
        assert look is not None
        ledger = replace(ledger, looks=(*ledger.looks, replace(look, time=f"2026-01-0{number + 1} 12:00:00 +0000")))
    return ledger


def last(ledger: Ledger) -> Look:
    return ledger.looks[-1]


def test_results_of_before_looks_were_kept_have_the_level_that_they_were_made_with() -> None:
    assert current(of(5)) is None
    assert level_for(of(5)) == evidence_of(of(5)).level == 0.95


def test_more_seeds_are_a_look_that_pools() -> None:
    ledger = looked(of(3), of(5))
    assert [look.level for look in ledger.looks] == [0.96, level_of([3, 5])]
    assert (last(ledger).seeds_added, last(ledger).changed, last(ledger).completed) == ((3, 4), ("seeds",), 10)
    evidence = evidence_of(replace(of(5), looks=ledger))
    found = evidence.difference("ViT/7", "ResNet-8")
    assert found.level == level_of([3, 5])
    plain = evidence_of(of(5)).difference("ViT/7", "ResNet-8")
    assert found.ci_high - found.ci_low > plain.ci_high - plain.ci_low


def test_an_answer_says_what_the_level_is_over_all_looks() -> None:
    told = analyse(replace(of(5), looks=looked(of(5)))).numbers
    assert "; 96% intervals (95% over all looks) over seeds" in told
    assert "; 95% intervals over seeds" in analyse(of(5)).numbers


def test_the_same_results_again_are_the_same_look() -> None:
    ledger = looked(of(3), of(5))
    assert [current(replace(of(n), looks=ledger)) for n in (3, 5)] == list(ledger.looks)
    reworded = replace(of(3).study, question="Is it so?", minutes=5.0)
    assert current(replace(of(3), study=reworded, looks=ledger)) == ledger.looks[0]
    assert current(replace(of(4), looks=ledger)) not in ledger.looks


def test_runs_that_share_nothing_cost_most() -> None:
    other = of(5)
    other = replace(other, runs=other.runs.assign(digest=[f"other-{digest}" for digest in other.runs["digest"]]))
    assert last(looked(of(3), other)).level == _level((0.0,)) > level_of([3, 5])


def test_seeds_that_were_lost_do_not_narrow_an_interval() -> None:
    assert last(looked(of(5), of(3))).level >= level_of([5, 5])


@pytest.mark.parametrize("first", [of(2), replace(of(3), study=replace(of(3).study, scale="smoke"))])
def test_a_look_without_intervals_or_at_scale_smoke_costs_nothing(first: StudyRecords) -> None:
    ledger = looked(first, replace(of(5), study=replace(of(5).study, scale=first.study.scale)))
    assert not ledger.looks[0].spends
    assert last(ledger).level == 0.96


def changed(told: tuple[str, ...] = ()) -> ResolvedStudy:
    plain = of(5).study
    return replace(plain, recipe=replace(plain.recipe, learning_rate=0.123), changes_after_first_look=told)


@pytest.mark.parametrize(
    ("told", "is_told"), [((), False), (("More updates.",), False), (("The learning rates were raised.",), True)]
)
def test_a_change_after_a_look_that_the_study_does_not_tell_is_a_caution(
    told: tuple[str, ...], *, is_told: bool
) -> None:
    now = replace(of(5), study=changed(told), looks=looked(of(3)))
    said = "After the look of 2026-01-01 recipe.learning_rate was changed, which the study does not tell."
    assert list(untold(now)) == ([] if is_told else [said])
    assert list(untold(replace(of(5), looks=looked(of(3))))) == [], "seeds alone are no such change"


@pytest.mark.parametrize(
    ("level", "told"), [(0.95, "95%"), (0.96, "96%"), (0.98691, "98.7%"), (0.99667, "99.67%"), (0.999655, "99.965%")]
)
def test_a_level_is_told_with_two_digits_of_its_error(level: float, told: str) -> None:
    assert confidence(level) == told


def test_findings_of_a_second_look_are_wider_than_of_the_first_everywhere() -> None:
    once, again = (analyse(replace(of(5), looks=looked(*looks))) for looks in ((of(5),), (of(3), of(5))))
    for frame in ("arms", "comparisons"):
        widths = [getattr(found, frame).eval("ci_high - ci_low") for found in (once, again)]
        assert (widths[1] > widths[0]).all()


def test_a_p_value_is_below_5_percent_where_the_widened_interval_excludes_zero() -> None:
    ledger = looked(of(3), of(5))
    kept = replace(records(of(5).study, {"ResNet-8": 0.8, "ViT/7": 0.8025}), looks=ledger)
    found = evidence_of(kept).difference("ViT/7", "ResNet-8")
    once = evidence_of(replace(kept, looks=Ledger())).difference("ViT/7", "ResNet-8")
    assert found.p_value() == pytest.approx(once.p_value() * 0.05 / (1 - level_of([3, 5])))
    for null in (found.ci_low, found.ci_high):
        assert found.p_value(null) == pytest.approx(0.05)

"""Studies that run fewer seeds at their largest training sizes: what is planned, estimated and told there."""

import math
from dataclasses import replace

import pytest
from simulate import REPEATS, at_most, evidence, evidences, records, share, study

from harness.analysis import analyse
from harness.analysis.axis import crossing, size_axis, slope
from harness.analysis.evidence import evidence_of
from harness.analysis.wording import seeds_told
from harness.execution.overrides import override
from harness.spec import InvalidInput, LogUniform, ResolvedStudy, Search
from harness.spec.claims import Claim, Crosses

SIZES = (500, 5000, 50_000, 500_000)


def fewer(*, claims: tuple[Claim, ...] = (), repeats: int = 1, start: int = 50_000) -> ResolvedStudy:
    search = Search(space={"learning_rate": LogUniform(low=1e-3, high=1e-2)}, trials=2, repeats=repeats)
    of = study({"ViT/7": 7.0}, sizes=SIZES, seeds=5, claims=claims, search=search)
    return replace(of, long_from=start)


def rising(arm: str, size: int | None) -> float:
    """The ViT's lead rises by 2 points per 10x images and is zero at 5,000."""
    return 0.8 + 0.02 * (arm == "ViT/7") * math.log10((size or 1) / 5000)


def test_from_a_size_on_the_first_seeds_are_planned_each_with_its_search() -> None:
    of = fewer(repeats=5)
    assert [len(of.seeds_at(size)) for size in SIZES] == [5, 5, 3, 3]
    assert [of.searches_at(size) for size in SIZES] == [5, 5, 3, 3]
    assert fewer(repeats=2).searches_at(50_000) == 2
    assert seeds_told(of) == "5 seeds (3 from 50,000 images on)"
    assert seeds_told(replace(of, long_from=None)) == seeds_told(replace(of, long_from=600_000)) == "5 seeds"
    assert seeds_told(replace(of, seeds=(0, 1, 2), search=Search())) == "3 seeds"


def test_it_can_be_overridden_and_wants_training_sizes() -> None:
    assert override(fewer(), ["long_seeds=4"]).seeds_at(500_000) == (0, 1, 2, 3)
    for wrong in ("long_seeds=1", "long_from=0", "long_from=many"):
        with pytest.raises(InvalidInput, match=wrong.split("=")[0]):
            override(fewer(), [wrong])
    with pytest.raises(InvalidInput, match="long_from is 50,000, a training size, and there are none"):
        replace(fewer(), train_sizes=())


def test_what_is_not_planned_is_neither_missed_nor_counted() -> None:
    of = fewer()
    assert analyse(records(of, rising)).gaps == ()
    more = evidence_of(replace(records(replace(of, long_from=None), rising), study=of))
    assert [more.contrast({("ViT/7", size): 1.0}).n for size in SIZES] == [5, 5, 3, 3]

    def without(row):
        return None if (row["train_size"], row["seed"], row["arm"]) == (50_000, 1, "ViT/7") else row

    (gap,) = analyse(records(of, rising, changes=without)).gaps
    assert gap == "ViT/7 at 50,000 images: 2 of 3 seeds completed; seed 1 missing."


def test_too_few_seeds_at_one_size_leave_what_rests_on_it_undecided() -> None:
    claims = (Crosses(leader="ResNet-8", follower="ViT/7", statement="a", source="b"),)
    found = analyse(records(replace(fewer(claims=claims), long_seeds=2), rising))
    assert found.claims["verdict"].item() == "inconclusive"
    assert "2 of at least 3 seeds planned" in found.claims["reason"].item()


def test_over_sizes_of_unlike_seeds_a_contrast_is_the_sum_of_its_parts() -> None:
    one = evidence(fewer(), rising, seed=3)
    few, many = (one.difference("ViT/7", "ResNet-8", size) for size in (500_000, 500))
    weights = {("ViT/7", 500_000): 1.0, ("ResNet-8", 500_000): -1.0, ("ViT/7", 500): -1.0, ("ResNet-8", 500): 1.0}
    found = one.contrast(weights)
    assert found.value == pytest.approx(few.value - many.value)
    assert found.error == pytest.approx(math.hypot(few.error, many.error))
    assert min(few.df, many.df) <= found.df <= few.df + many.df
    assert found.n == 3
    flipped = one.contrast({cell: -weight for cell, weight in weights.items()})
    assert (flipped.value, flipped.ci_low, flipped.ci_high) == (-found.value, -found.ci_high, -found.ci_low)
    # Where a seed is in both parts with one sign, as in a mean over sizes, its luck may be the same in both.
    whole = one.contrast({("ViT/7", 500_000): 0.5, ("ViT/7", 500): 0.5})
    parts = [one.contrast({("ViT/7", size): 0.5}).error for size in (500_000, 500)]
    assert whole.error == pytest.approx(sum(parts))


def test_the_slope_and_the_crossing_are_covered() -> None:
    of = fewer()
    axis, slopes, crossings = size_axis(of, "ViT/7", "ResNet-8"), [], []
    for one in evidences(of, rising):
        found, place = slope(one, axis), crossing(one, axis)
        assert found is not None
        slopes.append(found.ci_low <= 0.02 <= found.ci_high)
        crossings.append(not place.shown or place.ci_low <= 5000 <= place.ci_high)
    assert 0.005 < 1 - share(slopes) <= at_most(0.05, REPEATS)
    assert 1 - share(crossings) <= at_most(0.05, REPEATS)


def test_the_extra_seeds_of_short_trainings_narrow_what_rests_on_all_sizes() -> None:
    """They are no use if a contrast over all sizes takes only the seeds that all have."""
    of, widths = fewer(start=500_000), {}
    for seeds in ((0, 1, 2), of.seeds):
        each = replace(of, seeds=seeds)
        axis = size_axis(each, "ViT/7", "ResNet-8")
        found = [slope(one, axis) for one in evidences(each, rising, seeds=range(40))]
        widths[len(seeds)] = sum(one.ci_high - one.ci_low for one in found if one is not None) / len(found)
    assert widths[5] < 0.9 * widths[3]

"""A gap on three scales: what is planted is found and covered, and a claim says where the scales disagree."""

import math
from dataclasses import replace

import numpy as np
import pytest
from simulate import REPEATS, at_most, evidence, evidences, records, share, study, verdicts

from harness.analysis import analyse
from harness.analysis.axis import size_axis
from harness.analysis.evidence import evidence_of
from harness.analysis.findings import SLOPE_COLUMNS
from harness.analysis.scales import images_needed, ratio_of_errors
from harness.records.run_table import CURVE_COLUMNS, with_columns
from harness.spec import GapShrinks

SIZES = (500, 2000, 5000, 20_000, 50_000)
FACTOR = 3.0
ARMS = {"ViT/7": 7.0, "ViT/14": 14.0}


def error(size: float) -> float:
    return 0.5 * (size / 500) ** -0.3


def hungry(arm: str, size: int | None) -> float:
    """ViT/7 is as accurate as the ResNet on a third of its images; its ratio of errors is constant."""
    return 1 - error((size or 1) / FACTOR if arm == "ViT/7" else size or 1)


def both_fall(arm: str, size: int | None) -> float:
    """The gap falls from 10 points to 4, and the ratio of errors grows from 1.2 to 2."""
    place = math.log((size or 1) / 500) / math.log(100)
    return 1 - (0.5 - 0.46 * place + (0.1 - 0.06 * place) * (arm == "ViT/7"))


def axis_of(sizes=SIZES, seeds: int = 5):
    return size_axis(study(ARMS, sizes=sizes, seeds=seeds), "ViT/7", "ResNet-8")


def test_the_ratio_of_errors_is_a_paired_mean_of_logarithms() -> None:
    kept = records(study(ARMS, sizes=SIZES), hungry)
    found = ratio_of_errors(evidence_of(kept), axis_of())
    errors = 1 - kept.runs.pivot_table(index=["train_size", "seed"], columns="arm", values="test_accuracy")
    ratios = np.exp(np.log(errors["ViT/7"] / errors["ResNet-8"]).groupby("train_size").mean())
    assert [each.value for each in found.at] == pytest.approx(list(ratios))
    assert found.change.value == pytest.approx(1, abs=0.03)
    assert found.change.ci_low < 1 < found.change.ci_high


def test_test_images_widen_the_ratio_of_errors_as_the_delta_method_has_it() -> None:
    """Two arms that err on images of their own: the variance of log(p / q) is (1 - p) / (m p) + (1 - q) / (m q)."""
    of, m = study({"ViT/7": 7.0}, sizes=SIZES), 4000
    kept = records(of, lambda *_: 0.8, images=m)
    rng = np.random.default_rng(0)
    own = {(arm, size): rng.random(m) < 0.8 for arm in ("ViT/7", "ResNet-8") for size in SIZES}
    for digest in kept.correct:
        arm, size, _ = digest.rsplit("-", 2)
        kept.correct[digest] = own[arm, int(size)] ^ (rng.random(m) < 0.002)
    values = [kept.correct[digest].mean() for digest in kept.runs["digest"]]
    found = evidence_of(type(kept)(**{**vars(kept), "runs": kept.runs.assign(test_accuracy=values)})).contrast(
        {("ViT/7", 500): 1.0, ("ResNet-8", 500): -1.0}, scale="log_error"
    )
    assert found.image_error == pytest.approx(math.sqrt(2 * 0.8 / 0.2 / m), rel=0.05)


def test_a_run_without_an_error_has_no_ratio_and_stops_nothing() -> None:
    found = analyse(
        records(study({"ViT/7": 7.0}, sizes=SIZES), lambda arm, _: 1.0 if arm == "ViT/7" else 0.9, seed_sd=0.0)
    )
    assert found.slopes[["error_ratio", "equivalence"]].isna().all(axis=None)


def test_the_data_equivalence_is_how_many_times_the_images_are_needed() -> None:
    found = images_needed(evidence(study(ARMS, sizes=SIZES), hungry, seed=0, seed_sd=1e-5), axis_of())
    inside = [each for each, size in zip(found.at, SIZES, strict=True) if size * FACTOR < SIZES[-1]]
    assert [each.value for each in inside] == pytest.approx([FACTOR] * 3, rel=0.05)
    assert found.told[3:] == ("more than 2.5", "more than 1")
    assert math.isnan(found.at[-1].value)
    back = images_needed(evidence(study(ARMS, sizes=SIZES), hungry, seed=0, seed_sd=1e-5), axis_of().flipped())
    assert back.told[0] == "less than 1"
    assert [each.value for each in back.at[1:]] == pytest.approx([1 / FACTOR] * 4, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5])
def test_the_data_equivalence_and_its_change_are_covered(n: int) -> None:
    """Of arms that are straight lines over the logarithm of the images, as is every curve through them."""

    def line(arm: str, size: int | None) -> float:
        return 0.5 + 0.08 * math.log((size or 1) / (500 * (FACTOR if arm == "ViT/7" else 1)))

    of, axis = study(ARMS, sizes=SIZES, seeds=n), axis_of(seeds=n)
    hits, trends = [], []
    for one in evidences(of, line):
        found = images_needed(one, axis)
        hits.append(found.at[1].ci_low <= FACTOR <= found.at[1].ci_high)
        trends.append(found.change.ci_low <= 1 <= found.change.ci_high)
    assert 0.01 < 1 - share(hits) <= at_most(0.05, REPEATS)
    assert 0.01 < 1 - share(trends) <= at_most(0.05, REPEATS)


def test_the_change_of_the_ratio_of_errors_is_covered() -> None:
    of, axis = study(ARMS, sizes=SIZES, seeds=3), axis_of(seeds=3)
    signs = [ratio_of_errors(one, axis).sign for one in evidences(of, hungry)]
    assert share([sign != 0 for sign in signs]) <= at_most(0.05, REPEATS)


def test_the_table_of_slopes_has_the_other_scales() -> None:
    found = analyse(records(study(ARMS, sizes=SIZES), hungry)).slopes
    assert found.dtypes.astype(str).to_dict() == SLOPE_COLUMNS
    row = found.set_index("arm").loc["ViT/7"]
    assert row["error_ratio_low"] < 1 < row["error_ratio_high"]
    assert row["equivalence_low"] < 1 < row["equivalence_high"]
    assert row["scales"].startswith("ratio of errors 1.")
    assert "; data equivalence " in row["scales"]
    assert "more than 2.5 at 20,000" in row["scales"]
    two = analyse(records(study(ARMS, sizes=SIZES[:2]), hungry)).slopes
    assert two["equivalence"].isna().all()
    assert two["error_ratio"].notna().all()


def test_a_claim_in_points_says_where_other_scales_disagree() -> None:
    claim = GapShrinks(leader="ResNet-8", follower="ViT/7", statement="a", source="b")
    row = verdicts(records(study(ARMS, sizes=SIZES, claims=(claim,)), both_fall)).iloc[0]
    assert row["verdict"] == "reproduced"
    assert "it shrinks; but the ratio of errors grows from 1." in row["reason"]
    falls = verdicts(
        records(
            study(ARMS, sizes=SIZES, claims=(claim,)),
            lambda arm, size: 1 - error(size or 1) * (1 + 0.3 * (arm == "ViT/7") * (500 / (size or 1)) ** 0.2),
        )
    ).iloc[0]
    assert falls["verdict"] == "reproduced"
    assert "; but" not in falls["reason"]


def with_curves(accuracy, *, evaluations=(0.25, 0.5, 0.75, 1.0), dear=()):
    """Runs of 10,000 images whose validation accuracy follows from the compute spent, in images of the dear arm."""
    asked = study({"cheap": 4.0, "dear": 1.0})
    arms = tuple(replace(arm, changes=dict(dear)) if arm.name == "dear" else arm for arm in asked.arms)
    kept = records(replace(asked, arms=arms), {"ResNet-8": 0.9, "cheap": 0.9, "dear": 0.9})
    rows = []
    for run in kept.runs.to_dict("records"):
        for seen in (10_000 * part for part in evaluations):
            row = {name: run[name] for name in ("arm", "train_size", "seed", "digest")}
            spent = seen / 4 if run["arm"] == "cheap" else seen
            rows.append(row | {"images_seen": seen, "validation_accuracy": accuracy(run["arm"], spent)})
    return analyse(replace(kept, curves=with_columns(rows, CURVE_COLUMNS))).comparisons.set_index("arm")


def test_arms_whose_accuracy_is_one_curve_over_compute_do_not_differ_at_equal_compute() -> None:
    """The cheap arm spends a quarter of what the baseline does; the dear one spends the same."""
    found = with_curves(lambda arm, spent: spent / 20_000 + 0.1 * (arm == "cheap"))["difference_at_equal_compute"]
    assert found["cheap"] == pytest.approx(0.1)
    assert math.isnan(found["dear"])
    late = with_curves(lambda *_: 0.5, evaluations=(0.5, 1.0))["difference_at_equal_compute"]
    assert late.isna().all()


def test_a_second_pass_over_the_images_is_compute() -> None:
    """With SAM an arm has seen half of its images when it has spent what the baseline spends in all."""
    found = with_curves(lambda _, spent: spent / 20_000, dear={"recipe.sam_radius": 0.05})
    assert found["difference_at_equal_compute"]["dear"] == pytest.approx(-0.25)

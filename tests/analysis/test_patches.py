"""Tests of one training at several sizes of patches, against a training for each: table, claims, cost, what is kept."""

from dataclasses import replace

import numpy as np
import pytest
from simulate import SAID, records, study

from harness.analysis import analyse
from harness.analysis.evidence import evidence_of
from harness.analysis.findings import PATCH_COLUMNS
from harness.records.run_table import PATCH_COLUMNS as MEASURED
from harness.records.run_table import load_records, with_columns, write_tables
from harness.report.figures.by_patch_size import accuracy_by_patch_size
from harness.report.result_tables import patches_table
from harness.report.style import theme
from harness.report.view import View
from harness.spec import Arm, Better, InvalidInput, ViTSpec

SIZES = {14: 100, 7: 400}  # with multiply-accumulates
ONE = ViTSpec(patch_size=7, width=8, depth=1, heads=1)
LEADS = {14: -0.002, 7: -0.05}


def claim(size, **changes):
    made = {"arm": "FlexiViT", "than": f"ViT/{size}", "margin": -0.01, "patch_size": size}
    return Better(**SAID, **(made | changes))


def kept(*, tested=True):
    """Models of one size with an accuracy of 0.8; one for both, worse by LEADS."""
    arms = tuple(Arm(f"ViT/{size}", replace(ONE, patch_size=size), level=size, series="alone") for size in SIZES)
    flexible = Arm("FlexiViT", replace(ONE, flexible_patches=(7, 14)))
    of = replace(study(seeds=5), arms=(*arms, flexible), claims=tuple(map(claim, SIZES)))
    found, rng, rows, correct = records(of, lambda arm, size: 0.8, images=4000), np.random.default_rng(1), [], {}
    for run in found.runs[found.runs["arm"] == "FlexiViT"].to_dict("records"):
        for size, macs in SIZES.items():
            right = found.correct[f"ViT/{size}-None-{run['seed']}"].copy()
            right[rng.choice(np.flatnonzero(right), round(-LEADS[size] * len(right)), replace=False)] = False
            correct[run["digest"], size] = right
            place = {name: run[name] for name in ("arm", "train_size", "seed", "digest")}
            rows.append(place | {"patch_size": size, "test_accuracy": right.mean(), "macs_per_image": macs})
    return replace(found, patches=with_columns(rows if tested else [], MEASURED), at_patches=correct if tested else {})


def test_each_size_is_compared_with_the_training_for_it_alone(tmp_path):
    before = kept()
    found = analyse(before)
    table = found.patches.set_index("patch_size")
    assert list(found.patches.columns) == list(PATCH_COLUMNS)
    assert table["alone"].to_dict() == {14: "ViT/14", 7: "ViT/7"}
    assert table.loc[7, "difference"] == pytest.approx(-0.05, abs=1e-4)
    assert table.loc[7, "difference_low"] < -0.05 < table.loc[7, "difference_high"] < -0.04
    assert found.claims["verdict"].tolist() == ["reproduced", "contradicted"]
    assert "over ViT/7 with patches of 7 px is \N{MINUS SIGN}5.00 points [" in found.claims["reason"][1]
    write_tables(tmp_path, before)
    after = load_records(tmp_path)
    assert after.at_patches.keys() == before.at_patches.keys()
    assert all(np.array_equal(after.at_patches[test], right) for test, right in before.at_patches.items())
    assert analyse(after).patches.equals(found.patches)


def test_an_update_costs_what_all_sizes_cost_on_average():
    assert evidence_of(kept()).passes("FlexiViT") == 250 / 400
    assert evidence_of(kept()).passes("ViT/7") == 1


def test_without_tests_nothing_is_judged():
    found = analyse(kept(tested=False))
    assert set(found.claims["verdict"]) == {"inconclusive"}
    assert "ot every run of FlexiViT has measured its test accuracy at 14 px" in found.claims["reason"][0]


def test_table_and_figure_have_every_size():
    records = kept()
    view = View(records, analyse(records))
    assert len(patches_table(view).rows) == 2
    with theme():
        drawing = accuracy_by_patch_size(view)
    assert "at 14 px" in drawing.text
    assert "ViT/14 80" in drawing.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch_size": 4}, r"Better.patch_size is 4; arm 'FlexiViT' is tested with patches of \(7, 14\) px"),
        ({"than": "ViT/14"}, r"Better.patch_size is 7; arm 'ViT/14' is tested with patches of \(14,\) px"),
        ({"than": "ResNet-8"}, r"arm 'ResNet-8' is tested with patches of no px"),
        ({"metric": "params"}, r"the metric must be 'test_accuracy', not 'params'"),
    ],
)
def test_claims_about_sizes_that_are_not_tested_are_refused(changes, said):
    with pytest.raises(InvalidInput, match=said):
        replace(kept().study, claims=(claim(7, **changes),))

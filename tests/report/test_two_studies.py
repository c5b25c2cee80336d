"""Two studies side by side: which arms count as shared, how they differ, and the page that says so."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from hypothesis import given, settings
from hypothesis import strategies as st
from report_cases import make_study, nothing, odd_names, simulate, single, two_factors

from harness.analysis.across import KIN_COLUMNS, SHARED_COLUMNS, across
from harness.report.comparison import comparison_of, document, write_comparison
from harness.spec import LogUniform, Search


def moved(case, *, by=0.01, factor="another", **changes):
    """The same arms in another study with other accuracies, and with fields of study or provenance changed."""
    records, findings = case
    jitter = 0.001 * (records.runs["seed"] - records.runs["seed"].mean()).astype("float64")  # means stay
    runs = records.runs.assign(test_accuracy=records.runs["test_accuracy"] + by + jitter)
    runs["digest"] = runs["digest"] + "-again"
    known = {key: changes.pop(key) for key in list(changes) if key in {*records.provenance, "numerics"}}
    study = replace(records.study, factor=factor, **changes)
    return replace(records, runs=runs, study=study, provenance=records.provenance | known), findings


def test_arms_with_the_same_model_recipe_and_data_are_shared():
    first, second = single(), moved(single())
    found = across(first[0], second[0])
    assert list(found.shared.columns) == list(SHARED_COLUMNS)
    assert list(found.shared["first_arm"]) == ["ResNet-8", "ViT/14", "ViT/7", "ViT/4"]
    assert np.allclose(found.shared["difference"], 0.01)
    assert (found.shared["n"] == 3).all()
    assert (found.shared["same_runs"] == 0).all()
    assert list(found.shared["train_size"]) == [55_000] * 4
    assert found.kin.empty
    assert found.settings == ()
    assert found.cautions == ()


def test_the_other_order_has_the_other_sign():
    first, second = single(), moved(two_factors())
    one, other = across(first[0], second[0]).shared, across(second[0], first[0]).shared
    assert len(one) > 0
    assert np.allclose(one["difference"], -other["difference"])
    assert np.allclose(one["ci_low"], -other["ci_high"])


@settings(max_examples=15, deadline=None)
@given(by=st.floats(-0.2, 0.05))
def test_differences_are_those_of_the_means(by):
    found = across(single()[0], moved(single(), by=by)[0]).shared
    assert np.allclose(found["difference"], found["second_mean"] - found["first_mean"])
    assert (found["ci_low"] <= found["difference"] + 1e-12).all()


def test_the_same_runs_are_told():
    records, _ = single()
    found = across(records, records).shared
    assert (found["same_runs"] == 3).all()
    assert (found["difference"] == 0).all()


def test_another_recipe_makes_an_arm_related_only():
    recipe = replace(single()[0].study.recipe, updates=200)
    found = across(single()[0], moved(single(), recipe=recipe)[0])
    assert found.shared.empty
    assert list(found.kin.columns) == list(KIN_COLUMNS)
    assert set(found.kin["differs"]) == {"recipe.updates"}
    assert ("recipe.updates", "100", "200") in found.settings
    assert "no difference is computed" in found.cautions[0]


def test_a_budget_in_images_is_that_in_updates():
    recipe = replace(single()[0].study.recipe, updates=None, images=100 * 128)
    assert len(across(single()[0], moved(single(), recipe=recipe)[0]).shared) == 4


def test_the_default_of_what_both_tune_is_no_difference():
    search = Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-2)}, trials=2)
    recipe = replace(single()[0].study.recipe, learning_rate=5e-3)
    first, second = moved(single(), search=search), moved(single(), search=search, recipe=recipe)
    assert len(across(first[0], second[0]).shared) == 4
    untuned = across(single()[0], second[0])
    assert untuned.shared.empty
    assert set(untuned.kin["differs"]) == {"recipe.learning_rate"}
    assert any("not tuned alike: 0 trials per arm" in caution for caution in untuned.cautions)


def test_other_data_share_nothing():
    found = across(single()[0], moved(single(), data_hash="ef" * 32)[0])
    assert found.shared.empty
    assert set(found.kin["differs"]) == {"the data's content"}
    assert "SHA-256" in found.cautions[0]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("numerics", "2", "numerics of the training code"),
        ("precision", "fp32", "precisions"),
        ("torch", "2.1.0", "versions of torch"),
    ],
)
def test_what_makes_a_difference_doubtful_is_told(key, value, told):
    (caution,) = across(single()[0], moved(single(), **{key: value})[0]).cautions
    assert told in caution
    assert "patch_size (laptop), first" in caution
    assert "patch_size (laptop), second" in caution


def test_runs_without_a_result_are_told():
    found = across(single()[0], nothing()[0])
    assert any("12 confirm runs of patch_size (laptop), second have no result." in text for text in found.cautions)
    assert (found.shared["n"] == 0).all()
    assert found.shared["difference"].isna().all()


def test_no_difference_rests_on_survivors():
    records, _ = moved(single())
    runs = records.runs.copy()
    (lost,) = runs.index[(runs["arm"] == "ViT/7") & (runs["seed"] == 0)]
    runs.loc[lost, ["status", "test_accuracy"]] = ["diverged", np.nan]
    found = across(single()[0], replace(records, runs=runs))
    rows = found.shared.set_index("first_arm")
    assert np.isnan(rows.loc["ViT/7", ["difference", "ci_low", "p_value"]].astype(float)).all()
    assert rows.loc["ViT/7", "n"] == 2
    assert rows["difference"].notna().sum() == 3
    assert "not computed" in found.cautions[0]


def again():
    """A second run of the study."""
    return moved(single(), factor=single()[0].study.factor)


def test_a_second_run_is_set_beside_the_first_and_told(tmp_path):
    found = across(single()[0], again()[0])
    content = comparison_of(single(), again(), found, tmp_path)
    assert content.kicker == "Two runs of one study side by side"
    assert content.answer == found.replication.result
    tables = {table.name: table for section in content.sections for table in section.tables}
    assert [row[0].text for row in tables["replicated"].rows] == ["ViT/14", "ViT/7", "ViT/4"]
    assert [row[3].verdict for row in tables["verdicts"].rows] == list(found.replication.claims["pooled"])
    told = document(found, tmp_path / "page.html")
    assert (told["kind"], told["answer"]) == ("replication", content.answer)
    assert [row["arm"] for row in told["differences"]] == ["ViT/14", "ViT/7", "ViT/4"]
    assert json.dumps(told, allow_nan=False)


@pytest.fixture(scope="module", params=[single, again, two_factors, odd_names, nothing])
def pages(request, tmp_path_factory):
    output = tmp_path_factory.mktemp("compare") / "page.html"
    first, second = single(), request.param()
    return first, second, write_comparison(first, second, across(first[0], second[0]), output)


def test_the_page_is_one_accessible_file(pages):
    *_, (page, _) = pages
    text = page.read_text()
    parsed = Page(text)
    for tag, attrs in parsed.tags:
        assert attrs.get("src", "data:image/").startswith("data:image/"), tag
        assert attrs.get("href", "#").startswith(("#", "data:text/csv", "https://arxiv.org/abs/"))
    assert page.stat().st_size < 3_000_000
    assert len(parsed.all("script")) == 1
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert all(attrs.get("scope") in ("col", "row") for attrs in parsed.all("th"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    referred = {attrs["href"][1:] for attrs in parsed.all("a") if attrs["href"].startswith("#")}
    assert referred | {a["aria-labelledby"] for _, a in parsed.tags if "aria-labelledby" in a} <= set(ids)


def test_page_and_markdown_say_the_same(pages):
    first, second, (page, beside) = pages
    content = comparison_of(first, second, across(first[0], second[0]), page.parent)
    html = "".join(Page(page.read_text()).texts)
    markdown = beside.read_text()
    for side in content.pair:
        assert side.question in html
        assert side.text in html
    assert content.answer in html
    assert content.answer in markdown
    assert "<script" not in markdown
    assert str(beside.parent) not in markdown


def test_the_page_has_the_same_bytes_twice(tmp_path):
    made = []
    for name in ("one", "other"):
        found = across(single()[0], two_factors()[0])
        paths = write_comparison(single(), two_factors(), found, tmp_path / name / "page.html")
        made.append([path.read_bytes() for path in paths])
    assert made[0] == made[1]


def test_significant_differences_are_counted():
    study = make_study(seeds=5)
    first = simulate(study)
    second = moved(first, by=0.02)
    summary = comparison_of(first, second, across(first[0], second[0]), Path()).answer
    assert summary.startswith("The studies share 4 arms")
    assert "4 differ significantly" in summary
    second = moved(first, by=0.0)
    same = comparison_of(first, second, across(first[0], second[0]), Path()).answer
    assert "none differs significantly" in same

"""The figure of stability: of which studies, and what it draws."""

from dataclasses import replace

import numpy as np
import pytest
from figure_texts import collisions
from report_cases import single

from harness.report.figures.steadiness import stability
from harness.report.style import theme
from harness.report.view import View


def view(changes=None, *, values=True):
    """A study with what is kept of stability; its second arm has `changes`."""
    records, findings = single()
    if changes:
        first, second, *others = records.study.arms
        second = replace(second, changes=changes)
        records = replace(records, study=replace(records.study, arms=(first, second, *others)))
    curves = records.curves.copy()
    if values:
        rng, baseline = np.random.default_rng(0), records.study.baseline.name
        for name, scale in (("largest_gradient_norm", 30.0), ("update_norm", 0.01), ("attention_entropy", 0.5)):
            curves[name] = scale * rng.uniform(0.5, 1.5, len(curves))
        curves.loc[curves["arm"] == baseline, "attention_entropy"] = np.nan
        curves["loss_spikes"] = np.zeros(len(curves), dtype=int)
        curves.loc[curves.index[-1], "loss_spikes"] = 2
    return View(replace(records, curves=curves.astype({"loss_spikes": "Int64"})), findings)


@pytest.mark.parametrize("changes", [None, {"recipe.label_smoothing": 0.1}])
def test_studies_of_other_things_do_not_show_it(changes):
    assert stability(view(changes)) is None


def test_results_of_before_it_was_kept_have_none():
    assert stability(view({"recipe.warmup": 0.5}, values=False)) is None


def test_it_draws_the_means_of_each_arm_and_where_losses_jumped():
    with theme():
        of = view({"recipe.warmup": 0.5})
        drawing = stability(of)
        assert drawing is not None
        assert collisions(drawing.figure) == []
    curves, data = of.records.curves, drawing.data
    arm = of.study.arms[1].name
    drawn = data[(data["part"] == "largest_gradient_norm") & (data["of"] == arm)]
    expected = curves[curves["arm"] == arm].groupby("update")["largest_gradient_norm"].mean()
    np.testing.assert_allclose(drawn["y"].astype(float), expected, rtol=1e-3)
    assert set(data.loc[data["part"] == "attention_entropy", "of"]) == {arm.name for arm in of.study.arms}
    assert set(data.loc[data["part"] == "loss_spikes", "of"]) == {curves["arm"].iloc[-1]}
    assert f"{curves['arm'].iloc[-1]}: gradients of norm" in drawing.text
    assert "2 jumps of the loss in all runs" in drawing.text

"""report.json says what the report says, in plain JSON; the table of settings; fonts."""

import json
import re
from dataclasses import replace

import pytest
from report_cases import CASES, gaps, make_study, simulate, single, two_factors

from harness.report import document, write_report
from harness.report.content import facts_of
from harness.report.figures.by_cost import set_log_x
from harness.report.figures.canvas import Canvas
from harness.report.origin_tables import protocol_table, tuning_table
from harness.report.result_tables import laws_table
from harness.report.style import Drawn, families, theme
from harness.report.view import View
from harness.spec import (
    Arm,
    Choice,
    DataSpec,
    LogUniform,
    Pretraining,
    Recipe,
    ResNetSpec,
    Search,
    StartFrom,
    WeightsFile,
)
from harness.spec.formats import magnitude


def drawn_as(*names):
    return tuple(Drawn(name, "result", name, name, 1, f"figures/{name}.png", b"") for name in names)


def test_every_case_is_plain_json(case):
    said = document(*case, drawn_as("a"))
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_numbers_are_those_of_the_findings():
    records, findings = gaps()
    said = document(records, findings, drawn_as("accuracy_by_level", "differences"))
    assert said["answer"] == findings.answer
    assert said["verdicts"] == {"reproduced": 1}
    assert said["verdicts_by_kind"] == {"paper": {"reproduced": 1}}
    assert {key: said["claims"][0][key] for key in ("kind", "p_value", "lost_runs")} == {
        "kind": "paper",
        "p_value": 0.0004,
        "lost_runs": 0,
    }
    assert [row["arm"] for row in said["arms"]] == list(findings.arms["arm"])
    assert said["arms"][0]["is_baseline"] is True
    lost = said["arms"][-1]
    assert (lost["n"], lost["mean"], lost["planned"]) == (0, None, 5)
    assert said["comparisons"][0]["difference"] == pytest.approx(findings.comparisons["difference"].iloc[0])
    assert said["files"]["figures"] == ["figures/accuracy_by_level.png", "figures/differences.png"]


def test_it_names_files_that_are_there(tmp_path):
    write_report(*single(), tmp_path)
    said = json.loads((tmp_path / "report.json").read_text())
    written = [name for key, name in said["files"].items() if key in ("page", "markdown", "comparisons", "claims")]
    assert all((tmp_path / name).is_file() for name in [*written, *said["files"]["figures"]])


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        (1, "1 trial per arm (the recipe's own setting), of 50 updates"),
        (6, "6 trials per arm (the recipe's own setting, then 3 at random, then by TPE), of 50 updates"),
    ],
)
def test_settings_tell_how_trials_are_drawn(trials, told):
    search = Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-2)}, trials=trials, updates=50)
    records, _ = simulate(make_study(search=search))
    assert {row[0].text: row[1].text for row in protocol_table(records.study).rows}["Search"] == told


def test_settings_tell_of_several_searches_and_of_trials_beyond_edges():
    space = {"learning_rate": LogUniform(low=1e-4, high=1e-2)}
    search = Search(space=space, trials=4, repeats=3, updates=50, sampler="qmc", widenings=1)
    records, _ = simulate(make_study(search=search))
    told = {row[0].text: row[1].text for row in protocol_table(records.study).rows}
    assert (
        told["Search"] == "4 trials per search (the recipe's own setting, then scrambled Sobol points), of 50 updates"
    )
    assert told["Independent searches"].startswith("3 per arm; confirm seeds take turns")
    assert told["Where a search's best value lies on an edge of its range"].startswith("at most 1 round of further")


def test_the_tuning_audit_has_a_row_per_search():
    search = Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-2)}, trials=4, repeats=2, widenings=1)
    records, findings = simulate(make_study(search=search))
    one = findings.audit.iloc[:2].assign(search=[0, 1], trials=[6, 4], beyond=[2, 0], widened=["learning_rate", ""])
    shown = tuning_table(View(records, replace(findings, audit=one)))
    heads = [column.heading for column in shown.columns]
    rows = [[cell.text for cell in row] for row in shown.rows]
    assert [row[heads.index("Search")] for row in rows] == ["0", "1"]
    assert [row[heads.index("Of them beyond edges")] for row in rows] == ["2 (learning_rate)", "0"]
    assert shown.caption == "Tuning audit: the same number of trials for every arm"
    assert "Each search has a seed of its own." in shown.note


def test_settings_show_what_is_tuned_and_what_an_arm_changes():
    search = Search(
        space={"learning_rate": LogUniform(low=1e-4, high=1e-2), "augmentation.strength": Choice(values=(0.0, 1.0))},
        by_family={"resnet": {"learning_rate": LogUniform(low=1e-3, high=1.0)}},
        trials=4,
        updates=50,
    )
    records, _ = simulate(make_study(search=search))
    baseline = Arm("ResNet-8", ResNetSpec(depth=8), changes={"recipe.optimizer": "sgd"})
    records = replace(records, study=replace(records.study, baseline=baseline))
    shown = {row[0].text: row[1].text for row in protocol_table(records.study).rows}
    assert shown["Recipe: learning rate"] == "tuned, 0.0001 to 0.01, logarithmic"
    assert shown["Recipe: augmentation strength"] == "tuned, one of 0, 1"
    assert shown["Search: learning rate, family resnet"] == "0.001 to 1, logarithmic"
    assert shown["Search"] == "4 trials per arm (the recipe's own setting, then at random), of 50 updates"
    assert shown["Confirm seeds"] == "0, 1, 2"
    assert shown["ResNet-8 changes recipe optimizer"] == "sgd"
    assert shown["Recipe: weight decay"] == "0.05"
    assert "Recipe: epochs" not in shown


def test_what_arms_start_from_is_told_once():
    upstream = Pretraining(data=DataSpec(source="digits", image_size=28), recipe=Recipe(updates=77), seeds=2)
    starts = {
        "tuned": StartFrom(pretraining=upstream),
        "linear": StartFrom(pretraining=upstream, trained="head"),
        "of timm": StartFrom(file=WeightsFile(path="vit.safetensors", names="timm")),
    }
    study = single()[0].study
    vit = study.arms[0].model
    arms = [Arm(name, vit, changes={"recipe.start_from": start}) for name, start in starts.items()]
    rows = [(row[0].text, row[1].text) for row in protocol_table(replace(study, arms=tuple(arms), claims=())).rows]
    shown = dict(rows)
    assert shown["tuned starts from"] == "pre-training 1 of its own model; all of it is trained"
    assert shown["linear starts from"] == "pre-training 1 of its own model; its head alone is trained"
    assert shown["of timm starts from"] == "the weights in vit.safetensors (timm's names); all of it is trained"
    assert (shown["Pre-training 1: data source"], shown["Pre-training 1: recipe updates"]) == ("digits", "77")
    assert [name for name, _ in rows].count("Pre-training 1: recipe updates") == 1


def test_without_a_search_the_own_setting_is_told():
    shown = {row[0].text: row[1].text for row in protocol_table(single()[0].study).rows}
    assert shown["Search"] == "none: every arm has the recipe's own setting"
    assert shown["Recipe: learning rate"] == "0.02"


def test_laws_are_shown_where_they_were_fitted():
    records, findings = two_factors()
    few = findings.laws.assign(d=0.0)
    few.loc[few["arm"] == "ViT/7", ["a", "b", "c", "d", "r2"]] = float("nan")
    table = laws_table(View(records, replace(findings, laws=few)))
    assert [row[0].text for row in table.rows] == ["ResNet-8", "ViT/14"]
    assert [column.heading for column in table.columns] == ["Arm", "a", "b", "c", "R²"]
    assert "n^−b" in table.caption
    shifted = laws_table(View(records, replace(findings, laws=few.assign(d=[40.0, 12.0, float("nan")]))))
    assert [column.heading for column in shifted.columns] == ["Arm", "a", "b", "c", "d", "R²"]
    assert "(n + d)^−b" in shifted.caption
    assert [row[4].text for row in shifted.rows] == ["40", "12"]
    assert not laws_table(View(records, replace(findings, laws=few.assign(a=float("nan"))))).rows


def test_fonts_are_those_that_are_installed():
    bare = families(["DejaVu Sans", "Some Other"])
    assert bare == ["DejaVu Sans", "Last Resort High-Efficiency"]
    assert families(["IPAexGothic", "Noto Sans CJK SC"]) == [bare[0], "Noto Sans CJK SC", "IPAexGothic", bare[1]]


@pytest.mark.parametrize(("low", "high"), [(1412, 2760), (3.1, 4.4), (100, 190), (2e6, 2.9e6)])
def test_ticks_of_a_narrow_range_are_round(low, high):
    with theme():
        canvas = Canvas("Cost")
        canvas.axes.set_xlim(low, high)
        set_log_x(canvas.axes)
    ticks = [float(tick) for tick in canvas.axes.get_xticks()]
    assert len(ticks) >= 3
    assert all(low <= tick <= high for tick in ticks)
    assert all(float(f"{tick:.3g}") == pytest.approx(tick) for tick in ticks)


def test_cases_cover_what_breaks_pages():
    names = {arm for take in CASES.values() for arm in take()[1].arms["arm"]}
    assert any(len(name) >= 60 for name in names)
    assert any("<script>" in name for name in names)
    assert any("\u0600" <= letter <= "\u06ff" for name in names for letter in name)
    assert any("\u4e00" <= letter <= "\u9fff" for name in names for letter in name)
    assert max(len(take()[1].arms) for take in CASES.values()) > 30


def test_the_head_names_each_model_once():
    records, findings = single()
    first, *others = records.study.arms
    same = replace(others[0], model=first.model, changes={"recipe.updates": 7})
    study = replace(records.study, arms=(first, same), claims=())
    kept = findings.arms[findings.arms["arm"].isin([arm.name for arm in study.all_arms])]
    data, budget, models, _ = facts_of(View(replace(records, study=study), replace(findings, arms=kept)))
    params = kept.set_index("arm")["params"]
    told = ", ".join(f"{arm.name} {magnitude(params[arm.name])}" for arm in (study.baseline, first))
    assert data.startswith("Fashion-MNIST, ")
    assert re.fullmatch(r"7 to [\d,]+ updates of \d+ images \([\d.]+ to [\d.]+ pass(es)?\)", budget)
    assert models == f"3 arms: {told} parameters"

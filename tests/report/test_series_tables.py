"""Tables and the written report of studies with series, with partners and with tests on shifted images."""

import csv
import io
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from figure_texts import figures_of
from report_cases import make_study, simulate, single, two_factors
from series_cases import SERIES_CASES, SIZES, depths, partners, partners_by_size, two_series, two_series_by_size

from harness.analysis import analyse
from harness.report import origin_tables, result_tables, write_report
from harness.report.content import content_of
from harness.report.page import markdown
from harness.report.view import View
from harness.spec import Better, Crosses, GapShrinks


def headings(table):
    return [column.heading for column in table.columns]


def column(table, heading):
    place = headings(table).index(heading)
    return [row[place].text for row in table.rows]


def test_rows_have_a_cell_per_column():
    makers = (
        result_tables.arms_table,
        partial(result_tables.crossings_table, by_level=False),
        partial(result_tables.crossings_table, by_level=True),
        result_tables.shifts_table,
        origin_tables.unfinished_table,
    )
    for case in SERIES_CASES.values():
        for make in makers:
            table = make(View(*case()))
            assert {len(row) for row in table.rows} <= {len(table.columns)}, table.name


def test_arms_say_what_they_are_set_against():
    table = result_tables.arms_table(View(*partners()))
    assert headings(table)[:2] == ["Arm", "Reference arm"]
    assert column(table, "Reference arm") == ["–", "ResNet-8", "ResNet-8", "ViT, plain"]
    assert "difference to the reference arm" in table.caption
    assert not table.columns[1].numeric
    assert headings(result_tables.arms_table(View(*partners_by_size())))[:3] == [
        "Arm",
        "Reference arm",
        "Training images",
    ]
    assert "Reference arm" not in headings(result_tables.arms_table(View(*depths())))


def test_arms_of_a_series_stand_together():
    records, findings = two_series()
    arms = column(result_tables.arms_table(View(records, findings)), "Arm")
    levels = ["0.25 moved", "0.5 moved", "0.75 moved", "1 moved"]
    assert arms[:5] == ["ResNet-8 (baseline)", *(f"ResNet-8, {level}" for level in levels)]
    assert arms[5:] == [f"ViT/4, {level}" for level in ("0 moved", *levels)] + [
        "ResNet-8, pixels moved",
        "ViT/4, pixels moved",
    ]
    mixed = replace(findings, arms=findings.arms.sample(frac=1, random_state=0))
    assert column(result_tables.arms_table(View(records, mixed)), "Arm") == arms


def test_gaps_over_the_levels_have_a_row_per_size():
    records, findings = two_series_by_size()
    table = result_tables.crossings_table(View(records, findings), by_level=True)
    assert column(table, "Series") == ["ViT/4 − ResNet-8"] * 5
    assert column(table, "Training images")[0] == "1,000"
    crossing = column(table, "Crossing, share of patches moved [95%]")
    assert crossing[0].startswith("0.75 [0.65, ")
    assert crossing[4] == "–"
    bracketed = findings.crossovers.assign(crossing=np.nan, ci_low=0.0, ci_high=1.0)
    told = result_tables.crossings_table(View(records, replace(findings, crossovers=bracketed)), by_level=True)
    assert set(column(told, "Crossing, share of patches moved [95%]")) == {"0 to 1"}
    change = column(table, "Change of gap from the first level to the last, points [95%]")
    assert change == ["+5.00 [+3.00, +7.00]"] * 5
    rows = list(csv.DictReader(io.StringIO(table.csv)))
    assert {row["along"] for row in rows} == {"share_of_patches_moved"}
    assert [int(row["train_size"]) for row in rows] == list(SIZES)


def test_gaps_over_sizes_are_apart_from_those_over_levels():
    records, findings = two_series_by_size()
    table = result_tables.crossings_table(View(records, findings), by_level=False)
    assert len(table.rows) == len(records.study.arms)
    assert "ViT/4, 0.5 moved − ResNet-8, 0.5 moved" in column(table, "Arm")
    assert {"along", "train_size"} & set(next(csv.reader(io.StringIO(table.csv)))) == set()
    alone = result_tables.crossings_table(View(*two_factors()), by_level=False)
    assert column(alone, "Arm") == ["ViT/14", "ViT/7"]
    assert alone.caption == "How the gap to ResNet-8 changes with training images"


def test_shifts_have_a_column_each():
    records, findings = two_series()
    table = result_tables.shifts_table(View(records, findings))
    assert headings(table) == [
        "Arm",
        *(f"Test accuracy, {shift} px" for shift in (0, 1, 2, 4)),
        *(f"Agreement, {shift} px" for shift in (1, 2, 4)),
    ]
    known = findings.shifts.set_index(["arm", "shift", "metric"])["mean"]
    told = dict(zip(column(table, "Arm"), column(table, "Agreement, 4 px"), strict=True))
    assert told["ViT/4, 1 moved"].startswith(f"{100 * known['ViT/4, 1 moved', 4, 'agreement']:.2f}% [")
    assert result_tables.shifts_table(View(*single())).rows == ()


def test_claims_along_the_factor_have_its_unit():
    records, findings = two_series()
    common = {"statement": "So it is.", "source": "made up", "leader": "ResNet-8", "follower": "ViT/4"}
    along = records.study.factor
    claims = (GapShrinks(**common, along=along), *[Crosses(**common, along=along)] * 2)
    row = {"claim": "x", "statement": "So it is.", "source": "made up", "verdict": "reproduced", "reason": "."}
    row |= {"kind": "paper"}
    decided = [row | {"estimate": value, "ci_low": value, "ci_high": value} for value in (-0.05, 0.25)]
    decided.append(row | {"estimate": np.nan, "ci_low": 0.0, "ci_high": 1.0})  # two levels bracket a crossing
    study = replace(records.study, claims=claims)
    table = result_tables.claims_table(
        View(replace(records, study=study), replace(findings, claims=pd.DataFrame(decided)))
    )
    assert column(table, "Estimate [95% interval]") == [
        "−5.00 [−5.00, −5.00] points from the first level to the last",
        "0.25 [0.25, 0.25] (share of patches moved)",
        "0 to 1 (share of patches moved)",
    ]


def test_claims_about_moved_images_are_in_points():
    claim = Better(statement="Steady.", source="made up", arm="ViT/7", than="ResNet-8", metric="shift_agreement")
    table = result_tables.claims_table(View(*simulate(make_study(claims=(claim,)))))
    assert column(table, "Estimate [95% interval]") == ["+1.23 [+0.40, +2.00] points of agreement at the largest shift"]


def test_console_names_the_partner():
    rows = {row[0]: row[3] for row in result_tables.summary_of(View(*partners()))["rows"]}
    assert rows["ViT, mixed"].endswith("] to ViT, plain")
    assert rows["ViT, plain"].endswith("]")


@pytest.mark.slow
@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("case", [two_series_by_size, depths, partners])
def test_written_report_of_series(case, tmp_path):
    records, findings = case()
    paths = write_report(records, findings, tmp_path)
    text = (tmp_path / "REPORT.md").read_text()
    links = re.findall(r"\]\((?!https://arxiv\.org/)([^)]+)\)", text)
    assert {tmp_path / link for link in links} == {path for path in paths if path.suffix == ".png"}
    ids = re.findall(r'id="([^"]+)"', (tmp_path / "report.html").read_text())
    assert len(ids) == len(set(ids))


@pytest.mark.usefixtures("words")
def test_sections_of_series_and_moved_images():
    content = content_of(*two_series())
    anchors = [section.anchor for section in content.sections]
    assert anchors.index("levels") < anchors.index("shifts") < anchors.index("cost")
    text = markdown(content)
    assert "## Series" in text
    assert "## Shifted images" in text
    assert "**How gaps between series change with share of patches moved**" in text
    plain = [section.anchor for section in content_of(*single()).sections]
    assert not {"levels", "shifts"} & set(plain)


@pytest.mark.slow
def test_analysed_series_can_be_drawn():
    records, _ = two_series_by_size()
    findings = analyse(records)
    assert len(findings.frontier) == 5
    names = list(figures_of(records, findings))
    assert names[:3] == ["gap_by_level", "lead_by_size", "accuracy_by_level"]
    assert names[3:7] == ["difference_map", "differences", "differences_2", "accuracy_by_shift"]
    assert column(result_tables.crossings_table(View(records, findings), by_level=True), "Series") == [
        "ViT/4 − ResNet-8"
    ] * len(SIZES)
    assert {row[0].text for row in result_tables.crossings_table(View(records, findings), by_level=False).rows} >= {
        "ResNet-8, 1 moved − ResNet-8",
        "ViT/4, 1 moved − ResNet-8, 1 moved",
    }


def test_a_difference_at_equal_compute_has_a_column_where_there_is_one():
    records, findings = two_series()
    assert "At equal compute" not in headings(result_tables.arms_table(View(records, findings)))
    compared = findings.comparisons.assign(difference_at_equal_compute=0.01)
    table = result_tables.arms_table(View(records, replace(findings, comparisons=compared)))
    assert set(column(table, "At equal compute")) == {"–", "+1.00"}
    assert "At equal compute: difference of validation accuracy" in table.note

"""The index of all results: what it lists, what it keeps, and that equal results give equal bytes."""

import json
import re
import shutil

import pytest
from figure_texts import PIXEL
from html_page import Page
from report_cases import gaps, odd_names, single, two_factors
from statsmodels.stats.multitest import multipletests

from harness.records.study_file import write_study
from harness.report import content, write_index, write_report
from harness.report.index import CLOSE, OPEN, entries_of, forest
from harness.spec.verdicts import VERDICTS, called


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder with two studies, one with a damaged report, one only begun, and things that are no studies."""
    results = tmp_path_factory.mktemp("index") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "png", lambda figure, **_: PIXEL)
        for name, scale, (records, findings) in (
            ("patch_size", "laptop", single()),
            ("dataset_size", "gpu", two_factors()),
            ("dataset_size", "smoke", gaps()),
        ):
            folder = results / name / scale
            write_study(folder, records.study, {})
            write_report(records, findings, folder)
    write_study(results / "depth" / "laptop", single()[0].study, {})
    write_study(results / "pooling" / "laptop", single()[0].study, {})
    (results / "pooling" / "laptop" / "report.json").write_text("[1, 2")
    write_study(results / "norm" / "smoke" / "work", single()[0].study, {})
    (results / "work").mkdir()
    (results / "notes" / "laptop").mkdir(parents=True)
    return results


def copied(results, tmp_path):
    return shutil.copytree(results, tmp_path / "results")


def test_every_study_is_listed_once(made):
    entries = entries_of(made)
    assert [(entry.study, entry.scale, bool(entry.problem)) for entry in entries] == [
        ("dataset_size", "smoke", False),
        ("dataset_size", "gpu", False),
        ("depth", "laptop", True),
        ("norm", "smoke", True),
        ("patch_size", "laptop", False),
        ("pooling", "laptop", True),
    ]
    problems = {entry.study: entry.problem for entry in entries if entry.problem}
    assert problems["depth"] == ("Its report has no report.json. Make it again: patchbench report depth --scale laptop")
    assert problems["norm"] == "It has been begun; it has no report yet."
    assert problems["pooling"].startswith("report.json could not be read")
    assert str(made) not in "".join(problems.values())


def test_links_and_pictures_are_there(made):
    write_index(made)
    text = (made / "README.md").read_text()
    addresses = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert len(addresses) == 4
    page = Page((made / "index.html").read_text())
    addresses += [attrs["href"] for attrs in page.all("a") if not attrs["href"].startswith("#")]
    addresses += [attrs["src"] for attrs in page.all("img")]
    assert all((made / address).is_file() for address in addresses)
    assert "Smaller patches help: every halving gains" in text
    assert "| papers ✓ 1 |" in text
    assert "Claims: ✓ reproduced or supported" in text
    assert "cells with gaps: 3" in text
    assert "| 0.40 |" in text
    assert "Smallest difference shown with power .8: 0.40 points." in " ".join(page.texts)


def test_equal_results_give_equal_bytes_wherever_they_lie(made, tmp_path):
    other = copied(made, tmp_path)
    one = [path.read_bytes() for path in write_index(made)]
    assert [path.read_bytes() for path in write_index(other)] == one
    assert [path.read_bytes() for path in write_index(other)] == one


def test_what_is_written_by_hand_is_kept(made, tmp_path):
    results = copied(made, tmp_path)
    write_index(results)
    readme = results / "README.md"
    note = "These are *ours*.\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    readme.write_text(readme.read_text().replace(OPEN, f"{OPEN}\n\n{note}"))
    for _ in range(2):
        write_index(results)
        text = readme.read_text()
        assert text.count(note) == text.count(OPEN) == text.count(CLOSE) == 1
        assert text.index(OPEN) < text.index(note) < text.index(CLOSE) < text.index("## Inside the ViT")


def test_a_file_without_marks_is_kept_as_a_whole(made, tmp_path):
    results = copied(made, tmp_path)
    (results / "README.md").write_text("# My notes\n\nDo not lose this.\n")
    for _ in range(2):
        write_index(results)
        text = (results / "README.md").read_text()
        assert text.count("Do not lose this.") == text.count("# My notes") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"claims": None},
        {"claims": [{"verdict": "maybe", "statement": "x"}]},
        {"claims": [{"verdict": "reproduced", "statement": "x", "kind": ["paper"]}]},
        {"claims": [{"verdict": "reproduced", "statement": "x", "p_value": 7}]},
        {"claims": [{"verdict": "reproduced", "statement": "x", "p_value": "0.1"}]},
        {"files": {"figures": ["../../../../etc/passwd"]}},
        {"files": {"figures": ["https://example.org/x.png"]}},
        {"answer": 5},
        {"gaps": 3},
    ],
)
def test_a_report_of_anybody_leads_nowhere_else(made, tmp_path, change):
    results = copied(made, tmp_path)
    path = results / "patch_size" / "laptop" / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    write_index(results)
    entry = next(entry for entry in entries_of(results) if entry.study == "patch_size")
    assert entry.problem or entry.figure == "" or "figures/" in entry.figure
    for written in ("README.md", "index.html"):
        assert "example.org" not in (results / written).read_text()
        assert "passwd" not in (results / written).read_text()


@pytest.mark.usefixtures("words")
def test_names_stay_text(tmp_path):
    records, findings = odd_names()
    folder = tmp_path / "results" / "odd" / "laptop"
    write_study(folder, records.study, {})
    write_report(records, findings, folder)
    path = folder / "report.json"
    hostile = {"question": "<script>alert(1)</script> | `x`?", "answer": "<img src=x onerror=alert(1)> 视觉 محول"}
    hostile["claims"] = [{"statement": "<script>alert(1)</script> | `x`", "verdict": "reproduced", "p_value": 0.01}]
    path.write_text(json.dumps(json.loads(path.read_text()) | hostile))
    write_index(tmp_path / "results")
    text = (tmp_path / "results" / "README.md").read_text()
    assert "<script" not in text
    assert "<img src=x" not in text
    page = Page((tmp_path / "results" / "index.html").read_text())
    assert page.all("script") == []
    assert len(page.all("img")) == 1
    assert "视觉 محول" in "".join(page.texts)


P_VALUES = {  # by verdict and kind, over two studies
    "patch_size": [
        ("reproduced", "paper", 0.0001),
        ("contradicted", "paper", 0.02),
        ("inconclusive", "paper", 0.4),
        ("reproduced", "arithmetic", None),
    ],
    "dataset_size": [
        ("supported", "hypothesis", 0.004),
        ("not supported", "hypothesis", 0.0007),
        ("outside the range measured", "paper", 1.0),
        ("inconclusive", "paper", None),
    ],
}


def with_claims(results, tmp_path, change=lambda row: row):
    """Two studies with P_VALUES and no others."""
    made_anew = copied(results, tmp_path)
    for folder in (
        made_anew / "pooling",
        made_anew / "depth",
        made_anew / "norm",
        made_anew / "dataset_size" / "smoke",
    ):
        shutil.rmtree(folder)
    for path in made_anew.glob("*/*/report.json"):
        rows = [
            {"claim": f"better-{i}", "statement": f"Claim {p}.", "verdict": verdict, "kind": kind, "p_value": p}
            for i, (verdict, kind, p) in enumerate(P_VALUES[path.parents[1].name])
        ]
        rows[-1]["lost_runs"] = 2 if rows[-1]["verdict"] == "inconclusive" else 0
        path.write_text(json.dumps(json.loads(path.read_text()) | {"claims": [change(row) for row in rows]}))
    write_index(made_anew)
    return (made_anew / "README.md").read_text(), Page((made_anew / "index.html").read_text())


def test_kinds_are_counted_apart_and_verdicts_that_stand_are_said(made, tmp_path):
    text, page = with_claims(made, tmp_path)
    tally = (
        "papers ✓ 1 reproduced, ✗ 1 contradicted, ? 2 inconclusive (1 for lost runs), ○ 1 outside the range measured; "
        "own hypotheses ✓ 1 supported, ✗ 1 not supported; arithmetic ✓ 1 reproduced"
    )
    assert f"**All claims:** {tally}. 6 of 8 claims have a p-value." in text
    assert "3 of 4 decided verdicts stand at a false discovery rate of 5%" in text
    html = (tmp_path / "results" / "index.html").read_text()
    rows = [
        re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        for row in re.split("<tr[^>]*>", html)
        if "Claim 0" in row
    ]
    cells = [[" ".join(re.sub("<[^>]*>", "", cell).split()) for cell in row] for row in rows]
    stands = {row[0]: (row[3], row[5], row[6]) for row in cells}
    _, adjusted, *_ = multipletests([0.0001, 0.02, 0.4, 0.004, 0.0007, 1.0], method="fdr_by")
    assert stands == {
        "Claim 0.004.": ("✓ supported", f"{adjusted[3]:.3f}", "yes"),
        "Claim 0.0007.": ("✗ not supported", f"{adjusted[4]:.3f}", "yes"),
        "Claim 0.0001.": ("✓ reproduced", f"{adjusted[0]:.3f}", "yes"),
        "Claim 0.02.": ("✗ contradicted", f"{adjusted[1]:.3f}", "no"),
    }
    shown = " ".join(" ".join(page.texts).split())
    assert "3 of 4 decided verdicts stand at a false discovery rate of 5%" in shown
    assert "own hypotheses ✓ 1 supported ✗ 1 not supported" in shown
    classes = {name for attrs in page.all("strong") for name in attrs["class"].split()}
    assert classes == {"verdict", *(verdict.replace(" ", "-") for verdict in VERDICTS)}


def test_reports_of_an_earlier_version_count_as_papers_without_p_values(made, tmp_path):
    def as_before(row):
        return {key: row[key] for key in ("claim", "statement")} | {"verdict": called(row["verdict"], "paper")}

    text, page = with_claims(made, tmp_path, as_before)
    assert "papers ✓ 3 reproduced, ✗ 2 contradicted, ? 2 inconclusive, ○ 1 outside the range measured." in text
    assert "Of 8 claims none has a p-value." in text
    assert page.all("table") == []


def test_no_results_at_all(tmp_path):
    write_index(tmp_path)
    assert "No study has a report yet." in (tmp_path / "README.md").read_text()
    Page((tmp_path / "index.html").read_text())


def test_the_forest_has_one_effect_per_study_in_its_group(made, tmp_path):
    results = copied(made, tmp_path)
    for study, effect in (("patch_size", [0.02, 0.01, 0.03]), ("dataset_size", [-0.04, -0.05, -0.03])):
        path = next((results / study).glob("[lg]*/report.json"))
        said = json.loads(path.read_text())
        said |= {
            "finding": f"What {study} found",
            "effect": dict(zip(("value", "ci_low", "ci_high"), effect, strict=True)),
        }
        path.write_text(json.dumps(said))
    found = forest(entries_of(results))
    assert {group: [strip.entry.study for strip in strips] for group, strips in found.groups.items()} == {
        "data and bias": ["dataset_size"],
        "inside the ViT": ["patch_size"],
    }
    (low,), (high,) = found.groups.values()
    assert [number for number, _ in found.ticks] == ["−5", "−1.25", "−0.25", "0", "0.25", "1.25", "5"]
    assert dict(found.ticks)["−5"] == pytest.approx(low.left)  # of 4 points [3, 5] the far end
    assert dict(found.ticks)["0"] == 50
    assert low.middle < 50 < high.middle
    assert (50 - low.middle) / (high.middle - 50) == pytest.approx(2**0.5, abs=0.01)  # one scale for all
    write_index(results)
    page = Page((results / "index.html").read_text())
    assert any("What patch_size found" in text for text in page.texts)
    assert [attrs["id"] for attrs in page.all("input")] == ["all", "group-0", "group-2"]
    assert [attrs["aria-labelledby"] for tag, attrs in page.tags if tag in ("section", "article")][1:-2] == [
        *("of-group-0", "study-dataset_size-smoke", "study-dataset_size-gpu"),
        *("of-group-2", "study-patch_size-laptop"),
    ]
    assert page.texts.count("−1.25") == 2  # an axis for each group
    assert {"Dataset size (gpu)", "Patch size (laptop)"} <= set(page.texts)


def test_a_scale_that_all_share_is_said_once(made, tmp_path):
    results = copied(made, tmp_path)
    write_index(results)
    assert "Patch size (laptop)" in Page((results / "index.html").read_text()).texts
    shutil.rmtree(results / "dataset_size")
    write_index(results)
    texts = Page((results / "index.html").read_text()).texts
    assert "Patch size" in texts
    assert any(text.endswith("what became of its claims, at scale laptop. ") for text in texts)


@pytest.mark.parametrize("unit", ["", "points of agreement at the largest shift"])
def test_an_effect_says_what_minus_what_and_an_unusual_unit(made, tmp_path, unit):
    results = copied(made, tmp_path)
    path = results / "patch_size" / "laptop" / "report.json"
    effect = {"value": 0.02, "ci_low": 0.01, "ci_high": 0.03}
    told = {"difference": "ViT/4 − ViT/2", "unit": unit}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"effect": effect, "effect_of": told}))
    write_index(results)
    page = Page((results / "index.html").read_text())
    assert "ViT/4 − ViT/2" in page.texts
    assert (unit in page.texts) is bool(unit)
    assert sum(attrs.get("class") == "other" for attrs in page.all("b")) == bool(unit)


@pytest.mark.parametrize("effect", [{"value": 0.2, "ci_low": 0.3, "ci_high": 0.4}, {"value": 0.0}, "x"])
def test_an_effect_that_is_none_is_a_problem_of_that_study_alone(made, tmp_path, effect):
    results = copied(made, tmp_path)
    path = results / "patch_size" / "laptop" / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"effect": effect}))
    problems = {entry.study: entry.problem for entry in entries_of(results) if entry.problem}
    assert problems["patch_size"].startswith("report.json could not be read")


def test_an_interval_of_more_than_100_points_is_an_effect(made, tmp_path):
    """As two searches of a few seeds give it, one of which is stuck."""
    results = copied(made, tmp_path)
    path = results / "patch_size" / "laptop" / "report.json"
    wide = {"value": -0.29, "ci_low": -1.41, "ci_high": 0.83}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"effect": wide}))
    entries = {entry.study: entry for entry in entries_of(results)}
    assert not entries["patch_size"].problem
    strips = [strip for group in forest(entries.values()).groups.values() for strip in group]
    assert all(strip.left >= 0 and strip.left + strip.width <= 100 for strip in strips)

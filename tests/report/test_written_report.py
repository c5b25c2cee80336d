"""The written report: page, Markdown and CSV files."""

import csv
import io
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from html_page import Page
from matplotlib.figure import Figure
from PIL import Image
from report_cases import gaps, make_study, more_claims, odd_names, simulate, single, two_factors

from harness.analysis import analyse
from harness.records import csv_text
from harness.report import origin_tables, result_tables, write_report
from harness.report.content import content_of
from harness.report.figures import drawings
from harness.report.page import markdown, page
from harness.report.style import png, theme
from harness.report.view import View
from harness.spec import Better
from harness.spec.verdicts import KINDS, SYMBOLS, VERDICTS


@pytest.fixture(scope="session")
def html(written):
    return (written / "report.html").read_text()


@pytest.mark.slow
def test_page_loads_nothing_and_is_small(html, written):
    parsed = Page(html)
    for tag, attrs in parsed.tags:
        assert "srcset" not in attrs
        assert "url(" not in attrs.get("style", "")
        if "src" in attrs:
            assert attrs["src"].startswith("data:image/"), tag
        if "href" in attrs:
            assert tag == "a"
            assert attrs["href"].startswith(("#", "data:text/csv", "https://arxiv.org/abs/"))
    assert "@import" not in html
    assert (written / "report.html").stat().st_size < 3_000_000


def test_page_is_accessible(html):
    parsed = Page(html)
    assert parsed.all("html") == [{"lang": "en"}]
    assert "<title>Patch size (laptop) – patchbench report</title>" in html
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(len(attrs["alt"]) > 30 and re.search(r"\d", attrs["alt"]) for attrs in parsed.all("img"))
    assert all(attrs.get("scope") in ("col", "row") for attrs in parsed.all("th"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    referred = {attrs["href"][1:] for attrs in parsed.all("a") if attrs["href"].startswith("#")}
    referred |= {attrs["aria-labelledby"] for _, attrs in parsed.tags if "aria-labelledby" in attrs}
    assert referred <= set(ids)


def test_markdown_links_exist(written):
    text = (written / "REPORT.md").read_text()
    links = re.findall(r"\]\((?!https://arxiv\.org/)([^)]+)\)", text)
    assert len(links) == len(list((written / "figures").glob("*.png")))
    assert all((written / link).is_file() for link in links)


def test_captions_and_notes_say_what_the_numbers_cover():
    """Of the tuning, of Holm's correction, and of the intervals of single arms."""
    records, findings = single()
    shown = origin_tables.tuning_table(View(records, findings))
    assert shown.caption == "Tuning audit: the same number of trials for every arm"
    assert "Trials that did not complete" in shown.note
    nothing = findings.audit.assign(best_validation_accuracy=float("nan"), trials=[8, 8, 8, 7], completed=0)
    unequal = origin_tables.tuning_table(View(records, replace(findings, audit=nothing)))
    assert unequal.caption == "Tuning audit: the numbers of trials differ"
    assert {row[4].text for row in unequal.rows} == {"–"}
    arms = result_tables.arms_table(View(records, findings))
    assert "Holm-adjusted over the arms in the table" in arms.note
    assert "Intervals are over seeds and test images." in arms.note
    assert "Test accuracy [95%]" in [column.heading for column in arms.columns]
    assert (
        "Holm-adjusted over the arms at each number of training images"
        in result_tables.arms_table(View(*two_factors())).note
    )
    for case in (single, two_factors):
        with theme():
            _, _, (_, _, figure, _) = next(drawings(View(*case())))
        assert "over seeds and test images" in " ".join(" ".join(text.get_text().split()) for text in figure.texts)


@pytest.mark.usefixtures("words")
def test_order_of_the_report():
    records, findings = gaps()
    changed = replace(records.study, changes_after_first_look=("More updates.",))
    text = page(content_of(replace(records, study=changed), findings))
    anchors = ["answer", "gaps", "warnings", "claims", "result", "arms", "cost", "learning", "tuning", "unfinished"]
    anchors += ["provenance", "reproduce", "changes", "cite"]
    places = [text.index(f'id="{anchor}"') for anchor in anchors]
    assert places == sorted(places)
    assert "This study has had a change after results had been seen" in text
    assert "after results had been seen" not in page(content_of(records, findings))


@pytest.mark.usefixtures("main_figure_alone")
def test_gaps_are_told():
    text = page(content_of(*gaps()))
    assert "2 of 5" in text
    assert "0 of 5" in text
    row = next(row for row in result_tables.arms_table(View(*gaps())).rows if row[0].text == "ViT/7")
    assert [cell.text for cell in row[1:4]] == ["2 of 5", "90.01%", "−0.71"]  # two seeds: no interval


@pytest.mark.usefixtures("words")
def test_names_stay_text():
    records, findings = odd_names()
    text = page(content_of(records, findings))
    parsed = Page(text)
    assert len(parsed.all("script")) == 1
    assert "<script>alert(1)</script>" in "".join(parsed.texts)
    assert "视觉变换器 ViT" in text


@pytest.mark.usefixtures("words")
def test_markdown_escapes(tmp_path):
    write_report(*odd_names(), tmp_path)
    text = (tmp_path / "REPORT.md").read_text()
    assert "<script" not in text
    assert r"\$x\_1\$ \| \*pipe\* \`tick\`" in text
    for block in text.split("\n\n"):
        if block.startswith("| "):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


@pytest.mark.usefixtures("words")
def test_same_bytes_twice_and_old_figures_removed(tmp_path):
    """Those of figures: `test_bytes_repeat`."""
    first = write_report(*two_factors(), tmp_path)
    before = {path: path.read_bytes() for path in first}
    assert write_report(*two_factors(), tmp_path) == first
    assert {path: path.read_bytes() for path in first} == before
    (tmp_path / "figures" / "my_own.png").write_bytes(b"kept")
    paths = write_report(*single(), tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        *(path.name for path in paths if path.parent.name == "figures"),
        "my_own.png",
    }


def test_csv_cells_are_no_formulas():
    frame = pd.DataFrame(
        {
            "arm": ["=SUM(A1)", "+1", "-1", "@x", "\tx", "plain, text"],
            "difference": [-0.1, 1 / 3, None, 0, 1, 2],
        }
    )
    rows = list(csv.reader(io.StringIO(csv_text.from_frame(frame), newline="")))
    assert [row[0] for row in rows[1:]] == ["'=SUM(A1)", "'+1", "'-1", "'@x", "'\tx", "plain, text"]
    assert [row[1] for row in rows[1:4]] == ["-0.1", "0.3333333333", ""]


@pytest.mark.usefixtures("main_figure_alone")
def test_csv_files_have_the_contract_columns(tmp_path):
    records, findings = single()
    write_report(records, findings, tmp_path)
    assert list(pd.read_csv(tmp_path / "comparisons.csv").columns) == list(findings.comparisons.columns)
    assert list(pd.read_csv(tmp_path / "claims.csv").columns) == list(findings.claims.columns)


@pytest.mark.usefixtures("main_figure_alone")
def test_claims_show_verdict_in_words_and_estimate_in_its_unit():
    records, findings = simulate(make_study(claims=more_claims()))
    text = page(content_of(records, findings))
    assert "✓ reproduced" in text
    assert "✗ contradicted" in text
    assert "+1.23 [+0.40, +2.00] points" in text
    assert "×0.0123 [×0.004, ×0.02]" in text


@pytest.mark.usefixtures("main_figure_alone")
@pytest.mark.parametrize(("kind", "told"), KINDS.items())
def test_every_verdict_of_every_kind_has_its_badge(kind, told):
    claim = Better(statement="It is.", source="a test", arm="ViT/7", than="ResNet-8")
    records, findings = simulate(make_study(claims=(claim,) * len(VERDICTS)))
    lost = [int(verdict == "inconclusive") for verdict in VERDICTS]
    claims = findings.claims.assign(kind=kind, verdict=VERDICTS, lost_runs=lost)
    made = content_of(records, replace(findings, claims=claims))
    shown = page(made)
    styled = set(re.findall(r"\.([a-z-]+)[,{ ]", shown[: shown.index("</style>")]))
    for verdict in VERDICTS:
        badge = f'<strong class="verdict {verdict.replace(" ", "-")}">{SYMBOLS[verdict]}'
        assert f"{badge} {verdict}</strong>" in shown
        assert f"{badge} 1 {verdict}</strong>" in shown
        assert verdict.replace(" ", "-") in styled
    assert f"**Claims:** {told} ✓ 1 reproduced, ✗ 1 contradicted, ✓ 1 supported, " in markdown(made)
    assert "? 1 inconclusive (1 for lost runs)" in markdown(made)


@pytest.mark.usefixtures("main_figure_alone")
def test_negative_numbers_have_one_sign(tmp_path):
    records, _ = gaps()
    findings = analyse(records)
    write_report(records, findings, tmp_path)
    assert "−" in (tmp_path / "REPORT.md").read_text()
    assert re.search(r"[\s\[,]-\d", findings.answer + " ".join(findings.claims["reason"])) is None
    assert re.search(r"[\s\[,]-\d", (tmp_path / "REPORT.md").read_text()) is None
    numbers = pd.read_csv(tmp_path / "comparisons.csv")["difference"].dropna()
    assert numbers.dtype == float
    assert (numbers < 0).any()
    assert pd.read_csv(tmp_path / "claims.csv")["estimate"].dtype == float


@pytest.mark.usefixtures("main_figure_alone")
def test_changes_and_provenance():
    records, findings = simulate(make_study(changes_after_first_look=("More updates: 100 hid the effect.",)))
    text = page(content_of(records, findings))
    assert "Changes after first look" in text
    assert "More updates: 100 hid the effect." in text
    assert "0123456789abcdef (with uncommitted changes)" in text
    assert "5 min 02 s" in text
    bare = page(content_of(replace(records, provenance={}), findings))
    assert "make study NAME=patch_size SCALE=laptop" in bare
    assert "Nothing is recorded" in bare


def test_the_summary_for_consoles_names_arms_seeds_and_accuracies():
    rows = result_tables.summary_of(View(*gaps()))["rows"]
    assert [row[0] for row in rows] == ["ResNet-8 (baseline)", "ViT/14", "ViT/7", "ViT/4"]
    assert rows[2][1] == "2 of 5 seeds"
    assert "[" not in rows[2][2]
    assert result_tables.summary_of(View(*two_factors()))["rows"][1][0] == "ViT/14, 500 images"


def test_page_and_console_write_numbers_alike():
    records, findings = single()
    of_page = {
        row[0].text: {cell.text for cell in row} for row in result_tables.arms_table(View(records, findings)).rows
    }
    for arm, _, *numbers in result_tables.summary_of(View(records, findings))["rows"]:
        assert set(numbers) <= of_page[arm]
    assert {"2,000", "4,000"} <= {
        cell.text for row in result_tables.arms_table(View(records, findings)).rows for cell in row
    }


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("take", [gaps, two_factors])
def test_from_analysed_records(take, tmp_path):
    records, _ = take()
    findings = analyse(records)
    paths = write_report(records, findings, tmp_path)
    parsed = Page((tmp_path / "report.html").read_text())
    assert len(parsed.all("img")) == len([path for path in paths if path.suffix == ".png"]) >= 4


@pytest.mark.usefixtures("main_figure_alone")
def test_colours_have_contrast():
    text = page(content_of(*single()))
    light, dark = (
        dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", text, flags=re.S)[:2]
    )
    for scheme in (light, light | dark):
        for ink in ("ink", "muted", "link", "good", "bad", "open"):
            for ground in ("paper", "panel", "warn"):
                assert _contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)


def _contrast(first, second):
    """Of WCAG 2: 4.5 is what AA asks of small text."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_in_few_colours_those_of_marks_stay_what_they_are() -> None:
    """Also of a small one among all shades of grey."""
    figure = Figure(figsize=(3, 3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.tile(np.linspace(0, 1, 256), (256, 1)), cmap="gray", aspect="auto")
    axes.plot([128], [128], "o", color="#0173b2", markersize=5)
    with Image.open(io.BytesIO(png(figure, dpi=100, colours=48))) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(pixels - (0x01, 0x73, 0xB2)).max(axis=2).min() < 20

"""Tables and figures for a paper, of kept results."""

import csv
import io
import re
from itertools import islice
from pathlib import Path

import pytest
from report_cases import single

from harness.report import takeaway
from harness.report.figures import drawings
from harness.report.takeaway import FIGURES, arms_as, escaped, write_figures
from harness.spec.formats import percent


def cells(line):
    return [cell.strip() for cell in line.removesuffix(r"\\").split(" & ")]


def test_latex_has_a_row_per_arm_and_nothing_that_latex_would_take_for_a_command():
    records, findings = single()
    text = arms_as(records, findings, "latex")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert [cells(line)[0] for line in body] == ["ResNet-8 (baseline)", "ViT/14", "ViT/7", "ViT/4"]
    means = [escaped(percent(mean)) for mean in findings.arms["mean"]]
    assert all(mean in line for mean, line in zip(means, body, strict=True))
    (columns,) = re.findall(r"\\begin{tabular}{(\w+)}", text)
    assert {len(cells(line)) for line in body} == {len(columns)}
    assert escaped("a_b & 5% {x} \\ −1") == r"a\_b \& 5\% \{x\} \textbackslash{} $-$1"
    assert escaped("< 0.001, > 5") == "$<$ 0.001, $>$ 5"


@pytest.mark.parametrize("form", ["latex", "markdown"])
def test_arms_that_are_level_with_the_best_have_a_mark(form):
    from dataclasses import replace

    records, findings = single()
    assert " *" not in arms_as(records, findings, form).replace("**", "")
    marked = arms_as(records, replace(findings, level_with_best=("ViT/7", "ViT/4")), form)
    lines = {name: line for line in marked.splitlines() for name in ("ViT/14", "ViT/7", "ViT/4") if f"{name} " in line}
    assert [("*" in line) for line in (lines["ViT/14"], lines["ViT/7"], lines["ViT/4"])] == [False, True, True]
    assert "with 95% confidence the best arm is among those marked" in marked


def test_the_csv_of_a_figure_has_what_is_drawn(tmp_path: Path):
    records, findings = single()
    written = {path.stem: path for path in write_figures(records, findings, tmp_path, "csv")}
    rows = list(csv.DictReader(io.StringIO(written["accuracy_by_level"].read_text())))
    seeds = sorted(float(row["y"]) for row in rows if row["part"] == "seed")
    of_arms = records.runs[~records.runs["is_baseline"]]
    assert seeds == pytest.approx(sorted(100 * of_arms["test_accuracy"]))
    means = {row["of"]: float(row["y"]) for row in rows if row["part"] == "mean"}
    assert means == pytest.approx(dict(zip(findings.arms["arm"], 100 * findings.arms["mean"], strict=True)))
    interval = [float(row["y"]) for row in rows if row["part"] == "interval" and row["of"] == "ViT/4"]
    known = findings.arms.set_index("arm").loc["ViT/4", ["ci_low", "ci_high"]]
    assert interval == pytest.approx(list(100 * known))


@pytest.mark.parametrize(("form", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_figures_are_written_to_the_same_bytes(tmp_path: Path, form, start, monkeypatch):
    """The first two of them: all are written by the same function."""
    monkeypatch.setattr(takeaway, "drawings", lambda view: islice(drawings(view), 2))
    records, findings = single()
    first, second = (write_figures(records, findings, tmp_path / name, form) for name in ("first", "second"))
    assert {path.suffix for path in first} == {f".{form}"}
    assert "accuracy_by_level" in {path.stem for path in first}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes().startswith(start)
        assert one.read_bytes() == other.read_bytes()


def test_the_command_offers_every_format():
    from harness.commands.takeaway_verbs import FORMATS

    assert set(FORMATS) == set(FIGURES)

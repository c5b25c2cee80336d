"""The section By class: a figure of the two arms that it is about, and its tables; and which sections are folded."""

import re
from dataclasses import replace

import numpy as np
import pytest
from figure_texts import PIXEL, collisions
from html_page import Page
from report_cases import make_study, simulate

from harness.analysis import analyse
from harness.records.correctness import Classes
from harness.report import content
from harness.report.content import content_of
from harness.report.figures.by_class import accuracy_by_class
from harness.report.page import markdown, page
from harness.report.style import theme
from harness.report.view import View


def kept(classes, *, images=200):
    """A study whose ViT is worse than its ResNet in the first half of the classes alone, by 20 points."""
    rng, study = np.random.default_rng(0), make_study(names=("ViT/7",), levels=(7.0,), seeds=3)
    records, _ = simulate(study)
    labels = np.repeat(np.arange(classes, dtype=np.uint16), images)
    found = {}
    for digest, arm in zip(records.runs["digest"], records.runs["arm"], strict=True):
        worse = (arm == "ViT/7") & (labels < classes // 2)
        wrong = rng.random(len(labels)) > np.where(worse, 0.7, 0.9)
        found[digest] = Classes(labels, np.where(wrong, (labels + 1) % classes, labels).astype(np.uint16))
    accuracies = [found[digest].correct.mean() for digest in records.runs["digest"]]
    correct = {digest: pair.correct for digest, pair in found.items()}
    records = replace(records, runs=records.runs.assign(test_accuracy=accuracies), correct=correct, classes=found)
    return records, analyse(records)


def test_where_results_come_from_is_folded_on_the_page_and_in_markdown(monkeypatch):
    monkeypatch.setattr(content, "png", lambda figure, **_: PIXEL)
    said = content_of(*kept(10))
    html, text = page(said), markdown(said)
    assert html[: html.index('<h2 id="provenance">')].endswith("<details>\n<summary>")
    assert Page(html).all("a").count({"href": "#provenance"}) == 1
    section = text[text.index("## Provenance and settings") :]
    assert section.index("<details><summary>Show</summary>\n\n") < section.index("| Search |")
    assert section.index("| Search |") < section.index("</details>\n\n")
    shown = html[html.index('<h2 id="by_class">') :]
    shown = shown[: shown.index('<h2 id="provenance">')]
    assert not html[: html.index('<h2 id="by_class">')].endswith("<summary>")
    assert "<img" in shown
    assert "Share of the difference" in shown
    assert re.search(r"ResNet-8 leads ViT/7 by 1\d points of accuracy \[.*lies in \d of 10 classes: ", shown)


def test_without_classes_there_is_no_such_section(monkeypatch):
    monkeypatch.setattr(content, "png", lambda figure, **_: PIXEL)
    records, _ = kept(10)
    records = replace(records, classes={})
    said = content_of(records, analyse(records))
    assert "by_class" not in {section.anchor for section in said.sections}
    assert "By class" not in page(said)


@pytest.mark.parametrize("classes", [2, 10, 64])
def test_the_figure_shows_the_classes_that_differ_most_in_the_order_of_the_lead(classes):
    records, findings = kept(classes)
    with theme():
        drawing = accuracy_by_class(View(records, findings))
        assert drawing is not None
        assert collisions(drawing.figure) == []
    means = drawing.data[drawing.data["part"] == "mean"]
    shown = list(dict.fromkeys(means["panel"]))
    assert len(shown) == min(classes, 20)
    assert means["of"].value_counts().to_dict() == {"ResNet-8": len(shown), "ViT/7": len(shown)}
    table = findings.by_class.table.set_index(["arm", "class_name"])
    for _, row in means.iterrows():
        assert row["x"] == pytest.approx(100 * table.loc[(row["of"], row["panel"]), "mean"])
    differences = [table.loc[("ViT/7", name), "difference"] for name in shown]
    assert differences == sorted(differences)
    assert np.mean(differences[: len(shown) // 2]) < -0.15

"""What the headline draws: headings that fit, lines through crossings, scales of each panel."""

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.curve import Curve
from harness.analysis.leads import Lead, Line
from harness.report import headline
from harness.report.headline import Panel, draw
from harness.spec import Estimate

NOTE = "What it shows."


def line(
    values: tuple[float, ...], condition: str = "as they are", crossing: float = math.nan, change: str = ""
) -> Line:
    """The lead at 1,000 images and ever ten times as many, of a ResNet with an error of a fifth."""
    leads = tuple(
        Lead(
            images=1000.0 * 10**place,
            accuracy=Estimate(value, value - 0.01, value + 0.01),
            ratio=Estimate(1 + value / 0.2, 0.95 + value / 0.2, 1.05 + value / 0.2),
            n=3,
        )
        for place, value in enumerate(values)
    )
    place = Estimate(crossing)
    return Line(condition=condition, resnet="ResNet", vit="ViT", leads=leads, crossing=place, change=change)


def panel(*lines: Line, findings: tuple[str, ...], name: str = "a/laptop") -> Panel:
    return Panel(name=name, data="made images: digits among clutter", findings=findings, x="images", lines=lines)


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is drawn, whose files are not made."""
    figures = []

    def svg(figure):
        figures.append(figure)
        return b"<svg></svg>"

    monkeypatch.setattr(headline, "svg", svg)
    monkeypatch.setattr(headline, "png", lambda figure: b"")
    return figures


def test_a_crossing_lies_on_the_line_on_both_scales(drawn):
    values = (0.1, 0.02, -0.1)
    (zero,) = Curve(np.log([1e3, 1e4, 1e5]), np.array(values)).zeros()
    others = (line((0.05, 0.04, 0.03)), line((0.06, 0.05, 0.04), "pixels permuted"))
    crossed = line(values, "patches permuted", crossing=math.exp(zero), change="the ViT overtakes")
    draw([panel(others[0], crossed, others[1], findings=("a", "b", "c"))], NOTE)
    for axes, even in zip(drawn[0].axes[:2], (0.0, 1.0), strict=True):
        (stroke,) = [each for each in axes.lines if each.get_marker() == "|"]
        (x,), (y,) = stroke.get_data()
        assert y == even
        curve = next(
            each for each in axes.lines if each.get_color() == stroke.get_color() and len(each.get_xdata()) > 9
        )
        assert np.interp(np.log(x), np.log(curve.get_xdata()), curve.get_ydata()) == pytest.approx(even, abs=0.02)


def test_the_title_has_at_most_32_words_and_headings_five_lines(drawn):
    findings = (
        "the ResNet leads by 10 points with 1,000 images and by 5.0 with 100,000",
        "the ViT leads by 3.0 and by 9.0",
        "the ViT leads by 4.0 and by 8.0",
    )
    lines = (
        line((0.1, 0.08, 0.05)),
        line((-0.03, -0.05, -0.09), "patches permuted"),
        line((-0.04, -0.05, -0.08), "pixels permuted"),
    )
    panels = [
        panel(*lines, findings=tuple(f"{each.condition}: {told}" for each, told in zip(lines, findings, strict=True)))
    ]
    panels += [panel(*lines, findings=("a finding of very many words, " * 9,) * 3, name="b/laptop") for _ in range(2)]
    picture = draw(panels, NOTE)
    assert (
        picture.title == "From 1,000 to 100,000 images: on images as they are the ResNet's lead goes from 10 points to "
        "5.0; with patches permuted the ViT's lead goes from 3.0 points to 9.0"
    )
    texts = [text.get_text() for text in drawn[0].texts]
    headings = [text for text in texts if text.startswith("Made images")]
    assert [" ".join(text.split()) for text in headings[:1]] == [
        "Made images: digits among clutter. Pixels permuted: the ViT leads by 4.0 and by 8.0"
    ]
    assert [text.count("\n") for text in headings[1:]] == [4, 4]
    assert all(text.endswith("…") for text in headings[1:])
    assert picture.text.startswith("Made images: digits among clutter: as they are +10.00 [+9.00, +11.00] points")


def test_a_title_tells_all_findings_that_its_words_hold(drawn):
    brief = (
        line((0.1, 0.0, -0.1), change="the ViT overtakes"),
        line((0.1, 0.0, -0.1), "patches permuted", change="so it does"),
    )
    picture = draw([panel(*brief, findings=("a", "b"))], NOTE)
    told = "on images as they are the ViT overtakes; with patches permuted so it does"
    assert picture.title == f"From 1,000 to 100,000 images: {told}"
    assert "Made images: digits among clutter" in [text.get_text() for text in drawn[0].texts]


def test_each_panel_has_a_scale_of_its_own(drawn):
    draw([panel(line((0.4, 0.3, 0.2)), findings=("a",)), panel(line((0.02, 0.02, 0.01)), findings=("b",))], NOTE)
    wide, narrow = drawn[0].axes[2:4]
    assert narrow.get_ylim()[1] < 1.3 < wide.get_ylim()[1]
    for axes in (wide, narrow):
        low, high = axes.get_ylim()
        assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2


@pytest.mark.parametrize("crossing", [math.nan, 10_000.0, 9999.999999999998])
def test_a_ratio_that_is_not_known_and_a_crossing_at_a_size_are_drawn(drawn, crossing):
    """A ratio of errors is unknown where a run made none."""
    of = line((0.1, 0.0, -0.1), crossing=crossing)
    first, *others = of.leads
    for leads in (of.leads, (replace(first, ratio=Estimate(math.nan)), *others)):
        draw([panel(replace(of, leads=leads), findings=("a",))], NOTE)
    assert len(drawn) == 2

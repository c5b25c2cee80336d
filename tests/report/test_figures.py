"""Figures: which a study has, that no texts collide, that looks are stable and bytes repeat."""

import io
import re
import warnings
from dataclasses import replace
from urllib.parse import unquote
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from figure_texts import collisions, figures_of
from matplotlib.figure import Figure
from report_cases import CASES, gaps, make_study, single, two_factors

from harness.analysis.axis import is_geometric
from harness.analysis.learning import fit_law
from harness.report.figures.canvas import short_names
from harness.report.figures.curves import learning_curves
from harness.report.style import BASELINE_COLOUR, Drawn, marks, png, svg, theme
from harness.report.view import View
from harness.spec.formats import percent


def test_no_texts_collide(case):
    for name, figure in figures_of(*case).items():
        assert collisions(figure) == [], name


def test_collisions_are_noticed():
    figure = Figure(figsize=(2, 2))
    figure.text(0.1, 0.5, "one")
    figure.text(0.12, 0.5, "two")
    figure.text(0.9, 0.1, "leaves the canvas")
    assert collisions(figure) == ["leaves the canvas", ("two", "one")]


def test_one_factor_has_its_curve_first():
    assert list(figures_of(*single())) == [
        "accuracy_by_level",
        "differences",
        "accuracy_by_macs",
        "accuracy_by_speed",
        "learning_curves",
        "tuning_budget",
    ]


def test_two_factors_have_curves_over_size_first():
    names = list(figures_of(*two_factors()))
    assert names[:2] == ["accuracy_by_size", "gap_by_size"]
    assert "accuracy_by_level" not in names


def test_nothing_finished_has_no_figures():
    assert figures_of(*CASES["nothing"]()) == {}


def test_every_seed_is_drawn():
    records, findings = single()
    axes = figures_of(records, findings)["accuracy_by_level"].axes[0]
    drawn = {round(float(y), 6) for line in axes.lines for y in line.get_ydata()}
    of_arms = records.runs[~records.runs["is_baseline"]]
    assert len(of_arms) == 9
    assert {round(100 * value, 6) for value in of_arms["test_accuracy"]} <= drawn


@pytest.mark.parametrize("name", ["single", "words_levels", "two_factors"])
def test_every_dot_lies_within_its_axes(name):
    """Those of seeds are drawn aside of their mean, which matplotlib does not count among what the axes must hold."""
    for figure in figures_of(*CASES[name]()).values():
        for axes in figure.axes:
            (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
            for line in (line for line in axes.lines if line.get_markersize() < 4):
                for x, y in zip(*line.get_data(), strict=True):
                    assert left <= x <= right
                    assert low <= y <= high


def law_by_hand(n, *, a, b, c, d):
    return 100 * (1 - a / (n + d) ** b - c)


@pytest.mark.parametrize("d", [0.0, 3_000.0])
def test_the_law_that_is_drawn_is_the_law_that_was_fitted(d):
    """Known parameters; and the shift, which only six sizes or more have, moves the curve by tens of points."""
    records, findings = two_factors()
    known = {"a": 40.0, "b": 0.6, "c": 0.05, "d": d}
    figure = figures_of(records, replace(findings, laws=findings.laws.assign(**known)))["accuracy_by_size"]
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 60]
    assert len(curves) == 3
    for curve in curves:
        assert [float(y) for y in curve.get_ydata()] == pytest.approx(
            [law_by_hand(float(n), **known) for n in curve.get_xdata()]
        )
    formula = "error = a · (n + d)^−b + c" if d else "error = a · n^−b + c"
    assert formula in " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def test_a_law_fitted_to_six_sizes_is_drawn_through_them():
    records, findings = two_factors()
    sizes = np.array([500, 1000, 2000, 4000, 16_000, 55_000], dtype=float)
    known = {"a": 40.0, "b": 0.6, "c": 0.05, "d": 3_000.0}
    fitted = fit_law(np.stack([sizes, 1 - law_by_hand(sizes, **known) / 100], axis=1))
    laws = findings.laws.assign(**dict(zip(("a", "b", "c", "d", "r2"), fitted, strict=True)))
    axes = figures_of(records, replace(findings, laws=laws))["accuracy_by_size"].axes[0]
    curves = [line for line in axes.lines if len(line.get_xdata()) == 60]
    for n, drawn in zip(curves[0].get_xdata(), curves[0].get_ydata(), strict=True):
        assert float(drawn) == pytest.approx(law_by_hand(float(n), **known), abs=0.1)


def test_settings_of_matplotlib_and_numpy_are_not_drawn():
    """Of a matplotlibrc, or of a notebook: `savefig.bbox: tight` alone moved every figure.

    How numpy writes numbers decides the names of the parts of an SVG.
    """
    bytes_of = []
    for settings in (
        {},
        {"savefig.bbox": "tight", "font.size": 30, "svg.fonttype": "none", "lines.antialiased": False},
    ):
        with mpl.rc_context(settings), np.printoptions(legacy="1.13" if settings else False):
            figure = figures_of(*single())["differences"]
            bytes_of.append((png(figure), svg(figure)))
            assert all(mpl.rcParams[name] == value for name, value in settings.items())
    assert bytes_of[0] == bytes_of[1]


def test_the_text_of_the_learning_curves_ends_where_they_are_drawn_to_end():
    """One seed of three stopped early: the mean is drawn, and told, where all three were evaluated."""
    records, findings = single()
    early = (records.curves["arm"] == "ViT/7") & (records.curves["seed"] == 0) & (records.curves["update"] > 400)
    records = replace(records, curves=records.curves[~early])
    with theme():
        drawing = learning_curves(View(records, findings))
    ends = [float(line.get_ydata()[-1]) for line in drawing.figure.axes[0].lines]
    assert len(ends) == 4
    for end in ends:
        assert percent(end / 100) in drawing.text


def test_an_arm_without_interval_has_no_bar():
    axes = figures_of(*gaps())["differences"].axes[0]
    bars = [line for line in axes.lines if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2]
    assert [float(line.get_ydata()[0]) for line in bars] == [0.0]  # ViT/14; ViT/7 has 2 seeds, ViT/4 none


def test_baseline_is_grey_and_looks_are_distinct():
    names = tuple(f"arm {i}" for i in range(30))
    looks = marks(make_study(names=names, levels=(None,) * 30))
    assert looks["ResNet-8"].colour == BASELINE_COLOUR
    assert len(set(looks.values())) == 31


def test_ordered_levels_have_a_sequential_palette():
    study = make_study()
    colours = {arm.level: marks(study)[arm.name].colour for arm in study.arms}
    brightness = [sum(int(colours[level][i : i + 2], 16) for i in (1, 3, 5)) for level in sorted(colours)]
    assert brightness == sorted(brightness)


@pytest.mark.parametrize(
    ("levels", "geometric"),
    [([4.0, 7.0, 14.0], True), ([1.0, 2.0, 3.0], False), ([0.0, 0.1, 0.2], False), ([1.0, 8.0], False)],
)
def test_geometric_levels(levels, geometric):
    assert is_geometric(levels) is geometric


@pytest.mark.parametrize("save", [png, svg])
def test_bytes_repeat(save):
    first, second = (save(figures_of(*two_factors())["accuracy_by_size"]) for _ in range(2))
    assert first == second
    assert b"Date" not in first
    assert b"matplotlib.org" not in first[-2000:]


def test_a_shorter_svg_is_the_same_drawing():
    """Every path and every place, as matplotlib writes them and as the report keeps them."""
    with theme(), io.BytesIO() as buffer:
        figure = figures_of(*two_factors())["accuracy_by_size"]
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        drawn, kept = buffer.getvalue(), svg(figure)
    assert len(kept) < 0.8 * len(drawn)
    shapes, kept_shapes = _shapes(drawn), _shapes(kept)
    assert [shape[:-1] for shape in shapes] == [shape[:-1] for shape in kept_shapes]
    for shape, kept_shape in zip(shapes, kept_shapes, strict=True):
        assert kept_shape[-1] == pytest.approx(shape[-1], abs=0.0501)  # of a letter's width of about 60
    assert sum(shape[0] == "use" for shape in shapes) > 100


def test_a_figure_in_the_page_is_the_one_beside_it():
    """Whatever stands in an arm's name."""
    kept = b"""<svg xmlns="http://www.w3.org/2000/svg"><!-- "a" & 'b' 100 % #1 --><g id="caf\xc3\xa9 'x'"/></svg>"""
    uri = Drawn(
        **dict.fromkeys(("name", "section", "title", "description", "number", "png", "address")), svg=kept
    ).data_uri
    assert not set(uri) & set('"<>&#')
    start, _, written = uri.partition(",")
    assert start == "data:image/svg+xml"
    (shape,) = ElementTree.fromstring(unquote(written))
    assert shape.get("id") == "caf\u00e9 'x'"


def _shapes(written: bytes) -> list[tuple[str, str, str, str, float]]:
    """Element, outline, style, clip or shift, and place along the line, of every element in its order."""
    root = ElementTree.fromstring(written)
    link = "{http://www.w3.org/1999/xlink}href"
    outlines = {e.get("id"): (e.get("d") or "").split() for e in root.iter() if e.get("id")}
    shapes = []
    for element in root.iter():
        moved = re.fullmatch(r"translate\(([\d.]+) 0\)", element.get("transform", ""))
        outline = outlines[element.get(link).removeprefix("#")] if element.get(link) else element.get("d", "").split()
        place = float(moved[1]) if moved else float(element.get("x", 0))
        shift = "" if moved else element.get("transform", "")
        tag = element.tag.rpartition("}")[2]
        shapes.append((tag, " ".join(outline), element.get("style", ""), element.get("clip-path", "") + shift, place))
    return shapes


def test_settings_are_as_before():
    before = dict(mpl.rcParams)
    backend = mpl.rcParams._get("backend")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(figures_of(*single())["differences"])
    assert dict(mpl.rcParams) == before
    assert mpl.rcParams._get("backend") == backend


def test_short_names_stay_distinct():
    with theme():
        names = [f"{'same beginning ' * 4}{i}{' same end' * 4}" for i in range(12)]
        short = short_names(names, 1.2, lines=1)
    assert len(set(short.values())) == 12
    assert all("…" in text for text in short.values())

"""Figures: which a study has, that no texts collide, that looks are stable and bytes repeat."""

import base64
import io
import re
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from figure_texts import collisions, figure_of, figures_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from report_cases import CASES, gaps, make_study, simulate, single, two_factors

from harness.analysis.axis import is_geometric
from harness.analysis.findings import FRONT_COLUMNS, frame
from harness.analysis.learning import fit_law
from harness.report.figures import PICTURES, drawings
from harness.report.figures.canvas import short_names
from harness.report.figures.curves import learning_curves
from harness.report.figures.gains import gains
from harness.report.figures.leads_by_size import lead_by_size
from harness.report.style import PALE, Drawn, marks, png, svg, theme
from harness.report.view import View
from harness.spec import Arm, GapShrinks, ResNetSpec, ViTSpec
from harness.spec.formats import percent
from harness.spec.palette import second_factor, shaded
from harness.spec.study import FIGURES


@pytest.mark.slow
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
    assert names[:2] == ["lead_by_size", "accuracy_by_size"]
    assert "accuracy_by_level" not in names


def test_nothing_finished_has_no_figures():
    assert figures_of(*CASES["nothing"]()) == {}


def test_every_seed_is_drawn():
    records, findings = single()
    axes = figure_of("accuracy_by_level", records, findings).axes[0]
    drawn = {round(float(y), 6) for line in axes.lines for y in line.get_ydata()}
    of_arms = records.runs[~records.runs["is_baseline"]]
    assert len(of_arms) == 9
    assert {round(100 * value, 6) for value in of_arms["test_accuracy"]} <= drawn


@pytest.mark.parametrize("name", ["single", "words_levels", "two_factors"])
def test_every_dot_lies_within_its_axes(name):
    for figure in figures_of(*CASES[name]()).values():
        for axes in figure.axes:
            (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
            for line in (line for line in axes.lines if line.get_label().startswith("seed")):
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
    figure = figure_of("accuracy_by_size", records, replace(findings, laws=findings.laws.assign(**known)))
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
    axes = figure_of("accuracy_by_size", records, replace(findings, laws=laws)).axes[0]
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
            figure = figure_of("differences", *single())
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
    means = drawing.data[drawing.data["part"] == "mean"]
    ends = [float(of_arm["y"].iloc[-1]) for _, of_arm in means.groupby("of")]
    assert len(ends) == 4
    for end in ends:
        assert percent(end / 100) in drawing.text


def test_an_arm_without_interval_has_no_bar():
    axes = figure_of("differences", *gaps()).axes[0]
    bars = [line for line in axes.lines if line.get_label().startswith("interval")]
    assert [float(line.get_ydata()[0]) for line in bars] == [0.0]  # ViT/14; ViT/7 has 2 seeds, ViT/4 none


def test_baseline_is_grey_and_looks_are_distinct():
    names = tuple(f"arm {i}" for i in range(30))
    looks = marks(make_study(names=names, levels=(None,) * 30))
    assert looks["ResNet-8"].colour == shaded("resnet")
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
    first, second = (save(figure_of("accuracy_by_size", *two_factors())) for _ in range(2))
    assert first == second
    assert b"Date" not in first
    assert b"matplotlib.org" not in first[-2000:]


def test_a_shorter_svg_is_the_same_drawing():
    """Every path and every place, as matplotlib writes them and as the report keeps them."""
    with theme(), io.BytesIO() as buffer:
        figure = figure_of("accuracy_by_size", *two_factors())
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        drawn, kept = buffer.getvalue(), svg(figure)
    assert len(kept) < 0.8 * len(drawn)
    shapes, kept_shapes = _shapes(drawn), _shapes(kept)
    assert [shape[:-1] for shape in shapes] == [shape[:-1] for shape in kept_shapes]
    for shape, kept_shape in zip(shapes, kept_shapes, strict=True):
        assert kept_shape[-1] == pytest.approx(shape[-1], abs=0.0501)  # of a letter's width of about 60
    assert sum(shape[0] == "use" for shape in shapes) > 100


@pytest.mark.parametrize(("inches", "form"), [(4, "webp"), (170, "png")], ids=["usual", "beyond WebP"])
def test_a_figure_in_the_page_is_the_one_beside_it(inches, form):
    drawn = Figure(figsize=(1, inches))
    drawn.text(0.1, 0.5, "some text", color="tab:blue")
    kept = png(drawn, dpi=100)
    figure = Drawn(**dict.fromkeys(("name", "section", "title", "description", "number", "address")), png=kept)
    start, _, written = figure.data_uri.partition(",")
    assert start == f"data:image/{form};base64"
    inside, beside = (Image.open(io.BytesIO(each)).convert("RGB") for each in (base64.b64decode(written), kept))
    np.testing.assert_array_equal(np.asarray(inside), np.asarray(beside))


def test_a_file_that_is_no_picture_stands_in_the_page_as_it_is():
    """A figure of a study file's own is read back from the folder, where it may have been damaged."""
    figure = Drawn(**dict.fromkeys(("name", "section", "title", "description", "number", "address")), png=b"no picture")
    assert figure.data_uri == "data:image/png;base64," + base64.b64encode(b"no picture").decode()


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
        png(figure_of("differences", *single()))
    assert dict(mpl.rcParams) == before
    assert mpl.rcParams._get("backend") == backend


def test_short_names_stay_distinct():
    with theme():
        names = [f"{'same beginning ' * 4}{i}{' same end' * 4}" for i in range(12)]
        short = short_names(names, 1.2, lines=1)
    assert len(set(short.values())) == 12
    assert all("…" in text for text in short.values())


def crossed(families=("ResNet", "ViT")):
    """Two families, each plain and with two techniques."""
    models = {"ResNet": ResNetSpec(depth=8), "ViT": ViTSpec(patch_size=7, width=64, depth=4, heads=2)}
    changes = {"plain": {}, "smooth": {"recipe.label_smoothing": 0.1}, "long": {"recipe.batch_size": 64}}
    arms = [
        Arm(f"{family}, {what}", models[family], level=f"{family}, {what}", against=against, changes=changed)
        for family in families
        for what, changed in changes.items()
        for against in [None if (family, what) == ("ResNet", "plain") else f"{family}, plain" * (what != "plain")]
    ]
    arms = [replace(arm, against=arm.against or None) for arm in arms]
    study = replace(make_study(claims=()), baseline=arms[0], arms=tuple(arms[1:]))
    return simulate(study)


def test_hue_is_the_family_and_marker_what_is_varied_within_it():
    study = crossed()[0].study
    looks, places = marks(study), second_factor(study)
    for what in ("plain", "smooth", "long"):
        assert looks[f"ResNet, {what}"].marker == looks[f"ViT, {what}"].marker
        assert looks[f"ResNet, {what}"].colour != looks[f"ViT, {what}"].colour
        assert places[f"ResNet, {what}"] == places[f"ViT, {what}"]
    assert len({look.marker for look in looks.values()}) == 3


def test_gains_of_families_stand_side_by_side():
    records, findings = crossed()
    with theme():
        drawing = gains(View(records, findings))
    means = drawing.data[drawing.data["part"] == "difference"].set_index("of")
    known = findings.comparisons[findings.comparisons["arm"] != "ViT, plain"]
    assert set(means.index) == {f"{row.arm} - {row.baseline}" for row in known.itertuples()}
    for row in known.itertuples():
        assert means.loc[f"{row.arm} - {row.baseline}", "x"] == pytest.approx(100 * row.difference)
    for what in ("smooth", "long"):
        places = [means.loc[f"{family}, {what} - {family}, plain", "y"] for family in ("ResNet", "ViT")]
        assert abs(places[0] - places[1]) < 0.5
    rows = [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()]
    assert rows == ["smooth", "long"]
    assert gains(View(*single())) is None


def test_the_main_figure_is_the_one_that_the_study_names_and_says_the_finding():
    records, findings = single()
    findings = replace(findings, main_figure="differences", finding="Yes: small patches give 1 point more")
    with theme():
        named = list(drawings(View(records, findings)))
    assert [name for name, _, _ in named][:2] == ["differences", "accuracy_by_level"]
    said = [[" ".join(text.get_text().split()) for text in drawing.figure.texts] for _, _, drawing in named]
    assert said[0][0] == findings.finding
    assert all(findings.finding not in texts for texts in said[1:])


def test_the_axis_of_the_levels_has_their_unit():
    records, findings = single()
    for unit, label in (("px", "patch size (px)"), ("", "patch size")):
        figure = figure_of("accuracy_by_level", records, replace(findings, unit=unit))
        assert [axes.get_xlabel() for axes in figure.axes] == [label]


def test_images_as_the_study_changes_them_follow_the_main_figure():
    records, findings = single()
    samples = {name: np.full((1, 4, 4), level, np.uint8) for name, level in (("as it is", 9), ("pixels permuted", 5))}
    with theme():
        shown = list(drawings(View(replace(records, samples=samples), findings)))
        assert "changed_images" not in [name for name, *_ in drawings(View(records, findings))]
    assert [(name, section) for name, section, _ in shown][1] == ("changed_images", "images")
    drawing = shown[1][2]
    assert drawing.text == "What the study does to images: one image as it is, pixels permuted."
    assert [axes.images[0].get_array().max() for axes in drawing.figure.axes] == [9, 5]
    assert collisions(drawing.figure) == []


def test_every_figure_that_a_study_may_name_is_drawn_by_that_name():
    assert {draw.__name__ for draws in PICTURES.values() for draw in draws} >= set(FIGURES)


def test_steps_are_the_fronts_that_were_found():
    records, findings = single()
    fronts = frame([("macs_per_image", 0, "ResNet-8"), ("macs_per_image", 0, "ViT/4")], FRONT_COLUMNS)
    figures = figures_of(records, replace(findings, fronts=fronts))
    steps = [line for line in figures["accuracy_by_macs"].axes[0].lines if line.get_drawstyle() == "steps-post"]
    rows = findings.arms.set_index("arm")
    assert [list(line.get_xdata()) for line in steps] == [
        [rows.loc[name, "macs_per_image"] for name in ("ResNet-8", "ViT/4")]
    ]
    assert not [line for line in figures["accuracy_by_speed"].axes[0].lines if line.get_drawstyle() == "steps-post"]


def test_costs_that_do_not_vary_have_no_figure():
    records, findings = single()
    names = figures_of(records, replace(findings, arms=findings.arms.assign(macs_per_image=1e6)))
    assert "accuracy_by_macs" not in names
    assert "accuracy_by_speed" in names


def test_of_many_arms_one_stands_out_and_names_cover_no_dot():
    records, findings = CASES["thirty_numbers"]()
    figure = figure_of("accuracy_by_macs", records, replace(findings, answer_arms=("ViT-d7",)))
    axes = figure.axes[0]
    colours = {
        line.get_label().partition("\t")[2]: line.get_color()
        for line in axes.lines
        if line.get_label().startswith("mean")
    }
    assert [name for name, colour in colours.items() if colour != PALE] == ["ViT-d7"]
    FigureCanvasAgg(figure).draw()
    dots = [
        axes.transData.transform((x, y))
        for line in axes.lines
        if line.get_marker() != "None"
        for x, y in zip(*line.get_data(), strict=True)
    ]
    named = [text for text in axes.texts if text.get_text()]
    assert len(named) > 20
    for text in named:
        box = text.get_window_extent()
        assert not any(box.contains(x, y) for x, y in dots), text.get_text()


def test_the_slope_that_a_claim_is_about_is_drawn():
    claim = GapShrinks(statement="The lead falls.", source="-", leader="ResNet-8", follower="ViT/7")
    records, findings = two_factors()
    records = replace(records, study=replace(records.study, claims=(claim,)))
    table = findings.comparisons
    wide = table.assign(ci_low=table["difference"] - 0.5, ci_high=table["difference"] + 0.5)
    with theme():
        drawing = lead_by_size(View(records, replace(findings, comparisons=wide)))
        through_none = lead_by_size(View(records, findings))
    rows = drawing.data[drawing.data["part"] == "slope"]
    assert set(rows["of"]) == {"ViT/7 - ResNet-8"}
    low, *_, high = np.log10(rows["x"])
    at_low, *_, at_high = rows["y"]
    slope = findings.slopes.set_index("arm").loc["ViT/7", "slope"]
    assert (at_high - at_low) / (high - low) == pytest.approx(100 * slope)
    assert "slope" not in set(through_none.data["part"])


def test_leads_that_updates_limit_are_hollow():
    records, findings = two_factors()
    limited = findings.comparisons["train_size"] == findings.comparisons["train_size"].max()
    table = findings.comparisons.assign(limited_by_updates=limited, baseline_limited_by_updates=False)
    with theme():
        drawing = lead_by_size(View(records, replace(findings, comparisons=table)))
    marks = [line for line in drawing.figure.axes[0].get_lines() if str(line.get_label()).startswith("difference\t")]
    hollow = {line.get_xdata()[0] > 10_000 for line in marks if line.get_markerfacecolor() == "white"}
    assert marks
    assert hollow == {True}

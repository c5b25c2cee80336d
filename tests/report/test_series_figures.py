"""Figures of studies with series, with partners and with tests on moved images."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from figure_texts import collisions
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_cases import make_study, simulate
from series_cases import (
    SERIES_CASES,
    SIZES,
    conditions_by_size,
    depths,
    ladder,
    make_series,
    partners,
    partners_by_size,
    shifted_by_size,
    two_series,
    two_series_by_size,
)

from harness.analysis.curve import Curve
from harness.report.figures import drawings
from harness.report.figures.by_level import accuracy_by_level
from harness.report.figures.by_shift import accuracy_by_shift, agreement_by_size
from harness.report.figures.canvas import Canvas
from harness.report.figures.gains import differences
from harness.report.figures.gaps import difference_map, gap_by_level
from harness.report.figures.leads_by_size import lead_by_size
from harness.report.figures.marks_on_axes import Places, asides
from harness.report.style import PALE, Mark, marks, png, svg, theme
from harness.report.view import View
from harness.spec.palette import shaded


def drawn_by(draw, records, findings):
    """The figure that a function draws."""
    with theme():
        return draw(View(records, findings)).figure


@cache
def drawings_of(case):
    """All drawings of one of the simulated studies, by name."""
    with theme():
        return {name: drawing for name, _, drawing in drawings(View(*SERIES_CASES[case]()))}


@pytest.fixture(scope="module", params=sorted(SERIES_CASES))
def drawn(request):
    """The drawings of each simulated study in turn."""
    return drawings_of(request.param)


def is_grey(colour):
    """Whether red, green and blue are about the same."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return max(parts) - min(parts) < 24


def points_of(axes, marker):
    """Places of the marks of one kind."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.mark.slow
def test_no_texts_of_series_collide(drawn):
    for name, drawing in drawn.items():
        assert collisions(drawing.figure) == [], name


@pytest.mark.slow
def test_descriptions_have_numbers(drawn):
    for name, drawing in drawn.items():
        assert any(letter.isdigit() for letter in drawing.text), name
        assert "nan" not in drawing.text.lower().split(), name


def test_which_figures_a_study_with_series_has():
    names = list(drawings_of("two_series_by_size"))
    assert names[:4] == ["lead_by_size", "accuracy_by_level", "gap_by_level", "difference_map"]
    assert {"differences", "accuracy_by_shift"} <= set(names)
    assert not {"accuracy_by_size", "gap_by_size"} & set(names)
    records, findings = two_series()
    alone = replace(findings, comparisons=findings.comparisons.iloc[:0])
    with theme():
        assert difference_map(View(records, findings)) is None
        assert accuracy_by_shift(View(*depths())) is None
        assert gap_by_level(View(records, alone)) is None


def test_a_series_has_one_colour_and_marker_and_a_dash_per_level():
    study = make_series()
    looks = marks(study)
    vits, resnets = ([looks[arm.name] for arm in study.series[name]] for name in ("ViT/4", "ResNet-8"))
    assert all(is_grey(look.colour) for look in resnets)
    assert len(set(vits)) == len(set(resnets)) == 1
    assert not is_grey(vits[0].colour)
    alone = [looks[arm.name] for arm in study.arms if arm.series is None]
    assert len({look.colour for look in [*alone, vits[0], resnets[0]]}) == 4


def test_a_baseline_outside_the_series_stays_grey_alone():
    study = depths()[0].study
    looks = marks(study)
    assert looks["ResNet-8"].colour == shaded("resnet")
    assert [name for name, look in looks.items() if is_grey(look.colour)] == ["ResNet-8"]
    assert len({look.colour for look in looks.values()}) == 5


def test_every_seed_stands_at_its_level():
    records, findings = two_series()
    axes = drawn_by(accuracy_by_level, records, findings).axes[0]
    dots = [
        (float(x), round(float(y), 6))
        for line in axes.lines
        if line.get_label().startswith("seed")
        for x, y in zip(*line.get_data(), strict=True)
    ]
    for run in records.runs.to_dict("records"):
        level = run["level"] if isinstance(run["level"], float) else None
        near = [x for x, y in dots if y == round(100 * run["test_accuracy"], 6)]
        assert near
        assert near[0] == level if level is not None else near[0] > 1.1


def test_arms_without_level_stand_beside_the_levels_apart():
    axis = Places((1.0, 2.0, 4.0, 8.0), geometric=True, beside=("first", "second", "third"))
    places = [axis.at(8.0), *(axis.of_arm(name) for name in axis.beside)]
    assert places == sorted(places)
    assert axis.at(1.0, 0.02) == pytest.approx(8**0.02)
    even = Places((0.0, 1.0, 2.0), geometric=False)
    assert [even.at(level, 0.1) for level in even.levels] == [0.2, 1.2, 2.2]
    assert Places((3.0,), geometric=False).at(3.0, 0.1) == pytest.approx(3.1)
    assert sum(asides(4)) == pytest.approx(0)
    assert len(set(asides(4))) == 4


def test_a_cross_for_each_run_that_diverged():
    records, findings = depths()
    figure = drawn_by(accuracy_by_level, records, findings)
    assert len(points_of(figure.axes[0], "x")) == 2 + 3 + 1
    assert "Crosses at the foot: runs that diverged." in " ".join(" ".join(texts_of(figure)).split())
    finished = replace(findings, arms=findings.arms.assign(diverged=0))
    assert points_of(drawn_by(accuracy_by_level, records, finished).axes[0], "x") == []


def test_panels_share_their_scales():
    records, findings = two_series_by_size()
    panels = drawn_by(accuracy_by_level, records, findings).axes
    assert [axes.get_title(loc="left") for axes in panels] == [f"{size:,} training images" for size in SIZES]
    assert len({axes.get_ylim() for axes in panels}) == len({axes.get_xlim() for axes in panels}) == 1
    assert [len(points_of(axes, "x")) for axes in panels] == [2, 0, 0, 0, 0]


def test_of_many_sizes_five_have_panels():
    records, findings = two_series_by_size()
    sizes = tuple(range(100, 1_000, 100))
    at_once = findings.arms[findings.arms["train_size"] == SIZES[0]]
    arms = pd.concat([at_once.assign(train_size=size) for size in sizes])
    panels = drawn_by(accuracy_by_level, records, replace(findings, arms=arms, main_factor_sizes=sizes)).axes
    assert [axes.get_title(loc="left").split()[0] for axes in panels] == ["100", "300", "500", "700", "900"]


def test_gaps_are_those_of_the_comparisons():
    records, findings = two_series_by_size()
    axes = drawn_by(gap_by_level, records, findings).axes[0]
    known = findings.comparisons
    of_series = known[known["arm"].isin([arm.name for arm in records.study.series["ViT/4"]])]
    heights = {round(float(y), 6) for line in axes.lines for y in line.get_ydata()}
    assert {round(100 * value, 6) for value in of_series["difference"]} <= heights
    assert len(points_of(axes, "|")) == 4  # a crossing at each training size but one


def test_a_crossing_lies_on_the_line_that_is_drawn():
    records, findings = two_series_by_size()
    crossed = findings.crossovers.astype({"crossing": float}).reset_index(drop=True)
    level_of = {arm.name: arm.level for arm in records.study.series["ViT/4"]}
    for place, row in crossed[crossed["along"] == records.study.factor].iterrows():
        of_size = findings.comparisons[findings.comparisons["train_size"] == row["train_size"]]
        rows = of_size[of_size["arm"].isin(level_of)].dropna(subset="difference")
        levels = rows["arm"].map(level_of).to_numpy(dtype=float)
        zeros = Curve(levels, rows["difference"].to_numpy()).zeros()
        crossed.loc[place, "crossing"] = zeros[0] if len(zeros) == 1 else np.nan
    axes = drawn_by(gap_by_level, records, replace(findings, crossovers=crossed)).axes[0]
    curves = {line.get_color(): line for line in axes.lines if str(line.get_label()).startswith("curve\t")}
    strokes = [line for line in axes.lines if line.get_marker() == "|"]
    assert strokes
    for stroke in strokes:
        curve = curves[stroke.get_color()]
        assert np.interp(stroke.get_xdata()[0], *curve.get_data()) == pytest.approx(0, abs=0.05)


def test_a_line_of_two_points_is_straight():
    drawing = drawings_of("two_series_by_size")["lead_by_size"]
    places = Places((1.0, 10.0), geometric=True)
    assert places.curve((1.0, 10.0), (0.0, 1.0), 0.0, log=True) is None
    assert set(drawing.data["part"]) >= {"curve", "difference"}


def test_gap_to_a_baseline_outside_the_series_has_a_line_each():
    texts = [text.replace("\n", " ") for text in texts_of(drawn_by(gap_by_level, *depths()))]
    assert {"pre-norm − ResNet-8", "post-norm − ResNet-8"} <= set(texts)


def test_map_tells_each_difference_and_where_zero_is():
    records, findings = two_series_by_size()
    axes = drawn_by(difference_map, records, findings).axes[0]
    table = findings.comparisons.set_index(["arm", "train_size"])
    rows = {round(text.get_position()[1] - 0.5): [] for text in axes.texts}
    for text in sorted(axes.texts, key=lambda text: text.get_position()):
        rows[round(text.get_position()[1] - 0.5)].append(text.get_text())
    names = [arm.name for arm in records.study.series["ViT/4"]]
    for place, size in enumerate(SIZES):
        for name, told in zip(names, rows[place], strict=True):
            row = table.loc[name, size]
            shown = f"{100 * row['difference']:+.1f}".replace("-", "−")
            known = row["ci_low"] > 0 or row["ci_high"] < 0  # no interval below three seeds: no star
            assert told == shown + ("*" if known else "")
    heights = [y for _, y in points_of(axes, "_")]
    assert heights[0] == pytest.approx(2.5)  # 10,000 images: the middle of the third row
    assert heights == sorted(heights, reverse=True)
    assert len(heights) == 3


def test_cells_of_the_map_without_a_result_are_blank():
    records, findings = two_series_by_size()
    lost = (findings.comparisons["arm"] == "ViT/4, 0.5 moved") & (findings.comparisons["train_size"] == 1_000)
    axes = drawn_by(difference_map, records, replace(findings, comparisons=findings.comparisons[~lost])).axes[0]
    assert len(axes.texts) == 24
    assert (2.5, 0.5) not in [text.get_position() for text in axes.texts]


def test_colours_of_the_map_are_even_about_zero():
    mesh = drawn_by(difference_map, *two_series_by_size()).axes[0].collections[0]
    assert mesh.norm.vmin == -mesh.norm.vmax


def test_shifts_show_both_metrics_at_three_sizes():
    records, findings = two_series_by_size()
    panels = drawn_by(accuracy_by_shift, records, findings).axes
    assert [axes.get_title(loc="left") for axes in panels[::2]] == [
        f"{size:,} training images" for size in (1_000, 10_000, 60_000)
    ]
    assert [axes.get_ylabel() for axes in panels[:2]] == ["test accuracy (%)", "agreement (%)"]
    means = findings.shifts[(findings.shifts["train_size"] == 1_000) & (findings.shifts["metric"] == "agreement")]
    heights = {round(float(y), 6) for line in panels[1].lines for y in line.get_ydata()}
    assert {round(100 * value, 6) for value in means["mean"]} <= heights
    seeds = [len(line.get_xdata()) / 3 for line in panels[1].lines if line.get_label().startswith("seed")]
    assert seeds == [1 if arm.name == "ViT/4, 0.5 moved" else 3 for arm in records.study.all_arms]


def test_agreement_is_that_at_the_largest_shift_with_its_seeds():
    records, findings = shifted_by_size()
    with theme():
        data = agreement_by_size(View(records, findings)).data
        assert agreement_by_size(View(*two_series_by_size())) is None
    of_largest = findings.shifts[(findings.shifts["shift"] == 3) & (findings.shifts["metric"] == "agreement")]
    for arm in records.study.all_arms:
        rows = of_largest[of_largest["arm"] == arm.name].sort_values("train_size")
        drawn = data[data["of"] == arm.name]
        assert list(drawn[drawn["part"] == "mean"]["y"]) == pytest.approx(list(100 * rows["mean"]))
        seeds = drawn[drawn["part"] == "seed"].groupby("x")["y"].mean()
        assert list(seeds) == pytest.approx(list(100 * rows["mean"]))


def test_partners_are_named():
    texts = [text.replace("\n", " ") for text in texts_of(drawn_by(lead_by_size, *partners_by_size()))]
    assert "ViT, mixed − ViT, plain" in texts
    assert "ViT, plain − ResNet-8" in texts


def test_leads_over_oneself_on_other_images_are_pale_and_in_a_panel_of_their_own():
    with theme():
        drawing = lead_by_size(View(*conditions_by_size()))
    means = drawing.data[drawing.data["part"] == "difference"]
    pairs = means.groupby("panel", sort=False)["of"].agg(set).to_dict()
    how = ("", ", half moved", ", moved", ", pixels moved")
    assert pairs == {
        "over ResNet on the same images": {f"ViT{each} - ResNet{each}" for each in how},
        "over the same model on other images": {f"ResNet{each} - ResNet" for each in how[1:]},
    }
    colours = [{line.get_color() for line in axes.lines if "\t" in line.get_label()} for axes in drawing.figure.axes]
    assert colours[1] == {PALE}
    assert len(colours[0]) == len(how)
    assert PALE not in colours[0]
    assert {text.get_text().replace("\n", " ") for text in drawing.figure.axes[0].texts} - {""} == {
        f"ViT{each}" for each in how
    }
    assert collisions(drawing.figure) == []


@pytest.mark.parametrize(("draw", "case"), [(lead_by_size, conditions_by_size), (gap_by_level, two_series)])
def test_the_seeds_of_a_difference_stand_at_their_mean(draw, case):
    records, findings = case()
    with theme():
        data = draw(View(records, findings)).data
    runs = records.runs.groupby(["arm", "train_size"])["test_accuracy"].agg(list).to_dict()
    means = data[data["part"] == "difference"]
    assert len(means)
    for of, x, y in means[["of", "x", "y"]].itertuples(index=False):
        seeds = list(data[(data["part"] == "seed") & (data["of"] == of) & (data["x"] == x)]["y"])
        pairs = [[runs[arm, size] for arm in of.split(" - ")] for _, size in runs]
        assert seeds in [pytest.approx([100 * (a - b) for a, b in zip(*pair, strict=False)]) for pair in pairs]
        assert sum(seeds) / len(seeds) == pytest.approx(y)


def compared_in(drawing):
    """The pairs of arms whose differences a figure shows, in its order."""
    means = drawing.data[drawing.data["part"] == "difference"]
    return list(dict.fromkeys(means["of"]))


def test_of_many_leads_one_stands_out_and_lines_are_named_at_their_ends():
    names = tuple(f"ViT, {word}" for word in ("plain", "wide", "deep", "mixed", "cut", "smooth", "dropped"))
    study = make_study(names=names, levels=(None,) * len(names), sizes=SIZES)
    records, findings = simulate(study, sizes=SIZES)
    figure = drawn_by(lead_by_size, records, replace(findings, answer_arms=("ViT, deep",)))
    (axes,) = figure.axes
    colours = {line.get_color() for line in axes.lines if line.get_label().startswith("difference")}
    assert PALE in colours
    assert len(colours) == 2
    FigureCanvasAgg(figure).draw()
    named = {text.get_text(): text for text in axes.texts if text.get_text()}
    assert set(names) == set(named)
    before_last = axes.transData.transform((SIZES[-2], 0))[0]
    assert all(text.get_window_extent().x0 > before_last for text in named.values())


def test_a_figure_of_differences_for_each_arm_that_others_are_compared_with():
    records, findings = partners()
    with theme():
        found = {drawing.title.rpartition(" to ")[2]: drawing for drawing in differences(View(records, findings))}
    against = findings.comparisons.groupby("baseline")["arm"].agg(list).to_dict()
    assert len(found) > 1
    assert found.keys() == against.keys()
    for reference, drawing in found.items():
        assert set(compared_in(drawing)) == {f"{arm} - {reference}" for arm in against[reference]}


def test_of_several_figures_of_differences_the_first_alone_says_the_finding():
    records, findings = partners()
    findings = replace(findings, main_figure="differences", finding="Yes: mixed images give 1 point more")
    with theme():
        shown = [drawing.figure for name, _, drawing in drawings(View(records, findings)) if "differences" in name]
    told = [findings.finding in [text.replace("\n", " ") for text in texts_of(figure)] for figure in shown]
    assert told == [True] + [False] * (len(told) - 1)
    assert len(told) > 1


def test_arms_with_which_one_alone_is_compared_share_a_figure_of_differences():
    records, findings = ladder()
    with theme():
        (drawing,) = differences(View(records, findings))
    rows = findings.comparisons
    assert compared_in(drawing) == [f"{row.arm} - {row.baseline}" for row in rows.itertuples()]
    assert len(set(rows["baseline"])) == len(rows)
    told = [text.replace("\n", " ") for text in texts_of(drawing.figure)]
    assert {"ViT + warm-up − ViT, bare", "ViT, bare − ResNet-8"} <= set(told)


@pytest.mark.parametrize("save", [png, svg])
def test_bytes_of_panels_repeat(save):
    first, second = (save(drawn_by(difference_map, *two_series_by_size())) for _ in range(2))
    assert first == second


def test_descriptions_tell_of_crossings_arms_without_level_and_divergence():
    with theme():
        gaps, curves = (draw(View(*two_series())).text for draw in (gap_by_level, accuracy_by_level))
        lost = accuracy_by_level(View(*depths())).text
    assert "ViT/4 overtakes ResNet-8 at 0.75" in gaps
    assert "ResNet-8, pixels moved" in curves
    assert "diverged: post-norm, 12 blocks, 1 run, post-norm, no warm-up, 8 blocks, 2 runs" in lost


def test_a_key_of_many_long_names_stays_on_the_page_and_above_the_panels():
    with theme():
        names = [f"name {i} {'x' * (1 + 2 * i)}" for i in range(9)]
        canvas = Canvas("Title", "A note.", panels=["one", "two"])
        canvas.key |= dict.fromkeys(names, Mark("#0173b2", "o", "-"))
        figure = canvas.finish("x", "y", ["what it shows"]).figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    assert collisions(figure) == []


def test_study_without_series_keeps_its_looks():
    looks = marks(make_study(names=("a", "b"), levels=(None, None)))
    assert [(look.colour, look.marker, look.dash) for look in looks.values()] == [
        (shaded("resnet"), "D", "-"),
        (shaded("vit", 0), "o", "-"),
        (shaded("vit", 1), "s", "--"),
    ]

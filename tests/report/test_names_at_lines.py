"""Names at the ends of lines: a column in the order of the lines, in which none covers another."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.report.figures.labels import Label, place_labels


def placed(heights, *, inches=2.0):
    """Names by the heights of the ends they stand at, as they are written; and the panel."""
    figure = Figure(figsize=(4, inches))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(0, 2), ylim=(0, 1))
    labels = [
        Label(axes, f"arm {i}" + "\nin two lines" * (i % 3 == 2), 1.0, height, stands_out=i == 1, end=True)
        for i, height in enumerate(heights)
    ]
    place_labels(labels)
    at = {label.name: label.y for label in labels}
    texts = [text for text in axes.texts if text.get_text()]
    return axes, [(at[text.get_text()], text.get_window_extent()) for text in texts], texts


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_all_are_there_in_the_order_of_the_ends(heights):
    axes, found, _ = placed(heights)
    assert len(found) == len(heights)
    rising = sorted(found, key=lambda each: each[1].y0)
    assert [end for end, _ in rising] == pytest.approx(sorted(end for end, _ in rising), abs=1e-9)
    assert all(upper.y0 >= lower.y1 - 0.5 for (_, lower), (_, upper) in pairwise(rising))
    assert axes.bbox.y0 - 1 <= rising[0][1].y0
    assert rising[-1][1].y1 <= axes.bbox.y1 + 1
    assert len({round(box.x0) for _, box in found}) == 1


def test_where_there_is_room_each_stands_at_its_end():
    axes, found, _ = placed([0.2, 0.5, 0.9])
    for end, box in found:
        assert (box.y0 + box.y1) / 2 == pytest.approx(axes.transData.transform((1, end))[1], abs=2)


def test_without_room_the_one_that_stands_out_is_kept():
    _, found, texts = placed([0.5] * 40)
    assert 5 < len(found) < 40
    assert "arm 1" in [text.get_text() for text in texts]


@pytest.mark.parametrize("seed", range(6))
def test_names_beside_crowded_marks_cover_no_mark_no_name_and_no_stroke(seed):
    rng = np.random.default_rng(seed)
    places = [(rng.choice([0.1, 0.3, 0.32, 0.7]), rng.uniform(0.3, 0.6)) for _ in range(12)]
    figure = Figure(figsize=(5, 3.4))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.1, 0.85, 0.85))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot(*zip(*places, strict=True), "o", markersize=5)
    place_labels([Label(axes, f"half of part {i}", *place) for i, place in enumerate(places)])
    names = [text.get_window_extent() for text in axes.texts if text.get_text()]
    strokes = [text.arrow_patch for text in axes.texts if text.arrow_patch is not None]
    assert len(names) == len(places)
    assert not any(one.overlaps(other) for one, other in combinations(names, 2))
    dots = axes.transData.transform(places)
    assert not any(name.contains(*dot) for name in names for dot in dots)
    figure.draw_without_rendering()
    for stroke in strokes:
        path = stroke.get_transform().transform_path(stroke.get_path())
        assert not any(path.intersects_bbox(name.padded(-2), filled=False) for name in names)

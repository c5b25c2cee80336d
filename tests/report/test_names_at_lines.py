"""Names at the ends of lines: a column in the order of the lines, in which none covers another."""

from itertools import pairwise

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

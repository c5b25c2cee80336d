"""The figures of a report, and which of their texts collide."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from harness.report.figures import drawings
from harness.report.style import theme
from harness.report.view import View

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010100000000376ef924"
    "0000000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
)
"""A PNG of one pixel, for reports whose pictures nobody looks at."""


def collisions(figure):
    """Pairs of drawn texts that overlap, and texts that leave the canvas."""
    boxes = []
    draw = Text.draw

    def recorded(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            boxes.append((self.get_text(), Text.get_window_extent(self, renderer)))
        return draw(self, renderer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, theme():
        patch.setattr(Text, "draw", recorded)
        FigureCanvasAgg(figure).draw()
    canvas = figure.bbox
    outside = [
        text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > canvas.width or box.y1 > canvas.height
    ]
    pairs = [
        (text, other)
        for place, (text, box) in enumerate(boxes)
        for other, other_box in boxes[:place]
        if box.overlaps(other_box)
    ]
    assert boxes
    return outside + pairs


def figure_of(name, records, findings):
    """One of the figures that apply; those after it are not drawn."""
    with theme():
        return next(drawing.figure for found, _, drawing in drawings(View(records, findings)) if found == name)


def figures_of(records, findings):
    """Every figure that applies, by its name, the main figure first."""
    with theme():
        return {name: drawing.figure for name, _, drawing in drawings(View(records, findings))}

"""Names beside marks and ends of lines, which stand over no mark, no bar and no other name."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from harness.analysis.estimate import Floats
from harness.report.style import INK, LABEL_SIZE, MUTED

_NEAR, _STEP, _RINGS = 7.0, 9.0, 9  # how far from its mark a name is tried, points
_TURNS = (0, 30, -30, 60, -60, 180, 150, -150, 120, -120, 90, -90)  # and in which directions, degrees: right first


@dataclass(frozen=True)
class Label:
    """A name at a mark, or at the end of a line."""

    axes: Axes
    name: str
    x: float
    y: float  # as drawn
    stands_out: bool = False
    end: bool = False  # of a line that goes on to the right no further


def place_labels(labels: Sequence[Label]) -> None:
    """Write each name where it covers nothing, as near to its mark as that allows, with a stroke to it if it is far.

    Call when the axes have their final place. A name for which there is no room is left out.
    """
    taken = np.array(
        [box.extents for axes in dict.fromkeys(label.axes for label in labels) for box in _drawn(axes)]
    ).reshape(-1, 4)
    for label in sorted(labels, key=lambda label: (not label.stands_out, -label.y, label.x, label.name)):
        text = label.axes.annotate(
            label.name,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            size=LABEL_SIZE,
            va="center",
            color=INK if label.stands_out else MUTED,
            zorder=6,
            annotation_clip=False,
        )
        panel, room = label.axes.bbox.padded(2), label.axes.figure.bbox.padded(-4)
        at_mark, scale = text.get_window_extent(), label.axes.figure.dpi / 72
        for ring, x, y in _places(label.end):
            side, left_of_it = ("left", 0.0) if x > 1 else ("right", 1.0) if x < -1 else ("center", 0.5)
            box = at_mark.translated(x * scale - left_of_it * at_mark.width, y * scale)
            inside = panel.x0 + 2 < box.x0 and box.x1 <= room.x1 and panel.y0 < box.y0 and box.y1 <= panel.y1
            if inside and not _overlaps(box, taken):
                text.set(position=(x, y), horizontalalignment=side)
                taken = np.vstack([taken, box.padded(2).extents])
                if ring:
                    _draw_stroke(label, x, y)
                break
        else:
            text.remove()


def _overlaps(box: Bbox, others: Floats) -> bool:
    left, low, right, high = others.T
    return bool(((left < box.x1) & (right > box.x0) & (low < box.y1) & (high > box.y0)).any())


def _places(end: bool) -> Iterator[tuple[int, float, float]]:
    """Offsets from the mark in points, ring by ring; at the end of a line to its right alone."""
    for ring in range(_RINGS):
        for turn in (turn for turn in _TURNS if not end or abs(turn) < 90):
            far = _NEAR + ring * _STEP
            yield ring, round(far * math.cos(math.radians(turn)), 1), round(far * math.sin(math.radians(turn)), 1)


def _draw_stroke(label: Label, x: float, y: float) -> None:
    label.axes.annotate(
        "",
        (label.x, label.y),
        xytext=(x, y),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
        annotation_clip=False,
    )


def _drawn(axes: Axes) -> Iterator[Bbox]:
    """Boxes of the marks and of the pieces of lines of axes, pixels."""
    scale = axes.figure.dpi / 72
    for line in axes.lines:
        x, y = (np.asarray(each, dtype=np.float64) for each in line.get_data())
        if line.get_drawstyle() == "steps-post":
            x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
        places = line.get_transform().transform(np.column_stack([x, y]))
        if line.get_marker() not in ("", "None", None):
            half = scale * (line.get_markersize() / 2 + 0.5)
            for x, y in places:
                yield Bbox.from_extents(x - half, y - half, x + half, y + half)
        if line.get_linestyle() not in ("", "None"):
            for (x, y), (to_x, to_y) in pairwise(places):
                for start, end in _pieces((x, y), (to_x, to_y)):
                    yield Bbox.from_extents(*np.minimum(start, end) - scale, *np.maximum(start, end) + scale)


def _pieces(start: tuple[float, float], end: tuple[float, float]) -> Iterator[tuple[Floats, Floats]]:
    """A straight line in short pieces, whose boxes hug it."""
    number = max(1, int(max(abs(end[0] - start[0]), abs(end[1] - start[1])) // 12))
    cuts = np.linspace(start, end, min(number, 200) + 1)
    yield from pairwise(cuts)

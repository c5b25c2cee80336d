"""Names beside marks and ends of lines, which stand over no mark, no bar and no other name."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from harness.analysis.estimate import Floats
from harness.report.style import INK, LABEL_SIZE, MUTED

_NEAR, _STEP, _RINGS = 7.0, 9.0, 11  # how far from its mark a name is tried, points
_ASIDE = 22.0  # how far from the ends of lines the column of their names is, where strokes lead to it, points
_TURNS = (0, 30, -30, 60, -60, 180, 150, -150, 120, -120, 90, -90)  # and in which directions, degrees: right first
_CROSSED, _LOST = 12.0, 500.0  # what a piece of a line under a stroke, and a name without a place, count as, points
_MARGIN = np.array([-2, -2, 2, 2])  # around a name, pixels
_TRIES = 4  # times that names are placed anew, those that found no place before first
_ORDERS: tuple[Callable[["Label"], tuple[float, float]], ...] = (
    lambda label: (-label.y, label.x),
    lambda label: (label.y, label.x),
    lambda label: (label.x, -label.y),
    lambda label: (-label.x, -label.y),
)
"""In which names are placed; the best of them counts."""


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
    """Write names beside their marks, those at the ends of lines in a column.

    Call when the axes have their final place. A name for which there is no room is left out.
    """
    _place_near([label for label in labels if not label.end])
    for axes in dict.fromkeys(label.axes for label in labels if label.end):
        _place_in_a_column([label for label in labels if label.end and label.axes is axes])


def room_at_ends(labels: Sequence[Label]) -> float:
    """Width that the names at ends of lines may have, inches; where there are none, no end."""
    rooms = (
        (label.axes.figure.bbox.x1 - label.axes.transData.transform((label.x, label.y))[0]) / label.axes.figure.dpi
        for label in labels
        if label.end
    )
    return min(rooms, default=math.inf) - (_ASIDE + _NEAR) / 72


def _place_in_a_column(labels: Sequence[Label]) -> None:
    """Right of the ends of the lines of axes, in their order, so that no stroke to one crosses another."""
    axes = labels[0].axes
    ends = {label: axes.transData.transform((label.x, label.y)) for label in labels}
    texts = {label: _written(label) for label in sorted(labels, key=lambda label: (not label.stands_out, label.name))}
    kept, room = list(texts), axes.bbox.height
    highs = {label: 1.02 * text.get_window_extent().height for label, text in texts.items()}
    while sum(highs[label] for label in kept) > room and len(kept) > 1:
        texts.pop(kept.pop()).remove()
    kept.sort(key=lambda label: (ends[label][1], label.name))
    high = np.array([highs[label] for label in kept])
    heights = _spread(np.array([ends[label][1] for label in kept]), high, axes.bbox.y0, axes.bbox.y1)
    is_moved = [abs(height - ends[label][1]) > highs[label] / 2 for label, height in zip(kept, heights, strict=True)]
    scale = axes.figure.dpi / 72
    column = max(ends[label][0] for label in kept) + scale * (_ASIDE if any(is_moved) else _NEAR)
    for label, height, moved in zip(kept, heights, is_moved, strict=True):
        x, y = (np.array([column, height]) - ends[label]) / scale
        texts[label].set(position=(x, y), horizontalalignment="left")
        texts[label].set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0})  # over a line through the axes
        if moved or x > _ASIDE:
            _draw_stroke(label, x, y)


def _spread(middles: Floats, high: Floats, low: float, top: float) -> Floats:
    """The nearest middles (least squares) to some in rising order, of texts so high that none covers another.

    They stay from `low` to `top`.
    """
    from scipy.optimize import isotonic_regression

    steps = np.cumsum(high) - high / 2
    rising = isotonic_regression(middles - steps).x
    return np.clip(rising, low, top - high.sum()) + steps


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a name may stand, pixels."""

    box: Floats
    side: str  # of the name that is nearest to its mark
    end: Floats  # of the stroke to it
    stroke: Floats  # boxes of its pieces; none beside the mark
    cost: float


def _place_near(labels: Sequence[Label]) -> None:
    """Write each name where it covers nothing, as near to its mark as that allows, with a stroke to it if it is far."""
    axes = dict.fromkeys(label.axes for label in labels)
    drawn = np.array([box.extents for each in axes for box in _drawn(each)]).reshape(-1, 4)
    texts = {label: _written(label) for label in labels}
    sizes = {label: text.get_window_extent() for label, text in texts.items()}
    tried = list[dict[Label, _Place | None]]()
    for order in _ORDERS:
        queue = sorted(labels, key=lambda label: (not label.stands_out, *order(label), label.name))
        for _ in range(_TRIES):
            tried.append(places := _placed(queue, sizes, drawn))
            if not (lost := [label for label in queue if not places[label]]):
                break
            queue = [*lost, *(label for label in queue if label not in lost)]
    found = min(tried, key=lambda places: sum(place.cost if place else _LOST for place in places.values()))
    for label, text in texts.items():
        if (place := found[label]) is None:
            text.remove()
            continue
        mark, scale = _mark(label), label.axes.figure.dpi / 72
        left, low, right, high = place.box
        edge = {"left": left, "right": right, "center": (left + right) / 2}[place.side]
        x, y = (np.array([edge, (low + high) / 2]) - mark) / scale
        text.set(position=(x, y), horizontalalignment=place.side)
        if len(place.stroke):
            _draw_stroke(label, *(place.end - mark) / scale)


def _mark(label: Label) -> Floats:
    return np.asarray(label.axes.transData.transform((label.x, label.y)))


def _placed(labels: Sequence[Label], sizes: Mapping[Label, Bbox], drawn: Floats) -> dict[Label, _Place | None]:
    """A place for each name, or none, in an order, then again beside all others."""
    found = dict.fromkeys(labels, None) | dict[Label, _Place | None]()
    for label in (*labels, *labels):
        others = [place for other, place in found.items() if place and other is not label]
        names = np.array([place.box + _MARGIN for place in others]).reshape(-1, 4)
        strokes = np.vstack([np.empty((0, 4)), *(place.stroke for place in others)])
        found[label] = _best(label, sizes[label], drawn, names, strokes)
    return found


def _best(label: Label, size: Bbox, drawn: Floats, names: Floats, strokes: Floats) -> _Place | None:
    """The best place over nothing that is drawn, no other name and no stroke.

    Its stroke runs below no name, and below other strokes at a cost.
    """
    best: _Place | None = None
    for ring, place in _places(label, size, drawn):
        if best and best.cost <= _STEP * ring:
            break
        if any(_overlaps(place.box, each) for each in (drawn, names, strokes)):
            continue
        if any(_overlaps(piece, names) for piece in place.stroke):
            continue
        cost = place.cost + _CROSSED * sum(_overlaps(piece, strokes) for piece in place.stroke)
        if best is None or cost < best.cost:
            best = replace(place, cost=cost)
    return best


def _places(label: Label, size: Bbox, drawn: Floats) -> Iterator[tuple[int, _Place]]:
    """Where a name is tried, ring by ring, within its axes or right of them."""
    panel, room = label.axes.bbox.padded(2), label.axes.figure.bbox.padded(-4)
    mark, scale = _mark(label), label.axes.figure.dpi / 72
    for ring, turn in product(range(_RINGS), _TURNS):
        far, across, up = _NEAR + ring * _STEP, math.cos(math.radians(turn)), math.sin(math.radians(turn))
        side, of_width = ("left", 0.0) if across > 0.1 else ("right", 1.0) if across < -0.1 else ("center", 0.5)
        x = mark[0] + scale * far * across - of_width * size.width
        y = mark[1] + scale * far * up - (1 - up) / 2 * size.height
        box = Bbox.from_bounds(x, y, size.width, size.height)
        if panel.x0 + 2 < box.x0 and box.x1 <= room.x1 and panel.y0 < box.y0 and box.y1 <= panel.y1:
            end, stroke = np.clip(mark, box.min, box.max), np.empty((0, 4))
            if ring:
                start = mark + _NEAR * scale * (end - mark) / max(1.0, float(np.hypot(*(end - mark))))
                pieces = _pieces(tuple(start), tuple(end))
                stroke = np.array([np.r_[np.minimum(*piece), np.maximum(*piece)] for piece in pieces]).reshape(-1, 4)
            crossed = sum(_overlaps(piece, drawn) for piece in stroke)
            yield ring, _Place(np.array(box.extents), side, end, stroke, _STEP * ring + _CROSSED * crossed)


def _written(label: Label) -> Annotation:
    """The name, over its mark."""
    return label.axes.annotate(
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


def _overlaps(box: Floats, others: Floats) -> bool:
    left, low, right, high = others.T
    return bool(((left < box[2]) & (right > box[0]) & (low < box[3]) & (high > box[1])).any())


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

"""A figure's page: title, one pair of axes and a column of labels at its right, laid out so that no texts overlap."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from harness.report.style import INK, MUTED, Mark

WIDTH = 5.0
"""Of every figure, inches: its 9 pt text stays readable on a phone's width."""
LABEL_SIZE = 8.5
TITLE_SIZE = 11
LINE_HEIGHT = LABEL_SIZE * 1.22 / 72
"""Of a label's line, inches."""
PAD = 0.1
"""Between what is drawn and the edge, inches."""
_LEADER = 0.3


@dataclass(frozen=True)
class Label:
    """An entry of the right column; `at` is the height in the axes that it belongs to, None in a plain key."""

    text: str
    mark: Mark | None
    at: float | None = None


class Heading:
    """A figure's title and the note below it, over its whole width."""

    def __init__(self, title: str, note: str = "") -> None:
        self._title = wrap(title, WIDTH - 2 * PAD, TITLE_SIZE)
        self._note = wrap(note, WIDTH - 2 * PAD, LABEL_SIZE) if note else []
        self.height = 0.19 * len(self._title) + 0.155 * len(self._note) + 0.16
        """Inches."""

    def draw(self, figure: Figure) -> None:
        """At the top of a figure that has its final size."""
        height = figure.get_figheight()
        top, left = 1 - 0.06 / height, PAD / WIDTH
        figure.text(left, top, "\n".join(self._title), size=TITLE_SIZE, va="top", linespacing=1.15)
        if self._note:
            below = top - (0.19 * len(self._title) + 0.03) / height
            text = "\n".join(self._note)
            figure.text(left, below, text, size=LABEL_SIZE, color=MUTED, va="top", linespacing=1.15)


class Sheet:
    """One figure under construction: draw on `axes`, then `finish`."""

    def __init__(self, title: str, note: str = "", *, height: float = 3.6) -> None:
        heading = Heading(title, note)
        self._head = heading.height
        self.height = height + self._head
        self.figure = Figure(figsize=(WIDTH, self.height))
        self.axes: Axes = self.figure.add_axes((0.15, 0.2, 0.6, 0.6))
        heading.draw(self.figure)
        self._column: list[tuple[Label, Text]] = []

    @property
    def renderer(self) -> RendererAgg:
        """Measures texts at the figure's resolution."""
        return FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-any-return, no-untyped-call]

    def column(self, labels: Iterable[Label]) -> None:
        """Put labels at the right of the axes, each at the height of what it names, moved apart where needed."""
        self._column = [
            (label, self.figure.text(0, 0, label.text, size=LABEL_SIZE, color=INK, va="center", linespacing=1.1))
            for label in labels
        ]

    def finish(self) -> Figure:
        """Lay out the page; call once everything is drawn."""
        renderer = self.renderer
        widest = max((text.get_window_extent(renderer).width for _, text in self._column), default=0.0)
        right = widest / self.figure.dpi + (_LEADER + PAD / 2 if self._column else 0)
        for _ in range(2):  # the second pass sees the ticks of the final size
            self._fit_axes(renderer, right)
            for axis in (self.axes.xaxis, self.axes.yaxis):
                thin_ticks(axis, renderer)
        self._place_column(renderer)
        return self.figure

    def _fit_axes(self, renderer: RendererAgg, right: float) -> None:
        axes, dpi = self.axes, self.figure.dpi
        outer, inner = axes.get_tightbbox(renderer), axes.get_window_extent(renderer)
        assert outer is not None
        left = max(0.0, inner.x0 - outer.x0) / dpi + PAD
        bottom = max(0.0, inner.y0 - outer.y0) / dpi + PAD
        over = max(0.0, outer.x1 - inner.x1) / dpi
        width = WIDTH - left - max(right, over) - PAD
        height = self.height - bottom - self._head
        axes.set_position((left / WIDTH, bottom / self.height, width / WIDTH, height / self.height))

    def _place_column(self, renderer: RendererAgg) -> None:
        if not self._column:
            return
        box = self.axes.get_window_extent(renderer)
        gap = 0.03 * self.figure.dpi
        entries = [
            (label, text, text.get_window_extent(renderer).height + gap, _height_in(self.axes, label, box))
            for label, text in self._column
        ]
        entries.reverse()  # heights ascend, and the first of a plain key is at the top
        entries.sort(key=lambda entry: entry[3])
        low, high = 0.0, box.y1 + 0.1 * self.figure.dpi
        heights = spread([entry[3] for entry in entries], [entry[2] for entry in entries], low, high)
        edge, size = self.figure.bbox.width, self.figure.bbox.height
        for (label, text, _, wanted), y in zip(entries, heights, strict=True):
            start, end = box.x1 + 0.05 * self.figure.dpi, box.x1 + (_LEADER - 0.05) * self.figure.dpi
            text.set_position(((box.x1 + _LEADER * self.figure.dpi) / edge, y / size))
            if label.mark is not None:
                self._draw_leader(label, (start / edge, end / edge), (wanted if label.at is not None else y, y))

    def _draw_leader(self, label: Label, across: tuple[float, float], heights: tuple[float, float]) -> None:
        assert label.mark is not None
        size = self.figure.bbox.height
        marker = label.mark.marker if label.at is None else ""
        xs = [across[0], across[1]] if label.at is not None else [across[0], sum(across) / 2, across[1]]
        ys = [heights[0] / size, heights[1] / size] if label.at is not None else [heights[1] / size] * 3
        self.figure.add_artist(
            Line2D(
                xs,
                ys,
                color=label.mark.colour,
                linestyle=label.mark.dash,
                marker=marker,
                markevery=[1] if marker else None,
                markersize=5,
                linewidth=1.2,
                transform=self.figure.transFigure,
            )
        )


def _height_in(axes: Axes, label: Label, box: Bbox) -> float:
    """The pixel height of what a label names; plain keys start at the top."""
    if label.at is None:
        return float(box.y1)
    return float(axes.transData.transform((axes.get_xlim()[1], label.at))[1])


def spread(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Centres of labels of some sizes, near their ascending wanted places, none overlapping, within [low, high]."""
    offsets = np.cumsum([0.0, *((a + b) / 2 for a, b in pairwise(sizes))])
    blocks: list[list[float]] = []  # [sum, count] of labels that touch: each block sits at its mean
    for place, offset in zip(wanted, offsets, strict=True):
        blocks.append([place - offset, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, members = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += members
    centres = np.repeat([total / members for total, members in blocks], [int(members) for _, members in blocks])
    first, last = low + sizes[0] / 2, high - sizes[-1] / 2 - float(offsets[-1])
    return [float(x) for x in np.clip(centres, first, max(first, last)) + offsets]


@lru_cache(maxsize=1)
def _measurer() -> RendererAgg:
    return RendererAgg(8, 8, 72)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Width of one line of text, inches."""
    font = FontProperties(family=mpl.rcParams["font.family"], size=size)
    width, _, _ = _measurer().get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width) / 72


def wrap(text: str, width: float, size: float) -> list[str]:
    """Lines of at most `width` inches; a longer word is cut."""
    lines = [""]
    for word in text.split(" "):
        rest = word
        if lines[-1] and text_width(f"{lines[-1]} {rest}", size) <= width:
            lines[-1] += f" {rest}"
            continue
        if lines[-1]:
            lines.append("")
        while text_width(rest, size) > width and len(rest) > 1:
            fits = next((n for n in range(len(rest) - 1, 1, -1) if text_width(rest[:n], size) <= width), 1)
            lines[-1:] = [rest[:fits], ""]
            rest = rest[fits:]
        lines[-1] = rest
    return lines


def short_names(names: Sequence[str], width: float, *, lines: int = 2) -> dict[str, str]:
    """Each name wrapped to some lines of `width` inches, shortened in its middle where it is longer; all distinct."""
    short = {name: _fitted(name, width, lines) for name in names}
    for text in {text for text in short.values() if list(short.values()).count(text) > 1}:
        alike = [name for name in names if short[name] == text]
        start = max(0, _alike(alike) - 4)  # keep the part that tells them apart
        short |= {name: _fitted(f"…{name[start:]}", width, lines) for name in alike}
    if len(set(short.values())) < len(short):
        return {name: _fitted(f"{i}: {name}", width, lines) for i, name in enumerate(names, 1)}
    return short


def _alike(names: Sequence[str]) -> int:
    """How many first characters some names share."""
    return next((i for i, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)


def _fitted(name: str, width: float, lines: int) -> str:
    def shortened(kept: int) -> list[str]:
        head = (kept + 1) // 2
        text = name if kept >= len(name) else f"{name[:head].rstrip()}…{name[len(name) - kept + head :].lstrip()}"
        return wrap(text, width, LABEL_SIZE)

    fewer, more = 1, len(name) + 1  # the most characters that fit, by bisection
    while more - fewer > 1:
        middle = (fewer + more) // 2
        fewer, more = (middle, more) if len(shortened(middle)) <= lines else (fewer, middle)
    return "\n".join(shortened(fewer))


def lines_in(labels: Iterable[str]) -> int:
    """Total of text lines, for the height of a column."""
    return sum(label.count("\n") + 1 for label in labels)


def fix_ticks(axis: Axis, places: Sequence[float], write: Callable[[float], str]) -> None:
    """Ticks at given places only, written by `write`; call after setting the axis' scale."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def thin_ticks(axis: Axis, renderer: RendererAgg) -> None:
    """Keep every second (third, ...) tick of an axis with fixed ticks until no two labels touch."""
    locator = axis.get_major_locator()
    if not isinstance(locator, FixedLocator):
        return
    places = sorted(float(place) for place in locator())
    for step in range(1, len(places) + 1):
        axis.set_major_locator(FixedLocator(places[::step]))
        boxes = [label.get_window_extent(renderer) for label in axis.get_ticklabels() if label.get_text()]
        if not _touch(boxes):
            return


def _touch(boxes: Sequence[Bbox]) -> bool:
    padded = [box.padded(4) for box in boxes]
    return any(first.overlaps(second) for first, second in pairwise(padded))

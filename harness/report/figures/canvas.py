"""A figure's page: heading, key, axes in constrained layout, and texts that fit."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from harness.report.figures.labels import Label, place_labels, room_at_ends
from harness.report.figures.marks_on_axes import drawn_data
from harness.report.style import INK, LABEL_SIZE, MUTED, PAD, Mark, lay_out
from harness.report.view import MOST_COLOURED, View

WIDTH = 5.0  # of every figure, inches: its 9 pt text stays readable on a phone's width
_LINE = LABEL_SIZE * 1.22 / 72  # of a label's line, inches
_LOW = 1.6  # a row of panels below which the y axis has its name once, inches
_MOST_NUMBERED = 2  # panels side by side whose axes have room for numbers; of more, each is an image
_LABEL_WIDTH = 1.7  # of a name beside a mark, inches
_FOOT, _LEFT, _TO_NAME = (
    0.5,
    0.8,
    0.35,
)  # of a panel below and left of its axes; from the end of a line to its name; inches
_SHARED: dict[str, dict[str, Any]] = {
    "all": {"sharex": True, "sharey": True},
    "x": {"sharex": True, "sharey": False},
    "col": {"sharex": "col", "sharey": "col"},
}
_MOST_TOLD = 8
_MEASURER = RendererAgg(8, 8, 72)  # type: ignore[no-untyped-call]


class Drawing(NamedTuple):
    """A figure with its title, with what it shows, with numbers, for those who do not see it, and with its data."""

    title: str
    text: str
    figure: Figure
    data: pd.DataFrame  # as `drawn_data` has it


class Canvas:
    """One figure under construction: draw on `axes` or on each of `panels`, then `finish`."""

    def __init__(
        self,
        title: str,
        note: str = "",
        *,
        finding: str = "",
        height: float = 3.6,
        panels: Sequence[str] = ("",),
        columns: int = 2,
        share: Literal["all", "x", "col"] = "all",
    ) -> None:
        """`height` of a row of panels in inches, its labels included; `panels`: their headings.

        A heading may reach into a next panel without one. `share`: the axes that all panels have in common, or those of
        a column. A main figure is headed by its `finding`, what it shows.
        """
        self.title, self._height, self._columns = title, height, min(columns, len(panels))
        self._rows = -(-len(panels) // self._columns)
        self.figure = Figure(figsize=(WIDTH, height * self._rows))
        FigureCanvasAgg(self.figure)  # keeps what measures texts, which a figure without it makes anew for each
        self._corner = self.figure.dpi_scale_trans + ScaledTranslation(0, 1, self.figure.transFigure)  # type: ignore[arg-type]
        self._head = PAD / 2
        heading, note = (finding, f"{title}. {note}") if finding else (title, note)
        for text, size, colour in ((heading, 11.0, INK), (note, LABEL_SIZE, MUTED)):
            lines = wrap(text, WIDTH - 2 * PAD, size)
            place = {"va": "top", "transform": self._corner}
            self._put(self.figure.text(PAD, -self._head, lines, place, size=size, color=colour, linespacing=1.15))
        grid = list(self.figure.subplots(self._rows, self._columns, **_SHARED[share], squeeze=False).flat)
        for spare in grid[len(panels) :]:
            spare.remove()
        self.panels: list[Axes] = grid[: len(panels)]
        self.axes = self.panels[0]
        beside = 0.2 if self._columns > _MOST_NUMBERED and "" not in panels else 0.7  # inches: an axis has numbers
        short = short_names(list(dict.fromkeys(panels)), (1 + ("" in panels)) * WIDTH / self._columns - beside)
        for axes, heading in zip(self.panels, panels, strict=True):
            axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            axes.set_title(short[heading], size=9.5, loc="left", pad=4)
        for axes in self.panels[-self._columns :]:
            axes.tick_params(labelbottom=True)  # a panel above a spare place, too
        self.key: dict[str, Mark] = {}
        """What stands above the panels: names and looks of lines."""
        self.labels: list[Label] = []
        """What stands beside marks and ends of lines."""

    def tell(self, view: View, arm: str, looks: Mapping[str, Mark], end: tuple[float, float]) -> None:
        """Name an arm's line: above the panels, or, of so many that one stands out, at its end."""
        if looks[arm] == view.looks[arm] and len(looks) <= MOST_COLOURED:
            self.key[view.named(arm)] = looks[arm]
        else:
            self.labels.append(Label(self.axes, view.named(arm), *end, stands_out=arm == view.highlighted, end=True))

    def rows(self, names: Sequence[str], values: Sequence[str], least: float = 0.3) -> None:
        """A row for each name at the left, the first at the top, with its value at the right, `least` inches high."""
        short = short_names(names, 1.4 if len(names) <= 12 else 1.8, lines=3 if len(names) <= 12 else 1)
        self.axes.set_yticks(range(len(names)), [short[name] for name in names], linespacing=1.05)
        self.axes.set_ylim(len(names) - 0.4, -0.6)
        self.axes.grid(visible=False, axis="y")
        self.axes.tick_params(axis="y", length=0)
        self.axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        most = max(name.count("\n") + 1 for name in short.values())
        self._height = max(least, most * _LINE * 1.06 + 0.1) * len(names) + 0.75
        for place, value in enumerate(values):
            beside = self.axes.get_yaxis_transform()
            self.axes.text(1.03, place, value, transform=beside, va="center", size=LABEL_SIZE, clip_on=False)

    def finish(self, x: str, y: str, told: Sequence[str], data: pd.DataFrame | None = None) -> Drawing:
        """Name the axes and lay out the page, once everything is drawn; `told`: what it shows, piece by piece.

        `data`: what is behind it, where that is not in its lines.
        """
        if self._columns > 1:
            self.figure.supxlabel(x, size=9.5)
        else:
            self.panels[-1].set_xlabel(x)
        if self._height < _LOW and self._rows > 1:
            self.figure.supylabel(y, size=9.5)
        else:
            for axes in self.panels[:: self._columns]:
                axes.set_ylabel(y)
        if self.key:
            self._put(self._draw_key())
        if any(label.end for label in self.labels):
            self._leave_room()
        self.figure.set_figheight(self._head + self._height * self._rows)
        lay_out(self.figure, self._head)
        for axes in self.panels:
            _thin_ticks(axes.xaxis)
            _thin_ticks(axes.yaxis)
        if self.labels:
            short = self._short_labels(min(_LABEL_WIDTH, room_at_ends(self.labels)))
            place_labels([replace(label, name=short[label.name]) for label in self.labels])
        more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        text = f"{self.title}: {'; '.join(told[:_MOST_TOLD])}{more}."
        return Drawing(self.title, text, self.figure, drawn_data(self.figure) if data is None else data)

    def _short_labels(self, width: float) -> dict[str, str]:
        """The names of lines and marks in `width` inches: in two lines where those at ends of lines find room so."""
        names, lines = [label.name for label in self.labels], Counter[Axes]()
        short = short_names(names, width)
        for label in self.labels:
            lines[label.axes] += label.end * (short[label.name].count("\n") + 1)
        has_room = _LINE * max(lines.values()) < self._height - _FOOT
        return short if has_room else short_names(names, width, lines=1)

    def _leave_room(self) -> None:
        """Widen the axes, which share a scale, to the right of the ends of lines, where their names stand."""
        lines = "\n".join(self._short_labels(_LABEL_WIDTH).values()).split("\n")
        share = (max(text_width(line, LABEL_SIZE) for line in lines) + _TO_NAME) / (WIDTH / self._columns - _LEFT)
        scale = self.axes.xaxis.get_transform()
        left, right = scale.transform(np.array(self.axes.get_xlim()))
        for axes in self.panels:
            axes.spines["bottom"].set_bounds(*axes.get_xlim())
        right += (right - left) * share / (1 - share)
        self.axes.set_xlim(right=float(scale.inverted().transform(np.array([right]))[0]))

    def _put(self, artist: Text | Legend) -> None:
        """Leave room in the heading for what has been put there."""
        self._head += artist.get_window_extent().height / self.figure.dpi + 0.07

    def _draw_key(self) -> Legend:
        names = short_names(list(self.key), WIDTH - 1, lines=1)
        entry = 0.6 + max(text_width(name, LABEL_SIZE) for name in names.values())
        looks = self.key.values()
        return self.figure.legend(
            [Line2D([], [], marker=look.marker, markersize=5, linewidth=1.2, **look.line) for look in looks],
            list(names.values()),
            loc="upper left",
            bbox_to_anchor=(PAD, -self._head),
            bbox_transform=self._corner,
            ncols=max(1, int((WIDTH - 2 * PAD) / entry)),
            handlelength=2.5,
            columnspacing=1.5,
        )


def from_to(name: str, values: Sequence[str]) -> str:
    """A line's name, and the values of its ends."""
    return f"{name} {' and '.join(dict.fromkeys((values[0], values[-1])))}"


def _thin_ticks(axis: Axis) -> None:
    """Keep every second (third, ...) tick of an axis with fixed ticks until no two labels touch."""
    locator = axis.get_major_locator()
    if not isinstance(locator, FixedLocator):
        return
    places = sorted(float(place) for place in locator())
    for step in range(1, len(places) + 1):
        axis.set_major_locator(FixedLocator(places[::step]))
        boxes = [label.get_window_extent().padded(4) for label in axis.get_ticklabels() if label.get_text()]
        if not any(first.overlaps(second) for first, second in pairwise(boxes)):
            return


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Width of one line of text, inches."""
    font = FontProperties(family=mpl.rcParams["font.family"], size=size)
    width, _, _ = _MEASURER.get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width) / 72


def wrap(text: str, width: float, size: float = LABEL_SIZE) -> str:
    """The text in lines of at most `width` inches; a longer word is cut."""
    lines = [""]
    for word in re.findall(r"\S+\s*", text):
        for piece in [word] if text_width(word.rstrip(), size) <= width else word:
            if lines[-1] and text_width((lines[-1] + piece).rstrip(), size) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def short_names(names: Sequence[str], width: float, *, lines: int = 2) -> dict[str, str]:
    """Each name wrapped to some lines of `width` inches, shortened in its middle where it is longer; all distinct."""
    short = {name: _fitted(name, width, lines) for name in names}
    for text in [text for text, times in Counter(short.values()).items() if times > 1]:
        alike = [name for name in short if short[name] == text]
        same = next((i for i, letters in enumerate(zip(*alike, strict=False)) if len(set(letters)) > 1), 0)
        start = max(0, same - 4)  # keep the part that tells them apart
        short |= {name: _fitted(f"…{name[start:]}", width, lines) for name in alike}
    if len(set(short.values())) < len(short):
        return {name: _fitted(f"{i}: {name}", width, lines) for i, name in enumerate(names, 1)}
    return short


def _fitted(name: str, width: float, lines: int) -> str:
    fitted = ""
    for left_out in range(max(0, len(name) - int(20 * width * lines)), len(name)):
        head = (len(name) - left_out + 1) // 2
        short = f"{name[:head].rstrip()}…{name[head + left_out :].lstrip()}" if left_out else name
        if (fitted := wrap(short, width)).count("\n") < lines:
            break
    return fitted

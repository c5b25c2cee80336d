"""A figure's page: heading, key, axes in constrained layout, and names beside the axes that do not overlap."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import ScaledTranslation

from harness.report.figures.labels import short_names, spread, text_width, wrap
from harness.report.figures.looks import Mark
from harness.report.figures.ticks import few_ticks, thin_ticks
from harness.report.style import INK, LABEL_SIZE, MUTED

WIDTH = 5.0
"""Of every figure, inches: its 9 pt text stays readable on a phone's width."""
_LINE = LABEL_SIZE * 1.22 / 72
"""Of a label's line, inches."""
_PAD = 0.1
"""Between what is drawn and the edge, inches."""
_LEADER = 0.3
"""Of the lines from the axes to names beside them, inches."""
_TITLE_SIZE = 11
_PANEL_SIZE = 9.5


@dataclass(frozen=True)
class Label:
    """A name beside the axes, at the height `at` of what it names, with a line in that one's look where it has one."""

    text: str
    at: float
    mark: Mark | None = None


class Canvas:
    """One figure under construction: draw on `axes` or on each of `panels`, then `finish`."""

    def __init__(
        self,
        title: str,
        note: str = "",
        *,
        height: float = 3.6,
        panels: Sequence[str] = ("",),
        columns: int = 2,
        sharey: bool | Literal["col"] = True,
        key: Mapping[str, Mark] | None = None,
    ) -> None:
        """`height` of a row of panels in inches, its labels included; `panels`: their headings; `key`: above them."""
        columns = min(columns, len(panels))
        rows = -(-len(panels) // columns)
        self.figure = Figure(figsize=(WIDTH, height * rows))
        self._head = self._draw_heading(title, note)
        self._head += self._draw_key(key) if key else 0
        self._height = self._head + height * rows
        self.figure.set_figheight(self._height)
        grid = list(self.figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False).flat)
        for spare in grid[len(panels) :]:
            spare.remove()
        self.panels: list[Axes] = grid[: len(panels)]
        short = short_names(list(dict.fromkeys(panels)), WIDTH / columns - 0.7)
        for axes, heading in zip(self.panels, panels, strict=True):
            few_ticks(axes.yaxis)
            axes.set_title(short[heading], size=_PANEL_SIZE, loc="left", pad=4)
        for axes in self.panels[-columns:]:
            axes.tick_params(labelbottom=True)  # a panel above a spare place, too
        self.axes = self.panels[0]
        self._beside: list[tuple[Label, Annotation]] = []

    def beside(self, labels: Iterable[Label]) -> None:
        """Put names at the right of the axes, each at the height of what it names, moved apart where needed."""
        for label in labels:
            text = self.axes.annotate(
                label.text,
                (1, label.at),
                (72 * _LEADER, 0),
                xycoords=self.axes.get_yaxis_transform(),
                textcoords="offset points",
                va="center",
                size=LABEL_SIZE,
                color=INK,
                linespacing=1.1,
                annotation_clip=False,
            )
            self._beside.append((label, text))

    def key_beside(self, key: Mapping[str, Mark]) -> None:
        """A key at the right of the axes."""
        texts = list(key)
        self.axes.legend(_samples(key.values()), texts, loc="upper left", bbox_to_anchor=(1.03, 1), handlelength=2)

    def finish(self) -> Figure:
        """Lay out the page; call once everything is drawn."""
        pad, free = _PAD / 2, 1 - self._head / self._height
        self.figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, rect=(0, 0, 1, free)))
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # from here on what is moved moves nothing else
        renderer = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]
        for axes in self.panels:
            for axis in (axes.xaxis, axes.yaxis):
                thin_ticks(axis, renderer)
        if self._beside:
            self._move_apart(renderer)
        return self.figure

    def _draw_heading(self, title: str, note: str) -> float:
        """The title and the note below it, over the whole width; returns their height."""
        top = ScaledTranslation(0, 1, self.figure.transFigure)  # type: ignore[arg-type]
        self._corner = self.figure.dpi_scale_trans + top
        titles = wrap(title, WIDTH - 2 * _PAD, _TITLE_SIZE)
        notes = wrap(note, WIDTH - 2 * _PAD, LABEL_SIZE) if note else []
        below = -0.09 - 0.19 * len(titles)
        for y, lines, size, colour in ((-0.06, titles, _TITLE_SIZE, INK), (below, notes, LABEL_SIZE, MUTED)):
            text = "\n".join(lines)
            self.figure.text(_PAD, y, text, size=size, color=colour, va="top", linespacing=1.15, transform=self._corner)
        return 0.19 * len(titles) + 0.155 * len(notes) + 0.16

    def _draw_key(self, key: Mapping[str, Mark]) -> float:
        """A key below the heading, in as many columns as it has room for; returns its height."""
        entry = 0.6 + max(text_width(text, LABEL_SIZE) for text in key)
        legend = self.figure.legend(
            _samples(key.values()),
            list(key),
            loc="upper left",
            bbox_to_anchor=(_PAD, -self._head),
            bbox_transform=self._corner,
            ncols=max(1, int((WIDTH - 2 * _PAD) / entry)),
            handlelength=2.5,
            columnspacing=1.5,
        )
        renderer = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]
        return legend.get_window_extent(renderer).height / self.figure.dpi + 0.05

    def _move_apart(self, renderer: RendererBase) -> None:
        """Move names beside the axes until none overlap, and lead a line to each that has a look."""
        dpi, box = self.figure.dpi, self.axes.get_window_extent(renderer)
        at = self.axes.transData.transform([(self.axes.get_xlim()[1], label.at) for label, _ in self._beside])[:, 1]
        found = sorted(zip(at, self._beside, strict=True), key=lambda entry: float(entry[0]))
        wanted = [float(height) for height, _ in found]
        sizes = [text.get_window_extent(renderer).height + 0.03 * dpi for _, (_, text) in found]
        heights = spread(wanted, sizes, 0.0, box.y1 + 0.1 * dpi)
        share = self.figure.transFigure.inverted()
        for (_, (label, text)), start, end in zip(found, wanted, heights, strict=True):
            text.xyann = (72 * _LEADER, 72 * (end - start) / dpi)
            if label.mark is not None:
                ends = [(box.x1 + 0.05 * dpi, start), (box.x1 + (_LEADER - 0.05) * dpi, end)]
                xs, ys = share.transform(ends).T
                line = Line2D(xs, ys, linewidth=1.2, transform=self.figure.transFigure, **label.mark.line)
                self.figure.add_artist(line)


def column_height(labels: Iterable[str], least: float = 3.6) -> float:
    """Height of a canvas that has room for names beside its axes, or for the names of its rows."""
    texts = list(labels)
    lines = sum(text.count("\n") + 1 for text in texts)
    return max(least, lines * _LINE + 0.035 * len(texts) + 0.6)


def set_rows(axes: Axes, names: Sequence[str]) -> None:
    """A row for each name, the first at the top."""
    axes.set_yticks(range(len(names)), names, linespacing=1.05)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def rows_height(names: Iterable[str]) -> float:
    """Height of a canvas with a row for each name."""
    lines = [name.count("\n") + 1 for name in names]
    return max(0.3, max(lines) * _LINE * 1.06 + 0.1) * len(lines) + 0.75


def _samples(looks: Iterable[Mark]) -> list[Line2D]:
    return [Line2D([], [], marker=look.marker, markersize=5, linewidth=1.2, **look.line) for look in looks]

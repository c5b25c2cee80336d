"""A figure of several panels: one heading, a key in rows, a grid of axes with aligned borders."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from harness.report.sheet import (
    LABEL_SIZE,
    LINE_HEIGHT,
    PAD,
    WIDTH,
    Heading,
    Label,
    short_names,
    text_width,
    thin_ticks,
    wrap,
)
from harness.report.style import INK

_SWATCH = 0.42
"""Width of a key's sample, inches."""
_BETWEEN = 0.16
"""Between columns, and between entries of the key, inches."""
KEY_NAME = 1.75
"""Width of a name in the key, so that two fit side by side, inches."""
_KEY_LINE = LINE_HEIGHT + 0.05
_TICK_SIZE = 8
_LABEL_SIZE = 9.5


class Panels:
    """One figure under construction: draw on each of `axes`, then `finish`.

    Axes fill the rows from the top left. Tick labels of x stand at the lowest panel of each column only, those of y
    at the first of each row unless the panels have scales of their own.
    """

    def __init__(
        self,
        title: str,
        note: str,
        headings: Sequence[str],
        *,
        label: str,
        key: Sequence[Label] = (),
        columns: int = 2,
        tall: float = 1.45,
        own_scales: bool = False,
    ) -> None:
        """`label` names the shared x axis; `tall` is the height of a panel in inches."""
        self._columns = min(columns, len(headings))
        self._rows = -(-len(headings) // self._columns)
        self._heading, self._key, self._tall = Heading(title, note), key_rows(key), tall
        self._label = wrap(label, WIDTH - 2 * PAD, _LABEL_SIZE)
        self.figure = Figure(figsize=(WIDTH, 2 + (tall + 0.5) * self._rows))
        self.axes: list[Axes] = []
        short = short_names(list(dict.fromkeys(headings)), WIDTH / self._columns - 0.7)
        for place, heading in enumerate(headings):
            axes = self.figure.add_axes((0.2, 0.2, 0.3, 0.3), label=str(place))
            axes.set_title(short[heading], size=_LABEL_SIZE, loc="left", pad=4)
            axes.tick_params(
                labelsize=_TICK_SIZE,
                labelbottom=place + self._columns >= len(headings),
                labelleft=own_scales or place % self._columns == 0,
            )
            self.axes.append(axes)

    def finish(self) -> Figure:
        """Lay out the page; call once everything is drawn."""
        for _ in range(2):  # the second pass sees the ticks of the final size
            renderer: RendererAgg = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]
            self._place(renderer)
            for axes in self.axes:
                for axis in (axes.xaxis, axes.yaxis):
                    thin_ticks(axis, renderer)
        self._heading.draw(self.figure)
        self._draw_key()
        self.figure.text(
            0.5,
            0.06 / self.figure.get_figheight(),
            "\n".join(self._label),
            size=_LABEL_SIZE,
            ha="center",
            va="bottom",
            linespacing=1.1,
        )
        return self.figure

    def _place(self, renderer: RendererAgg) -> None:
        """Room for what stands round the panels: the same for all of a column, and for all of a row."""
        around = [_overhang(axes, renderer) for axes in self.axes]
        columns = [around[i :: self._columns] for i in range(self._columns)]
        rows = [around[i * self._columns : (i + 1) * self._columns] for i in range(self._rows)]
        left = [max(each[0] for each in column) for column in columns]
        right = [max(each[1] for each in column) for column in columns]
        below, above = ([max(each[side] for each in row) for row in rows] for side in (2, 3))
        width = (WIDTH - 2 * PAD - sum(left) - sum(right) - _BETWEEN * (self._columns - 1)) / self._columns
        foot = 0.06 + len(self._label) * _LABEL_SIZE * 1.25 / 72 + 0.06
        top = self._heading.height + _KEY_LINE * len(self._key) + 0.05
        height = top + sum(above) + sum(below) + self._rows * self._tall + 0.1 * (self._rows - 1) + foot
        self.figure.set_size_inches(WIDTH, height)
        for place, axes in enumerate(self.axes):
            row, column = divmod(place, self._columns)
            x = PAD + sum(left[: column + 1]) + sum(right[:column]) + column * (width + _BETWEEN)
            y = height - top - sum(above[: row + 1]) - sum(below[:row]) - (row + 1) * self._tall - 0.1 * row
            axes.set_position((x / WIDTH, y / height, width / WIDTH, self._tall / height))

    def _draw_key(self) -> None:
        height = self.figure.get_figheight()
        y = height - self._heading.height - 0.5 * _KEY_LINE
        for row in self._key:
            for x, label in row:
                self.figure.text((x + _SWATCH) / WIDTH, y / height, label.text, size=LABEL_SIZE, color=INK, va="center")
                if label.mark is not None:
                    self.figure.add_artist(
                        Line2D(
                            [x / WIDTH, (x + _SWATCH / 2 - 0.03) / WIDTH, (x + _SWATCH - 0.06) / WIDTH],
                            [y / height] * 3,
                            color=label.mark.colour,
                            linestyle=label.mark.dash,
                            marker=label.mark.marker,
                            markevery=[1],
                            markersize=5,
                            linewidth=1.2,
                            transform=self.figure.transFigure,
                        )
                    )
            y -= _KEY_LINE


def key_rows(key: Sequence[Label]) -> list[list[tuple[float, Label]]]:
    """The entries of a key, of one line each, in rows of the figure's width, each with its left edge in inches."""
    rows: list[list[tuple[float, Label]]] = []
    x = WIDTH
    for label in key:
        width = _SWATCH + text_width(label.text, LABEL_SIZE)
        if x + width > WIDTH - PAD:
            rows.append([])
            x = PAD
        rows[-1].append((x, label))
        x += width + _BETWEEN
    return rows


def _overhang(axes: Axes, renderer: RendererAgg) -> tuple[float, float, float, float]:
    """What stands out of the axes' frame at the left, the right, below and above, in inches.

    A heading counts for its height only: it may be wider than its panel where nothing stands beside that.
    """
    inner, dpi = axes.get_window_extent(renderer), axes.figure.dpi
    around = [axis.get_tightbbox(renderer) for axis in (axes.xaxis, axes.yaxis)]
    outer = Bbox.union([inner, *(box for box in around if box is not None)])
    heading = axes.get_title(loc="left")
    above = 0.06 + _LABEL_SIZE * 1.25 / 72 * (heading.count("\n") + 1) if heading else 0.0
    edges = inner.x0 - outer.x0, outer.x1 - inner.x1, inner.y0 - outer.y0
    left, right, below = (max(0.0, float(edge)) / dpi for edge in edges)
    return left, right, below, above

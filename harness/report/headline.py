"""The picture of data against bias: a ResNet's lead over a vision transformer, panel by panel, as vectors, pixels, CSV.

Above the lead in points, below it the ratio of errors, over the number of images; a line per condition.
"""

import contextlib
import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from harness.analysis.findings import columns, frame
from harness.analysis.leads import Lead, Line, told
from harness.records import csv_text
from harness.records.files import RecordsError, read_bytes
from harness.report.figures.canvas import wrap
from harness.report.style import INK, LABEL_SIZE, MUTED, PAD, Mark, distinct_mark, lay_out, png, svg, theme
from harness.spec.formats import count, plain, points_interval

COLUMNS = columns(
    "panel condition mark images images_low images_high lead lead_low lead_high ratio ratio_low ratio_high n",
    panel="str",
    condition="str",
    mark="str",
)
"""headline.csv, every number that is drawn. `mark` is `lead` or `crossing`; `lead` the ResNet's accuracy less the
transformer's, a fraction; `ratio` the transformer's error over the ResNet's; `n` the paired seeds, 0 for published
curves of one run per model."""

PICTURE = "headline.svg"  # in a folder of results

_SAID = re.compile(r"<title>([^<]*)</title><desc>([^<]*)</desc>")

_WIDTH = 10.0  # of the figure, inches
_STRIP, _ROWS = 1.0, (2.5, 1.9)  # heights of the sample images, of leads and of ratios, inches
_STEPS, _FINE_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0, 8.0, 9.0)  # of ratios' ticks

Sample = npt.NDArray[np.uint8]
"""An image, (C, H, W) of 1 or 3 channels."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one axis of images."""

    name: str  # in the CSV: the study and its scale
    heading: str
    x: str  # what the axis counts
    lines: tuple[Line, ...]
    samples: Mapping[str, Sample] = field(default_factory=dict)  # by condition; of those that are at hand


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The picture with its files; `title` is the finding of its first panel."""

    title: str
    text: str  # what it shows, with numbers, for those who do not see it
    svg: bytes
    png: bytes
    csv: str


def draw(panels: Sequence[Panel], note: str) -> Headline:
    """The picture of at least one panel, each of at least one line. Equal panels and note give equal bytes."""
    finding, text = told(panels[0].lines), "; ".join(_in_words(panel) for panel in panels) + "."
    title = finding[:1].upper() + finding[1:]
    with theme():
        figure = _draw(panels, title, note)
        vectors = svg(figure)
        head, _, rest = vectors.partition(b"<svg")
        tag, _, body = rest.partition(b">")
        said = f"<title>{html.escape(title)}</title><desc>{html.escape(text)}</desc>".encode()
        vectors = head + b"<svg" + tag + b' role="img">' + said + body
        table = frame([row for panel in panels for row in _rows(panel)], COLUMNS)
        return Headline(title=title, text=text, svg=vectors, png=png(figure), csv=csv_text.from_frame(table))


def kept_text(results: Path) -> tuple[str, str] | None:
    """Title and description of the picture in a folder of results; None where there is none that has them."""
    with contextlib.suppress(RecordsError):
        said = _SAID.search(read_bytes(results / PICTURE)[:20_000].decode("utf-8", errors="replace"))
        if said:
            title, text = (" ".join(html.unescape(each).split()) for each in said.groups())
            return title, text
    return None


def _draw(panels: Sequence[Panel], title: str, note: str) -> Figure:
    conditions = dict.fromkeys(line.condition for panel in panels for line in panel.lines)
    looks = {condition: distinct_mark(place) for place, condition in enumerate(conditions)}
    heights = [*([_STRIP] if any(panel.samples for panel in panels) else []), *_ROWS]
    figure = Figure(figsize=(_WIDTH, sum(heights)))
    head = _write_head(figure, title, note, looks)
    figure.set_figheight(head + sum(heights))
    widths = [1.35 if panel is panels[0] else 1.0 for panel in panels]
    grid = figure.add_gridspec(len(heights), len(panels), width_ratios=widths, height_ratios=heights)
    ratios: Axes | None = None
    for column, panel in enumerate(panels):
        for place, (condition, sample) in enumerate(panel.samples.items()):
            cell = grid[0, column].subgridspec(1, max(3, len(panel.samples)))[place]
            _draw_sample(figure.add_subplot(cell), condition, sample, looks)
        leads = figure.add_subplot(grid[-2, column])
        ratios = figure.add_subplot(grid[-1, column], sharex=leads, sharey=ratios)
        heading = wrap(panel.heading, _WIDTH * widths[column] / sum(widths) - 0.75, 9.5)
        leads.set_title(heading, size=9.5, loc="left", pad=5)
        _draw_panel(leads, ratios, panel, looks)
        if not column:
            leads.set_ylabel("lead of the ResNet (points)")
            ratios.set_ylabel("ratio of errors\n(ViT / ResNet)")
    assert ratios is not None
    low, high = ratios.get_ylim()
    ratios.yaxis.set_major_locator(LogLocator(subs=_FINE_STEPS if high < 2.5 * low else _STEPS))
    lay_out(figure, head)
    return figure


def _write_head(figure: Figure, title: str, note: str, looks: Mapping[str, Mark]) -> float:
    """Title, note and key, placed from the figure's upper left corner; returns their height, inches."""
    corner = figure.dpi_scale_trans + ScaledTranslation(0, 1, figure.transFigure)  # type: ignore[arg-type]
    at = PAD / 2
    for text, size, colour in ((title, 12.5, INK), (note, LABEL_SIZE, MUTED)):
        lines = wrap(text, _WIDTH - 2 * PAD, size)
        artist = figure.text(PAD, -at, lines, va="top", transform=corner, size=size, color=colour, linespacing=1.2)
        at += artist.get_window_extent().height / figure.dpi + 0.08
    key = figure.legend(
        [Line2D([], [], markersize=5, linewidth=1.2, marker=look.marker, **look.line) for look in looks.values()],
        list(looks),
        loc="upper left",
        bbox_to_anchor=(PAD, -at),
        bbox_transform=corner,
        ncols=len(looks),
        handlelength=2.5,
    )
    return float(at + key.get_window_extent().height / figure.dpi + 0.08)


def _draw_sample(axes: Axes, condition: str, sample: Sample, looks: Mapping[str, Mark]) -> None:
    grey = sample.shape[0] == 1
    axes.imshow(sample[0] if grey else sample.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255, aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(visible=True, color=looks[condition].colour, linewidth=1.5)
    axes.set_anchor("W")
    axes.set_title(condition, size=LABEL_SIZE, color=MUTED, pad=3, loc="left")


def _draw_panel(leads: Axes, ratios: Axes, panel: Panel, looks: Mapping[str, Mark]) -> None:
    """The lines of a panel on both scales, even lines at no lead, and crossings upon them."""
    for axes, even in ((leads, 0.0), (ratios, 1.0)):
        axes.axhline(even, color=INK, linewidth=1)
        for line in panel.lines:
            _draw_line(axes, line, looks[line.condition], points=axes is leads)
            _mark_crossing(axes, line, even, looks[line.condition].colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    leads.tick_params(labelbottom=False)
    leads.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ratios.set_yscale("log")
    ratios.yaxis.set_minor_locator(NullLocator())
    ratios.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    ratios.set_xlabel(panel.x)


def _draw_line(axes: Axes, line: Line, look: Mark, *, points: bool) -> None:
    """The lead at each size with its interval; published curves, which have none, as a line alone."""
    scale = 100.0 if points else 1.0
    of = [(lead.images, lead.accuracy if points else lead.ratio) for lead in line.leads]
    axes.plot([x for x, _ in of], [scale * each.value for _, each in of], linewidth=1.2, **look.line)
    for x, each in of if any(lead.n for lead in line.leads) else ():
        axes.plot([x, x], [scale * each.ci_low, scale * each.ci_high], color=look.colour, linewidth=2, zorder=3)
        axes.plot([x], [scale * each.value], markersize=6, markeredgecolor="white", zorder=4, **look.point)


def _mark_crossing(axes: Axes, line: Line, even: float, colour: str) -> None:
    """A ring on the even line, and a bar over the interval; a crossing that two sizes bracket is the bar alone."""
    place = line.crossing
    if math.isfinite(place.ci_low) or math.isfinite(place.ci_high):  # the interval may end beyond what was measured
        low = place.ci_low if math.isfinite(place.ci_low) else line.leads[0].images
        high = place.ci_high if math.isfinite(place.ci_high) else line.leads[-1].images
        axes.plot([low, high], [even, even], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt", zorder=2)
    if math.isfinite(place.value):
        look = Mark(colour, "o").point | {"markersize": 8, "markerfacecolor": "white", "markeredgewidth": 1.8}
        axes.plot([place.value], [even], zorder=5, **look)


def _short(images: float) -> str:
    """`300`, `3k`, `1M`, `2B`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if images >= size:
            return f"{images / size:g}{unit}"
    return f"{images:g}"


def _in_words(panel: Panel) -> str:
    """The ends of each line, and what becomes of the lead."""
    return f"{panel.heading}: " + ", ".join(
        f"{line.condition} {' and '.join(_lead_in_words(lead) for lead in (line.leads[0], line.leads[-1]))}, "
        f"{line.finding}"
        for line in panel.lines
    )


def _lead_in_words(lead: Lead) -> str:
    points = points_interval(lead.accuracy.value, lead.accuracy.ci_low, lead.accuracy.ci_high)
    return f"{points} points (ratio of errors {plain(lead.ratio.value)}) at {count(lead.images)} images"


def _rows(panel: Panel) -> list[tuple[Any, ...]]:
    """COLUMNS of a panel's leads and crossings."""
    rows: list[tuple[Any, ...]] = []
    for line in panel.lines:
        name = (panel.name, line.condition)
        for lead in line.leads:
            numbers = [x for of in (lead.accuracy, lead.ratio) for x in (of.value, of.ci_low, of.ci_high)]
            rows.append((*name, "lead", lead.images, math.nan, math.nan, *numbers, lead.n))
        place = line.crossing
        if any(map(math.isfinite, (place.value, place.ci_low, place.ci_high))):
            rows.append((*name, "crossing", place.value, place.ci_low, place.ci_high, *[math.nan] * 6, None))
    return rows

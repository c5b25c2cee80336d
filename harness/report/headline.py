"""The picture of data against bias: a ResNet's lead over a vision transformer, panel by panel, as vectors, pixels, CSV.

Above the lead in points, below it the ratio of errors, over the number of images; a line per condition.
"""

import contextlib
import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from harness.analysis.curve import traced
from harness.analysis.findings import columns, frame
from harness.analysis.leads import Lead, Line, clauses
from harness.records import csv_text
from harness.records.files import RecordsError, read_bytes
from harness.records.samples import Sample
from harness.report.figures.canvas import wrap
from harness.report.figures.marks_on_axes import Places, asides
from harness.report.style import INK, LABEL_SIZE, MUTED, PAD, Mark, distinct_mark, lay_out, png, svg, theme
from harness.spec.formats import count, plain, points_interval

COLUMNS = columns(
    "panel condition mark images images_low images_high lead lead_low lead_high ratio ratio_low ratio_high n "
    "limited_by_updates",
    **dict.fromkeys(("panel", "condition", "mark", "limited_by_updates"), "str"),
)
"""headline.csv, every number that is drawn. `mark` is `lead` or `crossing`; `lead` the ResNet's accuracy less the
transformer's, a fraction; `ratio` the transformer's error over the ResNet's; `n` the paired seeds, 0 for published
curves of one run per model; `limited_by_updates` which of `ResNet` and `ViT` are so there, as in
`harness.analysis.limits`."""

PICTURE = "headline.svg"  # in a folder of results

_SAID = re.compile(r"<title>([^<]*)</title><desc>([^<]*)</desc>")

_MOST_WORDS = 32  # of the title
_MOST_LINES = 5  # of a panel's heading
_WIDER = 1.07  # how much wider `wrap` takes a text of LABEL_SIZE to be than it is drawn
_WIDTH = 10.0  # of the figure, inches
_ROWS = (2.6, 2.0)  # heights of leads and of ratios, inches
_SAMPLE, _PITCH = 0.72, 1.08  # side of a sample image, and from one to the next: room for its name; inches
_STEPS, _FINE_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0, 8.0, 9.0)  # of ratios' ticks

_HOLLOW = {"markerfacecolor": "white", "markeredgecolor": None, "markeredgewidth": 1.5}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one axis of images."""

    name: str  # in the CSV: the study and its scale
    data: str  # the images, as people call them
    findings: tuple[str, ...]  # of its lines, for its heading
    x: str  # what the axis counts
    lines: tuple[Line, ...]
    samples: Mapping[str, Sample] = field(default_factory=dict)  # by condition; of those that are at hand


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The picture with its files."""

    title: str  # of the findings of its first panel as many as _MOST_WORDS hold, and at least one
    text: str  # what it shows, with numbers, for those who do not see it
    svg: bytes
    png: bytes
    csv: str


def draw(panels: Sequence[Panel], note: str) -> Headline:
    """The picture of at least one panel, each of at least one line. Equal panels and note give equal bytes."""
    text = "; ".join(_in_words(panel) for panel in panels) + "."
    of_title = _of_title(clauses(panels[0].lines))
    title = _begun("; ".join(of_title))
    told = [panel.findings[len(of_title) if panel is panels[0] else 0 :] for panel in panels]
    with theme():
        figure = _draw(panels, told, title, note)
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


def _of_title(told: Sequence[str]) -> Sequence[str]:
    """Those of the first panel's findings that the title tells."""
    most = 1
    while most < len(told) and len(" ".join(told[: most + 1]).split()) <= _MOST_WORDS:
        most += 1
    return told[:most]


def _begun(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]


def _heading(data: str, findings: Sequence[str], width: float) -> str:
    """What a panel shows: its images, and as many of the findings as stand in _MOST_LINES of a width in inches."""
    lines = [""]
    for most in range(len(findings), -1, -1):
        told = ". ".join(_begun(part) for part in (data, "; ".join(findings[:most])) if part)
        lines = wrap(told, _WIDER * width, LABEL_SIZE).split("\n")
        if len(lines) <= _MOST_LINES or most <= 1:
            break
    return "\n".join(lines[:_MOST_LINES]) + " …" * (len(lines) > _MOST_LINES)


def _draw(panels: Sequence[Panel], told: Sequence[Sequence[str]], title: str, note: str) -> Figure:
    """A column per panel: its heading, its sample images, and below them its lines on both scales.

    `told`: findings for the panels' headings.
    """
    conditions = dict.fromkeys(line.condition for panel in panels for line in panel.lines)
    looks = {condition: distinct_mark(place) for place, condition in enumerate(conditions)}
    figure = Figure(figsize=(_WIDTH, sum(_ROWS)))
    at = _write_head(figure, title, _key(panels, looks))
    widths = [1.35 if panel is panels[0] else 1.0 for panel in panels]
    room = [_WIDTH * width / sum(widths) - (0.55 if place else 0.7) for place, width in enumerate(widths)]
    headings = [_heading(panel.data, of, width) for panel, of, width in zip(panels, told, room, strict=True)]
    below = at + max(_height(heading, LABEL_SIZE) for heading in headings)
    has_samples = any(panel.samples for panel in panels)
    pitches = [min(_PITCH, width / max(1, len(panel.samples))) for panel, width in zip(panels, room, strict=True)]
    names = [
        {name: wrap(name, _WIDER * (pitch - 0.05), LABEL_SIZE) for name in panel.samples}
        for panel, pitch in zip(panels, pitches, strict=True)
    ]
    named = max((_height(name, LABEL_SIZE) for of in names for name in of.values()), default=0.0)
    head = below + (named + _SAMPLE + 0.08) * has_samples
    note = wrap(note, _WIDER * (_WIDTH - 2 * PAD), LABEL_SIZE)
    foot = _height(note, LABEL_SIZE) + 0.05
    figure.set_figheight(head + sum(_ROWS) + foot)
    grid = figure.subplots(2, len(panels), sharex="col", squeeze=False, width_ratios=widths, height_ratios=_ROWS)
    for column, panel in enumerate(panels):
        leads, ratios = grid[:, column]
        _draw_panel(leads, ratios, panel, looks)
    grid[0, 0].set_ylabel("lead of the ResNet (points)")
    grid[1, 0].set_ylabel("ratio of errors\n(ViT / ResNet)")
    lay_out(figure, head, foot)
    _write(figure, PAD, figure.get_figheight() - foot, note, LABEL_SIZE, MUTED)
    for leads, panel, heading, pitch, of in zip(grid[0], panels, headings, pitches, names, strict=True):
        left = leads.get_position().x0 * _WIDTH
        over = below if panel.samples else head - 0.1
        _write(figure, left, over - _height(heading, LABEL_SIZE), heading, LABEL_SIZE, INK)
        for place, (condition, sample) in enumerate(panel.samples.items()):
            _draw_sample(figure, left + place * pitch, below + named, of[condition], sample, looks[condition])
    return figure


def _height(text: str, size: float) -> float:
    """Inches that a text takes, with a gap below it."""
    return (text.count("\n") + 1) * size * 1.2 / 72 + 0.08


def _key(panels: Sequence[Panel], looks: Mapping[str, Mark]) -> dict[str, Line2D]:
    """The lines by their names; and what a hollow marker says, where there is one."""
    lines = {
        name: Line2D([], [], markersize=5, linewidth=1.2, marker=look.marker, **look.line)
        for name, look in looks.items()
    }
    if any(lead.limited for panel in panels for line in panel.lines for lead in line.leads):
        hollow = Mark(MUTED, "o").point | _HOLLOW | {"markersize": 5}
        lines["hollow: limited by updates, not by data"] = Line2D([], [], **hollow)
    return lines


def _corner(figure: Figure) -> Transform:
    """Inches from the figure's upper left corner, right and up."""
    return figure.dpi_scale_trans + ScaledTranslation(0, 1, figure.transFigure)  # type: ignore[arg-type]


def _write(figure: Figure, x: float, y: float, text: str, size: float, colour: str) -> float:
    """A text whose upper left corner is so far from the figure's, inches; returns its height, inches."""
    place: dict[str, Any] = {
        "va": "top",
        "transform": _corner(figure),
        "size": size,
        "color": colour,
        "linespacing": 1.2,
    }
    return float(figure.text(x, -y, text, **place).get_window_extent().height / figure.dpi)


def _write_head(figure: Figure, title: str, key: Mapping[str, Line2D]) -> float:
    """Title and key, placed from the figure's upper left corner; returns their height, inches."""
    at = PAD / 2
    at += _write(figure, PAD, at, wrap(title, _WIDTH - 2 * PAD, 12.5), 12.5, INK) + 0.08
    legend = figure.legend(
        list(key.values()),
        list(key),
        loc="upper left",
        bbox_to_anchor=(PAD, -at),
        bbox_transform=_corner(figure),
        ncols=len(key),
        handlelength=2.5,
    )
    return float(at + legend.get_window_extent().height / figure.dpi + 0.12)


def _draw_sample(figure: Figure, x: float, y: float, name: str, sample: Sample, look: Mark) -> None:
    """An image below its name, the upper left corner of which is so far from the figure's, inches."""
    _write(figure, x, y - _height(name, LABEL_SIZE), name, LABEL_SIZE, MUTED)
    width, height = figure.get_size_inches()
    low = 1 - (y + _SAMPLE) / height
    axes = figure.add_axes((x / width, low, _SAMPLE / width, _SAMPLE / height))
    grey = sample.shape[0] == 1
    axes.imshow(sample[0] if grey else sample.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255, aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(visible=True, color=look.colour, linewidth=1.5)


def _draw_panel(leads: Axes, ratios: Axes, panel: Panel, looks: Mapping[str, Mark]) -> None:
    """The lines of a panel on both scales, even lines at no lead, and crossings upon them."""
    ends = [line.leads[end].images for line in panel.lines for end in (0, -1)]
    places = Places((min(ends), max(ends)), geometric=True)
    for axes, even in ((leads, 0.0), (ratios, 1.0)):
        axes.axhline(even, color=INK, linewidth=1)
        for line, aside in zip(panel.lines, asides(len(panel.lines)), strict=True):
            at = partial(places.at, aside=aside)
            _draw_line(axes, line, at, looks[line.condition], points=axes is leads)
            _mark_crossing(axes, line, at, even, looks[line.condition].colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    leads.tick_params(labelbottom=False)
    leads.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ratios.set_yscale("log")
    low, high = ratios.get_ylim()
    ratios.yaxis.set_major_locator(LogLocator(subs=_FINE_STEPS if high < 2.5 * low else _STEPS))
    ratios.yaxis.set_minor_locator(NullLocator())
    ratios.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    ratios.set_xlabel(panel.x)


def _draw_line(axes: Axes, line: Line, at: Callable[[float], float], look: Mark, *, points: bool) -> None:
    """The lead at each size with its interval; published curves, which have none, as a line alone.

    `at`: where a number of images stands, so much aside that the intervals of several lines do not cover each other.
    """
    scale = 100.0 if points else 1.0
    of = [lead.accuracy if points else lead.ratio for lead in line.leads]
    images, heights = _curve(line, points=points)
    axes.plot(list(map(at, images)), [scale * height for height in heights], linewidth=1.2, **look.line)
    for each, lead in zip(of, line.leads, strict=True) if any(lead.n for lead in line.leads) else ():
        x = at(lead.images)
        axes.plot([x, x], [scale * each.ci_low, scale * each.ci_high], color=look.colour, linewidth=2, zorder=3)
        mark = look.point | {"markersize": 6, "markeredgecolor": "white"} | (_HOLLOW if lead.limited else {})
        axes.plot([x], [scale * each.value], zorder=4, **mark)


def _curve(line: Line, *, points: bool) -> tuple[list[float], list[float]]:
    """Images and leads, or ratios, along the curve from which the crossing is read.

    That is the one of leads. The curve of ratios, over their logarithms, is led through the same crossing, as two
    models that are level are so on every scale.
    """
    if points:
        return traced(*zip(*((lead.images, lead.accuracy.value) for lead in line.leads), strict=True), log=True)
    ratios = [(lead.images, lead.ratio.value) for lead in line.leads]
    known = [(images, math.log(ratio)) for images, ratio in ratios if math.isfinite(ratio) and ratio > 0]
    place = line.crossing.value
    if math.isfinite(place) and not any(math.isclose(place, images) for images, _ in known):
        known = sorted([*known, (place, 0.0)])
    if not known:
        return [], []
    images, logarithms = traced(*zip(*known, strict=True), log=True)
    return images, list(map(math.exp, logarithms))


def _mark_crossing(axes: Axes, line: Line, at: Callable[[float], float], even: float, colour: str) -> None:
    """A stroke across the even line, and a bar over the interval; one that two sizes bracket is the bar alone.

    `at`: as in `_draw_line`, so that the stroke lies on the line.
    """
    place = line.crossing
    if math.isfinite(place.ci_low) or math.isfinite(place.ci_high):  # the interval may end beyond what was measured
        low = place.ci_low if math.isfinite(place.ci_low) else line.leads[0].images
        high = place.ci_high if math.isfinite(place.ci_high) else line.leads[-1].images
        axes.plot(
            [at(low), at(high)], [even, even], color=colour, linewidth=6, alpha=0.4, solid_capstyle="butt", zorder=2
        )
    if math.isfinite(place.value):
        axes.plot([at(place.value)], [even], color=colour, marker="|", markersize=15, markeredgewidth=2.4, zorder=5)


def _short(images: float) -> str:
    """`300`, `3k`, `1M`, `2B`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if images >= size:
            return f"{images / size:g}{unit}"
    return f"{images:g}"


def _in_words(panel: Panel) -> str:
    """The ends of each line, and what becomes of the lead."""
    return f"{_begun(panel.data)}: " + ", ".join(
        f"{line.condition} {' and '.join(_lead_in_words(lead) for lead in (line.leads[0], line.leads[-1]))}, "
        f"{line.finding()}"
        for line in panel.lines
    )


def _lead_in_words(lead: Lead) -> str:
    points = points_interval(lead.accuracy.value, lead.accuracy.ci_low, lead.accuracy.ci_high)
    limited = f", {' and '.join(lead.limited)} limited by updates" if lead.limited else ""
    return f"{points} points (ratio of errors {plain(lead.ratio.value)}) at {count(lead.images)} images{limited}"


def _rows(panel: Panel) -> list[tuple[Any, ...]]:
    """COLUMNS of a panel's leads and crossings."""
    rows: list[tuple[Any, ...]] = []
    for line in panel.lines:
        name = (panel.name, line.condition)
        for lead in line.leads:
            numbers = [x for of in (lead.accuracy, lead.ratio) for x in (of.value, of.ci_low, of.ci_high)]
            rows.append((*name, "lead", lead.images, math.nan, math.nan, *numbers, lead.n, " and ".join(lead.limited)))
        place = line.crossing
        if any(map(math.isfinite, (place.value, place.ci_low, place.ci_high))):
            rows.append((*name, "crossing", place.value, place.ci_low, place.ci_high, *[math.nan] * 6, None, ""))
    return rows

"""What all figures share: settings, fonts, one look for each arm, and files with the same bytes each time."""

import base64
import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from harness.spec import ResolvedStudy
from harness.spec.palette import family_of, second_factor, shaded, shades_of

PAD = 0.1  # between what is drawn and a figure's edge, inches

INK = "#1f2328"
MUTED = "#57606a"
PALE = "#9aa4ae"  # of arms from which another stands out
LABEL_SIZE = 8.5  # of names, notes and keys, points

_EAST_ASIAN = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "IPAexGothic", "PingFang SC")
"""Fonts with Chinese characters; the first that a machine has draws them."""

_MOST_WEBP = 16_383  # pixels along a side that the format can hold
_NO_PICTURE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # of a file that is none, or too large


@dataclass(frozen=True)
class Drawn:
    """A figure of a report with its files."""

    name: str
    section: str
    title: str
    description: str
    number: int  # in the order of the report, from 1
    address: str  # for Markdown
    png: bytes

    @property
    def data_uri(self) -> str:
        """The figure for a page that loads nothing: its pixels as WebP, in a fifth fewer bytes, where they fit."""
        form, content = "png", self.png
        with contextlib.suppress(*_NO_PICTURE), Image.open(io.BytesIO(self.png), formats=["PNG"]) as picture:
            if max(picture.size) <= _MOST_WEBP:
                buffer = io.BytesIO()
                picture.convert("RGB").save(buffer, format="WEBP", lossless=True, method=6)
                form, content = "webp", buffer.getvalue()
        return f"data:image/{form};base64,{base64.b64encode(content).decode()}"


def families(installed: Iterable[str]) -> list[str]:
    """Fonts in the order in which a character is looked for; the last one has a box for what no other font has."""
    names = set(installed)
    return ["DejaVu Sans", *(name for name in _EAST_ASIAN if name in names), "Last Resort High-Efficiency"]


@contextmanager
def theme() -> Iterator[None]:
    """Build and save figures inside this; matplotlib's settings are as before afterwards.

    It starts from the libraries' defaults: nothing of a user's matplotlibrc, or of what a notebook has set, is drawn.
    How numpy writes numbers counts, too: matplotlib makes the names of an SVG's parts from such texts.
    """
    as_by_default = np.printoptions(
        legacy=False, precision=8, floatmode="maxprec", suppress=False, sign="-", threshold=1000, formatter=None
    )
    with mpl.rc_context(), as_by_default:
        mpl.rcdefaults()
        seaborns: dict[Any, Any] = {**sns.axes_style("ticks"), **sns.plotting_context("paper")}
        mpl.rcParams.update(seaborns)
        mpl.rc("font", family=families(font_manager.get_font_names()), size=9.5)
        mpl.rc("text", color=INK, parse_math=False, usetex=False)  # a name may hold dollar signs
        mpl.rc("axes", titlesize=10.5, labelsize=9.5, edgecolor=MUTED, labelcolor=INK, grid=True, axisbelow=True)
        mpl.rc("axes", xmargin=0.07, ymargin=0.07)
        mpl.rc("axes.spines", top=False, right=False)
        mpl.rc("axes.formatter", useoffset=False)
        mpl.rc("xtick", labelsize=9, color=MUTED, labelcolor=INK)
        mpl.rc("ytick", labelsize=9, color=MUTED, labelcolor=INK)
        mpl.rc("legend", fontsize=LABEL_SIZE, frameon=False, borderpad=0, borderaxespad=0)
        mpl.rc("grid", color="#eaeef2", linewidth=0.8)
        mpl.rc("lines", linewidth=1.6)
        mpl.rc("svg", fonttype="path", hashsalt="patchbench")  # looks the same where DejaVu is not installed
        mpl.rc("pdf", fonttype=42)
        mpl.rc("figure", facecolor="white", dpi=200)
        mpl.rc("savefig", facecolor="white")
        yield


def lay_out(figure: Figure, head: float, foot: float = 0.0) -> None:
    """Place all axes once, between a heading and a foot in inches; from then on what is moved moves nothing else.

    The solver's last digits differ from time to time, and the names of clip paths in an SVG follow from them.
    """
    page = (0, foot / figure.get_figheight(), 1, 1 - (head + foot) / figure.get_figheight())
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=PAD / 2, h_pad=PAD / 2, rect=page))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, low, wide, high = axes.get_position(original=True).bounds
        axes.set_position((round(left, 5), round(low, 5), round(wide, 5), round(high, 5)))


def png(figure: Figure, dpi: int = 200, colours: int = 256) -> bytes:
    """The figure in so few colours, a third of the bytes; equal figures give equal bytes."""
    with theme(), io.BytesIO() as drawn, io.BytesIO() as buffer:
        figure.savefig(drawn, format="png", dpi=dpi)
        with Image.open(drawn, formats=["PNG"]) as picture:
            # So that of few colours those of marks stay what they are: the median cut goes by how often one is there.
            method = Image.Quantize.MAXCOVERAGE if colours < 256 else Image.Quantize.MEDIANCUT
            few = picture.convert("RGB").quantize(colours, method=method, dither=Image.Dither.NONE)
        few.save(buffer, format="PNG", optimize=True, dpi=(dpi, dpi))
        return buffer.getvalue()


def pdf(figure: Figure) -> bytes:
    """The figure as a PDF whose text can be searched; equal figures give equal bytes."""
    with theme(), io.BytesIO() as buffer:
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
        return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as vectors, text as outlines, a third smaller than drawn; equal figures give equal bytes."""
    with theme(), io.BytesIO() as buffer:
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        drawn = buffer.getvalue().replace(b"DejaVuSans-", b"g-")
    placed = rb'(<use xlink:href="#[^"]+") transform="translate\(([\d.]+) 0\)"/>'
    short = re.sub(placed, lambda glyph: b'%b x="%.1f"/>' % (glyph[1], float(glyph[2])), drawn)
    return re.sub(rb"\s+", b" ", re.sub(rb">\s+<", b"><", short))


Dash = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]
"""A line's pattern, as matplotlib names it or (offset, lengths drawn and left out in line widths)."""

# Of seaborn's colour-blind palette: not its grey (a ResNet's), nor its yellow and pink, too pale on white.
_COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9")
_MARKERS = ("o", "s", "^", "v", "P", "X", "<")
_DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":", (0, (7, 1, 1, 1, 1, 1)), (0, (2, 2)), (0, (1, 3)), (0, (5, 1)))


@dataclass(frozen=True)
class Mark:
    """How an arm, or a series of arms, looks in every figure of its study."""

    colour: str
    marker: str
    dash: Dash = "-"

    @property
    def line(self) -> dict[str, Any]:
        """As matplotlib's settings of a line."""
        return {"color": self.colour, "linestyle": self.dash}

    @property
    def point(self) -> dict[str, Any]:
        """As matplotlib's settings of a marker without a line."""
        return {"color": self.colour, "marker": self.marker, "linestyle": ""}


def marks(study: ResolvedStudy) -> dict[str, Mark]:
    """A look per arm: the colour of `harness.spec.palette`; marker and dash by what it varies within its family.

    A baseline that is alone in its family is a diamond. The arms of a series look alike.
    """
    places, shades = second_factor(study), shades_of(study)
    looks = {}
    for arm in study.all_arms:
        place, shade = places[arm.name], shades[arm.name]
        alone = shade is None and arm is study.baseline
        looks[arm.name] = Mark(
            shaded(family_of(arm.model), shade),
            "D" if alone else _MARKERS[place % len(_MARKERS)],
            "-" if alone else _DASHES[place % len(_DASHES)],
        )
    return looks


def ordered_marks(number: int, family: str) -> list[Mark]:
    """Looks of lines that stand in an order, dark to light, in the hue of a family of models."""
    shades = [i / max(1, number - 1) for i in range(number)]
    return [Mark(shaded(family, shade), _MARKERS[i % len(_MARKERS)]) for i, shade in enumerate(shades)]


def distinct_mark(place: int) -> Mark:
    """All combinations of a colour and its turn's marker and dash."""
    turn, colour = divmod(place, len(_COLOURS))
    return Mark(_COLOURS[colour], _MARKERS[(place + turn) % len(_MARKERS)], _DASHES[turn % len(_DASHES)])

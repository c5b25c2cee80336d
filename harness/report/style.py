"""The visual language of all figures: theme, one look per arm, and files with the same bytes each time."""

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
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from harness.spec import ResolvedStudy

INK = "#1f2328"
MUTED = "#57606a"
Dash = Literal["-", "--", "-.", ":", ""] | tuple[float, tuple[float, ...]]
"""A line's pattern, as matplotlib names it or (offset, lengths drawn and left out in line widths)."""
BASELINE_COLOUR = "#6e7781"

# Of seaborn's colour-blind palette: not its grey (the baseline's), nor its yellow and pink, too pale on white.
_COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9")
_MARKERS = ("o", "s", "^", "v", "P", "X", "<")
_DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":")
_LEVEL_DASHES: tuple[Dash, ...] = (*_DASHES, (0, (7, 1, 1, 1, 1, 1)), (0, (2, 2)), (0, (1, 3)), (0, (5, 1)))

_EAST_ASIAN = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "IPAexGothic",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
)
"""Fonts with Chinese characters; the first that a machine has draws them."""

_OURS: dict[str, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": "#eaeef2",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a name may hold dollar signs
    "text.usetex": False,
    "svg.fonttype": "path",  # looks the same where DejaVu is not installed
    "svg.hashsalt": "patchbench",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 200,
}


_NUMPY: dict[str, Any] = {
    "edgeitems": 3,
    "floatmode": "maxprec",
    "formatter": None,
    "infstr": "inf",
    "legacy": False,
    "linewidth": 75,
    "nanstr": "nan",
    "precision": 8,
    "sign": "-",
    "suppress": False,
    "threshold": 1000,
}
"""How numpy writes numbers by default: matplotlib makes the names of an SVG's parts from such texts."""


@dataclass(frozen=True)
class Mark:
    """How an arm looks in every figure of its study."""

    colour: str
    marker: str
    dash: Dash


def families(installed: Iterable[str]) -> list[str]:
    """Fonts in the order in which a character is looked for: matplotlib's own, then what the machine has for East Asia.

    The last one has a box for every character, so that what no font has is drawn as a box, without a warning.
    """
    names = set(installed)
    return ["DejaVu Sans", *(name for name in _EAST_ASIAN if name in names), "Last Resort High-Efficiency"]


def undrawn(names: Iterable[str]) -> dict[str, str]:
    """The names with letters that no installed font has, each with those letters: figures draw them as boxes."""
    texts = list(names)
    letters = {letter for text in texts for letter in text if not letter.isascii()}
    if not letters:  # as nearly always: no font is opened
        return {}
    *ours, _ = families(font_manager.get_font_names())
    fonts = [font_manager.get_font(font_manager.findfont(family)) for family in ours]
    lacking = {letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in fonts)}
    found = {text: "".join(dict.fromkeys(letter for letter in text if letter in lacking)) for text in texts}
    return {text: boxes for text, boxes in found.items() if boxes}


@contextmanager
def theme() -> Iterator[None]:
    """Build and save figures inside this; matplotlib's settings are as before afterwards.

    It starts from the libraries' defaults: nothing of a user's matplotlibrc, or of what a notebook has set, is drawn.
    """
    fonts = {"font.family": families(font_manager.get_font_names())}
    with mpl.rc_context(), np.printoptions(**_NUMPY):
        mpl.rcdefaults()
        settings: dict[Any, Any] = {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **_OURS, **fonts}
        mpl.rcParams.update(settings)
        yield


def marks(study: ResolvedStudy) -> dict[str, Mark]:
    """A look per arm: grey for the baseline, a sequential palette for ordered levels, distinct colours otherwise.

    The arms of a series share colour and marker, grey where the baseline is one of them; their dashes differ by level.
    """
    if study.series:
        return _marks_of_series(study)
    looks = {study.baseline.name: Mark(BASELINE_COLOUR, "D", "-")}
    names = [arm.name for arm in study.arms]
    if has_ordered_levels(study) and len(names) > 2:
        ordered = sorted(study.arms, key=lambda arm: float(arm.level or 0))
        shades = dict(zip([arm.name for arm in ordered], shades_of(len(names)), strict=True))
        return looks | {name: Mark(shades[name], _MARKERS[i % len(_MARKERS)], "-") for i, name in enumerate(names)}
    return looks | {name: _distinct(index) for index, name in enumerate(names)}


def look_of_series(study: ResolvedStudy, series: str) -> Mark:
    """How the line of a series looks."""
    look = marks(study)[study.series[series][0].name]
    return Mark(look.colour, look.marker, "-")


def shades_of(number: int) -> list[str]:
    """A sequential palette, dark to light: viridis without its pale end, which does not show on white."""
    shares = [0.8 * i / max(1, number - 1) for i in range(number)]
    return [to_hex(colour) for colour in mpl.colormaps["viridis"](shares)]


def ordered_marks(number: int) -> list[Mark]:
    """Looks of lines that stand in an order of their own, such as one for each training size."""
    return [Mark(shade, _MARKERS[i % len(_MARKERS)], "-") for i, shade in enumerate(shades_of(number))]


def _marks_of_series(study: ResolvedStudy) -> dict[str, Mark]:
    grey = Mark(BASELINE_COLOUR, "D", "-")
    looks, taken = {study.baseline.name: grey}, 0
    for arms in study.series.values():
        look = grey if study.baseline in arms else _distinct(taken)
        taken += study.baseline not in arms
        for place, arm in enumerate(arms):
            looks[arm.name] = Mark(look.colour, look.marker, _LEVEL_DASHES[place % len(_LEVEL_DASHES)])
    alone = [arm for arm in study.arms if arm.series is None]
    return looks | {arm.name: _distinct(taken + place) for place, arm in enumerate(alone)}


def _distinct(index: int) -> Mark:
    """The look of the arm (or series) at a place: all combinations of a colour and its turn's marker and dash."""
    turn = index // len(_COLOURS)
    return Mark(_COLOURS[index % len(_COLOURS)], _MARKERS[(index + turn) % len(_MARKERS)], _DASHES[turn % len(_DASHES)])


def has_ordered_levels(study: ResolvedStudy) -> bool:
    """Whether every arm's level is a number (`Arm` keeps numeric levels as floats)."""
    return bool(study.arms) and all(isinstance(arm.level, float) for arm in study.arms)


def png(figure: Figure) -> bytes:
    """The figure at 200 dpi in 256 colours, a third of the bytes; equal figures give equal bytes."""
    with theme(), io.BytesIO() as drawn, io.BytesIO() as buffer:
        figure.savefig(drawn, format="png", dpi=200)
        with Image.open(drawn, formats=["PNG"]) as picture:
            few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(buffer, format="PNG", optimize=True, dpi=(200, 200))
        return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as vectors, text as outlines, a third smaller than drawn; equal figures give equal bytes."""
    with theme(), io.BytesIO() as buffer:
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return _written_shorter(buffer.getvalue())


def _written_shorter(drawn: bytes) -> bytes:
    """The same drawing without line breaks, with short names of glyphs and their places to 0.005 pt.

    Half of a drawing is places of letters, and a report holds every figure twice.
    """
    placed = re.sub(
        rb'(<use xlink:href="#[^"]+") transform="translate\(([\d.]+) 0\)"/>',
        lambda glyph: b'%b x="%.1f"/>' % (glyph[1], float(glyph[2])),
        drawn.replace(b"DejaVuSans-", b"g-"),
    )
    return re.sub(rb"\s+", b" ", re.sub(rb">\s+<", b"><", placed))

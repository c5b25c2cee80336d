"""What all figures share: settings, fonts, and files with the same bytes each time."""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

INK = "#1f2328"
MUTED = "#57606a"
LABEL_SIZE = 8.5
"""Of names, notes and keys, points."""

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
    "axes.formatter.useoffset": False,
    "axes.xmargin": 0.07,
    "axes.ymargin": 0.07,
    "legend.fontsize": LABEL_SIZE,
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
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

"""What all figures share: settings, fonts, one look for each arm, and files with the same bytes each time."""

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from harness.spec import ModelSpec, ResolvedStudy, ViTSpec, to_plain

PAD = 0.1  # between what is drawn and a figure's edge, inches

INK = "#1f2328"
MUTED = "#57606a"
PALE = "#9aa4ae"  # of arms from which another stands out
LABEL_SIZE = 8.5  # of names, notes and keys, points

_EAST_ASIAN = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "IPAexGothic", "PingFang SC")
"""Fonts with Chinese characters; the first that a machine has draws them."""


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
        """The figure for a page that loads nothing."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


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


def lay_out(figure: Figure, head: float) -> None:
    """Place all axes once, below a heading of `head` inches; from then on what is moved moves nothing else.

    The solver's last digits differ from time to time, and the names of clip paths in an SVG follow from them.
    """
    page = (0, 0, 1, 1 - head / figure.get_figheight())
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
            few = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
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
_HUES = {
    "resnet": ("#3d444d", "#6e7781", "#a3acb6"),
    "vit": ("#00457a", "#0173b2", "#4ba3dc"),
    "hybrid": ("#004a36", "#029e73", "#4fbf98"),
    "swin": ("#7a4a00", "#de8f05", "#efb04f"),
    "timm": ("#752f00", "#d55e00", "#f58d45"),
    "torchvision": ("#662a5d", "#b05aa0", "#d596cb"),
    "module": ("#63391a", "#a56b3f", "#cf9c76"),
}
"""Of each family of models, in every figure: the dark end of its colours, the one of its only arm, the light end."""
FAMILIES = {
    "resnet": "ResNet",
    "vit": "ViT",
    "hybrid": "hybrid",
    "swin": "Swin",
    "timm": "timm",
    "torchvision": "torchvision",
    "module": "own model",
}
"""What each is called."""
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


def family_of(model: ModelSpec) -> str:
    """The family that gives an arm its hue: that of the specification, and `hybrid` for a ViT with convolutions."""
    return "hybrid" if isinstance(model, ViTSpec) and model.stem != "patch" else model.kind


def second_factor(study: ResolvedStudy) -> dict[str, int]:
    """For each arm the place of what it varies within its family: equal for two arms that differ in their family alone.

    Arms of one series share a place. Arms of different families are alike where they change the same of recipe and
    data, in their order where several do.
    """
    units = [arm for arm in study.all_arms if arm.series is None or arm is study.series[arm.series][0]]
    places, seen, found = dict[tuple[str, int], int](), Counter[tuple[str, str]](), dict[str, int]()
    for arm in units:
        changed = "" if arm.series is not None else json.dumps(to_plain(arm.changes), sort_keys=True)
        same = family_of(arm.model), changed
        place = places.setdefault((changed, seen[same]), len(places))
        seen[same] += 1
        for each in (arm,) if arm.series is None else study.series[arm.series]:
            found[each.name] = place
    return found


def marks(study: ResolvedStudy) -> dict[str, Mark]:
    """A look per arm: hue by family of models; marker, dash and shade by what it varies within its family.

    An arm that is alone in its family has the family's usual colour; a baseline that is, a diamond. Numeric levels
    shade from dark to light. The arms of a series look alike.
    """
    places, families = second_factor(study), {arm.name: family_of(arm.model) for arm in study.all_arms}
    ordered = not study.series and has_ordered_levels(study)
    looks = {}
    for arm in study.all_arms:
        family, place = families[arm.name], places[arm.name]
        of_family = sorted({places[name] for name in places if families[name] == family})
        shade = of_family.index(place) / (len(of_family) - 1) if len(of_family) > 1 else None
        if ordered and arm is not study.baseline and len(study.arms) > 2:
            levels = sorted(float(other.level or 0) for other in study.arms)
            shade = levels.index(float(arm.level or 0)) / (len(levels) - 1)
        alone = shade is None and arm is study.baseline
        looks[arm.name] = Mark(
            shaded(family, shade),
            "D" if alone else _MARKERS[place % len(_MARKERS)],
            "-" if alone else _DASHES[place % len(_DASHES)],
        )
    return looks


def shaded(family: str, shade: float | None = None) -> str:
    """A colour of a family of models, from its dark end, 0, to its light one, 1; its usual colour for None."""
    ends = _HUES[family]
    return ends[1] if shade is None else to_hex(LinearSegmentedColormap.from_list(family, ends)(float(shade)))


def ordered_marks(number: int, family: str) -> list[Mark]:
    """Looks of lines that stand in an order, dark to light, in the hue of a family of models."""
    shades = [i / max(1, number - 1) for i in range(number)]
    return [Mark(shaded(family, shade), _MARKERS[i % len(_MARKERS)]) for i, shade in enumerate(shades)]


def has_ordered_levels(study: ResolvedStudy) -> bool:
    """Whether every arm's level is a number (`Arm` keeps numeric levels as floats)."""
    return bool(study.arms) and all(isinstance(arm.level, float) for arm in study.arms)


def distinct_mark(place: int) -> Mark:
    """All combinations of a colour and its turn's marker and dash."""
    turn, colour = divmod(place, len(_COLOURS))
    return Mark(_COLOURS[colour], _MARKERS[(place + turn) % len(_MARKERS)], _DASHES[turn % len(_DASHES)])

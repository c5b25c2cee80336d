"""The visual language of all figures: theme, one look per arm, and files with the same bytes each time."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from harness.spec import ResolvedStudy

INK = "#1f2328"
MUTED = "#57606a"
Dash = Literal["-", "--", "-.", ":", ""]
BASELINE_COLOUR = "#6e7781"

# Of seaborn's colour-blind palette: not its grey (the baseline's), nor its yellow and pink, too pale on white.
_COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9")
_MARKERS = ("o", "s", "^", "v", "P", "X", "<")
_DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":")

_OURS: dict[str, Any] = {
    # The last font has a box for every character: scripts that DejaVu lacks are drawn as boxes, without a warning.
    "font.family": ["DejaVu Sans", "Last Resort High-Efficiency"],
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


@dataclass(frozen=True)
class Mark:
    """How an arm looks in every figure of its study."""

    colour: str
    marker: str
    dash: Dash


@contextmanager
def theme() -> Iterator[None]:
    """Build and save figures inside this; matplotlib's settings are as before afterwards."""
    settings: dict[Any, Any] = {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **_OURS}
    with mpl.rc_context(settings):
        yield


def marks(study: ResolvedStudy) -> dict[str, Mark]:
    """A look per arm: grey for the baseline, a sequential palette for ordered levels, distinct colours otherwise."""
    looks = {study.baseline.name: Mark(BASELINE_COLOUR, "D", "-")}
    names = [arm.name for arm in study.arms]
    if has_ordered_levels(study) and len(names) > 2:
        ordered = sorted(study.arms, key=lambda arm: float(arm.level or 0))
        # viridis without its pale end, which does not show on white
        shares = [0.8 * i / (len(names) - 1) for i in range(len(names))]
        palette = [to_hex(colour) for colour in mpl.colormaps["viridis"](shares)]
        shades = dict(zip([arm.name for arm in ordered], palette, strict=True))
        return looks | {name: Mark(shades[name], _MARKERS[i % len(_MARKERS)], "-") for i, name in enumerate(names)}
    for index, name in enumerate(names):
        turn = index // len(_COLOURS)
        looks[name] = Mark(
            _COLOURS[index % len(_COLOURS)], _MARKERS[(index + turn) % len(_MARKERS)], _DASHES[turn % len(_DASHES)]
        )
    return looks


def has_ordered_levels(study: ResolvedStudy) -> bool:
    """Whether every arm's level is a number (`Arm` keeps numeric levels as floats)."""
    return bool(study.arms) and all(isinstance(arm.level, float) for arm in study.arms)


def png(figure: Figure) -> bytes:
    """The figure at 200 dpi; equal figures give equal bytes."""
    with theme(), io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
        return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as vectors, text as outlines; equal figures give equal bytes."""
    with theme(), io.BytesIO() as buffer:
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return buffer.getvalue()

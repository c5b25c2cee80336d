"""Texts that fit: their width, lines of a width, short names that stay distinct, places at which none overlap."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from harness.report.style import LABEL_SIZE

_MEASURER = RendererAgg(8, 8, 72)  # type: ignore[no-untyped-call]


def spread(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Centres of labels of some sizes, near their ascending wanted places, none overlapping, within [low, high]."""
    offsets = np.cumsum([0.0, *((a + b) / 2 for a, b in pairwise(sizes))])
    blocks: list[list[float]] = []  # [sum, count] of labels that touch: each block sits at its mean
    for place, offset in zip(wanted, offsets, strict=True):
        blocks.append([place - offset, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, members = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += members
    centres = np.repeat([total / members for total, members in blocks], [int(members) for _, members in blocks])
    first, last = low + sizes[0] / 2, high - sizes[-1] / 2 - float(offsets[-1])
    return [float(x) for x in np.clip(centres, first, max(first, last)) + offsets]


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Width of one line of text, inches."""
    font = FontProperties(family=mpl.rcParams["font.family"], size=size)
    width, _, _ = _MEASURER.get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width) / 72


def wrap(text: str, width: float, size: float) -> list[str]:
    """Lines of at most `width` inches; a longer word is cut."""
    lines = [""]
    for word in text.split(" "):
        rest = word
        if lines[-1] and text_width(f"{lines[-1]} {rest}", size) <= width:
            lines[-1] += f" {rest}"
            continue
        if lines[-1]:
            lines.append("")
        while text_width(rest, size) > width and len(rest) > 1:
            fits = next((n for n in range(len(rest) - 1, 1, -1) if text_width(rest[:n], size) <= width), 1)
            lines[-1:] = [rest[:fits], ""]
            rest = rest[fits:]
        lines[-1] = rest
    return lines


def short_names(names: Sequence[str], width: float, *, lines: int = 2) -> dict[str, str]:
    """Each name wrapped to some lines of `width` inches, shortened in its middle where it is longer; all distinct."""
    short = {name: _fitted(name, width, lines) for name in names}
    for text in {text for text in short.values() if list(short.values()).count(text) > 1}:
        alike = [name for name in names if short[name] == text]
        start = max(0, _alike(alike) - 4)  # keep the part that tells them apart
        short |= {name: _fitted(f"…{name[start:]}", width, lines) for name in alike}
    if len(set(short.values())) < len(short):
        return {name: _fitted(f"{i}: {name}", width, lines) for i, name in enumerate(names, 1)}
    return short


def _alike(names: Sequence[str]) -> int:
    """How many first characters some names share."""
    return next((i for i, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)


def _fitted(name: str, width: float, lines: int) -> str:
    def shortened(kept: int) -> list[str]:
        head = (kept + 1) // 2
        text = name if kept >= len(name) else f"{name[:head].rstrip()}…{name[len(name) - kept + head :].lstrip()}"
        return wrap(text, width, LABEL_SIZE)

    fewer, more = 1, len(name) + 1  # the most characters that fit, by bisection
    while more - fewer > 1:
        middle = (fewer + more) // 2
        fewer, more = (middle, more) if len(shortened(middle)) <= lines else (fewer, middle)
    return "\n".join(shortened(fewer))

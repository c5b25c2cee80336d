"""The bench's figure: how many times as fast Patchbench is, with intervals, a panel per part."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from harness.bench.parts import PARTS
from harness.bench.rows import Row
from harness.report.style import INK, MUTED, theme

ROW_INCHES = 0.3
LINE_LETTERS = 52
PRECISIONS = ("bf16 to fp32", "bf16 to bf16", "fp32 to fp32")


def figure(rows: Sequence[Row], *, threads: int) -> Figure:
    """Ratios with a number of threads; a text alone where there is none to draw."""
    frame = ratios_frame(rows, threads=threads)
    with theme():
        parts = [part for part in PARTS if part in set(frame["part"])]
        if not parts:
            drawn, axes = plt.subplots(figsize=(7.0, 1.0))
            axes.set_axis_off()
            axes.text(0.5, 0.5, "No part that compares contenders has been measured.", ha="center", color=MUTED)
        else:
            lines = {part: frame.loc[frame["part"] == part, "line"].nunique() for part in parts}
            height = 1.1 * len(parts) + ROW_INCHES * sum(lines.values())
            heights = [lines[part] + 2 for part in parts]
            drawn, all_axes = plt.subplots(
                len(parts), figsize=(8.5, height), height_ratios=heights, squeeze=False, sharex=True
            )
            for axes, part in zip(all_axes[:, 0], parts, strict=True):
                _panel(axes, frame[frame["part"] == part], PARTS[part])
            all_axes[-1, 0].set_xlabel("Times as fast as the other (median over rounds, 95 % interval)")
        drawn.tight_layout()
        plt.close(drawn)
    return drawn


def ratios_frame(rows: Sequence[Row], *, threads: int) -> pd.DataFrame:
    """A line per ratio: part, line (what, how if not as usual, against whom), precisions, ratio, low, high."""
    found = [
        {
            "part": row.part,
            "line": fill(f"{row.what}{row.contender.removeprefix('patchbench')}: {ratio.to}", LINE_LETTERS),
            "precisions": f"{row.precision} to {ratio.precision}",
            "ratio": ratio.median,
            "low": ratio.low,
            "high": ratio.high,
        }
        for row in rows
        if row.threads in (None, threads)
        for ratio in row.ratios
    ]
    return pd.DataFrame(found, columns=["part", "line", "precisions", "ratio", "low", "high"])


def _panel(axes: Axes, frame: pd.DataFrame, title: str) -> None:
    palette = dict(zip(PRECISIONS, sns.color_palette("colorblind", len(PRECISIONS)), strict=True))
    known = [name for name in PRECISIONS if name in set(frame["precisions"])]
    lines = list(dict.fromkeys(frame["line"]))
    apart: Any = 0.4 if len(known) > 1 else False
    sns.pointplot(
        data=frame, x="ratio", y="line", hue="precisions", hue_order=known, palette=palette, linestyle="none",
        dodge=apart, markers="D", markersize=4, errorbar=None, order=lines, ax=axes,
    )  # fmt: skip
    for place, name in enumerate(known):
        offset = 0.4 * (place / (len(known) - 1) - 0.5) if len(known) > 1 else 0.0
        part = frame[frame["precisions"] == name]
        at = [lines.index(line) + offset for line in part["line"]]
        axes.hlines(at, part["low"], part["high"], color=palette[name], linewidth=1.4)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.set(ylabel="", xlabel="", ylim=(len(lines) - 0.4, -0.6))
    axes.set_title(title[0].upper() + title[1:], loc="right")  # over the names too: they are longer than the panel
    axes.legend(title="", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)

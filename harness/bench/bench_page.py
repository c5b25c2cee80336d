"""How a bench is shown: tables for the console and the Markdown page, and a figure of its ratios."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.bench.bench_file import Bench
from harness.bench.rows import PARTS, Row
from harness.bench.targets import Target
from harness.report.markdown import escape
from harness.report.markdown import table as as_markdown
from harness.report.style import INK, MUTED, theme
from harness.report.table import Table, text_of, text_table
from harness.spec.formats import count, plain, words
from harness.spec.plural import counted

PRECISIONS = {"bf16 to fp32": "D", "bf16 to bf16": "o", "fp32 to fp32": "s"}
"""Our precision and the rival's, with their marker; colours go by place."""


def tables(bench: Bench, targets: Sequence[Target]) -> list[Table]:
    """The targets, then the ratios of each part, with the speeds that they are of."""
    judged = []
    for target in targets:
        row = target.worst
        where, found = (f"{row.what}; {row.other_label}", f"{row.ratio:.2f}") if row else ("", "")
        judged.append((target.name, target.verdict, where, f"{target.bound:g}", found))
    headings: tuple[str, ...] = ("target", "verdict", "worst case", "at least", "found")
    made = [text_table("Targets", "Targets", headings, judged, numbers=2)]
    for part, title in PARTS.items():
        cells = [
            (
                row.what,
                f"{row.threads} thread{'s' * (row.threads != 1)}, batch {row.batch}{'; ' * bool(row.note)}{row.note}",
                row.own_label,
                row.other_label,
                f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]",
                *(f"{count(one) if one >= 100 else plain(one)} {row.unit}" for one in (row.value, row.other_value)),
            )
            for row in bench.rows
            if row.part == part
        ]
        headings = ("what", "setting", "this", "against", "times as fast", "this one's speed", "the other's")
        made += [text_table(title, title, headings, cells, numbers=3)] if cells else []
    return made


def page(bench: Bench, shown: Sequence[Table], *, picture: str) -> str:
    """The bench in Markdown; `picture` is the address of its figure, relative to the page."""
    machine = bench.machine
    where = f"{machine['cpu']}, {counted(machine['cores'], 'core')}{' and ' + machine['gpu'] if machine['gpu'] else ''}"
    blocks = [
        f"# Speed on {escape(where)}",
        "Ratios are between contenders that took turns in the same run: the median over the rounds of how many times "
        "as fast Patchbench was, with a 95% bootstrap interval. Speeds are of this machine at that moment.",
        escape("; ".join(f"{words(name)}: {text_of(value)}" for name, value in machine.items() if value)),
        f"![Ratios of speed, Patchbench to others]({picture})",
    ]
    for table in shown:
        blocks += [f"## {escape(table.caption)}", as_markdown(table)]
    blocks.append("## Where it comes from")
    for part, facts in sorted(bench.parts.items(), key=lambda item: list(PARTS).index(item[0])):
        told = f"{part}: measured {facts['measured']} in {facts['seconds']:.0f} s at revision {facts['git_revision']}"
        load = f"load average before {facts['load_before']:g}, after {facts['load_after']:g}"
        blocks.append(f"- {escape('; '.join((told, load, text_of(facts['versions']))))}")
    return "\n\n".join(blocks) + "\n"


def figure(rows: Sequence[Row], *, threads: int) -> Figure:
    """Ratios with a number of threads, a panel per part; an empty panel where there is none to draw."""
    frame = pd.DataFrame([asdict(row) for row in rows if row.threads == threads], columns=list(Row.__annotations__))
    frame["what"] += frame["contender"].str.removeprefix("patchbench")
    frame["precisions"] = frame["precision"] + " to " + frame["other_precision"]
    panels = [(PARTS[str(part)], group) for part, group in frame.groupby("part", sort=False)] or [("", frame)]
    lines = [len(group[["what", "other"]].drop_duplicates()) + group["what"].nunique() + 2 for _, group in panels]
    with theme():
        drawn = plt.figure(figsize=(8.0, 1.0 + 0.21 * sum(lines)), layout="constrained")
        grid = drawn.subplots(len(panels), height_ratios=lines, sharex=True, squeeze=False)
        shown: dict[str, Any] = {}
        for axes, (title, group) in zip(grid[:, 0], panels, strict=True):
            shown |= _draw(axes, group)
            axes.set_title(title, loc="right")  # over the names too: it is longer than the panel
        axes.set_xlabel("Times as fast as the other (median over rounds, 95% interval)")
        drawn.legend(shown.values(), shown.keys(), loc="outside upper right", ncols=len(PRECISIONS), frameon=False)
        plt.close(drawn)
    return drawn


def _draw(axes: Axes, frame: pd.DataFrame) -> dict[str, Any]:
    """Below the name of each model a line per rival; returns what the legend shows."""
    labels, at, shown = list[str](), {}, {}
    for what, others in frame.groupby("what", sort=False)["other"]:
        labels.append(str(what))
        for other in others.unique():
            at[what, other] = len(labels)
            labels.append(other)
    for place, (name, marker) in enumerate(PRECISIONS.items()):
        part, colour = frame[frame["precisions"] == name], sns.color_palette("colorblind")[place]
        if len(part):
            ends = [part["ratio"] - part["low"], part["high"] - part["ratio"]]
            lines = [at[key] + 0.25 * (place - 1) for key in zip(part["what"], part["other"], strict=True)]
            shown[name] = axes.errorbar(part["ratio"], lines, xerr=ends, fmt=marker, markersize=3.5, color=colour)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    for label in axes.get_yticklabels():
        label.set_color(INK if label.get_text() in set(frame["what"]) else MUTED)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    return shown

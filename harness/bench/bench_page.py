"""How a bench is shown: tables for the console and the Markdown page, and a figure of its ratios."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from harness.bench.bench_file import PARTS, Bench, Row, write_bench
from harness.records.files import write_bytes, write_text
from harness.report.page import escape
from harness.report.page import markdown_table as as_markdown
from harness.report.style import INK, png, svg, theme
from harness.report.table import Table, text_of, text_table
from harness.spec.formats import count, plain, words
from harness.spec.plural import counted

BF16 = "patchbench.*, bf16"
TARGETS = (
    ("ViT step in bf16, against timm's in fp32", 3.0, ("step", "ViT.*", BF16, "timm, fp32")),
    ("ViT step in bf16, against torchvision's in fp32", 3.0, ("step", "ViT.*", BF16, "torchvision, fp32")),
    ("ViT step in bf16, against timm's in bf16", 2.0, ("step", "ViT.*", BF16, "timm, bf16")),
    ("ViT step in bf16, against torchvision's in bf16", 2.0, ("step", "ViT.*", BF16, "torchvision, bf16")),
    ("ViT step in bf16, against vit-pytorch SimpleViT's in bf16", 1.2, ("step", "ViT.*", BF16, "vit-pytorch .*, bf16")),
    ("ResNet step in bf16, against torchvision's in fp32", 1.5, ("step", "ResNet.*", BF16, "torchvision, fp32")),
    ("data to weights, against the usual stack at its best", 4.0, ("data", ".*", ".* a training per .*, bf16", ".*")),
    ("a study of 12 trainings, against a shell loop", 4.0, ("study", "12 trainings.*", ".*", ".*")),
)
"""The least ratios that are meant to be reached on two processor cores, each by all rows that fit its patterns.

The patterns are of a part, of what is measured, and of our contender and the other, with their precisions.
"""


def tables(bench: Bench, *, threads: int) -> list[Table]:
    """The targets, by the worst that was measured with some threads, then the ratios and speeds of each part."""
    judged = []
    for name, bound, patterns in TARGETS:
        meant = [
            (row.ratio, f"{row.what}; {row.other_label}")
            for row in bench.rows
            if row.threads == threads
            and all(map(re.fullmatch, patterns, (row.part, row.what, row.own_label, row.other_label)))
        ]
        found, where = min(meant, default=(math.nan, ""))
        verdict = "not measured" if not meant else "met" if found >= bound else "not met"
        judged.append((name, verdict, where, f"{bound:g}", f"{found:.2f}" if meant else ""))
    headings: tuple[str, ...] = ("target", "verdict", "worst case", "at least", "found")
    made = [text_table("Targets", "Targets", headings, judged, numbers=2)]
    headings = ("what", "setting", "this", "against", "times as fast", "this one's speed", "the other's")
    for part, title in PARTS.items():
        if cells := [_cells(row) for row in bench.rows if row.part == part]:
            made.append(text_table(title, title, headings, cells, numbers=3))
    return made


def _cells(row: Row) -> list[str]:
    setting = f"{counted(row.threads, 'thread')}, batch {row.batch}{'; ' * bool(row.note)}{row.note}"
    speeds = (f"{count(one) if one >= 100 else plain(one)} {row.unit}" for one in (row.value, row.other_value))
    found = f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]"
    return [row.what, setting, row.own_label, row.other_label, found, *speeds]


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


def figure(rows: Sequence[Row]) -> Figure:
    """A line per two contenders, each in its last precision, the fastest: ratio and interval, coloured by part."""
    rows = list({(row.what, row.contender, row.other): row for row in rows}.values())
    with theme():
        drawn = plt.figure(figsize=(8.0, 1.2 + 0.16 * len(rows)), layout="constrained")
        axes = drawn.subplots()
        for part, colour in zip(PARTS, sns.color_palette("colorblind"), strict=False):
            if of_part := {place: row for place, row in enumerate(rows) if row.part == part}:
                ratio, low, high = zip(*((row.ratio, row.low, row.high) for row in of_part.values()), strict=True)
                ends = np.abs(np.subtract([low, high], ratio))
                axes.errorbar(ratio, list(of_part), xerr=ends, fmt="o", markersize=3.5, color=colour, label=PARTS[part])
        axes.axvline(1, color=INK, linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        names = [f"{row.what}{row.contender.removeprefix('patchbench')}: to {row.other_label}" for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(axis="y", length=0, labelsize=6.5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("Times as fast as the other")
        drawn.legend(loc="outside upper right")
        plt.close(drawn)
    return drawn


def show(bench: Bench, stem: Path) -> tuple[list[Table], list[Path]]:
    """Write all files of a bench; `stem` is their path without the ending. Returns tables to print, and the files."""
    threads = max((row.threads for row in bench.rows), default=1)
    shown, drawn = tables(bench, threads=threads), figure([row for row in bench.rows if row.threads == threads])
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("md", "png", "svg", "json")]
    write_text(paths[0], page(bench, shown, picture=paths[1].name))
    write_bytes(paths[1], png(drawn))
    write_bytes(paths[2], svg(drawn))
    write_bench(bench, paths[3])
    return shown, paths

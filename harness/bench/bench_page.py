"""The bench of a machine: its rows, kept as JSON, and the tables of the console and the Markdown page."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.bench.contest import Row
from harness.records.files import RecordsError, read_json, write_json, write_text
from harness.report.page import escape, markdown_table
from harness.report.table import Table, text_of, text_table
from harness.spec import to_plain
from harness.spec.formats import count, plain, words
from harness.spec.plural import counted

SCHEMA = 2
"""Version of what stands in the file; raise it when a field changes its meaning."""
PARTS = {
    "step": "Training steps on a batch at hand, against other libraries' models",
    "data": "Training from data to weights, against the usual stack",
    "study": "A study of 12 trainings, against a shell loop over the usual stack",
}
"""By name, in the order of the page: what a part measures."""
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


@dataclass(frozen=True)
class Bench:
    """All that is known of a machine's speed."""

    machine: dict[str, Any]
    """Processor, cores, vector instructions, memory and GPU, without its name."""
    rows: tuple[Row, ...] = ()
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By part: when and with what it was measured."""

    def with_part(self, name: str, rows: Sequence[Row], facts: dict[str, Any]) -> "Bench":
        """This bench with a part measured anew; the other parts' rows stay as they are, with their own times."""
        others = [row for row in self.rows if row.part != name]
        merged = sorted([*others, *rows], key=lambda row: list(PARTS).index(row.part))
        return Bench(self.machine, tuple(merged), {**self.parts, name: facts})


def read_bench(path: Path) -> Bench:
    """A bench that was kept; `RecordsError` where the file is not one."""
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}, not {SCHEMA}")
        return Bench(dict(content["machine"]), tuple(Row(**row) for row in content["rows"]), dict(content["parts"]))
    except (LookupError, TypeError, ValueError) as error:
        raise RecordsError(f"{path} does not hold a bench: {error!r}. Move it away and measure anew.") from error


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


def page(bench: Bench, shown: Sequence[Table]) -> str:
    """The bench in Markdown."""
    machine = bench.machine
    where = f"{machine['cpu']}, {counted(machine['cores'], 'core')}{' and ' + machine['gpu'] if machine['gpu'] else ''}"
    blocks = [
        f"# Speed on {escape(where)}",
        "Ratios are between contenders that took turns in the same run: the median over the rounds of how many times "
        "as fast Patchbench was, with a 95% bootstrap interval. Speeds are of this machine at that moment.",
        escape("; ".join(f"{words(name)}: {text_of(value)}" for name, value in machine.items() if value)),
    ]
    for table in shown:
        blocks += [f"## {escape(table.caption)}", markdown_table(table)]
    blocks.append("## Where it comes from")
    for part, facts in sorted(bench.parts.items(), key=lambda item: list(PARTS).index(item[0])):
        told = f"{part}: measured {facts['measured']} in {facts['seconds']:.0f} s at revision {facts['git_revision']}"
        load = f"load average before {facts['load_before']:g}, after {facts['load_after']:g}"
        blocks.append(f"- {escape('; '.join((told, load, text_of(facts['versions']))))}")
    return "\n\n".join(blocks) + "\n"


def show(bench: Bench, stem: Path) -> tuple[list[Table], list[Path]]:
    """Write `stem`.json and `stem`.md. Returns the tables to print, and the files."""
    shown = tables(bench, threads=max((row.threads for row in bench.rows), default=1))
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("md", "json")]
    write_text(paths[0], page(bench, shown))
    write_json(paths[1], {"schema": SCHEMA, **to_plain(bench)})
    return shown, paths

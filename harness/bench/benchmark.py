"""`patchbench bench`: measures the parts asked for, and keeps and shows the rows of a machine, as JSON and Markdown."""

import importlib.util
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from harness.bench.contest import Row, race
from harness.records import provenance
from harness.records.files import RecordsError, read_json, write_json, write_text
from harness.report.page import escape, markdown_table
from harness.report.table import Table, text_of, text_table
from harness.spec import InvalidInput, to_plain
from harness.spec.formats import count, counted, plain, words

PEERS = {"timm": "timm", "vit_pytorch": "vit-pytorch"}
"""Libraries beside torchvision that the models are compared with: module and package."""
SCHEMA = 2  # version of what stands in the file; raise it when a field changes its meaning
PARTS = {
    "step": "Training steps on a batch at hand, against other libraries' models",
    "data": "Training from data to weights, against the usual stack",
    "study": "A study of 12 trainings, against a shell loop over the usual stack",
}
"""By name, in the order of the page: what a part measures."""
TARGETS = (
    ("ViT step in bf16, against timm's in fp32", 3.0, "step, ViT.*, bf16: timm, fp32"),
    ("ViT step in bf16, against torchvision's in fp32", 3.0, "step, ViT.*, bf16: torchvision, fp32"),
    ("ViT step in bf16, against timm's in bf16", 2.0, "step, ViT.*, bf16: timm, bf16"),
    ("ViT step in bf16, against torchvision's in bf16", 2.0, "step, ViT.*, bf16: torchvision, bf16"),
    ("ViT step in bf16, against vit-pytorch SimpleViT's in bf16", 1.2, "step, ViT.*, bf16: vit-pytorch .*, bf16"),
    ("ResNet step in bf16, against torchvision's in fp32", 1.5, "step, ResNet.*, bf16: torchvision, fp32"),
    ("data to weights, against the usual stack at its best", 4.0, "data, .* a training per thread, bf16: .*"),
    ("a study of 12 trainings, against a shell loop", 4.0, "study, 12 trainings.*"),
)
"""The least ratios that are meant to be reached on two processor cores, by all rows that fit the pattern."""


@dataclass(frozen=True)
class Bench:
    """All that is known of a machine's speed."""

    machine: dict[str, Any]  # processor, cores, vector instructions, memory and GPU, without its name
    rows: tuple[Row, ...] = ()
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)  # by part: when and with what it was measured

    def with_part(self, name: str, rows: Sequence[Row], facts: dict[str, Any]) -> "Bench":
        """This bench with a part measured anew; the other parts' rows stay as they are, with their own times."""
        others = [row for row in self.rows if row.part != name]
        merged = sorted([*others, *rows], key=lambda row: list(PARTS).index(row.part))
        return Bench(self.machine, tuple(merged), {**self.parts, name: facts})


def bench(
    names: tuple[str, ...], *, output: Path, quick: bool, say: Callable[[str], object]
) -> tuple[list[Table], list[Path]]:
    """Measure the parts `names` (none: all), of PARTS, and write `<machine>.json` and `.md` into `output`.

    A quick look goes into files of its own, `<machine>-quick.*`: its figures are not to be quoted. Returns tables to
    print, and the files. Raises `InvalidInput` where a library is missing, before anything is measured.
    """
    missing = [package for module, package in PEERS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InvalidInput(
            f"The bench lacks {' and '.join(missing)}. Use `make bench`, which installs what it needs, or: "
            "pip install 'patchbench[bench]'."
        )
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    hardware = provenance.hardware()
    machine = {
        "cpu": hardware["cpu"],
        "cores": hardware["cores"],
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "",
    }
    stem = output / (file_stem(machine["cpu"], machine["cores"], machine["gpu"]) + ("-quick" if quick else ""))
    path = stem.with_name(f"{stem.name}.json")
    kept = read_bench(path) if path.exists() else Bench(machine)
    for part, title in PARTS.items():
        if part in names or not names:
            say(f"{part}: {title}")
            kept = kept.with_part(part, *_measured(part, device, quick=quick, say=say))
            shown = show(kept, stem)
    return shown


def _measured(part: str, device: str, *, quick: bool, say: Callable[[str], object]) -> tuple[list[Row], dict[str, Any]]:
    """The rows of a part, and when and with what they were measured."""
    from harness.bench import contestants
    from harness.training.device import choose

    cores, best = provenance.available_cores(), choose(device).precision  # bf16 where the processor has it in hardware
    threads = (cores,) if quick or device == "cuda" else tuple(sorted({1, min(2, cores), cores}))
    precisions = (best,) if quick else tuple(dict.fromkeys(("fp32", best)))
    rounds, seconds = (2, 0.05) if quick else (7, 0.4)
    settings = contestants.Settings(quick, device, threads, precisions, rounds, seconds)
    began, now, load_before = time.perf_counter(), datetime.now(UTC), os.getloadavg()[0]
    rows = []
    for heat in getattr(contestants, part)(settings):
        say(f"  {heat.what}")
        rows += race(heat)
    return rows, {
        "measured": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(time.perf_counter() - began, 1),
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "settings": to_plain(settings),
        "versions": provenance.versions() | {package: version(package) for package in PEERS.values()},
        **({"git_revision": "unknown", "git_dirty": False} | provenance.git_state()),
    }


def file_stem(cpu: str, cores: int, gpu: str = "") -> str:
    """A name for files: the processor's model, its cores that can be used, and the GPU's model where one is used."""
    model = re.sub(r"\((?:r|tm|c)\)|\bcpu\b|\bprocessor\b|@.*", " ", cpu.lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{model} {counted(cores, 'core')} {gpu.lower()}").strip("-")


def read_bench(path: Path) -> Bench:
    """A bench that was kept; `RecordsError` where the file is not one."""
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}, not {SCHEMA}")
        return Bench(dict(content["machine"]), tuple(Row(**row) for row in content["rows"]), dict(content["parts"]))
    except (LookupError, TypeError, ValueError) as error:
        raise RecordsError(f"{path} does not hold a bench: {error!r}. Move it away and measure anew.") from error


def show(bench: Bench, stem: Path) -> tuple[list[Table], list[Path]]:
    """Write `stem`.json and `stem`.md. Returns the tables to print, and the files."""
    shown = tables(bench, threads=max((row.threads for row in bench.rows), default=1))
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("md", "json")]
    write_text(paths[0], page(bench, shown))
    write_json(paths[1], {"schema": SCHEMA, **to_plain(bench)})
    return shown, paths


def tables(bench: Bench, *, threads: int) -> list[Table]:
    """The targets, by the worst that was measured with some threads, then the ratios and speeds of each part."""
    judged = []
    rows = [row for row in bench.rows if row.threads == threads]
    names = [f"{row.part}, {row.what}, {row.own_label}: {row.other_label}" for row in rows]
    for name, bound, pattern in TARGETS:
        meant = [row for row, setting in zip(rows, names, strict=True) if re.fullmatch(pattern, setting)]
        worst = min(meant, key=lambda row: row.ratio, default=None)
        if worst is None:
            judged.append((name, "not measured", "", f"{bound:g}", ""))
        else:
            verdict, where = "met" if worst.ratio >= bound else "not met", f"{worst.what}; {worst.other_label}"
            judged.append((name, verdict, where, f"{bound:g}", f"{worst.ratio:.2f}"))
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

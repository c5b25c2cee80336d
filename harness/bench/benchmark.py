"""`patchbench bench`: measure the parts asked for and keep what was found beside the other parts'."""

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from harness.bench.bench_file import Bench, file_stem, read_bench, this_machine, write_bench
from harness.bench.contest import Settings
from harness.bench.rows import PARTS, Row
from harness.bench.targets import judged
from harness.records import provenance
from harness.records.files import write_bytes, write_text
from harness.report.table import Table
from harness.spec import InvalidInput

PEERS = {"timm": "timm", "vit_pytorch": "vit-pytorch"}
"""Libraries beside torchvision that the models are compared with: module and package."""


def bench(
    names: tuple[str, ...], *, output: Path, quick: bool, say: Callable[[str], object]
) -> tuple[list[Table], list[Path]]:
    """Measure the parts `names` (none: all) and write `<machine>.json`, `.md`, `.png` and `.svg` into `output`.

    A part takes the place of what was measured of it before; the other parts stay, with their own times. A quick look
    goes into files of its own, `<machine>-quick.*`: its figures are not to be quoted. Returns tables to print, and the
    files. Raises `InvalidInput` for an unknown part, and where a library is missing, before anything is measured.
    """
    for name in names:
        if name not in PARTS:
            raise InvalidInput(f"The bench has no part {name!r}; valid: {', '.join(PARTS)}.")
    missing = [package for module, package in PEERS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InvalidInput(
            f"The bench compares with {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not "
            "installed. Use `make bench`, which installs what it needs, or: pip install 'patchbench[bench]'."
        )
    settings = _settings(quick=quick, say=say)
    machine = this_machine(settings.device)
    stem = output / (file_stem(machine["cpu"], machine["cores"], machine["gpu"]) + ("-quick" if quick else ""))
    path = stem.with_name(f"{stem.name}.json")
    kept = read_bench(path) if path.exists() else Bench(machine)
    for part, title in PARTS.items():
        if part in names or not names:
            say(f"{part}: {title}")
            kept = kept.with_part(part, *_measured(part, settings))
            write_bench(kept, path)
    return show(kept, stem)


def show(kept: Bench, stem: Path) -> tuple[list[Table], list[Path]]:
    """Write all files of a bench; `stem` is their path without the ending. Returns tables to print, and the files."""
    from harness.bench.bench_page import figure, page, tables
    from harness.report.style import png, svg

    threads = max((row.threads for row in kept.rows), default=1)
    targets = judged(kept.rows, threads=threads)
    shown, drawn = tables(kept, targets), figure(kept.rows, threads=threads)
    paths = {ending: stem.with_name(f"{stem.name}.{ending}") for ending in ("md", "png", "svg", "json")}
    write_bytes(paths["png"], png(drawn))
    write_bytes(paths["svg"], svg(drawn))
    write_text(paths["md"], page(kept, shown, picture=paths["png"].name))
    write_bench(kept, paths["json"])
    return shown, list(paths.values())


def _settings(*, quick: bool, say: Callable[[str], object]) -> Settings:
    import torch

    from harness.training.device import choose

    device, cores = "cuda" if torch.cuda.is_available() else "cpu", provenance.available_cores()
    best = choose(device).precision  # bf16 where the processor has it in hardware
    if quick:
        return Settings(
            quick=True, device=device, threads=(cores,), precisions=(best,), rounds=2, seconds=0.05, say=say
        )
    threads = (cores,) if device == "cuda" else tuple(sorted({1, min(2, cores), cores}))
    return Settings(device=device, threads=threads, precisions=tuple(dict.fromkeys(("fp32", best))), say=say)


def _measured(part: str, settings: Settings) -> tuple[list[Row], dict[str, object]]:
    """The rows of a part, and when and with what they were measured."""
    now, began, load_before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), time.perf_counter(), os.getloadavg()[0]
    rows = list[Row](import_module(f"harness.bench.part_{part}").measure(settings))
    return rows, {
        "measured": now,
        "seconds": round(time.perf_counter() - began, 1),
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "settings": {item.name: getattr(settings, item.name) for item in fields(settings) if item.name != "say"},
        "versions": provenance.versions() | {package: version(package) for package in PEERS.values()},
        **({"git_revision": "unknown", "git_dirty": False} | provenance.git_state()),
    }

"""`patchbench bench`: measure the parts asked for and keep what was found beside the other parts'."""

import importlib.util
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from harness.bench.bench_page import PARTS, Bench, read_bench, show
from harness.bench.contest import Row
from harness.records import provenance
from harness.report.table import Table
from harness.spec import InvalidInput, to_plain

PEERS = {"timm": "timm", "vit_pytorch": "vit-pytorch"}
"""Libraries beside torchvision that the models are compared with: module and package."""


def bench(
    names: tuple[str, ...], *, output: Path, quick: bool, say: Callable[[str], object]
) -> tuple[list[Table], list[Path]]:
    """Measure the parts `names` (none: all), of PARTS, and write `<machine>.json` and `.md` into `output`.

    A part takes the place of what was measured of it before; the other parts stay, with their own times. A quick look
    goes into files of its own, `<machine>-quick.*`: its figures are not to be quoted. Returns tables to print, and the
    files. Raises `InvalidInput` where a library is missing, before anything is measured.
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
    from harness.bench import contest, contestants
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
        rows += contest.race(heat)
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
    words = f"{model} {cores} core{'s' * (cores != 1)} {gpu.lower()}"
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")

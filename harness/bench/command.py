"""`patchbench bench`: measure the parts asked for and keep what was found beside the other parts'."""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from harness.bench import machine
from harness.bench.kept import Bench, read_bench, write_bench
from harness.bench.parts import PARTS, chosen, measure_of
from harness.bench.settings import Settings
from harness.bench.targets import verdicts
from harness.records import provenance
from harness.records.files import write_bytes, write_text
from harness.spec import InvalidInput

PEERS = {"timm": "timm", "vit_pytorch": "vit-pytorch"}
"""Libraries beside torchvision that the models are compared with: module and package."""
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.05


@dataclass(frozen=True)
class Benched:
    """What a bench leaves: tables to print and files."""

    tables: list[Table]
    files: list[Path]


def bench(names: tuple[str, ...], *, output: Path, quick: bool, say: Callable[[str], object]) -> Benched:
    """Measure the parts `names` (none: all) and write `<machine>.json`, `.md`, `.png` and `.svg` into `output`.

    A part takes the place of what was measured of it before; the other parts stay, with their own times. A quick look
    goes into files of its own, `<machine>-quick.*`: its figures are not to be quoted.

    Raises `InvalidInput` for an unknown part, and where another library is missing, before anything is measured.
    """
    parts = chosen(names)
    require_peers()
    device = _device()
    found = machine.described(device)
    name = machine.slug(found["cpu"], found["cores"], found["gpu"]) + ("-quick" if quick else "")
    path = output / f"{name}.json"
    kept = read_bench(path) if path.exists() else Bench(found)
    for part in parts:
        say(f"{part}: {PARTS[part]}")
        kept = _measured(kept, part, device=device, quick=quick, say=say)
        write_bench(kept, path)
    return _written(kept, output / name)


def require_peers() -> None:
    """Refuse to begin where a library to compare with is missing."""
    missing = [package for module, package in PEERS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InvalidInput(
            f"The bench compares with {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not "
            "installed. Use `make bench`, which installs what it needs, or: pip install 'patchbench[bench]'."
        )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _settings(folder: Path, device: str, *, quick: bool, say: Callable[[str], object]) -> Settings:
    from harness.training.device import choose

    cores = provenance.available_cores()
    threads = (cores,) if quick or device == "cuda" else tuple(sorted({1, min(2, cores), cores}))
    if not quick:
        return Settings(folder=folder, device=device, threads=threads, say=say)
    return Settings(
        folder=folder,
        quick=True,
        device=device,
        threads=threads,
        precisions=(choose(device).precision,),
        rounds=QUICK_ROUNDS,
        seconds=QUICK_SECONDS,
        say=say,
    )


def _measured(kept: Bench, part: str, *, device: str, quick: bool, say: Callable[[str], object]) -> Bench:
    """`kept` with a part measured now."""
    with tempfile.TemporaryDirectory(prefix="patchbench-bench-") as folder:
        settings = _settings(Path(folder), device, quick=quick, say=say)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        before, began = machine.load_average(), time.perf_counter()
        rows = [replace(row, measured=now) for row in measure_of(part)(settings)]
    facts = {
        "measured": now,
        "seconds": round(time.perf_counter() - began, 1),
        "load_before": before,
        "load_after": machine.load_average(),
        "settings": {
            item.name: getattr(settings, item.name) for item in fields(settings) if item.name not in {"folder", "say"}
        },
        "versions": provenance.versions() | {package: version(package) for package in PEERS.values()},
        "git_revision": "unknown",
        "git_dirty": False,
        **provenance.git_state(),
    }
    return kept.with_part(part, rows, facts)


def _written(kept: Bench, stem: Path) -> Benched:
    """Tables and files of a bench; `stem` is the path of its files without their endings."""
    from harness.bench.figure import figure
    from harness.bench.tables import markdown, sheets
    from harness.report.style import png, svg

    threads = max((row.threads for row in kept.rows if row.threads is not None), default=1)
    found = verdicts(kept.rows, threads=threads, bf16=machine.has_fast_bf16(kept.machine["flags"]))
    drawn = figure(kept.rows, threads=threads)
    paths = {ending: stem.with_name(f"{stem.name}.{ending}") for ending in ("md", "png", "svg", "json")}
    write_bytes(paths["png"], png(drawn))
    write_bytes(paths["svg"], svg(drawn))
    write_text(paths["md"], markdown(kept, found, figure=paths["png"].name))
    return Benched([sheet.for_console() for sheet in sheets(kept, found)], list(paths.values()))

"""The bench of a machine as JSON: the rows of every part, and where and when each part was measured."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness.bench.rows import PARTS, Row
from harness.records import provenance
from harness.records.files import RecordsError, read_json, write_json
from harness.spec import to_plain

SCHEMA = 2
"""Version of what stands in the file; raise it when a field changes its meaning."""


@dataclass(frozen=True)
class Bench:
    """All that is known of a machine's speed."""

    machine: dict[str, Any]
    """See `this_machine`."""
    rows: tuple[Row, ...] = ()
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By part: when and with what it was measured."""

    def with_part(self, name: str, rows: Sequence[Row], facts: dict[str, Any]) -> "Bench":
        """This bench with a part measured anew; the other parts' rows stay as they are, with their own times."""
        others = [row for row in self.rows if row.part != name]
        merged = sorted([*others, *rows], key=lambda row: list(PARTS).index(row.part))
        return Bench(self.machine, tuple(merged), {**self.parts, name: facts})


def write_bench(bench: Bench, path: Path) -> None:
    """Keep a bench atomically."""
    write_json(path, {"schema": SCHEMA, **to_plain(bench)})


def read_bench(path: Path) -> Bench:
    """A bench that was kept; `RecordsError` where the file is not one of this schema."""
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}, not {SCHEMA}")
        return Bench(dict(content["machine"]), tuple(Row(**row) for row in content["rows"]), dict(content["parts"]))
    except (LookupError, TypeError, ValueError) as error:
        raise RecordsError(f"{path} does not hold a bench: {error!r}. Move it away and measure anew.") from error


def this_machine(device: str) -> dict[str, Any]:
    """Processor, cores, vector instructions, memory and GPU of the machine, without its name."""
    import torch

    hardware = provenance.hardware()
    return {
        "cpu": hardware["cpu"],
        "cores": hardware["cores"],
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "",
    }


def file_stem(cpu: str, cores: int, gpu: str = "") -> str:
    """A name for files: the processor's model, its cores that can be used, and the GPU's model where one is used."""
    model = re.sub(r"\((?:r|tm|c)\)|\bcpu\b|\bprocessor\b|@.*", " ", cpu.lower())
    words = f"{model} {cores} core{'s' * (cores != 1)} {gpu.lower()}"
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")

"""The bench of a machine as JSON: a row for each two contenders, and where and when each part was measured."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.records.files import RecordsError, read_json, write_json
from harness.spec import to_plain

SCHEMA = 2
"""Version of what stands in the file; raise it when a field changes its meaning."""
PARTS = {
    "step": "Training steps on a batch at hand, against other libraries' models",
    "data": "Training from data to weights, against the usual stack",
    "study": "A study of 12 trainings, against a shell loop over the usual stack",
}
"""By name, in the order of the page: what a part measures."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How many times as fast as another contender one of ours is, at one setting."""

    part: str
    what: str
    """A model and its images, e.g. `ViT p4 w96 d6, 28 px`."""
    threads: int
    batch: int
    """Images per update."""
    contender: str
    """`patchbench`, and the way it was used if not the usual one; `other` likewise."""
    precision: str
    """`fp32` or `bf16` (autocast)."""
    other: str
    other_precision: str
    ratio: float
    """The median over the rounds, with its bootstrap interval (95%); above 1, ours is the faster one."""
    low: float
    high: float
    value: float
    """What ours reached, in `unit` (`images/s` or `s`): the median over the rounds; `other_value` likewise."""
    other_value: float
    unit: str
    rounds: int
    note: str = ""

    @property
    def own_label(self) -> str:
        return f"{self.contender}, {self.precision}"

    @property
    def other_label(self) -> str:
        return f"{self.other}, {self.other_precision}"


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


def file_stem(cpu: str, cores: int, gpu: str = "") -> str:
    """A name for files: the processor's model, its cores that can be used, and the GPU's model where one is used."""
    model = re.sub(r"\((?:r|tm|c)\)|\bcpu\b|\bprocessor\b|@.*", " ", cpu.lower())
    words = f"{model} {cores} core{'s' * (cores != 1)} {gpu.lower()}"
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")

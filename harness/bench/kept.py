"""The bench of a machine as JSON: the rows of every part, and where and when each part was measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.bench.parts import PARTS
from harness.bench.rows import Ratio, Row
from harness.records.files import RecordsError, read_json, write_json
from harness.spec import to_plain

SCHEMA = 1
"""Version of what stands in the file; raise it when a field changes its meaning."""


@dataclass(frozen=True)
class Bench:
    """All that is known of a machine's speed."""

    machine: dict[str, Any]
    """See `machine.described`."""
    rows: tuple[Row, ...] = ()
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By part: when and with what it was measured."""

    def with_part(self, name: str, rows: Sequence[Row], provenance: dict[str, Any]) -> "Bench":
        """This bench with a part measured anew; the other parts' rows stay as they are, with their own times."""
        kept = [row for row in self.rows if row.part != name]
        order = {part: place for place, part in enumerate(PARTS)}
        merged = sorted([*kept, *rows], key=lambda row: order.get(row.part, len(order)))
        return Bench(self.machine, tuple(merged), {**self.parts, name: provenance})


def write_bench(bench: Bench, path: Path) -> None:
    """Keep a bench atomically."""
    write_json(path, {"schema": SCHEMA, **to_plain(bench)})


def read_bench(path: Path) -> Bench:
    """A bench that was kept; `RecordsError` where the file is not one of this schema."""
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise RecordsError(f"{path} has schema {content['schema']!r}, not {SCHEMA}. Move it away and measure anew.")
        rows = tuple(_row(item) for item in content["rows"])
        return Bench(dict(content["machine"]), rows, dict(content["parts"]))
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, RecordsError):
            raise
        raise RecordsError(f"{path} does not hold a bench: {error!r}. Move it away and measure anew.") from error


def _row(item: dict[str, Any]) -> Row:
    return Row(**{**item, "ratios": tuple(Ratio(**ratio) for ratio in item["ratios"])})

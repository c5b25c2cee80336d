"""How far a study is, from its records alone: it may be running in another process."""

import contextlib
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.records.files import RecordsError, read_json
from harness.records.tables import read_study

STALE_SECONDS = 30.0
"""A running coordinator renews its status far more often than this."""


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Counts of a study's runs, and what is under way."""

    study: str
    scale: str
    planned: int
    statuses: dict[str, int]
    """Number of runs by status: completed, diverged, out_of_memory, failed."""
    running: list[dict[str, Any]]
    """`run`, `update`, `updates` of each training under way; empty when no coordinator is at work."""
    coordinator: str
    """Process and host, or a sentence that nothing is running."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        """A few lines for a terminal."""
        counts = ", ".join(f"{number} {status}" for status, number in sorted(self.statuses.items())) or "none finished"
        lines = [f"{self.study} at scale {self.scale}: {self.planned} runs planned; {counts}.", self.coordinator]
        lines += [f"  {item['run']}: {item['update']:,} of {item['updates']:,} updates" for item in self.running]
        return "\n".join(lines)


def read_status(folder: Path) -> StudyStatus:
    """The status of the study whose results lie in `folder`."""
    study, _ = read_study(folder)
    live = _live(folder / "work" / "status.json")
    planned = len(study.cells) * (study.search.trials + len(study.seeds))
    return StudyStatus(
        study=study.name,
        scale=study.scale,
        planned=planned,
        statuses=dict(_count(folder / "work" / "runs")),
        running=live.get("running", []),
        coordinator=(
            f"Process {live['process']} on {live['host']} is at work."
            if live
            else f"Nothing is running; go on with: patchbench run {study.name} --scale {study.scale}"
        ),
    )


def _live(path: Path) -> dict[str, Any]:
    with contextlib.suppress(RecordsError, KeyError, TypeError):
        content = dict(read_json(path))
        if time.time() - content["time"] < STALE_SECONDS:
            return content
    return {}


def _count(runs: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in runs.glob("*/result.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found[json.loads(path.read_bytes())["result"]["status"]] += 1
    return found

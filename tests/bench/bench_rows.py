"""Rows made up for the tests of what a bench keeps and shows."""

from typing import Any

from harness.bench.rows import Ratio, Row


def made_row(part: str = "step", **fields: Any) -> Row:
    given: dict[str, Any] = {
        "what": "ViT p7 w64 d4, 28 px",
        "contender": "patchbench",
        "value": 4000.0,
        "best": 4200.0,
        "unit": "images/s",
        "threads": 2,
        "precision": "bf16",
        "batch": 128,
        "details": {"parameters": 138_890},
    }
    return Row(part=part, **(given | fields))


def against(to: str, median: float, precision: str = "fp32") -> Ratio:
    return Ratio(to=to, precision=precision, median=median, low=0.9 * median, high=1.1 * median)


MACHINE = {"cpu": "A CPU | of some kind", "cores": 2, "flags": ["avx512_bf16"], "memory_gb": 8.0, "gpu": ""}
FACTS = {
    "measured": "2026-01-02T03:04:05Z",
    "seconds": 1.0,
    "load_before": 0.5,
    "load_after": 1.5,
    "settings": {"rounds": 2},
    "versions": {"torch": "2.9"},
    "git_revision": "abc",
    "git_dirty": False,
}

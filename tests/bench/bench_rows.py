"""Rows made up for the tests of what a bench keeps and shows."""

from typing import Any

from harness.bench.contest import Row


def made_row(other: str = "timm", ratio: float = 2.5, other_precision: str = "fp32", **fields: Any) -> Row:
    given: dict[str, Any] = {
        "part": "step",
        "what": "ViT p7 w64 d4, 28 px",
        "threads": 2,
        "batch": 128,
        "contender": "patchbench",
        "precision": "bf16",
        "low": 0.9 * ratio,
        "high": 1.1 * ratio,
        "value": 4000.0,
        "other_value": 4000.0 / ratio,
        "unit": "images/s",
        "rounds": 9,
    }
    return Row(other=other, ratio=ratio, other_precision=other_precision, **(given | fields))


MACHINE = {"cpu": "A CPU | of some kind", "cores": 2, "instructions": "AVX512", "memory_gb": 8.0, "gpu": ""}
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

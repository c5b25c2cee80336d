"""What the bench is meant to reach on two processor cores, and whether it does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.bench.rows import Row

STEPS = (
    ("ViT", "bf16", "timm", "fp32", 3.0),
    ("ViT", "bf16", "torchvision", "fp32", 3.0),
    ("ViT", "bf16", "timm", "bf16", 2.0),
    ("ViT", "bf16", "torchvision", "bf16", 2.0),
    ("ViT", "bf16", "vit-pytorch SimpleViT", "bf16", 1.2),
    ("ResNet", "bf16", "torchvision", "fp32", 1.5),
)
STEPS_WITHOUT_BF16 = [
    (model, "fp32", other, "fp32", 1.3) for model, _, other, precision, _ in STEPS if precision == "fp32"
]


@dataclass(frozen=True)
class Target:
    """A least ratio, of all rows that are meant, and what was found: the worst of them decides."""

    name: str
    bound: float
    part: str
    what: str
    """Like the next two a pattern of a whole text: `Row.what`."""
    own: str
    """`Row.own_label`."""
    other: str
    """`Row.other_label`."""
    worst: Row | None = None
    """None where nothing was measured."""

    @property
    def verdict(self) -> str:
        """`met`, `not met` or `not measured`."""
        if self.worst is None:
            return "not measured"
        return "met" if self.worst.ratio >= self.bound else "not met"


def judged(rows: Sequence[Row], *, threads: int) -> list[Target]:
    """Every target, by what was found with a number of threads; those without bf16 where that was not measured."""
    bf16 = not rows or any(row.precision == "bf16" for row in rows)
    at_once = f"patchbench, a training per thread, {'bf16' if bf16 else 'fp32'}"
    data, study = (
        "data to weights, against the usual stack at its best",
        "a study of 12 trainings, against a shell loop",
    )
    targets = [
        *(_step(*step) for step in (STEPS if bf16 else STEPS_WITHOUT_BF16)),
        Target(data, 4.0, "data", ".*", at_once, "usual stack.*"),
        Target(study, 4.0, "study", "12 trainings.*", "patchbench.*", "shell loop.*"),
    ]
    return [_judge(target, [row for row in rows if row.threads == threads]) for target in targets]


def _step(model: str, precision: str, other: str, other_precision: str, bound: float) -> Target:
    name = f"{model} step in {precision}, against {other}'s in {other_precision}"
    return Target(name, bound, "step", f"{model}.*", f"patchbench.*, {precision}", f"{other}, {other_precision}")


def _judge(target: Target, rows: Sequence[Row]) -> Target:
    patterns = (target.part, target.what, target.own, target.other)
    texts = [(row, (row.part, row.what, row.own_label, row.other_label)) for row in rows]
    meant = [row for row, text in texts if all(map(re.fullmatch, patterns, text))]
    return replace(target, worst=min(meant, key=lambda row: row.ratio, default=None))

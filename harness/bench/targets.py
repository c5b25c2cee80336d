"""What the bench is meant to reach on two processor cores, and whether it does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.bench.rows import Row

AT_ONCE = "patchbench, a training per thread"
"""How a study uses a processor."""

LARGEST_LAUNCH = "runs launched: 10,000 runs, peak memory"
"""A row of the growth."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bound on ratios or values of some rows; the worst of them decides."""

    what: str
    bound: float
    kind: Literal["ratio at least", "value at least", "value at most"]
    part: str
    rows: str
    """What a row's `what` begins with."""
    contender: str = ""
    """The row's contender; empty for any."""
    to: str = ""
    """For ratios: the other contender, a regular expression for the whole name."""
    precision: str | None = None
    """Of the row; None for any."""
    to_precision: str | None = None
    """For ratios: of the other contender; None for any."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found for a target."""

    target: Target
    found: float | None
    """The worst ratio or value; None where nothing was measured."""
    where: str = ""
    """What the worst was found for."""

    @property
    def is_met(self) -> bool | None:
        """None where nothing was measured."""
        if self.found is None:
            return None
        bound = self.target.bound
        return self.found <= bound if self.target.kind == "value at most" else self.found >= bound


def targets(*, bf16: bool) -> list[Target]:
    """What is to be reached; `bf16` where the processor multiplies bf16 in hardware."""
    if bf16:
        steps = [
            _step("ViT", "timm", 3.0, "bf16", "fp32"),
            _step("ViT", "torchvision", 3.0, "bf16", "fp32"),
            _step("ViT", "timm", 2.0, "bf16", "bf16"),
            _step("ViT", "torchvision", 2.0, "bf16", "bf16"),
            _step("ResNet", "torchvision", 1.5, "bf16", "fp32"),
        ]
    else:
        pairs = (("ViT", "timm"), ("ViT", "torchvision"), ("ResNet", "torchvision"))
        steps = [_step(rows, to, 1.3, "fp32", "fp32") for rows, to in pairs]
    own = "bf16" if bf16 else "fp32"
    return [
        *steps,
        _times("from data to weights, against the usual stack at its best", 4.0, "data", "usual stack.*", own, AT_ONCE),
        _times("a study of 12 trainings, against a shell loop", 4.0, "study", "shell loop.*", None),
        _reaches("ViT/7", 89.0),
        _reaches("ResNet-8", 92.5),
        _limit("share of a study that the harness adds (%)", 5.0, "share of a study: overhead in all"),
        _limit("from the command to the first update (s)", 6.0, "command to first update"),
        _limit("patchbench list (s)", 0.4, "patchbench list"),
        _limit("report of 1,000 runs (s)", 5.0, "report of"),
        _limit("memory of the process that runs a study of 10,000 (MB)", 300.0, LARGEST_LAUNCH, part="growth"),
    ]


def verdicts(rows: Sequence[Row], *, threads: int, bf16: bool) -> list[Verdict]:
    """Every target with what was found with a number of threads."""
    return [_verdict(target, rows, threads) for target in targets(bf16=bf16)]


def _step(rows: str, to: str, bound: float, precision: str, to_precision: str) -> Target:
    return Target(
        what=f"{rows} step in {precision}, against {to}'s in {to_precision}",
        bound=bound,
        kind="ratio at least",
        part="step",
        rows=rows,
        to=to,
        precision=precision,
        to_precision=to_precision,
    )


def _times(what: str, bound: float, part: str, to: str, precision: str | None, contender: str = "") -> Target:
    return Target(
        what=what,
        bound=bound,
        kind="ratio at least",
        part=part,
        rows="",
        contender=contender,
        to=to,
        precision=precision,
    )


def _reaches(arm: str, accuracy: float) -> Target:
    what = f"{arm} after 60 s of training (% of the test images)"
    return Target(what=what, bound=accuracy, kind="value at least", part="accuracy", rows=f"{arm}, Fashion-MNIST, 60 s")


def _limit(what: str, bound: float, rows: str, *, part: str = "overhead") -> Target:
    return Target(what=what, bound=bound, kind="value at most", part=part, rows=rows)


def _verdict(target: Target, rows: Sequence[Row], threads: int) -> Verdict:
    meant = [
        row
        for row in rows
        if row.part == target.part
        and row.what.startswith(target.rows)
        and target.contender in ("", row.contender)
        and row.threads in (None, threads)
        and target.precision in (None, row.precision)
    ]
    if target.kind != "ratio at least":
        found = [(row.value, row.what) for row in meant]
        worst = (max if target.kind == "value at most" else min)(found, default=None)
    else:
        found = [
            (ratio.median, f"{row.what}; {ratio.to}" + (f" in {ratio.precision}" if ratio.precision else ""))
            for row in meant
            for ratio in row.ratios
            if re.fullmatch(target.to, ratio.to) and target.to_precision in (None, ratio.precision)
        ]
        worst = min(found, default=None)
    return (
        Verdict(target=target, found=None) if worst is None else Verdict(target=target, found=worst[0], where=worst[1])
    )

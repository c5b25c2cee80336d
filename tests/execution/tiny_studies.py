"""Small studies on scikit-learn's digits, which need no download and train in a second."""

from collections.abc import Callable, Sequence
from typing import Any

from harness.execution.engines.slots import Slot
from harness.execution.plan import Plan
from harness.records.runs import RunResult
from harness.spec import (
    Arm,
    Choice,
    DataSpec,
    LogUniform,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    Run,
    Search,
    ViTSpec,
)

VIT = ViTSpec(patch_size=4, width=16, depth=1, heads=2, pool="mean")
RESNET = ResNetSpec(depth=8, width=4)
SPACE = {"learning_rate": LogUniform(low=1e-4, high=1e-1), "label_smoothing": Choice(values=(0.0, 0.1))}


def tiny_study(**changes: Any) -> ResolvedStudy:
    """Two arms, three seeds, eight updates each; `changes` replace fields."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "scale": "smoke",
        "question": "Does it work?",
        "source": "a test",
        "factor": "patch_size",
        "data": DataSpec(source="digits", train_size=100),
        "recipe": Recipe(updates=8, batch_size=16, learning_rate=3e-3, evaluations=2, precision="fp32"),
        "baseline": Arm("ResNet", RESNET),
        "arms": (Arm("ViT/4", VIT, level=4),),
        "search": Search(space=SPACE),
    }
    return ResolvedStudy(**(fields | changes))


class Witness:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.done = 0
        self.trained: list[Run] = []
        self.results: list[RunResult] = []
        self.notes: list[str] = []
        self.aside: dict[str, str] = {}
        self.on_start: Callable[[Run], object] = lambda run: None

    def planned(self, plan: Plan, done: Sequence[Run]) -> None:
        self.plan, self.done = plan, len(done)

    def started(self, run: Run) -> None:
        self.trained.append(run)
        self.on_start(run)

    def beat(self, run: Run, update: int, slot: Slot) -> None: ...
    def evaluated(self, run: Run, accuracy: float) -> None: ...

    def set_aside(self, device: str, reason: str) -> None:
        self.aside[device] = reason

    def ended(self, run: Run, result: RunResult | None) -> None:
        if result is not None:
            self.results.append(result)

    def note(self, text: str) -> None:
        self.notes.append(text)

"""What a terminal shows while a study runs, and its tables. Plain lines where the output is not a terminal."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from harness.execution.plan import Plan
from harness.records.runs import RunResult
from harness.spec import Run

PLAIN_SECONDS = 20.0
"""Time between lines of progress where the output is not a terminal."""


@dataclass
class _Running:
    run: Run
    update: int = 0
    began: float = field(default_factory=time.monotonic)


class Progress:
    """Follows a study: runs done, running and failed, images per second, time left."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._plan: Plan | None = None
        self._began = time.monotonic()
        self._done = self._failed = self._images = 0
        self._left: Counter[str] = Counter()
        self._seconds_per_image: dict[str, float] = {}
        self._running: dict[str, _Running] = {}
        self._last_line = time.monotonic()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def planned(self, plan: Plan, done: Sequence[Run]) -> None:
        self._plan, self._done = plan, len(done)
        for cell in plan.cells:
            self._left[cell.arm.name] += cell.images_planned
        for run in done:
            self._left[run.arm] -= _images(run)
        text = f"{plan.study.name} at scale {plan.study.scale}: {plan.runs} runs"
        already = f"; {len(done)} are done already" if done else ""
        self.note(f"{text}, {sum(self._left.values()):,} images to train on{already}")
        if self._console.is_terminal and not self._quiet:
            self._live.start()

    def started(self, run: Run) -> None:
        self._running[run.digest] = _Running(run)

    def beat(self, run: Run, update: int) -> None:
        running = self._running[run.digest]
        running.update = update
        now = time.monotonic()
        if update * 10 > (run.config.recipe.updates or 0):
            seen = update * run.config.recipe.batch_size
            self._seconds_per_image.setdefault(run.arm, (now - running.began) / seen)
        if not self._console.is_terminal and not self._quiet and now - self._last_line > PLAIN_SECONDS:
            self._last_line = now
            self._console.print(escape(self._summary()), highlight=False)

    def ended(self, run: Run, result: RunResult | None) -> None:
        running = self._running.pop(run.digest, None)
        if result is None:
            return
        self._done += 1
        self._failed += result.status not in ("completed", "pruned")
        self._left[run.arm] -= _images(run)
        self._images += result.images_seen
        if running is not None and result.status == "completed":
            self._seconds_per_image[run.arm] = (time.monotonic() - running.began) / _images(run)
        if result.status not in ("completed", "pruned"):
            self.note(f"{run.label}: {result.status}: {result.reason}")

    def note(self, text: str) -> None:
        if not self._quiet:
            self._console.print(escape(text), highlight=False)

    def _seconds_left(self) -> float | None:
        """Work left per arm, at the speed that this arm was last seen to have; None before any was seen."""
        known = self._seconds_per_image
        if not known:
            return None
        usual = sum(known.values()) / len(known)
        left = Counter(self._left)
        for running in self._running.values():
            left[running.run.arm] -= running.update * running.run.config.recipe.batch_size
        work = sum(images * known.get(arm, usual) for arm, images in left.items())
        return work / max(1, len(self._running))

    def _summary(self) -> str:
        assert self._plan is not None
        under_way = sum(item.update * item.run.config.recipe.batch_size for item in self._running.values())
        speed = (self._images + under_way) / (time.monotonic() - self._began)
        left = self._seconds_left()
        failed = f", {self._failed} without result" if self._failed else ""
        return (
            f"{self._done} of {self._plan.runs} runs done{failed}, {len(self._running)} running, "
            f"{speed:,.0f} images/s, time left {'-' if left is None else duration(left)}"
        )

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 2))
        if self._plan is None:
            return table
        table.add_row(escape(self._summary()))
        for item in self._running.values():
            updates = item.run.config.recipe.updates
            table.add_row(f"  {escape(item.run.label)}", f"{item.update:,} of {updates:,} updates")
        return table


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 05 s` or `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def error_box(console: Console, text: str) -> None:
    """One box for a mistake that the user can mend."""
    if console.is_terminal:
        console.print(Panel(escape(text), title="error", border_style="red"))
    else:
        console.print(f"error: {text}", markup=False, highlight=False, soft_wrap=True)


def table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A table whose cells are plain text."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        shown.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*[escape(cell) for cell in row])
    return shown


def _images(run: Run) -> int:
    return (run.config.recipe.updates or 0) * run.config.recipe.batch_size

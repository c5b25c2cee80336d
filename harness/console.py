"""What a terminal shows while a study runs, and its tables. Plain lines where the output is not a terminal."""

import time
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


class Progress:
    """Follows a study: runs done, running and failed, images per second, time left."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._plan: Plan | None = None
        self._began = time.monotonic()
        self._done = self._failed = 0
        self._images_total = self._images_done = self._images_before = 0
        self._running: dict[str, tuple[Run, int]] = {}
        self._last_line = 0.0
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def planned(self, plan: Plan, done: int) -> None:
        self._plan, self._done = plan, done
        self._images_total = sum(cell.images_planned for cell in plan.cells)
        self._images_before = self._images_done = round(self._images_total * done / plan.runs)
        text = f"{plan.study.name} at scale {plan.study.scale}: {plan.runs} runs, {self._images_total:,} images"
        self.note(text + (f"; {done} runs are done already" if done else ""))
        if self._console.is_terminal and not self._quiet:
            self._live.start()

    def started(self, run: Run) -> None:
        self._running[run.digest] = (run, 0)

    def beat(self, run: Run, update: int) -> None:
        self._running[run.digest] = (run, update)
        now = time.monotonic()
        if not self._console.is_terminal and not self._quiet and now - self._last_line > PLAIN_SECONDS:
            self._last_line = now
            self._console.print(escape(self._summary()), highlight=False)

    def ended(self, run: Run, result: RunResult | None) -> None:
        self._running.pop(run.digest, None)
        if result is None:
            return
        self._done += 1
        self._failed += result.status != "completed"
        self._images_done += _images(run)
        if result.status != "completed":
            self.note(f"{run.label}: {result.status}: {result.reason}")

    def note(self, text: str) -> None:
        if not self._quiet:
            self._console.print(escape(text), highlight=False)

    def _summary(self) -> str:
        assert self._plan is not None
        under_way = sum(update * run.config.recipe.batch_size for run, update in self._running.values())
        seen = self._images_done - self._images_before + under_way
        speed = seen / (time.monotonic() - self._began)
        left = self._images_total - self._images_done - under_way
        eta = duration(left / speed) if speed > 0 and seen > 0 else "-"
        failed = f", {self._failed} without result" if self._failed else ""
        return (
            f"{self._done} of {self._plan.runs} runs done{failed}, {len(self._running)} running, "
            f"{speed:,.0f} images/s, time left {eta}"
        )

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 2))
        if self._plan is None:
            return table
        table.add_row(escape(self._summary()))
        for run, update in self._running.values():
            table.add_row(f"  {escape(run.label)}", f"{update:,} of {run.config.recipe.updates:,} updates")
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

"""What a terminal shows while a study runs, and its tables. Plain lines where the output is not a terminal."""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from harness.spec import Run
from harness.spec.formats import count, duration, words
from harness.spec.plural import counted

if TYPE_CHECKING:  # a message needs neither plans nor records
    from harness.execution.plan import Plan
    from harness.records.runs import RunResult

PLAIN_SECONDS = 20.0
"""Time between lines of progress where the output is not a terminal."""
SPEED_SECONDS = 3.0
"""How long a training is watched before its speed is taken as known."""
LARGEST_TABLE = 12
"""Arms that are shown one by one; of more, the totals alone."""
WIDE = 105
"""Columns from which the final table has room for costs."""


@dataclass
class _Running:
    run: Run
    began: float
    update: int = 0
    first: tuple[float, int] | None = None
    """Time and update of the first sign of life: a training that is resumed does not begin at 0."""
    seconds: float = 0.0
    """From the first sign of life to the last."""

    @property
    def images(self) -> int:
        return self.update * self.run.config.recipe.batch_size

    @property
    def images_watched(self) -> int:
        return 0 if self.first is None else (self.update - self.first[1]) * self.run.config.recipe.batch_size


@dataclass
class _Arm:
    """Runs of one arm, at all training sizes."""

    planned: int = 0
    done: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    """Of those done: the ones without the result that was wanted, by status."""
    images: int = 0
    seconds: float = 0.0
    """That finished runs took for these images, evaluation and start included."""


@dataclass
class _Left:
    """What a cell still has to do; runs under way count as a whole."""

    arm: str
    trials: int
    confirms: int
    trial_images: int
    confirm_images: int
    is_searching: bool = False
    """Whether one of its trials is under way: the next waits for it."""
    under_way: int = 0
    """Confirm runs under way."""

    @property
    def images(self) -> int:
        return self.trials * self.trial_images + self.confirms * self.confirm_images

    @property
    def is_ready(self) -> bool:
        return not self.is_searching if self.trials > 0 else self.confirms > self.under_way

    def start(self) -> tuple[bool, int]:
        """Begin the next run: whether it is a trial, and its images."""
        if self.trials:
            self.is_searching = True
            return True, self.trial_images
        self.under_way += 1
        return False, self.confirm_images

    def end(self, *, is_trial: bool) -> None:
        if is_trial:
            self.trials, self.is_searching = self.trials - 1, False
        else:
            self.confirms, self.under_way = self.confirms - 1, self.under_way - 1


class Progress:
    """Follows a study: runs done, running and not completed by arm, images per second, time left."""

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        workers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`workers`: runs at the same time; None for as many as are seen, which can be fewer while arms are tuned."""
        self._console = console
        self._quiet = quiet
        self._clock = clock
        self._title = ""
        self._arms: dict[str, _Arm] = {}
        self._left: dict[tuple[str, int | None], _Left] = {}
        self._running: dict[str, _Running] = {}
        self._slots = workers or 1
        self._last_line = clock()
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def planned(self, plan: "Plan", done: Sequence[Run]) -> None:
        """Begin to follow a plan, of which some runs have been done earlier."""
        for cell in plan.cells:
            trial_images = cell.trial_updates * cell.recipe.batch_size
            self._left[cell.key] = _Left(
                cell.arm.name, cell.trials, len(cell.seeds), trial_images, cell.recipe.total_images
            )
            arm = self._arms.setdefault(cell.arm.name, _Arm())
            arm.planned += cell.trials + len(cell.seeds)
        for run in done:
            self._count(run)
        self._title = f"{plan.study.name} at scale {plan.study.scale}"
        self._last_line = self._clock()
        images = sum(left.images for left in self._left.values())
        already = f"; {len(done):,} {'is' if len(done) == 1 else 'are'} done already" if done else ""
        self.note(f"{self._title}: {counted(plan.runs, 'run')}, {counted(images, 'image')} to train on{already}")
        self._live.update(self.display())
        if self._console.is_terminal and not self._quiet:
            self._live.start()

    def started(self, run: Run) -> None:
        self._running[run.digest] = _Running(run, self._clock())
        self._slots = max(self._slots, len(self._running))
        self._show()

    def beat(self, run: Run, update: int) -> None:
        running, now = self._running[run.digest], self._clock()
        running.update = update
        if running.first is None:
            running.first = (now, update)
        running.seconds = now - running.first[0]
        self._show()

    def ended(self, run: Run, result: "RunResult | None") -> None:
        running = self._running.pop(run.digest, None)
        if result is None:
            return
        arm = self._count(run)
        if running is not None and result.images_seen:
            arm.images += result.images_seen
            # Of a run that was resumed, only the last part was watched.
            arm.seconds += max(self._clock() - running.began, result.train_seconds or 0.0)
        if result.status != "completed":
            arm.missed[result.status] += 1
            self.note(f"{run.label}: {result.status}: {result.reason}")
        self._show()

    def note(self, text: str) -> None:
        if not self._quiet:
            self._console.print(Text(text))

    def display(self) -> Group:
        """What a terminal shows: a table of the arms, the totals and what is running."""
        if not self._arms:
            return Group()
        lines = [f"{self._title}: {self.summary()}"]
        for item in list(self._running.values())[:LARGEST_TABLE]:
            updates = counted(item.run.config.recipe.updates or 0, "update")
            lines.append(f"  {item.run.label}: {count(item.update)} of {updates}")
        totals = Text("\n".join(lines))
        return Group(self._table(), totals) if len(self._arms) <= LARGEST_TABLE else Group(totals)

    def summary(self) -> str:
        """Totals of the study in one line."""
        done = sum(arm.done for arm in self._arms.values())
        missed = sum((arm.missed for arm in self._arms.values()), Counter[str]())
        of_these = ", ".join(f"{runs} {words(status)}" for status, runs in sorted(missed.items()))
        running, speeds = self._running.values(), self._speeds()
        planned = counted(sum(arm.planned for arm in self._arms.values()), "run")
        parts = [f"{count(done)} of {planned} done" + (f" ({of_these})" if of_these else "")]
        parts.append(f"{len(running)} running")
        known = [1 / speeds[item.run.arm] for item in running if item.run.arm in speeds]
        if known:
            # Those whose speed is not known yet count as the others do.
            parts.append(f"{count(sum(known) * len(running) / len(known))} images/s")
        left = self.seconds_left()
        parts.append("time left not known yet" if left is None else f"time left {duration(round(left))}")
        return ", ".join(parts)

    def seconds_left(self) -> float | None:
        """Until the last run ends: the runs that are left, put in the order in which they will be carried out.

        Each takes as long as its arm's runs have taken per image so far; an arm that was not seen yet is taken to be
        as fast as the others on average. None before any speed is known.
        """
        speeds, left = self._speeds(), {key: replace(cell) for key, cell in self._left.items()}
        if not any(cell.images for cell in left.values()):
            return 0.0
        if not speeds:
            return None
        usual = sum(speeds.values()) / len(speeds)
        under_way: list[tuple[float, tuple[str, int | None], bool]] = []
        for item in self._running.values():
            cell, is_trial = left[_key(item.run)], item.run.trial is not None
            cell.is_searching |= is_trial
            cell.under_way += not is_trial
            images = (cell.trial_images if is_trial else cell.confirm_images) - item.images
            under_way.append((images * speeds.get(cell.arm, usual), _key(item.run), is_trial))
        heapq.heapify(under_way)
        now = 0.0
        while True:
            ready = [key for key, cell in left.items() if cell.is_ready]
            while ready and len(under_way) < self._slots:
                key = max(ready, key=lambda key: left[key].images)
                is_trial, images = left[key].start()
                heapq.heappush(under_way, (now + images * speeds.get(left[key].arm, usual), key, is_trial))
                ready = [key for key in ready if left[key].is_ready]
            if not under_way:
                return now
            now, key, is_trial = heapq.heappop(under_way)
            left[key].end(is_trial=is_trial)

    def _count(self, run: Run) -> _Arm:
        """Take note that a run has a result."""
        left, is_trial = self._left[_key(run)], run.trial is not None
        left.trials -= is_trial
        left.confirms -= not is_trial
        arm = self._arms[run.arm]
        arm.done += 1
        return arm

    def _speeds(self) -> dict[str, float]:
        """Seconds per image of one run, of every arm that was seen for long enough."""
        images = {name: arm.images for name, arm in self._arms.items()}
        seconds = {name: arm.seconds for name, arm in self._arms.items()}
        for item in self._running.values():
            if item.seconds >= SPEED_SECONDS:
                images[item.run.arm] += item.images_watched
                seconds[item.run.arm] += item.seconds
        return {name: seconds[name] / images[name] for name in images if images[name] and seconds[name]}

    def _show(self) -> None:
        now = self._clock()
        if self._quiet:
            return
        if self._console.is_terminal:
            self._live.update(self.display())
        elif now - self._last_line >= PLAIN_SECONDS:
            self._last_line = now
            self._console.print(Text(f"{self._title}: {self.summary()}"))

    def _table(self) -> Table:
        speeds, active = self._speeds(), Counter(item.run.arm for item in self._running.values())
        rows = []
        for name, arm in self._arms.items():
            runs = (arm.done, active[name], arm.missed.total(), arm.planned)
            rows.append([name, *map(count, runs), count(1 / speeds[name]) if name in speeds else "-"])
        return table("", ["arm", "done", "running", "not completed", "planned", "images/s of a run"], rows)


def error_box(console: Console, text: str) -> None:
    """One box for a mistake that the user can mend."""
    if console.is_terminal:
        console.print(Panel(Text(text), title="error", border_style="red"))
    else:
        console.print(Text(f"error: {text}"), soft_wrap=True)


def table(title: str, columns: list[str], rows: list[list[str]], *, texts: int = 1) -> Table:
    """A table whose cells are plain text; the first `texts` columns stand at the left, the others at the right."""
    shown = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        shown.add_column(Text(name), justify="left" if index < texts else "right", overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def findings_table(summary: Mapping[str, Any], width: int) -> Table:
    """The `summary` of report.json: arms with seeds, accuracy and difference, and costs where 105 columns have room.

    Below it, what the intervals are over, and in narrower terminals which columns are left out.
    """
    columns = summary["columns"]
    kept = len(columns) if width >= WIDE else columns.index("p (Holm)") + 1
    shown = table("", columns[:kept], [row[:kept] for row in summary["rows"]])
    shown.caption = "95% intervals: of accuracy over seeds alone, of differences over seeds and test images."
    if columns[kept:]:
        shown.caption += f" Left out, as the terminal has fewer than {WIDE} columns: {', '.join(columns[kept:])}."
    shown.caption_justify = "left"
    return shown


def checklist(lines: Sequence[tuple[str, str, str, str]]) -> Table:
    """Lines of (level, what, found, mend), the level in colour and in words."""
    colours = {"ok": "green", "warn": "yellow", "bad": "red"}
    shown = Table(box=None, pad_edge=False, show_header=False)
    for style in ("", "bold", ""):
        shown.add_column(style=style, overflow="fold")
    for level, what, found, mend in lines:
        text = Text.assemble(found, (f"\n→ {mend}" if mend else "", "dim"))
        shown.add_row(Text(level, colours[level]), Text(what), text)
    return shown


def _key(run: Run) -> tuple[str, int | None]:
    return run.arm, run.config.data.train_size

"""What is printed: lines, JSON, tables, and how far a study is while it runs."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.records.files import read_json
from harness.records.layout import REPORT_FILE
from harness.spec import Run
from harness.spec.formats import count, duration, plain, words
from harness.spec.plural import counted

if TYPE_CHECKING:  # a message needs neither plans nor records
    from harness.execution.plan import Plan
    from harness.records.runs import RunResult

PLAIN_SECONDS = 20.0
"""Time between lines of progress where the output is not a terminal."""
SPEED_SECONDS = 3.0
"""How long a training is watched before its speed is taken as known."""
MOST_SHOWN = 12
"""Runs under way that are shown one by one."""
WIDE = 105
"""Columns from which the final table has room for costs."""


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, else of 140 columns."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else 140, stderr=stderr)


def say(console: Console, *texts: str) -> None:
    """Texts as they are, each on lines of its own, not wrapped."""
    for text in texts:
        console.print(Text(text), soft_wrap=True)


def echo(text: str, *, err: bool = False) -> None:
    """A line of text as it is, in the encoding of the stream."""
    click.echo(text, file=sys.stderr if err else sys.stdout)


def echo_json(content: Any, *, indent: int | None = None) -> None:
    """One JSON document; its letters as they are where standard output has them all, else escaped."""
    has_all = (sys.stdout.encoding or "").lower().startswith("utf")
    echo(json.dumps(content, ensure_ascii=not has_all, indent=indent))


def tell(console: Console, folder: Path, *, as_json: bool) -> dict[str, Any]:
    """What a study's report says, for a person or for a program; returns the content of report.json."""
    found: dict[str, Any] = read_json(folder / REPORT_FILE)
    if as_json:
        echo_json({"folder": str(folder), **found})
        return found
    console.print(findings_table(found["summary"], console.width))
    for claim in found["claims"]:
        console.print(Text(f"{claim['verdict']}: {claim['statement']} {claim['reason']}"))
    for text in (*(f"note: {note}" for note in (*found["gaps"], *found["warnings"])), found["answer"]):
        console.print(Text(text))
    say(console, f"Report: {folder / 'report.html'}")
    return found


def tell_error(console: Console, text: str) -> None:
    """A mistake that the user can mend."""
    console.print(Text.assemble(("error: ", "red"), text), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> Table:
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


def frame_table(title: str, rows: Sequence[Mapping[Any, Any]]) -> Table:
    """A table of rows with the same fields, whose names are its columns."""
    shown = [[value if isinstance(value, str) else _number(value) for value in row.values()] for row in rows]
    columns = [words(name) for name in rows[0]] if rows else []
    return table(title, columns, shown, texts=sum(isinstance(value, str) for value in rows[0].values()) if rows else 0)


def _number(value: Any) -> str:
    return plain(value) if isinstance(value, float) and abs(value) < 100 else count(value)


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
    def images_watched(self) -> int:
        return 0 if self.first is None else (self.update - self.first[1]) * self.run.config.recipe.batch_size


class Progress(AbstractContextManager["Progress"]):
    """Follows a study: runs done, running and not completed, images per second, time left."""

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        workers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`workers`: runs at the same time; None for as many as are seen, which can be fewer while arms are tuned."""
        self._console, self._quiet, self._clock, self._slots = console, quiet, clock, workers or 1
        self._title = ""
        self._planned, self._done, self._missed = 0, 0, Counter[str]()
        """Runs; `_missed` by status, of those done the ones without the result that was wanted."""
        self._left, self._images, self._seconds = Counter[str](), Counter[str](), dict[str, float]()
        """By arm: images to train on, runs under way counting as a whole; images and seconds of the runs that ended."""
        self._running: dict[str, _Running] = {}
        self._last_line = clock()
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def planned(self, plan: "Plan", done: Sequence[Run]) -> None:
        """Begin to follow a plan, of which some runs have been done earlier."""
        self._planned, self._title = plan.runs, f"{plan.study.name} at scale {plan.study.scale}"
        for cell in plan.cells:
            self._left[cell.arm.name] += cell.images_planned
        for run in done:
            self._count(run)
        self._last_line = self._clock()
        already = f"; {len(done):,} {'is' if len(done) == 1 else 'are'} done already" if done else ""
        images = counted(self._left.total(), "image")
        self.note(f"{self._title}: {counted(plan.runs, 'run')}, {images} to train on{already}")
        if self._console.is_terminal and not self._quiet:
            self._live.update(self.display())
            self._live.start()

    def started(self, run: Run) -> None:
        self._running[run.digest] = _Running(run, self._clock())
        self._slots = max(self._slots, len(self._running))
        self._show()

    def beat(self, run: Run, update: int) -> None:
        running, now = self._running[run.digest], self._clock()
        running.update = update
        running.first = running.first or (now, update)
        running.seconds = now - running.first[0]
        self._show()

    def ended(self, run: Run, result: "RunResult | None") -> None:
        running = self._running.pop(run.digest, None)
        if result is None:
            return
        self._count(run)
        if running is not None and result.images_seen:
            self._images[run.arm] += result.images_seen
            # Of a run that was resumed, only the last part was watched.
            took = max(self._clock() - running.began, result.train_seconds or 0.0)
            self._seconds[run.arm] = self._seconds.get(run.arm, 0.0) + took
        if result.status != "completed":
            self._missed[result.status] += 1
            self.note(f"{run.label}: {result.status}: {result.reason}")
        self._show()

    def note(self, text: str) -> None:
        if not self._quiet:
            self._console.print(Text(text))

    def display(self) -> Text:
        """What a terminal shows: the totals and what is running."""
        lines = [f"{self._title}: {self.summary()}"]
        for item in list(self._running.values())[:MOST_SHOWN]:
            updates = counted(item.run.config.recipe.updates or 0, "update")
            lines.append(f"  {item.run.label}: {count(item.update)} of {updates}")
        return Text("\n".join(lines))

    def summary(self) -> str:
        """Totals of the study in one line."""
        missed = ", ".join(f"{runs} {words(status)}" for status, runs in sorted(self._missed.items()))
        parts = [f"{count(self._done)} of {counted(self._planned, 'run')} done" + (f" ({missed})" if missed else "")]
        running, speeds = self._running.values(), self._speeds()
        parts.append(f"{len(running)} running")
        if known := [1 / speeds[item.run.arm] for item in running if item.run.arm in speeds]:
            # Those whose speed is not known yet count as the others do.
            parts.append(f"{count(sum(known) * len(running) / len(known))} images/s")
        left = self.seconds_left()
        parts.append("time left not known yet" if left is None else f"time left {duration(round(left))}")
        return ", ".join(parts)

    def seconds_left(self) -> float | None:
        """The work that is left, shared by all workers, but no less than the longest run under way takes.

        An arm takes as long as its runs have taken per image so far; one that was not seen yet is taken to be as fast
        as the others on average. None before any speed is known.
        """
        speeds, left, longest = self._speeds(), Counter(self._left), 0.0
        if not left.total():
            return 0.0
        if not speeds:
            return None
        usual = sum(speeds.values()) / len(speeds)
        for run, seen in (
            (item.run, item.update * item.run.config.recipe.batch_size) for item in self._running.values()
        ):
            left[run.arm] -= seen
            longest = max(longest, (run.config.recipe.total_images - seen) * speeds.get(run.arm, usual))
        work = sum(images * speeds.get(name, usual) for name, images in left.items())
        return max(work / self._slots, longest)

    def _count(self, run: Run) -> None:
        self._left[run.arm] -= run.config.recipe.total_images
        self._done += 1

    def _speeds(self) -> dict[str, float]:
        """Seconds per image of one run, of every arm that was seen for long enough."""
        images, seconds = Counter(self._images), dict(self._seconds)
        for item in self._running.values():
            if item.seconds >= SPEED_SECONDS:
                images[item.run.arm] += item.images_watched
                seconds[item.run.arm] = seconds.get(item.run.arm, 0.0) + item.seconds
        return {name: took / images[name] for name, took in seconds.items() if images[name] and took}

    def _show(self) -> None:
        if self._quiet:
            return
        if self._console.is_terminal:
            self._live.update(self.display())
        elif (now := self._clock()) - self._last_line >= PLAIN_SECONDS:
            self._last_line = now
            self._console.print(Text(f"{self._title}: {self.summary()}"))

"""What is printed: lines, JSON, tables, and how far a study is while it runs."""

import json
import re
import sys
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.records.files import read_json
from harness.records.layout import REPORT_FILE
from harness.spec import Run
from harness.spec.formats import confidence, count, counted, duration, percent, words
from harness.spec.verdicts import tally_of, tally_text

if TYPE_CHECKING:  # a message needs neither plans nor records
    from harness.execution.plan import Plan
    from harness.records.runs import RunResult

PLAIN_SECONDS = 20.0  # time between lines of progress where the output is not a terminal
SPEED_SECONDS = 3.0  # how long an arm's trainings are watched before its speed is taken as known
_INTERVAL = re.compile(r"\[[^\[\]]{1,60}\]")
_UNBROKEN = "\u00a0"  # stands for a blank at which no line may end
WIDE = 105  # columns from which the final table has room for costs, and the list of studies is a table


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console as wide as the terminal, else of 140 columns."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else 140, stderr=stderr, quiet=quiet)


def say(*texts: str, err: bool = False) -> None:
    """Texts as they are, each on lines of its own, not wrapped, in the encoding of the stream."""
    for text in texts:
        click.echo(text, file=sys.stderr if err else sys.stdout)


def say_json(content: Any, *, indent: int | None = None) -> None:
    """One JSON document; its letters as they are where standard output has them all, else escaped."""
    has_all = (sys.stdout.encoding or "").lower().startswith("utf")
    say(json.dumps(content, ensure_ascii=not has_all, indent=indent))


def tell(console: Console, folder: Path, *, as_json: bool) -> dict[str, Any]:
    """What a study's report says, for a person or for a program; returns the content of report.json."""
    found: dict[str, Any] = read_json(folder / REPORT_FILE)
    if as_json:
        say_json({"folder": str(folder), **found})
        return found
    if not found["conclusive"]:  # a page of numbers that mean nothing helps nobody
        say(*(f"note: {gap}" for gap in found["gaps"]), found["answer"], f"Report: {folder / 'report.html'}")
        return found
    console.print(findings_table(found["summary"], console.width, found["level"]))
    claims = (f"{claim['verdict']}: {claim['statement']} {claim['reason']}" for claim in found["claims"])
    notes = (f"note: {note}" for note in (*found["gaps"], *found["warnings"]))
    tally = tally_text(tally_of(found["claims"]))
    for text in (*claims, *([f"claims: {tally}"] if tally else []), *notes, found["answer"], found["numbers"]):
        console.print(Text(wrapped(text, console.width)))
    say(f"Report: {folder / 'report.html'}")
    return found


def wrapped(text: str, width: int) -> str:
    """A text in lines of at most so many characters, none of which ends within an interval."""
    whole = _INTERVAL.sub(lambda found: found[0].replace(" ", _UNBROKEN), text)
    return "\n".join(textwrap.wrap(whole, width, break_on_hyphens=False)).replace(_UNBROKEN, " ")


def tell_error(console: Console, text: str) -> None:
    """Tell of a mistake that the user can mend."""
    console.print(Text.assemble(("error: ", "red"), text), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> Table:
    """A table whose cells are plain text; the first `texts` columns stand at the left, the others at the right."""
    shown = Table(title=Text(title), title_justify="left", caption_justify="left", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        shown.add_column(Text(name), justify="left" if index < texts else "right", overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def findings_table(summary: Mapping[str, Any], width: int, level: float) -> Table:
    """The `summary` of report.json: arms with seeds, accuracy and difference, and costs where 105 columns have room."""
    columns = summary["columns"]
    kept = len(columns) if width >= WIDE else columns.index("p (Holm)") + 1
    rows = [row[:kept] for row in summary["rows"]]
    widths = [max(map(len, column), default=0) for column in zip(columns[:kept], *rows, strict=True)]
    if sum(widths) + 2 * kept > width:  # intervals stand on lines of their own
        rows = [[cell.replace(" [", "\n[").replace("] to ", "]\nto ") for cell in row] for row in rows]
    shown = table("", columns[:kept], rows)
    for column, *cells in zip(shown.columns[2:], *(row[2:] for row in rows), strict=False):
        column.min_width = max((len(line) for cell in cells for line in cell.split("\n")), default=None)
    shown.caption = f"{confidence(level)} intervals, over {summary['varied']}."
    if columns[kept:]:
        shown.caption += f" Left out, as the terminal has fewer than {WIDE} columns: {', '.join(columns[kept:])}."
    return shown


@dataclass
class _Running:
    run: Run
    began: float
    update: int = 0
    accuracy: float | None = None  # on validation, latest
    slot: tuple[str, ...] = ()  # the devices that it has
    seen: float | None = None
    """When the last sign of life came: a training that is resumed does not begin at update 0."""
    images: int = 0  # from the first sign of life to the last; `seconds` likewise
    seconds: float = 0.0


class Progress(AbstractContextManager["Progress"]):
    """Follows a study: runs done, running and not completed, images per second, time left."""

    def __init__(
        self, console: Console, *, workers: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`workers`: runs at the same time; None for as many as are seen, which can be fewer while arms are tuned."""
        self._console, self._clock, self._slots = console, clock, workers or 1
        self._title, self._planned, self._last_line = "", 0, clock()
        self._done = Counter[str]()
        """Runs by status."""
        self._left, self._images, self._seconds = Counter[str](), Counter[str](), defaultdict[str, float](float)
        """By arm: images to train on, runs under way counting as a whole; images and seconds that were watched."""
        self._trials, self._beyond = dict[str, int](), set[str]()
        """Trials of a search by arm, and the digests of those beyond that number."""
        self._running: dict[str, _Running] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def planned(self, plan: "Plan", done: Sequence[Run]) -> None:
        """Begin to follow a plan, of which some runs have been done earlier."""
        self._planned, self._title = plan.runs, f"{plan.study.name} at scale {plan.study.scale}"
        for cell in plan.cells:
            self._left[cell.arm.name] += cell.images_planned
            self._trials[cell.arm.name] = cell.trials
        for run in done:
            self._expect(run)
            self._count(run, "completed")
        self._last_line = self._clock()
        already = f"; {len(done):,} {'is' if len(done) == 1 else 'are'} done already" if done else ""
        images = counted(self._left.total(), "image")
        most = f" (at most {count(plan.most_runs)})" if plan.most_runs > self._planned else ""
        self.note(f"{self._title}: {counted(self._planned, 'run')}{most}, {images} to train on{already}")
        if self._console.is_terminal:
            self._live.start()
        self._show()

    def started(self, run: Run) -> None:
        self._expect(run)
        self._running[run.digest] = _Running(run, self._clock())
        self._slots = max(self._slots, len(self._running))
        self._show()

    def beat(self, run: Run, update: int, slot: tuple[str, ...] = ()) -> None:
        running, now = self._running[run.digest], self._clock()
        if running.seen is not None:
            self._watched(running, (update - running.update) * run.config.recipe.batch_size, now - running.seen)
        running.update, running.slot, running.seen = update, slot, now
        self._show()

    def evaluated(self, run: Run, accuracy: float) -> None:
        """A fraction, of the latest evaluation on validation."""
        self._running[run.digest].accuracy = accuracy
        self._show()

    def ended(self, run: Run, result: "RunResult | None") -> None:
        running = self._running.pop(run.digest, None)
        if result is None:
            return
        self._count(run, result.status)
        if running is not None and result.images_seen:
            # Its start counts too; of a run that was resumed, only the last part was watched.
            took = max(self._clock() - running.began, result.train_seconds or 0.0)
            self._watched(running, result.images_seen - running.images, took - running.seconds)
        if result.status != "completed":
            self.note(f"{run.label}: {result.status}: {result.reason}")
        self._show()

    def set_aside(self, device: str, reason: str) -> None:
        """Tell of a device that gets no more runs, and forget how many runs there were at the same time with it."""
        self.note(f"{device} is set aside: {reason}. Its runs go elsewhere.")
        self._slots = max(1, len(self._running))

    def note(self, text: str) -> None:
        self._console.print(Text(text))

    def display(self) -> Text:
        """What a terminal shows: the totals and what is running."""
        lines = [f"{self._title}: {self.summary()}"]
        for item in self._running.values():
            updates = counted(item.run.config.recipe.updates or 0, "update")
            where = "".join(f", {device}" for device in item.slot if ":" in device)
            known = "" if item.accuracy is None else f", validation accuracy {percent(item.accuracy, 1)}"
            lines.append(f"  {item.run.label}: {count(item.update)} of {updates}{known}{where}")
        return Text("\n".join(lines))

    def summary(self) -> str:
        """Totals of the study in one line."""
        missed = ", ".join(f"{n} {words(status)}" for status, n in sorted(self._done.items()) if status != "completed")
        done = f"{count(self._done.total())} of {counted(self._planned, 'run')} done{f' ({missed})' * bool(missed)}"
        parts, speeds, left = [done, f"{len(self._running)} running"], self._speeds(), self.seconds_left()
        if speeds and self._running:
            parts.append(f"{count(sum(1 / speeds[item.run.arm] for item in self._running.values()))} images/s")
        parts.append("time left not known yet" if left is None else f"time left {duration(round(left))}")
        return ", ".join(parts)

    def seconds_left(self) -> float | None:
        """The work that is left, shared by all workers, but no less than the longest run under way takes.

        None before any speed is known.
        """
        speeds, left, longest = self._speeds(), Counter(self._left), 0.0
        if not left.total():
            return 0.0
        if not speeds:
            return None
        for item in self._running.values():
            arm, recipe = item.run.arm, item.run.config.recipe
            left[arm] -= item.update * recipe.batch_size
            longest = max(longest, (recipe.total_images - item.update * recipe.batch_size) * speeds[arm])
        return max(sum(images * speeds[arm] for arm, images in left.items()) / self._slots, longest)

    def _expect(self, run: Run) -> None:
        """Reckon with a trial beyond the edge of a range, which is not known before it is due."""
        if run.trial is not None and run.trial >= self._trials[run.arm] and run.digest not in self._beyond:
            self._beyond.add(run.digest)
            self._planned += 1
            self._left[run.arm] += run.config.recipe.total_images

    def _count(self, run: Run, status: str) -> None:
        self._left[run.arm] -= run.config.recipe.total_images
        self._done[status] += 1

    def _watched(self, running: _Running, images: int, seconds: float) -> None:
        running.images += images
        running.seconds += seconds
        self._images[running.run.arm] += images
        self._seconds[running.run.arm] += seconds

    def _speeds(self) -> dict[str, float]:
        """Seconds per image of one run by arm, those that were not watched for long as the others on average."""
        long = [name for name, took in self._seconds.items() if took >= SPEED_SECONDS and self._images[name]]
        known = {name: self._seconds[name] / self._images[name] for name in long}
        return dict.fromkeys(self._left, fmean(known.values())) | known if known else {}

    def _show(self) -> None:
        if self._console.is_terminal:
            self._live.update(self.display())
        elif (now := self._clock()) - self._last_line >= PLAIN_SECONDS:
            self._last_line = now
            known = [item for item in self._running.values() if item.accuracy is not None]
            told = ", ".join(f"{item.run.label} {percent(item.accuracy, 1)}" for item in known)
            self.note(f"{self._title}: {self.summary()}" + (f"; validation accuracy: {told}" if told else ""))

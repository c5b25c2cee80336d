"""The tables of a bench: ratios first, then what was measured; for the console and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from harness.bench.kept import Bench
from harness.bench.parts import PARTS
from harness.bench.rows import Ratio, Row
from harness.bench.targets import Verdict


@dataclass(frozen=True)
class Sheet:
    """A table of text; the first `left` columns are words, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    def for_console(self) -> Table:
        shown = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        for place, name in enumerate(self.columns):
            shown.add_column(name, justify="left" if place < self.left else "right", overflow="fold")
        for row in self.rows:
            shown.add_row(*map(escape, row))
        return shown

    def as_markdown(self) -> str:
        marks = ("---" if place < self.left else "---:" for place in range(len(self.columns)))
        lines = [self.columns, tuple(marks), *self.rows]
        text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"### {self.title}\n\n{text}\n"


def sheets(bench: Bench, verdicts: Sequence[Verdict]) -> list[Sheet]:
    """Targets, then ratios and measurements of each part."""
    made = [_of_targets(verdicts)]
    for part, title in PARTS.items():
        rows = [row for row in bench.rows if row.part == part]
        made += [sheet for sheet in (_of_ratios(rows, title), _of_values(rows, title)) if sheet.rows]
    return made


def markdown(bench: Bench, verdicts: Sequence[Verdict], *, figure: str) -> str:
    """The whole bench as a page; `figure` is the address of its figure, relative to the page."""
    machine = bench.machine
    flags = ", ".join(machine["flags"]) or "none of those looked for"
    lines = [
        f"# Speed on {machine['cpu']}, {machine['cores']} cores{' and ' + machine['gpu'] if machine['gpu'] else ''}",
        "",
        "Ratios are between contenders that took turns in the same run: the median over the rounds of how many times "
        "as fast Patchbench was, with a 95 % bootstrap interval. Images per second are of this machine at that moment.",
        "",
        f"Processor features: {flags}. Memory: {machine['memory_gb']} GB.",
        "",
        f"![Ratios of speed, Patchbench to others]({figure})",
        "",
        *(sheet.as_markdown() for sheet in sheets(bench, verdicts)),
        _of_provenance(bench).as_markdown(),
    ]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three figures that count; whole from a hundred."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def in_words(ratio: Ratio) -> str:
    """A ratio with its interval."""
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _of_targets(verdicts: Sequence[Verdict]) -> Sheet:
    rows = []
    for verdict in verdicts:
        target = verdict.target
        bound = f"{'<=' if target.kind == 'value at most' else '>='} {target.bound:g}"
        met = {None: "not measured", True: "met", False: "not met"}[verdict.is_met]
        rows.append((target.what, met, verdict.where, bound, "" if verdict.found is None else f"{verdict.found:.2f}"))
    return Sheet("Targets", ("target", "verdict", "the worst case", "wanted", "found"), tuple(rows), left=3)


def _of_ratios(rows: Sequence[Row], title: str) -> Sheet:
    cells = tuple(
        (
            row.what,
            _setting(row),
            _named(row.contender, row.precision),
            _named(ratio.to, ratio.precision),
            in_words(ratio),
        )
        for row in rows
        for ratio in row.ratios
        for words in (in_words(ratio),)
    )
    return Sheet(f"Ratios: {title}", ("what", "setting", "this", "against", "times as fast"), cells, left=4)


def _of_values(rows: Sequence[Row], title: str) -> Sheet:
    cells = tuple(
        (
            row.what,
            _setting(row),
            _named(row.contender, row.precision),
            number(row.value),
            "" if row.best is None else number(row.best),
            row.unit,
            "; ".join(f"{name.replace('_', ' ')} {_detail(value)}" for name, value in row.details.items()),
        )
        for row in rows
    )
    columns = ("what", "setting", "contender", "median", "best", "unit", "details")
    return Sheet(f"Measured: {title}", columns, cells, left=3)


def _of_provenance(bench: Bench) -> Sheet:
    rows = []
    for part, facts in bench.parts.items():
        versions = ", ".join(f"{name} {version}" for name, version in sorted(facts["versions"].items()))
        load = f"{facts['load_before']:g} / {facts['load_after']:g}"
        rows.append((part, facts["measured"], str(facts["git_revision"]), load, f"{facts['seconds']:.0f}", versions))
    columns = ("part", "measured (UTC)", "revision", "load average before / after", "seconds", "versions")
    return Sheet("Where it comes from", columns, tuple(rows), left=6)


def _setting(row: Row) -> str:
    threads = "" if row.threads is None else f"{row.threads} thread{'s' * (row.threads != 1)}"
    return ", ".join(filter(None, (threads, "" if row.batch is None else f"batch {row.batch}")))


def _named(contender: str, precision: str | None) -> str:
    return contender if precision is None else f"{contender}, {precision}"


def _detail(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:,}"

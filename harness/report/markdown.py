"""REPORT.md: the report for a code host or a terminal."""

import html
import re
from collections.abc import Iterable

from harness.report.content import Content, Section
from harness.report.table import Cell, Table, linked

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$@])")


def markdown(content: Content) -> str:
    """The report's Markdown; its pictures lie beside it in figures/."""
    blocks = [f"# {escape(content.question)}", f"*{prose(content.study)}*", f"**Answer:** {escape(content.answer)}"]
    blocks += [f"**Claims:** {tally(content.verdicts)}"] if content.verdicts else []
    blocks += bulleted("Gaps: runs without a result", content.gaps)
    blocks += bulleted("Caveats", content.warnings)
    for section in content.sections:
        blocks += _section(section)
    blocks.append("## Provenance")
    known = content.provenance.rows
    blocks.append(table(content.provenance) if known else "Nothing is recorded of how these results were made.")
    blocks += [f"**{escape(content.settings.caption)}**", table(content.settings)]
    blocks += ["## Reproduce", code(content.command)]
    blocks += bulleted("Changes after first look", content.changes)
    blocks += ["## Cite", prose(content.citation)]
    return "\n\n".join(blocks) + "\n"


def tally(verdicts: tuple[tuple[str, str, int], ...]) -> str:
    """`✓ 2 reproduced, ✗ 1 contradicted`."""
    return ", ".join(f"{symbol} {number} {verdict}" for verdict, symbol, number in verdicts)


def _section(section: Section) -> list[str]:
    blocks = [f"## {escape(section.heading)}"]
    for figure in section.figures:
        blocks.append(f"![{escape(figure.description)}](figures/{figure.name}.png)")
        blocks.append(f"*Figure {figure.number}: {escape(figure.title)}*")
    for data in section.tables:
        blocks += [f"**{escape(data.caption)}**", table(data)]
        blocks += [escape(data.note)] if data.note else []
    return blocks


def bulleted(heading: str, lines: tuple[str, ...]) -> list[str]:
    """A heading with a list below it; nothing where there are no lines."""
    return [f"## {heading}", "\n".join(f"- {escape(line)}" for line in lines)] if lines else []


def table(data: Table) -> str:
    """A table in Markdown; its caption and note are the caller's."""
    lines = [
        _row(escape(column.heading) for column in data.columns),
        _row("---:" if column.numeric else "---" for column in data.columns),
    ]
    lines += [_row(_cell(cell) for cell in row) for row in data.rows]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.verdict else prose(cell.text)


def prose(text: str) -> str:
    """Text with links to the arXiv numbers in it."""
    return "".join(f"[{piece}]({address})" if address else escape(piece) for piece, address in linked(text))


def escape(text: str) -> str:
    """Text that stays text: neither HTML nor Markdown nor a table's border."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.splitlines()), quote=False))


def code(text: str) -> str:
    """A block of shell commands, whatever is in them."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"

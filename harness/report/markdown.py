"""REPORT.md: the report for a code host or a terminal."""

import html
import re
from collections.abc import Iterable

from harness.report.content import Content, Section
from harness.report.tables import Cell, Table, linked

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$@])")


def markdown(content: Content) -> str:
    """The report's Markdown; its pictures lie beside it in figures/."""
    blocks = [f"# {_escape(content.question)}", f"*{_prose(content.study)}*", f"**Answer:** {_escape(content.answer)}"]
    blocks += _listed("Gaps: runs without a result", content.gaps)
    blocks += _listed("Read with care", content.warnings)
    for section in content.sections:
        blocks += _section(section)
    blocks += _listed("Changes after first look", content.changes)
    blocks.append("## Provenance")
    known = content.provenance.rows
    blocks.append(_table(content.provenance) if known else "Nothing is recorded of how these results were made.")
    blocks += ["## Reproduce", _code(content.command), "## Cite", _prose(content.citation)]
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"## {_escape(section.heading)}"]
    for figure in section.figures:
        blocks.append(f"![{_escape(figure.description)}](figures/{figure.name}.png)")
        blocks.append(f"*Figure {figure.number}: {_escape(figure.title)}*")
    for table in section.tables:
        blocks += [f"**{_escape(table.caption)}**", _table(table)]
        blocks += [_escape(table.note)] if table.note else []
    return blocks


def _listed(heading: str, lines: tuple[str, ...]) -> list[str]:
    return [f"## {heading}", "\n".join(f"- {_escape(line)}" for line in lines)] if lines else []


def _table(table: Table) -> str:
    lines = [
        _row(_escape(column.heading) for column in table.columns),
        _row("---:" if column.numeric else "---" for column in table.columns),
    ]
    lines += [_row(_cell(cell) for cell in row) for row in table.rows]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return f"**{_escape(cell.text)}**" if cell.verdict else _prose(cell.text)


def _prose(text: str) -> str:
    return "".join(f"[{piece}]({address})" if address else _escape(piece) for piece, address in linked(text))


def _escape(text: str) -> str:
    """Text that stays text: neither HTML nor Markdown nor a table's border."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split("\n")), quote=False))


def _code(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"

"""report.html, one file that opens from disk with no network, and REPORT.md, for a code host or a terminal."""

import html
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.content import Content, Section
from harness.report.style import Drawn
from harness.report.table import NO_VERDICT, Cell, Table, linked
from harness.spec.verdicts import tally_text

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$@])")

_PLAIN = "/,:;()[]+=*!~@$"  # what may stand in an address as it is; quoted, tables would take half as much again


def page(content: Content) -> str:
    """The page's HTML."""
    return environment().get_template("report.html.j2").render(report=content)


@cache
def environment() -> Environment:
    """Where the templates are found and how their texts are escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,  # names come from users: an arm called <script> stays text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "linked": linked,
        "csv_uri": lambda text: "data:text/csv;charset=utf-8," + quote(text, safe=_PLAIN),
    }
    return environment


def markdown(content: Content) -> str:
    """The page in Markdown; its pictures lie beside it."""
    blocks = [f"# {escape(content.heading)}", f"*{prose(content.kicker)}*", escape("; ".join(content.facts))]
    blocks.append(f"**{'Answer' if content.kind == 'report' else 'In short'}:** {escape(content.answer)}")
    blocks.append(escape(content.numbers))
    for figure in filter(None, (content.main, content.images)):
        blocks += _figure(figure)
    blocks += [f"**Claims:** {tally_text(content.tally)}"] if content.tally else []
    for section in (*content.callouts, *content.pair, *content.sections):
        blocks += _section(section)
    return "\n\n".join(filter(None, blocks)) + "\n"


def _section(section: Section) -> Iterator[str]:
    fold = ("<details><summary>Show</summary>", "</details>") if section.folded else ("", "")
    blocks = [
        f"## {escape(section.heading)}",
        fold[0],
        f"**{escape(section.question)}**" if section.question else "",
        prose(section.text),
        f"**Claims:** {tally_text(section.tally)}" if section.tally else "",
        "\n".join(f"- {escape(line)}" for line in section.lines),
    ]
    for figure in (figure for figure in section.figures if figure.address):
        blocks += _figure(figure)
    for data in (data for data in section.tables if data.rows):
        blocks += [f"**{escape(data.caption)}**", markdown_table(data), escape(data.note)]
    return filter(None, [*blocks, textwrap.indent(section.code, "    "), fold[1]])


def _figure(figure: Drawn) -> list[str]:
    told = f"![{escape(figure.description)}]({figure.address})"
    return [told, f"*Figure {figure.number}: {escape(figure.title)}*"]


def markdown_table(data: Table) -> str:
    """A table in Markdown; its caption and note are the caller's."""
    rows = [[escape(column.heading) for column in data.columns]]
    rows += [["---:" if column.numeric else "---" for column in data.columns]]
    rows += [[_cell(cell) for cell in row] for row in data.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.verdict not in ("", NO_VERDICT) else prose(cell.text)


def prose(text: str) -> str:
    """Text with links to the arXiv numbers in it."""
    return "".join(f"[{piece}]({address})" if address else escape(piece) for piece, address in linked(text))


def escape(text: str) -> str:
    """Text that stays text: neither HTML nor Markdown nor a table's border."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.splitlines()), quote=False))

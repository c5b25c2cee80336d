"""report.html: one file that opens from disk, on a phone and on paper, with no network."""

from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.content import Content
from harness.report.table import linked


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
    environment.filters["linked"] = linked
    environment.filters["csv_uri"] = _csv_uri
    return environment


def _csv_uri(text: str) -> str:
    return "data:text/csv;charset=utf-8," + quote(text)

"""What several verbs print on: the console, and the findings of a study."""

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from harness.records.files import read_json
from harness.records.layout import REPORT_FILE


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, else of 140 columns."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else 140, stderr=stderr)


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
    from harness.console import findings_table

    console.print(findings_table(found["summary"], console.width))
    for claim in found["claims"]:
        console.print(Text(f"{claim['verdict']}: {claim['statement']} {claim['reason']}"))
    for text in (*found["gaps"], *found["warnings"]):
        console.print(Text(f"note: {text}"))
    console.print(Text(found["answer"]))
    console.print(Text(f"Report: {folder / 'report.html'}"), soft_wrap=True)
    return found

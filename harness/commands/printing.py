"""What several verbs print on: the console, and the findings of a study."""

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from harness.records.files import read_json
from harness.records.layout import REPORT_FILE


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, else of 140 columns."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else 140, stderr=stderr)


def tell(console: Console, folder: Path, *, as_json: bool) -> dict[str, Any]:
    """What a study's report says, for a person or for a program; returns the content of report.json."""
    found: dict[str, Any] = read_json(folder / REPORT_FILE)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **found}, ensure_ascii=False))
        return found
    from harness.console import findings_table

    console.print(findings_table(found["summary"], console.width))
    for claim in found["claims"]:
        console.print(f"{claim['verdict']}: {claim['statement']} {claim['reason']}", highlight=False, markup=False)
    for text in (*found["gaps"], *found["warnings"]):
        console.print(f"note: {text}", highlight=False, markup=False)
    console.print(found["answer"], highlight=False, markup=False)
    console.print(f"Report: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
    return found

"""What several verbs print on: the console, and the findings of a study."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

if TYPE_CHECKING:
    from harness.analysis import Findings


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, else of 140 columns."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else 140, stderr=stderr)


def tell(console: Console, folder: Path, findings: "Findings", *, as_json: bool) -> None:
    """What was found, for a person or for a program."""
    if as_json:
        from harness.records.files import read_json

        click.echo(json.dumps({"folder": str(folder), **read_json(folder / "report.json")}, ensure_ascii=False))
        return
    from harness.console import findings_table

    console.print(findings_table(findings, console.width))
    for claim in findings.claims.itertuples():
        console.print(f"{claim.verdict}: {claim.statement} {claim.reason}", highlight=False, markup=False)
    for text in (*findings.gaps, *findings.warnings):
        console.print(f"note: {text}", highlight=False, markup=False)
    console.print(findings.answer, highlight=False, markup=False)
    console.print(f"Report: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)

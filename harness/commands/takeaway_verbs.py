"""What is taken from a study's results into a paper: table, figures."""

from pathlib import Path

import click

from harness.commands.options import FILE, FOLDER, existing, json_option, of_study
from harness.console import say, say_json
from harness.records import files

FORMATS = ("svg", "pdf", "png", "csv")
"""Of figures."""


@click.command(short_help="Print a study's arms as a table for a paper.")
@of_study
@click.option("--format", "form", type=click.Choice(("markdown", "latex", "csv")), default="markdown")
@click.option("--output", type=FILE, help="Write it to a file; default: print it.")
@click.pass_obj
def table(results: Path, name: str, scale: str | None, form: str, output: Path | None) -> None:
    """Print a study's arms as a table for a paper, with a mark for those that are level with the best."""
    from harness.execution.publish import read_results
    from harness.report.takeaway import arms_as

    text = arms_as(*read_results(existing(results, name, scale)), form)
    if output is None:
        say(text.rstrip("\n"))
    else:
        files.write_text(output, text)
        say(f"Written: {output}")


@click.command(short_help="Write a study's figures as SVG, PDF, PNG or numbers.")
@of_study
@click.option("--format", "form", type=click.Choice(FORMATS), default="svg", help="csv: the numbers behind each.")
@click.option("--output", type=FOLDER, help="Folder to write them to; default: NAME-SCALE in this folder.")
@json_option
@click.pass_obj
def figures(results: Path, name: str, scale: str | None, form: str, output: Path | None, as_json: bool) -> None:
    """Write a study's figures as vectors, pixels or numbers, from what is kept; trains nothing."""
    from harness.execution.publish import read_results
    from harness.report.takeaway import write_figures

    folder = existing(results, name, scale)
    written = write_figures(*read_results(folder), output or Path(f"{folder.parent.name}-{folder.name}"), form)
    if as_json:
        say_json({"files": [str(path) for path in written]})
    say(*(f"Written: {path}" for path in written), err=as_json)

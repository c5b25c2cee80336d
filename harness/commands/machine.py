"""This machine: doctor, bench, and the data on it."""

from pathlib import Path

import click

from harness.commands.exits import USER_ERROR
from harness.commands.options import json_option
from harness.commands.printing import echo, echo_json, make_console
from harness.execution.stopping import interruptible


@click.command()
@json_option
@click.pass_obj
def doctor(results: Path, as_json: bool) -> None:
    """Look at what runs need here: Python, torch, device, memory, disk, data, MLflow, locks; exit 2 where it is bad."""
    from harness.console import checklist
    from harness.execution.doctor import examine

    checks = examine(results)
    if as_json:
        echo_json([check.as_json() for check in checks])
    else:
        make_console().print(checklist([(check.level, check.what, check.found, check.mend) for check in checks]))
    if any(check.level == "bad" for check in checks):
        raise SystemExit(USER_ERROR)


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--quick", is_flag=True, help="A look in a few minutes, in files of its own; not to be quoted.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the bench's files; default: bench in the folder of all results.",
)
@click.pass_obj
@interruptible()
def bench(results: Path, parts: tuple[str, ...], quick: bool, output: Path | None) -> None:
    """Measure speed beside other libraries. PART: step, data, study; or all."""
    from harness.bench.benchmark import bench as measured
    from harness.console import table

    console = make_console()
    tables, files = measured(parts, output=output or results / "bench", quick=quick, say=echo)
    for found in tables:
        headings, rows = (
            [column.heading for column in found.columns],
            [[cell.text for cell in row] for row in found.rows],
        )
        words = sum(not column.numeric for column in found.columns)
        console.print(table(found.caption, headings, rows, words=words))
    for path in files:
        echo(f"Written: {path}")


@click.group()
def data() -> None:
    """Get or check a data source."""


@data.command("get")
@click.argument("source")
def data_get(source: str) -> None:
    """Fetch a source (if need be), check it, decode it and cache it."""
    _load_source(source, "is ready")


@data.command("check")
@click.argument("source")
def data_check(source: str) -> None:
    """Check every file of a source against its hash."""
    _load_source(source, "is whole")


def _load_source(source: str, verdict: str) -> None:
    from harness.data import load
    from harness.spec import DataSpec

    loaded = load(DataSpec(source=source), phase="confirm")
    facts = loaded.facts
    echo(
        f"{source} {verdict}: {len(loaded.train):,} training, {len(loaded.validation):,} validation and "
        f"{len(loaded.test):,} test images, {facts.image_size} px, {facts.channels} channels, "
        f"{facts.classes} classes; SHA-256 {loaded.hash}"
    )

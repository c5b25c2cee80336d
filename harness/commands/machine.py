"""This machine: doctor, bench, and the data on it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.exits import USER_ERROR
from harness.commands.options import json_option
from harness.commands.printing import echo, echo_json, make_console
from harness.execution.stopping import interruptible
from harness.records.data_facts import PART_NAMES
from harness.spec.plural import counted

if TYPE_CHECKING:
    from harness.data import Dataset
    from harness.data.splits import AnySplit
    from harness.spec import DataSpec


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
        texts = sum(not column.numeric for column in found.columns)
        console.print(table(found.caption, headings, rows, texts=texts))
    for path in files:
        echo(f"Written: {path}")


@click.group()
def data() -> None:
    """Get or check a data source."""


@data.command("get")
@click.argument("source")
@click.argument("overrides", nargs=-1)
def data_get(source: str, overrides: tuple[str, ...]) -> None:
    """Fetch a source (if need be), check it, decode it and cache it. OVERRIDES: e.g. data.image_size=64."""
    from harness.data import load
    from harness.data.sources import fetch

    spec = _data(source, overrides)
    fetch(spec.source)
    loaded = load(spec, phase="confirm")
    sizes = (counted(len(part), f"{name} image") for name, part in _parts(loaded).items())
    echo(
        f"{spec.source} is ready: {', '.join(sizes)}, {loaded.facts.image_size} px, "
        f"{counted(loaded.facts.channels, 'channel')}, {counted(loaded.facts.classes, 'class')}; SHA-256 {loaded.hash}"
    )


@data.command("check")
@click.argument("source")
@click.argument("overrides", nargs=-1)
def data_check(source: str, overrides: tuple[str, ...]) -> None:
    """Read every file of a source and tell what it holds. OVERRIDES: e.g. data.image_size=64 data.split_seed=1."""
    from harness.console import table
    from harness.data.survey import check

    spec = _data(source, overrides)
    facts, lacking = check(spec)
    console = make_console()
    console.print(f"{spec.source} is whole; SHA-256 {facts.data_hash}", highlight=False, markup=False, soft_wrap=True)
    for heading, text in facts.lines():
        console.print(f"{heading}: {text}", highlight=False, markup=False, soft_wrap=True)
    rows = [[row.name, f"{row.train:,}", f"{row.validation:,}", f"{row.test:,}"] for row in facts.classes]
    console.print(table("Images of each class", ["class", *PART_NAMES.values()], rows))
    for text in (*facts.cautions(), *([f"To train on it: {lacking}"] if lacking else [])):
        console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)


def _data(source: str, overrides: tuple[str, ...]) -> "DataSpec":
    from harness.execution.overrides import override_data
    from harness.spec import DataSpec

    return override_data(DataSpec(source=source), overrides)


def _parts(loaded: "Dataset") -> "dict[str, AnySplit]":
    return {"training": loaded.train, "validation": loaded.validation, "test": loaded.test}

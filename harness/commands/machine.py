"""This machine: doctor, bench, and the data on it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FOLDER, USER_ERROR, json_option, overrides_argument
from harness.console import make_console, say, say_json, table
from harness.records.data_facts import PART_NAMES
from harness.spec.formats import counted

if TYPE_CHECKING:
    from harness.spec import DataSpec


@click.command(short_help="Look at what runs need here.")
@json_option
@click.pass_obj
def doctor(results: Path, as_json: bool) -> None:
    """Look at what runs need here: Python, torch, device, memory, disk, data, MLflow, locks; exit 2 where it is bad."""
    from harness.execution.doctor import examine

    checks = examine(results)
    if as_json:
        say_json([asdict(check) for check in checks])
    else:
        rows = [
            [check.level, check.what, check.found + (f"\n→ {check.mend}" if check.mend else "")] for check in checks
        ]
        make_console().print(table("", ["", "what", "found"], rows, texts=3))
    if any(check.level == "bad" for check in checks):
        raise SystemExit(USER_ERROR)


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...", type=click.Choice(["step", "data", "study"]))
@click.option("--quick", is_flag=True, help="A look in a few minutes, in files of its own; not to be quoted.")
@click.option("--output", type=FOLDER, help="Folder of the bench's files; default: bench in the folder of all results.")
@click.pass_obj
def bench(results: Path, parts: tuple[str, ...], quick: bool, output: Path | None) -> None:
    """Measure speed beside other libraries. PART: step, data, study; or all."""
    from harness.bench.benchmark import bench as measured

    tables, files = measured(parts, output=output or results / "bench", quick=quick, say=say)
    for found in tables:
        texts = sum(not column.numeric for column in found.columns)
        rows = [[cell.text for cell in row] for row in found.rows]
        make_console().print(table(found.caption, [column.heading for column in found.columns], rows, texts=texts))
    say(*(f"Written: {path}" for path in files))


@click.group()
def data() -> None:
    """Get or check a data source."""


@data.command("get")
@click.argument("source")
@overrides_argument
def data_get(source: str, overrides: tuple[str, ...]) -> None:
    """Fetch a source (if need be), check it, decode it and cache it. OVERRIDES: e.g. data.image_size=64."""
    from harness.data import load
    from harness.data.sources import fetch
    from harness.data.survey import EXAMPLE

    spec = _data(source, overrides)
    fetch(spec.source)
    loaded = load(spec, phase="confirm", seed=EXAMPLE)
    parts = {"training": loaded.train, "validation": loaded.validation, "test": loaded.test}
    sizes = (counted(len(part), f"{name} image") for name, part in parts.items())
    say(
        f"{spec.source} is ready: {', '.join(sizes)}, {loaded.facts.image_size} px, "
        f"{counted(loaded.facts.channels, 'channel')}, {counted(loaded.facts.classes, 'class')}; SHA-256 {loaded.hash}"
    )


@data.command("check")
@click.argument("source")
@overrides_argument
def data_check(source: str, overrides: tuple[str, ...]) -> None:
    """Read every file of a source and tell what it holds. OVERRIDES: e.g. data.image_size=64 data.split_seed=1."""
    from harness.data.survey import check

    spec = _data(source, overrides)
    facts, lacking = check(spec)
    say(f"{spec.source} is whole; SHA-256 {facts.data_hash}")
    say(*(f"{heading}: {text}" for heading, text in facts.lines()))
    rows = [[row.name, f"{row.train:,}", f"{row.validation:,}", f"{row.test:,}"] for row in facts.classes]
    make_console().print(table("Images of each class", ["class", *PART_NAMES.values()], rows))
    say(*(f"note: {text}" for text in (*facts.cautions(), *([f"To train on it: {lacking}"] if lacking else []))))


def _data(source: str, overrides: tuple[str, ...]) -> "DataSpec":
    from harness.execution.overrides import override_data
    from harness.spec import DataSpec

    return override_data(DataSpec(source=source), overrides)

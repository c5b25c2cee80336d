"""What can be asked, and a study under way: list, show, plan, run, status."""

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.exits import GAPS
from harness.commands.options import (
    ABOVE_0,
    device_option,
    existing,
    json_option,
    of_study,
    overrides_argument,
    workers_option,
)
from harness.console import Progress, echo_json, frame_table, make_console, say, table, tell
from harness.execution.stopping import interruptible
from harness.records.layout import StudyFolder, command_line
from harness.spec import Study, find_study, study_names, to_plain
from harness.spec.formats import duration
from harness.spec.plural import counted

if TYPE_CHECKING:
    from rich.console import Console

    from harness.execution.plan import Plan
    from harness.execution.rehearsal import Forecast


@click.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the studies: question, arms and minutes at each scale."""
    studies = {name: find_study(name)[1] for name in study_names()}
    if as_json:
        echo_json({name: to_plain(study) for name, study in studies.items()})
        return
    console = make_console()
    rows = [[name, study.question, _scales(study)] for name, study in studies.items()]
    console.print(table("Studies", ["study", "question", "arms (minutes) by scale"], rows))
    say(console, "Minutes as stated for 2 cores (gpu: one GPU); `patchbench plan NAME` forecasts them here.")


def _scales(study: Study) -> str:
    """Arms and minutes by scale."""
    return ", ".join(
        f"{name} {len(scale.arms) + 1}" + (f" ({scale.minutes:g} min)" if scale.minutes else "")
        for name, scale in study.scales.items()
    )


@click.command()
@of_study
@overrides_argument
def show(name: str, scale: str | None, overrides: tuple[str, ...]) -> None:
    """Print the resolved definition of a study as JSON."""
    from harness.execution.overrides import resolve_study

    echo_json(to_plain(resolve_study(name, scale, overrides)), indent=2)


@click.command()
@of_study
@device_option
@workers_option
@click.option(
    "--points",
    type=ABOVE_0,
    multiple=True,
    default=(0.5, 1.0, 2.0),
    help="Differences, in points of accuracy, to tell the seeds needed for; from earlier results.",
)
@json_option
@overrides_argument
@click.pass_obj
def plan(
    results: Path,
    name: str,
    scale: str | None,
    device: str,
    workers: int | None,
    points: tuple[float, ...],
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Print every run of a study with images, MACs and a forecast of its time here; trains nothing."""
    from harness.execution.overrides import resolve_study
    from harness.execution.plan import make_plan

    study = resolve_study(name, scale, overrides)
    made = make_plan(study)
    # Torch loads from here on: a mistake in the study has been told before.
    from harness.data.survey import outline
    from harness.execution.rehearsal import forecast
    from harness.records.provenance import available_cores
    from harness.training.device import choose

    placement = choose(device, study.recipe.precision)
    workers = workers or (available_cores() if placement.device.type == "cpu" else 1)
    found = forecast(made, placement, threads=max(1, available_cores() // workers))
    slots, folder = min(workers, made.runs), results / study.name / study.scale
    data = [outline(spec) for spec in made.surveyed]
    told: dict[str, Any] = {
        "runs": made.runs,
        "seconds": sum(item.seconds for item in found) / slots,
        **_left(made, folder, found, slots),
        "device": str(placement.device),
        "precision": placement.precision,
        "workers": workers,
        "cells": [_cell(item) for item in found],
        "data": [{**to_plain(facts), "cautions": facts.cautions()} for facts in data],
    }
    if as_json:
        echo_json(told)
        return
    console = make_console()
    console.print(frame_table(f"{study.name} at scale {study.scale}: {counted(made.runs, 'run')}", told["cells"]))
    say(console, *_in_words(told), *study.used_up)
    for facts in data:
        say(console, *facts.in_words(), *(f"note: {caution}" for caution in facts.cautions()))
    _tell_seeds_needed(console, folder, points)


def _left(made: "Plan", folder: Path, found: Sequence["Forecast"], slots: int) -> dict[str, float]:
    """How many runs of a plan are done already, and the seconds that the others will take."""
    from harness.execution.progress import open_cells

    cells = open_cells(made, folder)
    shares = [cell.remaining / cell.cell.images_planned for cell in cells]
    left = sum(item.seconds * share for item, share in zip(found, shares, strict=True))
    return {"done": sum(1 for cell in cells for _ in cell.finished()), "seconds_left": left / slots}


def _cell(item: "Forecast") -> dict[str, Any]:
    """A cell of a plan; `seconds` on one worker."""
    cell = item.cell
    counts = {"trials": cell.trials, "seeds": len(cell.seeds), "images": cell.images_planned}
    costs = {"macs_per_image": item.macs_per_image, "images_per_second": 1 / item.seconds_per_image}
    return {"arm": cell.arm.name, "train_size": cell.data.train_size, **counts, **costs, "seconds": item.seconds}


def _tell_seeds_needed(console: "Console", folder: Path, points: tuple[float, ...]) -> None:
    from harness.analysis import pilot
    from harness.records.run_table import load_records

    if (folder / "runs.csv").exists():
        needed = pilot(load_records(folder), differences=tuple(value / 100 for value in points))
        title = "Seeds needed to show a difference of accuracy (power .8)"
        console.print(frame_table(title, needed.to_dict("records")))
    else:
        say(console, "No earlier results to tell from how many seeds a difference needs.")


def _in_words(told: dict[str, Any]) -> Iterator[str]:
    """How long a study takes here, and how far to trust that."""
    where = f"{told['device']} ({told['precision']}), {told['workers']} at a time"
    took = duration(told["seconds"])
    yield f"Forecast on {where}: {took}. Nothing was trained. The seconds of a row are those of one worker."
    if done := told["done"]:
        left = duration(told["seconds_left"])
        yield f"{done:,} of the runs {'is' if done == 1 else 'are'} done already; what is left takes {left}."


@click.command()
@of_study
@device_option
@workers_option
@click.option("--engine", type=click.Choice(["processes", "inline"]), default="processes")
@click.option("--trials", type=click.IntRange(0), help="Trials per arm; 0 takes the recipe's own setting unsearched.")
@click.option("--seeds", type=click.IntRange(1), help="Number of confirm seeds; a finished study gets those it lacks.")
@click.option("--deterministic", is_flag=True, help="Deterministic kernels only (CUDA).")
@click.option(
    *("--patience", "patience_seconds"),
    type=ABOVE_0,
    default=600.0,
    help="Seconds after which a training without progress is ended and tried again (engine processes).",
)
@click.option("--retry-out-of-memory", is_flag=True, help="Train again what ran out of memory earlier.")
@click.option("--accept-code-change", is_flag=True, help="Mix with results of other training code; the report says so.")
@click.option("--set-aside", is_flag=True, help="Keep results of other training code apart and train those runs anew.")
@click.option("--profile", is_flag=True, help="Leave a trace and the ten costliest operations with each run trained.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@json_option
@overrides_argument
@click.pass_obj
@interruptible()
def run(
    results: Path,
    /,
    name: str,
    scale: str | None,
    trials: int | None,
    seeds: int | None,
    quiet: bool,
    as_json: bool,
    overrides: tuple[str, ...],
    **options: Any,
) -> None:
    """Run or resume a study, then write its report. OVERRIDES are key=value pairs, e.g. recipe.updates=500."""
    extra = [] if trials is None else [f"search.trials={trials}"]
    extra += [] if seeds is None else ["seeds=" + ",".join(map(str, range(seeds)))]
    from harness.execution.overrides import resolve_study

    study = resolve_study(name, scale, (*extra, *overrides))
    if options["engine"] == "processes":
        from harness.execution.process import warm_up

        warm_up()  # torch loads there while other things load here
    from harness.execution.runner import Options, run_study

    console, began = make_console(stderr=as_json), time.time()
    with Progress(console, quiet=quiet, workers=options["workers"]) as progress:
        folder = run_study(study, Options(results=results, command=_as_typed(results), **options), progress)
    found = tell(console, folder, as_json=as_json)
    if options["profile"]:
        trained = (path for path in sorted(StudyFolder(folder).runs.glob("*/profile.txt")))
        say(console, *(f"Profile: {path}, trace beside it" for path in trained if path.stat().st_mtime >= began))
    if found["gaps"]:
        raise SystemExit(GAPS)


def _as_typed(results: Path) -> str:
    """This command, with the folder of results that it did not name but took from the environment."""
    words = sys.argv[1:]
    is_named = any(word.partition("=")[0] == "--results" for word in words)
    return shlex.join(["patchbench", *words]) if is_named else command_line(results, *words)


@click.command()
@of_study
@json_option
@click.pass_obj
def status(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Show how far a study is, from its records; it may be running in another terminal."""
    from harness.records.status import read_status

    found = read_status(existing(results, name, scale))
    if as_json:
        echo_json(to_plain(found))
    else:
        say(make_console(), found.as_text())

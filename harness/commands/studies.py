"""What can be asked: list, show, plan."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.options import (
    brief_json_option,
    device_option,
    json_option,
    scale_option,
    study_argument,
)
from harness.commands.printing import echo_json, make_console
from harness.spec import Study, find_study, study_names, to_plain
from harness.spec.formats import duration
from harness.spec.plural import counted

if TYPE_CHECKING:
    from rich.table import Table

    from harness.execution.forecast import Forecast, Forecasts
    from harness.execution.plan import Plan
    from harness.records.data_facts import DataFacts


@click.command("list")
@brief_json_option
@click.pass_obj
def list_(results: Path, as_json: bool) -> None:
    """List the studies: question, arms and minutes at each scale, as stated and as forecast for this machine."""
    from harness.console import table
    from harness.records.pace import pace

    studies = {name: find_study(name)[1] for name in study_names()}
    if as_json:
        echo_json({name: to_plain(study) for name, study in studies.items()})
        return
    here = pace(results)
    rows = [[name, study.question, _scales(study, here)] for name, study in studies.items()]
    console = make_console()
    console.print(table("Studies", ["study", "question", "arms (minutes) by scale"], rows))
    if here is None:
        console.print("Minutes as stated for 2 cores (gpu: one GPU); `patchbench plan NAME` forecasts them here.")


def _scales(study: Study, here: float | None) -> str:
    """Arms and minutes by scale; with `here`, minutes on this machine per stated minute, of the scales that suit it."""
    parts = []
    for name, scale in study.scales.items():
        stated = "" if scale.minutes is None else f"{scale.minutes:g} min"
        forecast = (
            f", here {scale.minutes * here:.2g}" if scale.minutes and here and name in ("smoke", "laptop") else ""
        )
        parts.append(f"{name} {len(scale.arms) + 1}" + (f" ({stated}{forecast})" if stated else ""))
    return ", ".join(parts)


@click.command()
@study_argument
@scale_option
@click.argument("overrides", nargs=-1)
def show(name: str, scale: str | None, overrides: tuple[str, ...]) -> None:
    """Print the resolved definition of a study as JSON."""
    from harness.execution.overrides import resolve_study

    echo_json(to_plain(resolve_study(name, scale, overrides)), indent=2)


@click.command()
@study_argument
@scale_option
@device_option
@click.option("--workers", type=click.IntRange(1), help="Runs at the same time.")
@click.option(
    "--points",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(0.5, 1.0, 2.0),
    show_default=True,
    help="Differences, in points of accuracy, to tell the seeds needed for; from earlier results.",
)
@json_option
@click.argument("overrides", nargs=-1)
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
    from harness.execution.forecast import forecast
    from harness.records.pace import remember_pace
    from harness.records.provenance import available_cores
    from harness.training.device import choose

    placement = choose(device, study.recipe.precision)
    workers = workers or (available_cores() if placement.device.type == "cpu" else 1)
    forecasts = forecast(made, placement, threads=max(1, available_cores() // workers))
    slots = min(workers, made.runs)
    wall = forecasts.seconds / slots
    if study == resolve_study(name, study.scale, ()) and device == "auto" and not forecasts.busy:
        remember_pace(results, study.name, study.scale, stated=study.minutes, minutes=wall / 60)
    folder = results / study.name / study.scale
    done, seconds_left = _left(made, folder, forecasts)
    data = _outlines(made)
    if as_json:
        place = {"device": str(placement.device), "precision": placement.precision, "workers": workers}
        kept = {"done": done, "seconds_left": seconds_left / slots}
        of_cells = [_forecast_of(item) for item in forecasts.cells]
        told = {"runs": made.runs, "seconds": wall, "machine_busy": forecasts.busy, **kept, **place, "cells": of_cells}
        told["data"] = [{**to_plain(facts), "cautions": facts.cautions()} for facts in data]
        echo_json(told)
        return
    console = make_console()
    console.print(_forecast_table(f"{study.name} at scale {study.scale}: {counted(made.runs, 'run')}", forecasts.cells))
    where = f"{placement.device} ({placement.precision}), {workers} at a time"
    for line in (*_in_words(where, forecasts, wall, done, seconds_left / slots), *study.used_up):
        console.print(line, highlight=False, markup=False)
    for facts in data:
        for line in (*facts.in_words(), *(f"note: {caution}" for caution in facts.cautions())):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if (folder / "runs.csv").exists():
        console.print(_seeds_needed_table(folder, points))
    else:
        console.print("No earlier results to tell from how many seeds a difference needs.", highlight=False)


def _outlines(made: "Plan") -> "list[DataFacts]":
    """What is known of the data of a plan before an image is decoded."""
    from harness.data.survey import outline

    return [outline(spec) for spec in made.surveyed]


def _in_words(where: str, forecasts: "Forecasts", wall: float, done: int, left: float) -> Iterator[str]:
    """How long a study takes here, in seconds of `wall` and `left` time, and how far to trust that."""
    yield f"Forecast on {where}: {duration(wall)}. PMACs count forward and backward passes. Nothing was trained."
    if forecasts.busy:
        yield (
            f"This machine is busy: the measurement got {forecasts.core_share:.0%} of a core. Without the other "
            "programs the study takes less; plan again then."
        )
    if done:
        yield f"{done:,} of the runs {'is' if done == 1 else 'are'} done already; what is left takes {duration(left)}."


def _left(made: "Plan", folder: Path, forecasts: "Forecasts") -> tuple[int, float]:
    """How many runs of a plan are done already, and how many seconds of one worker the others will take."""
    from harness.execution.progress import open_cells

    cells = open_cells(made, folder)
    done = sum(1 for cell in cells for _ in cell.finished())
    shares = [cell.remaining / cell.cell.images_planned for cell in cells]
    return done, sum(item.seconds * share for item, share in zip(forecasts.cells, shares, strict=True))


def _forecast_of(item: "Forecast") -> dict[str, Any]:
    """A cell of a plan for a program; `seconds` on one worker."""
    cell = item.cell
    counts = {"trials": cell.trials, "seeds": len(cell.seeds), "images": cell.images_planned}
    costs = {"macs_per_image": item.macs_per_image, "seconds": item.seconds}
    return {"arm": cell.arm.name, "train_size": cell.data.train_size, **counts, **costs}


def _forecast_table(title: str, forecasts: "Sequence[Forecast]") -> "Table":
    """A row per cell of a plan for a person; worker time is that of one worker."""
    from harness.console import table

    rows = [
        [
            item.cell.arm.name,
            f"{item.cell.data.train_size:,}",
            f"{item.cell.trials}+{len(item.cell.seeds)}",
            f"{item.cell.images_planned:,}",
            f"{item.macs_per_image / 1e6:,.2f}",
            f"{3 * item.macs_per_image * item.cell.images_planned / 1e15:,.3f}",
            f"{1 / item.seconds_per_image:,.0f}",
            duration(item.seconds),
        ]
        for item in forecasts
    ]
    columns = ["arm", "training images", "trials+seeds", "images", "MMACs/image", "PMACs", "images/s", "worker time"]
    return table(title, columns, rows)


def _seeds_needed_table(folder: Path, points: tuple[float, ...]) -> "Table":
    """Seeds that a difference needs, from a study's earlier results."""
    from harness.analysis import pilot
    from harness.console import table
    from harness.records.run_table import load_records

    frame = pilot(load_records(folder), differences=tuple(value / 100 for value in points))
    rows = [
        [
            str(row["arm"]),
            str(row["baseline"]),
            f"{row['train_size']:,}",
            str(row["n"]),
            f"{100 * row['sd']:.2f}",
            f"{100 * row['difference']:g}",
            f"{row['seeds_needed']:,}" if row["n"] > 1 else "unknown",
        ]
        for row in frame.to_dict("records")
    ]
    columns = [
        "arm",
        "reference arm",
        "training images",
        "seeds so far",
        "sd of difference (points)",
        "difference",
        "seeds",
    ]
    return table("Seeds needed to show a difference (power .8)", columns, rows)

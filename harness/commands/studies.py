"""What can be asked, and a study under way: list, show, plan, run, run-all, status."""

import os
import shlex
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from harness.commands.options import (
    ABOVE_0,
    DEFECT,
    GAPS,
    INTERRUPTED,
    by_engine,
    existing,
    json_option,
    of_study,
    overrides_argument,
    placed,
    scale_option,
)
from harness.console import WIDE, Progress, make_console, say, say_json, table, tell, wrapped
from harness.execution.options import Options
from harness.execution.stopping import StudyInterrupted, told_to_stop
from harness.records.layout import StudyFolder, command_line
from harness.spec import GROUPS, SCALES, InvalidInput, find_study, study_names, to_plain
from harness.spec.formats import count, counted, duration, plain, words

if TYPE_CHECKING:
    from harness.execution.rehearsal import Forecast


@click.command("list", short_help="List the studies, with their questions and how far they are.")
@json_option
@click.pass_obj
def list_(results: Path, as_json: bool) -> None:
    """List the studies: each with its question, and how far it is at the scales at which it was begun."""
    studies = {name: find_study(name)[1] for name in study_names()}
    if as_json:
        say_json({name: to_plain(study) for name, study in studies.items()})
        return
    console = make_console()
    states = {name: _state(results / name) for name in studies}
    for group in (*GROUPS, None):
        found = {name: it.question for name, it in studies.items() if it.group == group}
        title = f"Studies: {group or 'others'}"
        if found and console.width >= WIDE:
            rows = [[name, question, states[name]] for name, question in found.items()]
            shown = table(title, ["study", "question", "results"], rows, texts=3)
            for column, texts in ((0, studies), (2, states.values())):  # alike in all groups
                shown.columns[column].min_width = max(map(len, texts))
            console.print(shown)
        elif found:  # a table would have questions in four lines
            console.print(Text(title, "italic"))
            for name, question in found.items():
                console.print(Text.assemble((name.ljust(max(map(len, studies))), "bold"), f"  {states[name]}"))
                say(textwrap.indent(wrapped(question, console.width - 2), "  "))
    say("`patchbench plan NAME` says what a study takes here.")


def _state(folder: Path) -> str:
    """How far a study is at each scale: `laptop complete`, `gpu 12 of 90 runs`."""
    from harness.records.status import read_status

    told = []
    for scale in SCALES:
        try:
            if not StudyFolder(folder / scale).latest_study_file.exists():
                continue
            found = read_status(folder / scale)
        except (InvalidInput, OSError):
            told.append(f"{scale} cannot be read")
            continue
        done = sum(found.statuses.values())
        told.append(f"{scale} complete" if found.complete else f"{scale} {done:,} of {counted(found.planned, 'run')}")
    return ", ".join(told) or "not run"


@click.command()
@of_study
@overrides_argument
def show(name: str, scale: str | None, overrides: tuple[str, ...]) -> None:
    """Print the resolved definition of a study as JSON."""
    from harness.execution.overrides import resolve_study

    say_json(to_plain(resolve_study(name, scale, overrides)), indent=2)


@click.command(short_help="Print every run of a study, and how long it takes here.")
@of_study
@placed
@json_option
@overrides_argument
@click.pass_obj
def plan(
    results: Path,
    /,
    name: str,
    scale: str | None,
    as_json: bool,
    overrides: tuple[str, ...],
    **options: Any,
) -> None:
    """Print every run of a study with images, MACs and a forecast of its time here; trains nothing."""
    from harness.execution.overrides import resolve_study
    from harness.execution.plan import make_plan
    from harness.execution.pooling import pooled
    from harness.records.layout import study_folder

    study = resolve_study(name, scale, overrides)
    study, note = pooled(study, study_folder(study, results))
    made = make_plan(study)
    # Torch loads from here on: a mistake in the study has been told before.
    from harness.data.survey import outline
    from harness.execution.launch import check_shared, make_room
    from harness.execution.progress import open_cells
    from harness.execution.rehearsal import forecast
    from harness.records.provenance import available_cores
    from harness.training.device import choose, device_errors, devices

    names = devices(options["device"], shared=options["per_device"] is not None)
    asked, cards = Options(results=results, **options), options["cards_per_run"]
    check_shared(made, asked)
    slots = make_room(names, asked, made.runs).capacity()
    with device_errors(names[0]):
        placement = choose(names[0], study.recipe.precision)
        found = forecast(made, placement, threads=max(1, available_cores() // (slots * cards)), cards=cards)
    data = [outline(spec) for spec in made.surveyed]
    cells = open_cells(made, study_folder(study, results))
    shares = (cell.remaining / cell.cell.images_planned for cell in cells)
    left = sum(item.seconds * share for item, share in zip(found, shares, strict=True))
    told: dict[str, Any] = {
        "runs": sum(cell.planned for cell in cells),
        "most_runs": made.most_runs,
        "seconds": sum(item.seconds for item in found) / slots,
        "done": sum(1 for cell in cells for _ in cell.finished()),
        "seconds_left": left / slots,
        "device": ",".join(names),
        "precision": placement.precision,
        "workers": slots,
        "cells": [_cell(item) for item in found],
        "data": [{**to_plain(facts), "cautions": facts.cautions()} for facts in data],
    }
    say(*study.used_up, *filter(None, [note]), err=as_json)
    if as_json:
        say_json(told)
        return
    _say_forecast(f"{study.name} at scale {study.scale}: {counted(told['runs'], 'run')}", told)
    for facts in data:
        say(*facts.in_words(), *(f"note: {caution}" for caution in facts.cautions()))


def _say_forecast(title: str, told: dict[str, Any]) -> None:
    columns = [words(name) for name in told["cells"][0]]
    rows = [[_text(value) for value in cell.values()] for cell in told["cells"]]
    make_console().print(table(title, columns, rows))
    where, took = f"{told['device']} ({told['precision']}), {told['workers']} at a time", duration(told["seconds"])
    say(f"Forecast on {where}: {took}. Nothing was trained. The seconds of a row are those of one worker.")
    if (more := told["most_runs"] - told["runs"]) > 0:
        told_of = "where a search's best value lies on an edge of its range; they try what lies beyond."
        say(f"Up to {counted(more, 'more trial')} may follow {told_of}")
    if told["done"]:
        say(f"Of the runs {told['done']:,} are done already; what is left takes {duration(told['seconds_left'])}.")


def _cell(item: "Forecast") -> dict[str, Any]:
    """A cell of a plan; `seconds` on one worker."""
    cell = item.cell
    counts = {"trials": cell.trials_in_all, "seeds": len(cell.seeds), "images": cell.images_planned}
    costs = {"macs_per_image": item.macs_per_image, "images_per_second": 1 / item.seconds_per_image}
    return {"arm": cell.arm.name, "train_size": cell.data.train_size, **counts, **costs, "seconds": item.seconds}


def _text(value: Any) -> str:
    return plain(value) if isinstance(value, str) or value < 100 else count(value)


@click.command()
@of_study
@placed
@by_engine
@click.option(
    "--trials", type=click.IntRange(0), help="Trials per search; 0 takes the recipe's own setting unsearched."
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    help="Confirm seeds in all: those trained before, then declared, then further ones.",
)
@click.option("--deterministic", is_flag=True, help="Deterministic kernels only (CUDA).")
@click.option(
    *("--patience", "patience_seconds"),
    type=ABOVE_0,
    default=Options.patience_seconds,
    help="Seconds without progress after which a training is ended and tried again, thrice as many before its first "
    "update (not with engine inline).",
)
@click.option("--retry-out-of-memory", is_flag=True, help="Train again what ran out of memory earlier.")
@click.option("--accept-code-change", is_flag=True, help="Mix with results of other training code; the report says so.")
@click.option("--set-aside", is_flag=True, help="Keep results of other training code apart and train those runs anew.")
@click.option("--profile", is_flag=True, help="Leave a trace and the ten costliest operations with each run trained.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@json_option
@overrides_argument
@click.pass_obj
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
    extra = [] if trials is None else [f"trials={trials}"]
    from harness.execution.overrides import resolve_study
    from harness.execution.pooling import with_seeds

    asked = Options(results=results, command=as_typed(results), **options)
    study = resolve_study(name, scale, (*extra, *overrides))
    study = study if seeds is None else with_seeds(study, results, seeds)
    if not asked.is_inline:
        from harness.execution.process import warm_up

        warm_up()  # torch loads there while other things load here
    from harness.execution.runner import run_study

    began = time.time()
    with Progress(make_console(stderr=as_json, quiet=quiet), workers=asked.shown_workers) as progress:
        folder = run_study(study, asked, progress)
    found = tell(make_console(), folder, as_json=as_json)
    if options["profile"]:
        traces = sorted(StudyFolder(folder).runs.glob("*/profile.txt"))
        say(*(f"Profile: {path}, trace beside it" for path in traces if path.stat().st_mtime >= began), err=as_json)
    if found["gaps"]:
        raise SystemExit(GAPS)


def as_typed(results: Path) -> str:
    """This command, with the folder of results that it did not name but took from the environment."""
    typed = sys.argv[1:]
    is_named = any(word.partition("=")[0] == "--results" for word in typed)
    return shlex.join(["patchbench", *typed]) if is_named else command_line(results, *typed)


@click.command("run-all", short_help="Run or resume every study, or those of a group.")
@click.argument("group", required=False, metavar="[GROUP]", type=click.Choice([name.split()[0] for name in GROUPS]))
@scale_option
@placed
@click.pass_obj
def run_all(results: Path, /, group: str | None, scale: str | None, **options: Any) -> None:
    """Run or resume every study, or those of GROUP: data, architecture, inside or training.

    One after the other, each in a process of its own. A study with gaps (exit code 3) does not keep the others from
    being run; anything else that goes wrong does.
    """
    from harness.execution.overrides import default_scale

    scale, gaps = scale or default_scale(), False
    found = {name: find_study(name)[1] for name in study_names()}
    wanted = [name for name, study in found.items() if group is None or (study.group or "").split()[:1] == [group]]
    minutes = [(found[name].scales[scale].minutes or 0) if scale in found[name].scales else 0 for name in wanted]
    given = {name: value for name, value in options.items() if value != getattr(Options, name)}
    where = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    for place, name in enumerate(wanted):
        left = f"; all that is left: {duration(60 * sum(minutes[place:]))}" if any(minutes) else ""
        word = "expected" if scale in ("smoke", "laptop") else "estimate"  # of machines on which nobody took the time
        expected = f" ({word}: {duration(60 * minutes[place])}{left})" if minutes[place] else ""
        say(f"Study {place + 1} of {len(wanted)}: {name}{expected}")
        code = _in_a_process(results, "run", name, "--scale", scale, *where)
        if code == INTERRUPTED:
            raise StudyInterrupted
        if code not in (0, GAPS):
            raise SystemExit(code)
        gaps = gaps or code == GAPS
    if gaps:
        raise SystemExit(GAPS)


def _in_a_process(results: Path, *arguments: str) -> int:
    """The exit code of a command, which is asked to stop when this one is.

    It is told of the folder as by the user: where it is the usual one, no record has its path.
    """
    command, started = [sys.executable, "-m", "harness", *arguments], list[subprocess.Popen[bytes]]()
    asked = threading.Event()

    def stop() -> None:
        asked.set()
        for process in started:
            process.terminate()

    with told_to_stop(stop):
        # In a group of its own, as a terminal would ask it to stop, too: twice quits at once.
        there = os.environ | {"PATCHBENCH_RESULTS": str(results)}
        process = subprocess.Popen(command, process_group=0, env=there)  # noqa: S603 (our own command)
        started.append(process)
        if asked.is_set():  # before it was there to be told
            process.terminate()
        with process:
            code = process.wait()
    return code if code >= 0 else DEFECT


@click.command(short_help="Show how far a study is.")
@of_study
@json_option
@click.pass_obj
def status(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Show how far a study is, from its records; it may be running in another terminal."""
    from harness.records.status import read_status

    found = read_status(existing(results, name, scale), name)
    if as_json:
        say_json(to_plain(found))
    else:
        say(found.as_text())

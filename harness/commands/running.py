"""A study under way: run, status."""

import shlex
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from harness.commands.exits import GAPS
from harness.commands.options import (
    brief_json_option,
    device_option,
    existing,
    json_option,
    scale_option,
    study_argument,
)
from harness.commands.printing import echo_json, make_console, tell
from harness.execution.stopping import interruptible
from harness.records.layout import StudyFolder, command_line


@click.command()
@study_argument
@scale_option
@device_option
@click.option("--workers", type=click.IntRange(1), help="Runs at the same time; default: one per core, one on a GPU.")
@click.option("--engine", type=click.Choice(["processes", "inline"]), default="processes", show_default=True)
@click.option("--trials", type=click.IntRange(0), help="Trials per arm; 0 takes the recipe's own setting unsearched.")
@click.option("--seeds", type=click.IntRange(1), help="Number of confirm seeds; a finished study gets those it lacks.")
@click.option("--deterministic", is_flag=True, help="Deterministic kernels only (CUDA).")
@click.option(
    "--patience",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds after which a training without progress is ended and tried again (engine processes).",
)
@click.option("--retry-out-of-memory", is_flag=True, help="Train again what ran out of memory earlier.")
@click.option("--accept-code-change", is_flag=True, help="Mix with results of other training code; the report says so.")
@click.option("--set-aside", is_flag=True, help="Keep results of other training code apart and train those runs anew.")
@click.option("--profile", is_flag=True, help="Leave a trace and the ten costliest operations with each run trained.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@json_option
@click.argument("overrides", nargs=-1)
@click.pass_obj
@interruptible()
def run(  # noqa: PLR0913, PLR0917 (one parameter per option)
    results: Path,
    name: str,
    scale: str | None,
    device: str,
    workers: int | None,
    engine: str,
    trials: int | None,
    seeds: int | None,
    deterministic: bool,
    patience: float,
    retry_out_of_memory: bool,
    accept_code_change: bool,
    set_aside: bool,
    profile: bool,
    quiet: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Run or resume a study, then write its report. OVERRIDES are key=value pairs, e.g. recipe.updates=500."""
    extra = [] if trials is None else [f"search.trials={trials}"]
    extra += [] if seeds is None else ["seeds=" + ",".join(map(str, range(seeds)))]
    from harness.execution.overrides import resolve_study

    study = resolve_study(name, scale, (*extra, *overrides))
    if engine == "processes":
        from harness.execution.process import warm_up

        warm_up()  # torch loads there while other things load here
    from harness.console import Progress
    from harness.execution.runner import Options, run_study

    options = Options(
        results=results,
        engine=engine,
        workers=workers,
        device=device,
        deterministic=deterministic,
        accept_code_change=accept_code_change,
        set_aside=set_aside,
        patience_seconds=patience,
        retry_out_of_memory=retry_out_of_memory,
        profile=profile,
        command=_as_typed(results),
    )
    console, began = make_console(stderr=as_json), time.time()
    with Progress(console, quiet=quiet, workers=workers) as progress:
        folder = run_study(study, options, progress)
    found = tell(console, folder, as_json=as_json)
    if profile:
        _print_profiles(console, folder, began)
    if found["gaps"]:
        raise SystemExit(GAPS)


def _as_typed(results: Path) -> str:
    """This command, with the folder of results that it did not name but took from the environment."""
    words = sys.argv[1:]
    is_named = any(word.partition("=")[0] == "--results" for word in words)
    return shlex.join(["patchbench", *words]) if is_named else command_line(results, *words)


def _print_profiles(console: Console, folder: Path, since: float) -> None:
    """Where the profiles of the runs lie that were trained after a time."""
    found = sorted(StudyFolder(folder).runs.glob("*/profile.txt"))
    for path in (path for path in found if path.stat().st_mtime >= since):
        console.print(Text(f"Profile: {path}, trace beside it"), soft_wrap=True)


@click.command()
@study_argument
@scale_option
@brief_json_option
@click.pass_obj
def status(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Show how far a study is, from its records; it may be running in another terminal."""
    from harness.records.status import read_status

    found = read_status(existing(results, name, scale))
    if as_json:
        echo_json(found.as_json())
    else:
        make_console().print(Text(found.as_text()), soft_wrap=True)

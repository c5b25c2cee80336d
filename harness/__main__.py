"""The command line: verbs, printing and exit codes; no logic."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem
from rich.console import Console

from harness.execution import StudyInterrupted
from harness.execution.stopping import interruptible
from harness.records.files import is_disk_full
from harness.records.layout import StudyFolder
from harness.spec import SCALES, InvalidInput, ResolvedStudy, Study, find_study, study_names, to_plain

DEFECT, USER_ERROR, GAPS, INTERRUPTED = 1, 2, 3, 75
"""Exit codes besides 0; see README."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=lambda: Path(os.environ.get("PATCHBENCH_RESULTS", "results")),
    help="Folder of all results (or PATCHBENCH_RESULTS); default: results.",
)
@click.version_option(package_name="patchbench", prog_name="patchbench")
@click.pass_context
def cli(context: click.Context, results: Path) -> None:
    """Benchmark and ablate vision transformers against a ResNet baseline."""
    context.obj = results.absolute()


def _scale_option(function: Any) -> Any:
    return click.option("--scale", type=click.Choice(SCALES), help="Default: gpu where CUDA is there, else laptop.")(
        function
    )


def _complete_study(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell may complete a study's name to: a shipped one, else the path of a study file."""
    names = [name for name in study_names() if name.startswith(incomplete)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


_study_argument = click.argument("name", shell_complete=_complete_study)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; all else goes to stderr.")


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(results: Path, as_json: bool) -> None:
    """List the studies: question, arms and minutes at each scale, as stated and as forecast for this machine."""
    from harness.console import table
    from harness.records.pace import pace

    studies = {name: find_study(name)[1] for name in study_names()}
    if as_json:
        click.echo(json.dumps({name: to_plain(study) for name, study in studies.items()}))
        return
    here = pace(results)
    rows = [[name, study.question, _scales(study, here)] for name, study in studies.items()]
    _console().print(table("Studies", ["study", "question", "arms (minutes) by scale"], rows))
    if here is None:
        _console().print("Minutes as stated for 2 cores (gpu: one GPU); `patchbench plan NAME` forecasts them here.")


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


@cli.command()
@_study_argument
@_scale_option
@click.argument("overrides", nargs=-1)
def show(name: str, scale: str | None, overrides: tuple[str, ...]) -> None:
    """Print the resolved definition of a study as JSON."""
    click.echo(json.dumps(to_plain(_resolve(name, scale, overrides)), indent=2, ensure_ascii=False))


@cli.command()
@_study_argument
@_scale_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--workers", type=click.IntRange(1), help="Runs at the same time.")
@click.option(
    "--points",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(0.5, 1.0, 2.0),
    show_default=True,
    help="Differences, in points of accuracy, to tell the seeds needed for; from earlier results.",
)
@_json_option
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
    from harness.console import duration, table
    from harness.execution.plan import make_plan

    study = _resolve(name, scale, overrides)
    made = make_plan(study)
    from harness.execution.forecast import forecast
    from harness.records.pace import remember_pace
    from harness.records.provenance import available_cores
    from harness.training.device import choose

    placement = choose(device, study.recipe.precision)
    workers = workers or (available_cores() if placement.device.type == "cpu" else 1)
    forecasts = forecast(made, placement, threads=max(1, available_cores() // workers))
    wall = sum(item.seconds for item in forecasts) / min(workers, made.runs)
    if study == _resolve(name, study.scale, ()) and device == "auto":
        remember_pace(results, study.name, study.scale, stated=study.minutes, minutes=wall / 60)
    if as_json:
        place = {"device": str(placement.device), "precision": placement.precision, "workers": workers}
        cells = [_forecast_of(item) for item in forecasts]
        click.echo(json.dumps({"runs": made.runs, "seconds": wall, **place, "cells": cells}))
        return
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
    console = _console()
    console.print(table(f"{study.name} at scale {study.scale}: {made.runs} runs", columns, rows))
    console.print(
        f"Forecast on {placement.device} ({placement.precision}), {workers} at a time: {duration(wall)}. "
        "PMACs count forward and backward passes. Nothing was trained.",
        highlight=False,
    )
    _print_seeds_needed(console, results / study.name / study.scale, points)


def _forecast_of(item: Any) -> dict[str, Any]:
    """A cell of a plan for a program; `seconds` on one worker."""
    cell = item.cell
    counts = {"trials": cell.trials, "seeds": len(cell.seeds), "images": cell.images_planned}
    costs = {"macs_per_image": item.macs_per_image, "seconds": item.seconds}
    return {"arm": cell.arm.name, "train_size": cell.data.train_size, **counts, **costs}


def _print_seeds_needed(console: Console, folder: Path, points: tuple[float, ...]) -> None:
    """From earlier results of the study, where there are any."""
    from harness.analysis import pilot
    from harness.console import table
    from harness.records.tables import load_records

    if not (folder / "runs.csv").exists():
        console.print("No earlier results to tell from how many seeds a difference needs.", highlight=False)
        return
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
    columns = ["arm", "against", "training images", "seeds so far", "sd of difference (points)", "difference", "seeds"]
    console.print(table("Seeds needed to show a difference (power .8)", columns, rows))


@cli.command()
@_study_argument
@_scale_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
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
@_json_option
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
    study = _resolve(name, scale, (*extra, *overrides))
    if engine == "processes":
        from harness.execution.engines.processes import warm_up

        warm_up()  # torch loads there while pandas and the like load here
    from harness.console import Progress
    from harness.execution.results import study_folder
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
        command=shlex.join(["patchbench", *sys.argv[1:]]),
    )
    console, began = _console(stderr=as_json), time.time()
    with Progress(console, quiet=quiet, workers=workers) as progress:
        _, findings = run_study(study, options, progress)
    _tell(console, study_folder(study, results), findings, as_json=as_json)
    if profile:
        _print_profiles(console, study_folder(study, results), began)
    if findings.gaps:
        raise SystemExit(GAPS)


@cli.command()
@_study_argument
@_scale_option
@_json_option
@click.pass_obj
def report(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Rebuild a study's tables, figures and report from what is kept; trains nothing."""
    from harness.console import Progress
    from harness.execution.results import rebuild

    console = _console(stderr=as_json)
    with Progress(console) as progress:
        folder = _existing(results, name, scale)
        findings = rebuild(folder, progress.note)
    _tell(console, folder, findings, as_json=as_json)
    if StudyFolder(folder).runs.is_dir():  # in a process of its own: a report needs no MLflow
        command = [sys.executable, "-m", "harness", "--results", str(results), "sync", folder.parent.name]
        aside = sys.stderr if as_json else None
        subprocess.run([*command, "--scale", folder.name], check=False, stdout=aside)  # noqa: S603 (our own command)


@cli.command()
@_study_argument
@_scale_option
@click.pass_obj
def sync(results: Path, name: str, scale: str | None) -> None:
    """Make up in MLflow what it lacks of a study's records."""
    from harness.records.study_file import latest_study
    from harness.report import report_files
    from harness.tracking import sync as make_up

    folder = _existing(results, name, scale)
    StudyFolder(folder).require_inside(results)
    study, _ = latest_study(folder)
    updated = make_up(study, folder, results=results, say=click.echo, artifacts=report_files(folder))
    click.echo(f"MLflow: {updated} runs of {study.name} at scale {study.scale} brought up to date.")


@cli.command()
@_study_argument
@_scale_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Show how far a study is, from its records; it may be running in another terminal."""
    from harness.records.status import read_status

    found = read_status(_existing(results, name, scale))
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        _console().print(found.as_text(), highlight=False, markup=False)


@cli.command()
@_study_argument
@_scale_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Check every hash of a study's results, and make its tables and report again to compare; changes nothing."""
    from harness.console import table
    from harness.execution.verify import verify as verified

    found = verified(_existing(results, name, scale))
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        console = _console()
        rows = [[check.what, f"{check.checked:,}", check.outcome] for check in found.checks]
        console.print(table(f"{found.folder}", ["checked", "how many", "outcome"], rows))
        for text in (
            *(f"note: {note}" for note in found.notes),
            *(f"does not hold: {fault}" for fault in found.faults),
        ):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    if found.faults:
        raise SystemExit(USER_ERROR)


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@click.pass_obj
def ui(results: Path, port: int) -> None:
    """Serve the MLflow UI over the results, on loopback."""
    from harness.tracking import serve

    serve(results, port=port, say=click.echo)


@cli.command()
@click.argument("digest")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Copy the weights to this new file, FILE.safetensors, and what describes them beside it, as FILE.json.",
)
@click.option("--register", metavar="NAME", help="Register the model in MLflow under this name.")
@_json_option
@click.pass_obj
def load(results: Path, digest: str, output: Path | None, register: str | None, as_json: bool) -> None:
    """Check and describe an arm's best model, by 6 or more digits of its run's digest (a column of runs.csv)."""
    from harness.execution.models import load_model

    model, found = load_model(results, digest)
    written = found.folder.copy_to(output) if output else []
    version = ""
    if register:
        from harness.tracking import register as register_in_mlflow

        version = register_in_mlflow(found.folder, register, results=results)
    facts, data = found.facts, found.facts.config.data
    if as_json:
        click.echo(json.dumps({"study": found.study, "path": str(found.folder.path), **facts.as_json()}))
    else:
        lines = {
            "arm": f"{facts.arm} of {found.study}, seed {facts.config.seed}, {data.train_size:,} training images",
            "digest": facts.digest,
            "model": f"{type(found.spec).__name__}, {sum(part.numel() for part in model.parameters()):,} parameters",
            "images": f"{data.image_size} px, {facts.config.channels} channels, {facts.config.classes} classes",
            "normalisation": f"mean {_numbers(facts.mean)}, standard deviation {_numbers(facts.std)} (of 0..1)",
            "accuracy": f"{facts.validation_accuracy:.2%} validation, {facts.test_accuracy:.2%} test",
            "weights": f"{facts.bytes:,} bytes, SHA-256 {facts.sha256}",
            "training code": facts.code_fingerprint,
            "file": str(found.folder.weights_path),
        }
        click.echo("\n".join(f"{name:<14} {text}" for name, text in lines.items()))
    for path in written:
        click.echo(f"Written: {path}", err=as_json)
    if version:
        click.echo(f"Registered in MLflow: models:/{register}/{version}", err=as_json)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


@cli.command()
@click.argument("first", metavar="A", shell_complete=_complete_study)
@click.argument("second", metavar="B", shell_complete=_complete_study)
@_scale_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page to write, FILE.html; the same as Markdown stands beside it. Default: in RESULTS/comparisons.",
)
@click.pass_obj
def compare(results: Path, first: str, second: str, scale: str | None, output: Path | None) -> None:
    """Set two studies side by side. A and B: a study's name, NAME/SCALE, or a folder that holds a study.json."""
    from harness.analysis.across import across
    from harness.execution.results import read_results
    from harness.report.comparison import write_comparison

    folders = [_compared(results, name, scale) for name in (first, second)]
    one, two = (read_results(folder) for folder in folders)
    named = [f"{records.study.name}-{records.study.scale}" for records, _ in (one, two)]
    output = output or results / "comparisons" / f"{'--'.join(named)}.html"
    for path in write_comparison(one, two, across(one[0], two[0]), output):
        click.echo(f"Written: {path}")


@cli.command()
@_json_option
@click.pass_obj
def doctor(results: Path, as_json: bool) -> None:
    """Look at what runs need here: Python, torch, device, memory, disk, data, MLflow, locks; exit 2 where it is bad."""
    from harness.console import checklist
    from harness.execution.doctor import examine

    checks = examine(results)
    if as_json:
        click.echo(json.dumps([check.as_json() for check in checks], ensure_ascii=False))
    else:
        _console().print(checklist([(check.level, check.what, check.found, check.mend) for check in checks]))
    if any(check.level == "bad" for check in checks):
        raise SystemExit(USER_ERROR)


@cli.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--quick", is_flag=True, help="A look in a few minutes, in files of its own; not to be quoted.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the bench's files; default: bench in the folder of all results.",
)
@click.pass_obj
def bench(results: Path, parts: tuple[str, ...], quick: bool, output: Path | None) -> None:
    """Measure speed beside other libraries. PART: step, data, study, overhead, growth, roofline; default: all."""
    from harness.bench.command import bench as measured

    console = _console()
    found = measured(parts, output=output or results / "bench", quick=quick, say=click.echo)
    for shown in found.tables:
        console.print(shown)
    for path in found.files:
        click.echo(f"Written: {path}")


@cli.group()
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
    click.echo(
        f"{source} {verdict}: {len(loaded.train):,} training, {len(loaded.validation):,} validation and "
        f"{len(loaded.test):,} test images, {facts.image_size} px, {facts.channels} channels, "
        f"{facts.classes} classes; SHA-256 {loaded.hash}"
    )


def _resolve(name: str, scale: str | None, overrides: tuple[str, ...]) -> ResolvedStudy:
    from harness.execution.overrides import override

    found, study = find_study(name)
    return override(study.resolve(found, scale or _default_scale()), overrides)


def _existing(results: Path, name: str, scale: str | None) -> Path:
    """The results folder of a study that has been run."""
    stem = Path(name).stem if name.endswith(".py") else name
    if not name.endswith(".py") and not (results / name).is_dir():
        find_study(name)
    folder = results / stem / (scale or _default_scale())
    if not StudyFolder(folder).latest_study_file.exists():
        scales = sorted((results / stem).glob("*"))
        there = [at.name for at in scales if StudyFolder(at).latest_study_file.exists()]
        raise InvalidInput(
            f"Study {stem!r} has no results at scale {folder.name!r} in {results}. "
            + (f"There are results at: {', '.join(there)}." if there else f"Run it first: patchbench run {name}.")
        )
    return folder


def _compared(results: Path, name: str, scale: str | None) -> Path:
    """The results folder that an argument of `compare` names."""
    if (Path(name) / "study.json").is_file():
        return Path(name).absolute()
    stem, _, own = name.partition("/")
    if own in SCALES:
        if scale not in (None, own):
            raise InvalidInput(f"{name!r} names the scale {own!r}, --scale says {scale!r}; leave one of them out.")
        return _existing(results, stem, own)
    return _existing(results, name, scale)


def _default_scale() -> str:
    """`gpu` where CUDA is there, else `laptop`; torch is asked only where there is a driver."""
    if not any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        return "laptop"
    import torch

    return "gpu" if torch.cuda.is_available() else "laptop"


def _tell(console: Console, folder: Path, findings: Any, *, as_json: bool) -> None:
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


def _print_profiles(console: Console, folder: Path, since: float) -> None:
    """Where the profiles of the runs lie that were trained after a time."""
    found = sorted((folder / "work" / "runs").glob("*/profile.txt"))
    for path in (path for path in found if path.stat().st_mtime >= since):
        console.print(f"Profile: {path}, trace beside it", highlight=False, markup=False, soft_wrap=True)


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else 140, stderr=stderr)


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    from harness.console import error_box

    try:
        cli.main(standalone_mode=False)
        code = 0
    except InvalidInput as error:
        error_box(Console(stderr=True), str(error))
        code = USER_ERROR
    except click.ClickException as error:
        error_box(Console(stderr=True), error.format_message())
        code = USER_ERROR
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else DEFECT
    except (StudyInterrupted, KeyboardInterrupt, click.Abort):
        program = ["patchbench"] if shutil.which("patchbench") else [sys.executable, "-m", "harness"]
        again = shlex.join([*program, *sys.argv[1:]])
        click.echo(f"Interrupted; nothing is lost. Go on with: {again}", err=True)
        code = INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and is_disk_full(error):
            error_box(Console(stderr=True), f"{error}. Free space, then run the same command again; nothing is lost.")
            sys.exit(USER_ERROR)
        log = _keep_traceback()
        traceback.print_exc()
        click.echo(f"This is a defect of patchbench. The traceback is kept in {log}.", err=True)
        code = DEFECT
    sys.exit(code)


def _keep_traceback() -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="patchbench-", suffix=".log", delete=False) as file:
        file.write(traceback.format_exc())
    return Path(file.name)


if __name__ == "__main__":
    main()

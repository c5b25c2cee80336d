"""What a study has left, and its mirror in MLflow: report, verify, compare, load, look, sync, ui."""

import subprocess
import sys
import time
from functools import partial
from itertools import takewhile
from pathlib import Path

import click

from harness.commands.options import (
    ABOVE_0,
    FILE,
    USER_ERROR,
    complete_study,
    existing,
    json_option,
    of_study,
    scale_option,
)
from harness.console import make_console, say, say_json, table, tell
from harness.records.layout import REPORT_FILE, StudyFolder
from harness.records.study_file import read_study
from harness.spec import SCALES, InvalidInput
from harness.spec.formats import counted

MIRROR_SECONDS = 30.0  # what a report gives MLflow to take in what it lacks


@click.command(short_help="Rebuild a study's tables, figures and report.")
@of_study
@json_option
@click.pass_obj
def report(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Rebuild a study's tables, figures and report from what is kept; trains nothing."""
    from harness.execution.publish import rebuild, study_of_file

    folder, note = existing(results, name, scale), partial(say, err=as_json)
    rebuild(folder, note, study_of_file(name, folder.name, note))
    tell(make_console(), folder, as_json=as_json)
    if StudyFolder(folder).runs.is_dir():  # in a process of its own: a report needs no MLflow
        command = [sys.executable, "-m", "harness", "--results", str(results), "sync", folder.parent.name]
        aside = sys.stderr if as_json else None
        command += ["--scale", folder.name, "--limit", str(MIRROR_SECONDS)]
        subprocess.run(command, check=False, stdout=aside)  # noqa: S603 (our own command)


@click.command(short_help="Check the hashes of a study's results, and their tables.")
@of_study
@json_option
@click.pass_obj
def verify(results: Path, name: str, scale: str | None, as_json: bool) -> None:
    """Check every hash of a study's results, and make its tables and report again to compare; changes nothing."""
    from harness.execution.verify import verify as verified

    found = verified(existing(results, name, scale))
    if as_json:
        say_json(found.as_json())
    else:
        rows = [[check.what, f"{check.checked:,}", check.outcome] for check in found.checks]
        make_console().print(table(f"{found.folder}", ["checked", "how many", "outcome"], rows))
        say(*(f"note: {text}" for text in found.notes), *(f"does not hold: {text}" for text in found.faults))
    if found.faults:
        raise SystemExit(USER_ERROR)


@click.command(short_help="Set two results side by side: do they agree, how do arms differ?")
@click.argument("first", metavar="A", shell_complete=complete_study)
@click.argument("second", metavar="B", shell_complete=complete_study)
@scale_option
@click.option(
    "--output", type=FILE, help="The page, FILE.html, and its Markdown beside it; default: in RESULTS/comparisons."
)
@json_option
@click.pass_obj
def compare(results: Path, first: str, second: str, scale: str | None, output: Path | None, as_json: bool) -> None:
    """Set two results side by side: two runs of one study, whether they agree; two studies, how shared arms differ.

    A and B: a study's name, NAME/SCALE, or a folder that holds a study.json.
    """
    from harness.analysis.across import across
    from harness.execution.publish import read_results
    from harness.report.comparison import document, summary_of, tables_of, titles_of, write_comparison

    if output is not None and output.suffix != ".html":
        raise InvalidInput(f"--output is {str(output)!r}; it names a page, FILE.html, beside which its Markdown lies.")
    folders = [_compared(results, name, scale) for name in (first, second)]
    one, two = (read_results(folder) for folder in folders)
    named = [f"{records.study.name}-{records.study.scale}" for records, _ in (one, two)]
    output = output or results / "comparisons" / f"{'--'.join(named)}.html"
    found = across(one[0], two[0])
    written = write_comparison(one, two, found, output)
    if as_json:
        say_json(document(found, output))
    else:
        console, titles = make_console(), titles_of(one, two)
        for _, _, shown in tables_of(found, titles):
            if shown.rows:
                texts = sum(1 for _ in takewhile(lambda column: not column.numeric, shown.columns))
                rows = [[cell.text for cell in row] for row in shown.rows]
                console.print(table(shown.caption, [column.heading for column in shown.columns], rows, texts=texts), "")
        say(*(f"note: {text}" for text in found.cautions), summary_of(found))
    say(*(f"Written: {path}" for path in written), err=as_json)


@click.command(short_help="Draw where data beats bias, from what is kept.")
@click.option("--scale", type=click.Choice(SCALES), help="Default: the largest that has results, but smoke.")
@json_option
@click.pass_obj
def headline(results: Path, scale: str | None, as_json: bool) -> None:
    """Draw where data beats bias from what is kept: RESULTS/headline.svg, .png and .csv; trains nothing."""
    from harness.execution.headline import write_headline

    picture, written, notes = write_headline(results, scale)
    if as_json:
        say_json(
            {"title": picture.title, "text": picture.text, "notes": notes, "files": [str(path) for path in written]}
        )
    else:
        say(picture.title, *(f"note: {text}" for text in notes))
    say(*(f"Written: {path}" for path in written), err=as_json)


def _compared(results: Path, name: str, scale: str | None) -> Path:
    """The results folder that an argument of `compare` names."""
    is_folder = (Path(name) / "study.json").is_file()
    stem, _, own = name.partition("/")
    if is_folder:
        own = read_study(Path(name))[0].scale
    elif own not in SCALES:
        return existing(results, name, scale)
    if scale not in (None, own):
        raise InvalidInput(f"{name!r} names the scale {own!r}, --scale says {scale!r}; leave one of them out.")
    return Path(name).absolute() if is_folder else existing(results, stem, own)


@click.command(short_help="Check and describe an arm's best model.")
@click.argument("digest")
@click.option("--output", type=FILE, help="Copy the weights to FILE.safetensors, what describes them to FILE.json.")
@click.option("--register", metavar="NAME", help="Register the model in MLflow under this name.")
@json_option
@click.pass_obj
def load(results: Path, digest: str, output: Path | None, register: str | None, as_json: bool) -> None:
    """Check and describe an arm's best model, by 6 or more digits of its run's digest (a column of runs.csv)."""
    from harness.execution.model_export import load_model

    model, found = load_model(results, digest)
    facts, config = found.facts, found.facts.config
    version = ""
    if output:
        found.require_room(output)
    if register:  # first: what is refused then has left no files
        from harness.tracking import register as register_in_mlflow

        version = register_in_mlflow(found, register, results=results, say=partial(say, err=as_json))
    written = found.copy_to(output) if output else []
    if as_json:
        say_json({"study": found.study, "path": str(found.path), **facts.as_json()})
    else:
        weights, shape = sum(part.numel() for part in model.parameters()), f"{config.data.image_size} px"
        shape += f", {counted(config.channels, 'channel')}, {counted(config.classes, 'class')}"
        say(
            f"arm       {facts.arm} of {found.study}, {config.data.train_size:,} training images, seed {config.seed}",
            f"digest    {facts.digest}",
            f"model     {type(found.spec).__name__}, {weights:,} parameters; {shape}",
            f"accuracy  {facts.validation_accuracy:.2%} validation, {facts.test_accuracy:.2%} test",
            f"weights   {facts.bytes:,} bytes, SHA-256 {facts.sha256}, in {found.weights_path}",
        )
    say(*(f"Written: {path}" for path in written), err=as_json)
    if version:
        say(f"Registered in MLflow: models:/{register}/{version}", err=as_json)


@click.command(short_help="Look inside the best model of each arm.")
@of_study
@click.option("--arm", "arms", multiple=True, help="Only into this arm's model; may be given several times.")
@json_option
@click.pass_obj
def look(results: Path, name: str, scale: str | None, arms: tuple[str, ...], as_json: bool) -> None:
    """Look inside the best model of each arm (attention, filters, similarity, reach), then rebuild the report."""
    from harness.execution.publish import look as look_inside
    from harness.records.files import read_json

    folder = existing(results, name, scale)
    look_inside(folder, partial(say, err=as_json), arms)
    said = read_json(folder / REPORT_FILE)
    if as_json:
        say_json({"inside": said["inside"], "files": said["files"]["figures"]})
    else:
        figures = [path for path in said["files"]["figures"] if path.startswith("inside/")]
        say(*said["inside"], *(f"Written: {folder / path}" for path in figures))


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000)
@click.pass_obj
def ui(results: Path, port: int) -> None:
    """Serve the MLflow UI over the results, on loopback."""
    from harness.tracking import serve

    serve(results, port=port, say=say)


@click.command(short_help="Make up what MLflow and the searches' database lack.")
@of_study
@click.option(
    "--limit",
    type=ABOVE_0,
    default=600.0,
    help="Seconds that it may take; the next call goes on where this one stopped.",
)
@click.pass_obj
def sync(results: Path, name: str, scale: str | None, limit: float) -> None:
    """Make up what MLflow, and the database of the searches where one is named, lack of a study's records."""
    from harness.execution.search_mirror import make_up
    from harness.records.study_file import latest_study
    from harness.tracking import sync as sync_mlflow
    from harness.tracking.databases import require_usable

    folder = existing(results, name, scale)
    StudyFolder(folder).require_inside(results)
    require_usable()
    study, _ = latest_study(folder)
    artifacts, ends = StudyFolder(folder).report_files(), time.monotonic() + limit
    updated = sync_mlflow(study, folder, results=results, say=say, artifacts=artifacts, limit=limit)
    say(f"MLflow: {counted(updated, 'run')} of {study.name} at scale {study.scale} brought up to date.")
    left = max(1.0, ends - time.monotonic())
    if (added := make_up(study, folder, results=results, say=say, limit=left)) is not None:
        say(f"Searches: {counted(added, 'trial')} of {study.name} at scale {study.scale} added.")

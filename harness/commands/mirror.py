"""The mirror of the records in MLflow: ui, sync."""

from pathlib import Path

import click

from harness.commands.options import existing, scale_option, study_argument
from harness.commands.printing import echo
from harness.records.layout import StudyFolder
from harness.spec.plural import counted


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@click.pass_obj
def ui(results: Path, port: int) -> None:
    """Serve the MLflow UI over the results, on loopback."""
    from harness.tracking import serve

    serve(results, port=port, say=echo)


@click.command()
@study_argument
@scale_option
@click.option(
    "--limit",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds that it may take; the next call goes on where this one stopped.",
)
@click.pass_obj
def sync(results: Path, name: str, scale: str | None, limit: float) -> None:
    """Make up in MLflow what it lacks of a study's records."""
    from harness.records.study_file import latest_study
    from harness.tracking import sync as make_up

    folder = existing(results, name, scale)
    StudyFolder(folder).require_inside(results)
    study, _ = latest_study(folder)
    artifacts = StudyFolder(folder).report_files()
    updated = make_up(study, folder, results=results, say=echo, artifacts=artifacts, limit=limit)
    echo(f"MLflow: {counted(updated, 'run')} of {study.name} at scale {study.scale} brought up to date.")

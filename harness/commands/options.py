"""What several verbs share: exit codes, options, and the folder that they stand for."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness.execution.options import ENGINES, Options
from harness.records.layout import StudyFolder, command_line
from harness.spec import SCALES, InvalidInput, find_study, study_name, study_names

DEFECT, USER_ERROR, GAPS, INTERRUPTED = 1, 2, 3, 75
"""Exit codes besides 0; see README."""


def complete_study(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell may complete a study's name to: a shipped one, else the path of a study file."""
    names = [name for name in study_names() if name.startswith(incomplete)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


overrides_argument = click.argument("overrides", nargs=-1)
scale_option = click.option("--scale", type=click.Choice(SCALES), help="Default: gpu where CUDA is there, else laptop.")
_devices = click.option(
    *("--device",),
    default=Options.device,
    help="auto, cpu, mps, cuda (every card) or cards: cuda:0,cuda:2. Default: every card.",
)
_workers = click.option(
    "--workers", type=click.IntRange(1), help="Runs at the same time; default: one per core, on cards as --per-device."
)
_per_device = click.option("--per-device", type=click.IntRange(1), help="Runs that share a card; default: one.")
_cards_per_run = click.option(
    *("--cards-per-run",),
    type=click.IntRange(1),
    default=Options.cards_per_run,
    help="Cards that each run is trained on together.",
)
_engine = click.option(
    *("--engine",),
    type=click.Choice(ENGINES),
    default=Options.engine,
    help="Where runs are trained: in processes side by side, in this one alone, or on a Ray cluster.",
)
_ray_address = click.option(
    *("--ray-address",),
    help="HOST:PORT of the Ray cluster (engine ray; or RAY_ADDRESS); default: one is started on this machine.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; all else goes to stderr.")
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
ABOVE_0 = click.FloatRange(min=0, min_open=True)


def placed(function: Any) -> Any:
    """Add `--device`, `--workers`, `--per-device` and `--cards-per-run`."""
    return _devices(_workers(_per_device(_cards_per_run(function))))


def by_engine(function: Any) -> Any:
    """Add `--engine` and `--ray-address`."""
    return _engine(_ray_address(function))


def of_study(function: Any) -> Any:
    """Add `NAME` and `--scale`."""
    return click.argument("name", shell_complete=complete_study)(scale_option(function))


def existing(results: Path, name: str, scale: str | None) -> Path:
    """The results folder of a study that has been run; `InvalidInput` where there is none."""
    from harness.execution.overrides import default_scale

    stem = study_name(name)
    if stem == name and not (results / name).is_dir():
        find_study(name)
    folder = results / stem / (scale or default_scale())
    if not StudyFolder(folder).latest_study_file.exists():
        there = [at.name for at in sorted((results / stem).glob("*")) if StudyFolder(at).latest_study_file.exists()]
        raise InvalidInput(
            f"Study {stem!r} has no results at scale {folder.name!r} in {results}. "
            + (f"There are results at: {', '.join(there)}. " if there else "")
            + f"Run it first: {command_line(results, 'run', name, '--scale', folder.name)}"
        )
    return folder

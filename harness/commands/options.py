"""Options that several verbs share, and the study or the folder that they stand for."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness.records.layout import StudyFolder
from harness.spec import SCALES, InvalidInput, ResolvedStudy, find_study, study_names


def complete_study(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell may complete a study's name to: a shipped one, else the path of a study file."""
    names = [name for name in study_names() if name.startswith(incomplete)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def scale_option(function: Any) -> Any:
    """Add `--scale`."""
    return click.option("--scale", type=click.Choice(SCALES), help="Default: gpu where CUDA is there, else laptop.")(
        function
    )


study_argument = click.argument("name", shell_complete=complete_study)
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
brief_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; all else goes to stderr.")


def resolve(name: str, scale: str | None, overrides: tuple[str, ...]) -> ResolvedStudy:
    """A study at a scale, by default this machine's, with overrides; `InvalidInput` where one of them is wrong."""
    from harness.execution.overrides import override

    found, study = find_study(name)
    return override(study.resolve(found, scale or _default_scale()), overrides)


def existing(results: Path, name: str, scale: str | None) -> Path:
    """The results folder of a study that has been run; `InvalidInput` where there is none."""
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


def _default_scale() -> str:
    """`gpu` where CUDA is there, else `laptop`; torch is asked only where there is a driver."""
    if not any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        return "laptop"
    import torch

    return "gpu" if torch.cuda.is_available() else "laptop"

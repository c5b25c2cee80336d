"""Patchbench from Python: load a study, run it, read its results."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.console import Progress, make_console
from harness.execution.model_export import LoadedModel, load_model
from harness.execution.options import Options
from harness.execution.overrides import default_scale, resolve_study
from harness.execution.pooling import with_seeds
from harness.execution.publish import read_results
from harness.execution.runner import run_study
from harness.records.files import read_bytes
from harness.records.layout import default_results
from harness.spec import InvalidInput, ResolvedStudy, Study, study_name
from harness.spec.catalogue import FOUND_BY

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Report:
    """A study's tidy frames, with the columns of the files of these names; in a notebook, the report page itself.

    >>> report = results("patch_size")
    >>> "ViT/7" in set(report.runs["arm"])
    True
    >>> sorted(set(report.claims["verdict"]) - {"reproduced", "contradicted", "inconclusive"})
    []
    """

    runs: pd.DataFrame
    trials: pd.DataFrame
    comparisons: pd.DataFrame
    """A row per arm (and training size) against the baseline; differences are fractions, arm minus baseline."""
    claims: pd.DataFrame
    folder: Path

    def _repr_html_(self) -> str:
        return read_bytes(self.folder / "report.html").decode()


def load_study(name: str | Path, *, scale: str | None = None, overrides: Sequence[str] = ()) -> ResolvedStudy:
    """A shipped study by name, or a study file by path, at a scale, by default this machine's, with overrides.

    Raises `InvalidInput` for a name, scale or override that is not there; the message names the nearest one.

    >>> study = load_study("patch_size", scale="smoke", overrides=["recipe.updates=20"])
    >>> study.recipe.updates, [arm.name for arm in study.arms]
    (20, ['ViT/4', 'ViT/2', 'FlexiViT'])
    """
    return resolve_study(str(name), scale, overrides)


def run(  # noqa: PLR0913 (the command's options)
    study: ResolvedStudy,
    *,
    results: str | Path | None = None,
    device: str = Options.device,
    workers: int | None = Options.workers,
    seeds: int | None = None,
    quiet: bool = False,
    engine: str | None = None,
    ray_address: str | None = Options.ray_address,
    per_device: int | None = Options.per_device,
    cards_per_run: int = Options.cards_per_run,
) -> Report:
    """Train what is missing of a study and write its report; in this process, one run at a time, if nothing is said.

    Unless `quiet`, tells how far it is, on standard error or in the notebook's cell.

    `results`: the folder of all results; by default that of `PATCHBENCH_RESULTS`, else `results` here. `seeds`: so many
    in all, those that the study declares first, and no fewer than were trained. What is finished is not trained again.

    `engine`: "inline" is this process, "processes" one for each run, "ray" the nodes of the cluster at `ray_address`,
    HOST:PORT, by default `RAY_ADDRESS`, else of one started on this machine. By default it is "inline" unless `workers`
    is 2 or more, then "processes"; with processes a script has its calls below `if __name__ == "__main__":`. `device`,
    `workers`, `per_device` and `cards_per_run` are those of `patchbench run`, with its defaults; inline has one device.

    Raises `InvalidInput` for what the user can mend, before any training.

    >>> from tempfile import mkdtemp
    >>> tiny = ["recipe.updates=4", "recipe.evaluations=1", "search.trials=0", "seeds=0,1", "data.train_size=60"]
    >>> report = run(load_study("patch_size", scale="smoke", overrides=tiny), results=mkdtemp(), device="cpu")
    >>> list(report.runs["status"].unique()), len(report.runs)
    (['completed'], 8)
    """
    if isinstance(study, Study):
        scales = ", ".join(study.scales)
        raise InvalidInput(f"This study is not at a scale; run STUDY.resolve(NAME, SCALE), where SCALE is of {scales}.")
    place, usual = _folder(results), "inline" if workers in (None, 1) else "processes"
    asked: dict[str, Any] = {"device": device, "workers": workers, "engine": engine, "ray_address": ray_address}
    asked |= {"per_device": per_device, "cards_per_run": cards_per_run}
    called = _call(study, place, seeds=seeds, **asked)
    options = Options(results=place, command=called, **asked | {"engine": engine or usual})
    study = study if seeds is None else with_seeds(study, place, seeds)
    with Progress(make_console(stderr=True, quiet=quiet), workers=options.shown_workers) as progress:
        folder = run_study(study, options, progress)
    return _report(folder)


def _call(study: ResolvedStudy, results: Path, **asked: Any) -> str:
    """The call that carries out a study again, as far as it can be told of one that was made in Python.

    `asked`: other arguments; those that are as by default are left out.
    """
    usual = {"device": Options.device, "cards_per_run": Options.cards_per_run}
    given: dict[str, Any] = {} if results == Path("results").absolute() else {"results": str(results)}
    given |= {name: value for name, value in asked.items() if value not in (None, usual.get(name))}
    told = "".join(f", {name}={value!r}" for name, value in given.items())
    name = FOUND_BY.get(study.name, study.name)
    with suppress(InvalidInput):
        if resolve_study(name, study.scale, ()) == study:
            return f"harness.run(harness.load_study({name!r}, scale={study.scale!r}){told})"
    return f"harness.run(study{told})  # a study made in Python: study.json has all of it"


def _folder(results: str | Path | None) -> Path:
    return default_results() if results is None else Path(results).absolute()


def results(name: str, *, scale: str | None = None, results: str | Path | None = None) -> Report:
    """The results of a study that has been run, read from its results folder alone; defaults as of `run`.

    Raises `InvalidInput` where there are none.

    >>> list(results("dataset_size").comparisons.columns[:3])
    ['arm', 'baseline', 'train_size']
    """
    return _report(_folder(results) / study_name(name) / (scale or default_scale()))


def _report(folder: Path) -> Report:
    records, findings = read_results(folder)
    comparisons, claims = findings.comparisons, findings.claims
    return Report(runs=records.runs, trials=records.trials, comparisons=comparisons, claims=claims, folder=folder)


def load(digest: str, *, results: str | Path | None = None) -> "tuple[nn.Module, LoadedModel]":
    """The best model of an arm, by the first 6 or more digits of its run's digest, and what is known of it.

    The model is in eval mode and on the CPU; `inputs` of the second makes its input from the data's images, and `facts`
    has the run's configuration, normalisation and accuracies. Nothing is unpickled, but a model of `Module(build=...)`
    is built by its study file, which is run: load what comes from people you trust. Raises `InvalidInput` with the
    candidates for digits that are unknown or ambiguous, and for damaged files.

    >>> from tempfile import mkdtemp
    >>> folder = mkdtemp()
    >>> tiny = ["recipe.updates=4", "recipe.evaluations=1", "search.trials=0", "seeds=0", "data.train_size=60"]
    >>> report = run(load_study("patch_size", scale="smoke", overrides=tiny), results=folder, device="cpu")
    >>> model, found = load(report.runs["digest"][0][:8], results=folder)
    >>> found.study, found.facts.arm, found.spec.depth, model.training
    ('patch_size/smoke', 'ResNet-8', 8, False)
    """
    return load_model(_folder(results), digest)

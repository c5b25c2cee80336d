"""Patchbench from Python: load a study, run it, read its results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.analysis import Findings
from harness.execution.models import LoadedModel, load_model
from harness.execution.overrides import override
from harness.execution.results import read_results
from harness.execution.runner import Options, Silent, run_study
from harness.records.files import read_bytes
from harness.records.tables import StudyRecords
from harness.spec import ResolvedStudy, find_study

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Report:
    """A study's tidy frames and what was found in them.

    >>> report = results("patch_size")
    >>> "ViT/7" in set(report.runs["arm"])
    True
    >>> sorted(set(report.claims["verdict"]) - {"reproduced", "contradicted", "inconclusive"})
    []
    """

    records: StudyRecords
    findings: Findings
    folder: Path

    @property
    def runs(self) -> pd.DataFrame:
        """A row per confirm run: the columns of runs.csv."""
        return self.records.runs

    @property
    def trials(self) -> pd.DataFrame:
        """A row per tuning trial: the columns of trials.csv."""
        return self.records.trials

    @property
    def comparisons(self) -> pd.DataFrame:
        """A row per arm (and training size) against the baseline: the columns of comparisons.csv.

        Differences and their bounds are fractions, arm minus baseline.

        >>> frame = results("patch_size").comparisons
        >>> bool((frame["ci_low"] <= frame["difference"]).all())
        True
        """
        return self.findings.comparisons

    @property
    def claims(self) -> pd.DataFrame:
        """A row per claim with its verdict: the columns of claims.csv."""
        return self.findings.claims

    def _repr_html_(self) -> str:
        """The report page itself, for notebooks."""
        return read_bytes(self.folder / "report.html").decode()


def load_study(name: str, *, scale: str = "laptop", overrides: Sequence[str] = ()) -> ResolvedStudy:
    """A shipped study by name, or a study file by path, at one scale with `key=value` overrides.

    Raises `InvalidInput` for a name, scale or override that is not there; the message names the nearest one.

    >>> study = load_study("patch_size", scale="smoke")
    >>> study.question
    'Do smaller patches help a vision transformer, and what do they cost?'
    >>> [arm.name for arm in study.arms]
    ['ViT/4', 'ViT/2']
    >>> load_study("patch_size", scale="smoke", overrides=["recipe.updates=20"]).recipe.updates
    20
    """
    found, study = find_study(name)
    return override(study.resolve(found, scale), overrides)


def run(study: ResolvedStudy, *, results: str | Path = "results", device: str = "auto", workers: int = 1) -> Report:
    """Train what is missing of a study and write its report; with one worker, in this process.

    Raises `InvalidInput` for what the user can mend, before any training. What is finished is not trained again.

    >>> from tempfile import mkdtemp
    >>> tiny = ["recipe.updates=4", "recipe.evaluations=1", "search.trials=0", "seeds=0,1", "data.train_size=60"]
    >>> report = run(load_study("patch_size", scale="smoke", overrides=tiny), results=mkdtemp(), device="cpu")
    >>> list(report.runs["status"].unique()), len(report.runs)
    (['completed'], 6)
    >>> (report.folder / "report.html").exists()
    True
    """
    options = Options(
        results=Path(results).absolute(),
        device=device,
        workers=workers,
        engine="inline" if workers == 1 else "processes",
        command=f"harness.run(load_study({study.name!r}, scale={study.scale!r}))",
    )
    return _report(run_study(study, options, Silent()))


def results(name: str, *, scale: str = "laptop", results: str | Path = "results") -> Report:
    """The results of a study that has been run, read from its results folder alone.

    Raises `InvalidInput` where there are none.

    >>> list(results("dataset_size").comparisons.columns[:3])
    ['arm', 'baseline', 'train_size']
    """
    return _report(Path(results).absolute() / Path(name).stem / scale)


def _report(folder: Path) -> Report:
    records, findings = read_results(folder)
    return Report(records=records, findings=findings, folder=folder)


def load(digest: str, *, results: str | Path = "results") -> "tuple[nn.Module, LoadedModel]":
    """The best model of an arm, by the first 6 or more digits of its run's digest, and what is known of it.

    The model is in eval mode and on the CPU; `inputs` of the second makes its input from the data's images, and `facts`
    has the run's configuration, normalisation and accuracies. Nothing is unpickled: the weights are held against their
    SHA-256, and against the shapes of the specification, before they are loaded.

    Raises `InvalidInput` with the candidates for digits that are unknown or ambiguous, and for damaged files.

    >>> from tempfile import mkdtemp
    >>> folder = mkdtemp()
    >>> tiny = ["recipe.updates=4", "recipe.evaluations=1", "search.trials=0", "seeds=0", "data.train_size=60"]
    >>> report = run(load_study("patch_size", scale="smoke", overrides=tiny), results=folder, device="cpu")
    >>> model, found = load(report.runs["digest"][0][:8], results=folder)
    >>> found.study, found.facts.arm, found.spec.depth, model.training
    ('patch_size/smoke', 'ResNet-8', 8, False)
    >>> import torch
    >>> model(found.inputs(torch.zeros(3, 1, 8, 8, dtype=torch.uint8))).shape
    torch.Size([3, 10])
    """
    return load_model(Path(results).absolute(), digest)

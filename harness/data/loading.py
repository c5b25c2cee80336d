"""From a specification to the splits of one training."""

from dataclasses import dataclass

import torch

from harness.data.describe import resolve
from harness.data.source import Phase
from harness.data.sources import find
from harness.data.stream import AnySplit
from harness.spec import DataSpec, SourceFacts


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a source, by purpose."""

    train: AnySplit
    """What training subsets are taken from: the training part without what is held out."""
    validation: AnySplit
    """Held out of the training part, stratified, by `split_seed`."""
    facts: SourceFacts
    """At the image size of the specification."""
    hash: str
    """`content_hash` of the specification."""
    sealed_test: AnySplit | None
    """Use `test`."""

    @property
    def test(self) -> AnySplit:
        """The test split: in the confirm phase only. Raises `RuntimeError` in a training of the tune phase."""
        if self.sealed_test is None:
            raise RuntimeError("The test split was asked for in the tune phase; selection may use validation only.")
        return self.sealed_test


def load(spec: DataSpec, *, device: str | torch.device = "cpu", phase: Phase = "tune") -> Dataset:
    """The data set of a training: decoded in memory on `device`, or streamed to it where memory does not hold it.

    In phase `tune` the test split is not even read. Raises `InvalidInput` for data that is missing, damaged or too
    small, naming the file and the remedy.
    """
    source = find(spec.source)
    spec, facts = resolve(spec, source)
    splits = source.read(spec, facts, device=torch.device(device), phase=phase)
    return Dataset(
        train=splits["train"],
        validation=splits["validation"],
        facts=facts,
        hash=source.content_hash(),
        sealed_test=splits.get("test"),
    )

"""What a bench finds: a row for each two contenders that took turns at the same work."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

PARTS = {
    "step": "Training steps on a batch at hand, against other libraries' models",
    "data": "Training from data to weights, against the usual stack",
    "study": "A study of 12 trainings, against a shell loop over the usual stack",
}
"""By name, in the order of the page: what a part measures. `step` is measured by the module `part_step`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How many times as fast as another contender one of ours is, at one setting."""

    part: str
    """A key of `PARTS`."""
    what: str
    """What was measured, e.g. `ViT p4 w96 d6, 28 px`."""
    threads: int
    """Processor threads that each contender was given."""
    batch: int
    """Images per update."""
    contender: str
    """`patchbench`, and the way it was used if not the usual one."""
    precision: str
    """`fp32` or `bf16` (autocast)."""
    other: str
    """The library, or the stack, and the way it was used."""
    other_precision: str
    ratio: float
    """The median over the rounds; above 1, ours is the faster one."""
    low: float
    high: float
    """Bootstrap interval (95%) of the median over the rounds."""
    value: float
    """What ours reached, in `unit`: the median over the rounds."""
    other_value: float
    unit: str
    """`images/s` or `s`."""
    rounds: int
    note: str = ""
    """What else a reader needs."""

    @property
    def own_label(self) -> str:
        return f"{self.contender}, {self.precision}"

    @property
    def other_label(self) -> str:
        return f"{self.other}, {self.other_precision}"


def ratio(own: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """`Row.ratio`, `low` and `high`, by the seconds that both took in the same rounds.

    The median over the rounds of other / own and its percentile bootstrap interval; of one round, the ratio thrice.
    """
    ratios = np.asarray(other, dtype=np.float64) / np.asarray(own, dtype=np.float64)
    low = high = median = float(np.median(ratios))
    if len(ratios) > 1:
        found = bootstrap((ratios,), np.median, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
        low, high = map(float, found.confidence_interval)
    return median, low, high

"""What a bench finds: a row for each contender at each setting."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast as another contender one is, over the rounds that both took turns in."""

    to: str
    """The other contender, a `Row.contender` of the same part, `what`, threads and batch."""
    precision: str | None = None
    """The other contender's precision."""
    median: float
    """Median of the ratios of the rounds; above 1, the row's contender is the faster one."""
    low: float
    high: float
    """Bootstrap interval (95 %) of the median over the rounds."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender at one setting."""

    part: str
    """Name of the part, a key of `parts.PARTS`."""
    what: str
    """What was measured, e.g. `ViT p4 w96 d6, 28 px`."""
    contender: str
    """`patchbench`, or the library and the way it was used."""
    value: float
    """What is quoted, in `unit`: the median over the rounds."""
    unit: str
    """`images/s`, `s`, `GFLOP/s`, `MB`, `%`, ..."""
    best: float | None = None
    """The best round, in `unit`."""
    threads: int | None = None
    precision: str | None = None
    """`fp32` or `bf16` (autocast)."""
    batch: int | None = None
    """Images per update."""
    ratios: tuple[Ratio, ...] = ()
    """How many times as fast as the others the contender is."""
    details: Mapping[str, str | int | float] = field(default_factory=dict)
    """Whatever else a reader needs, by name: parameters, MACs per image, an exponent."""
    measured: str = ""
    """UTC time (ISO 8601); set by the command."""

    @property
    def key(self) -> tuple[str, str, str, int | None, str | None, int | None]:
        """What a row is known by: a later measurement takes its place."""
        return (self.part, self.what, self.contender, self.threads, self.precision, self.batch)

"""Published findings as data. What each kind of claim means is here; `harness.analysis.claims` computes its verdict.

Every claim is judged on the confirm runs, by an interval, never by a point estimate:
`reproduced`, `contradicted` or `inconclusive`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from harness.spec.checks import check_types
from harness.spec.errors import require, require_choice, require_within

Direction = Literal["up", "down"]

METRICS: dict[str, Direction] = {
    "test_accuracy": "up",
    "test_loss": "down",
    "validation_accuracy": "up",
    "train_images_per_second": "up",
    "eval_images_per_second": "up",
    "shifted_accuracy": "up",
    "shift_agreement": "up",
    "macs_per_image": "down",
    "attention_macs_per_image": "down",
    "train_seconds": "down",
    "peak_memory_bytes": "down",
    "params": "down",
}
"""Columns of the frame of runs that a claim may be about, with the direction that is better."""


@dataclass(frozen=True, kw_only=True)
class _Claim:
    statement: str
    """The finding in one sentence, as the source has it."""
    source: str
    """Paper, figure or table."""
    conditions: str = ""
    """Under which conditions the source found it (data, budget, model size)."""

    def __post_init__(self) -> None:
        check_types(self)
        require(bool(self.statement.strip()), f"{type(self).__name__}.statement is empty; say what should hold.")
        require(bool(self.source.strip()), f"{type(self).__name__}.source is empty; name the paper, figure or table.")
        metric = getattr(self, "metric", None)
        if metric is not None:
            require_choice(f"{type(self).__name__}.metric", metric, tuple(METRICS))

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arms that this claim names; each must be in the study."""
        return ()

    @property
    def series_names(self) -> tuple[str, ...]:
        """The series that this claim names; each must be one of the study's."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Better(_Claim):
    """`arm` has a better `metric` than `than` (in the metric's own direction), by more than `margin`."""

    kind: Literal["better"] = "better"
    arm: str
    than: str
    metric: str = "test_accuracy"
    train_size: int | Literal["smallest", "largest"] | None = None
    """Which training size of a two-factor study; None where the study has one size."""
    margin: float = 0.0
    """In the metric's unit."""

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.arm, self.than)


@dataclass(frozen=True, kw_only=True)
class Equivalent(_Claim):
    """The difference of `metric` between `arm` and `to` lies within ±`within`."""

    kind: Literal["equivalent"] = "equivalent"
    arm: str
    to: str
    within: float
    """Half-width of the region of practical equivalence, in the metric's unit."""
    metric: str = "test_accuracy"
    train_size: int | Literal["smallest", "largest"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within("Equivalent.within", self.within, 0, open_low=True)

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.arm, self.to)


@dataclass(frozen=True, kw_only=True)
class Monotone(_Claim):
    """Over the arms in order of increasing level, `metric` goes `direction` at every step."""

    kind: Literal["monotone"] = "monotone"
    metric: str
    along: str
    """The study's factor (then `series` may name the arms followed), or `train_size` (then `arm` names the one)."""
    direction: Direction
    arm: str | None = None
    series: str | None = None
    slack: float = 0.0
    """A step against the direction by at most this much (metric's unit) does not count against the claim."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("Monotone.direction", self.direction, get_args(Direction))

    @property
    def arm_names(self) -> tuple[str, ...]:
        return () if self.arm is None else (self.arm,)

    @property
    def series_names(self) -> tuple[str, ...]:
        return () if self.series is None else (self.series,)


@dataclass(frozen=True, kw_only=True)
class _Gap(_Claim):
    """About the lead of `leader` over `follower`: two arms along `train_size`, two series along the study's factor."""

    leader: str
    follower: str
    metric: str = "test_accuracy"
    along: str = "train_size"
    train_size: int | Literal["smallest", "largest"] | None = None
    """Along the factor of a study with several training sizes: at which of them."""

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.leader, self.follower) if self.along == "train_size" else ()

    @property
    def series_names(self) -> tuple[str, ...]:
        return () if self.along == "train_size" else (self.leader, self.follower)


@dataclass(frozen=True, kw_only=True)
class GapShrinks(_Gap):
    """The lead falls along the axis: with the logarithm of the training size, or with the factor's level."""

    kind: Literal["gap_shrinks"] = "gap_shrinks"


@dataclass(frozen=True, kw_only=True)
class Crosses(_Gap):
    """`follower` overtakes `leader` somewhere on the axis, within the measured range."""

    kind: Literal["crosses"] = "crosses"


@dataclass(frozen=True, kw_only=True)
class GainsMore(_Claim):
    """The step from `start` to `arm` gains more `metric` than the one from `other_start` to `other`, by `margin`."""

    kind: Literal["gains_more"] = "gains_more"
    arm: str
    start: str
    other: str
    other_start: str
    metric: str = "test_accuracy"
    train_size: int | Literal["smallest", "largest"] | None = None
    margin: float = 0.0
    """In the metric's unit."""

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.arm, self.start, self.other, self.other_start)


@dataclass(frozen=True, kw_only=True)
class CostGrows(_Claim):
    """Over the arms in order of increasing level, a cost goes `direction` by at least `factor` per step."""

    kind: Literal["cost_grows"] = "cost_grows"
    along: str
    """The study's factor."""
    direction: Direction
    """Whether the cost grows (`up`) or falls (`down`) as the level increases."""
    metric: str = "macs_per_image"
    factor: float = 1.0
    """Smallest ratio of a step that counts as growth."""
    series: str | None = None
    """The arms followed along the factor, where the study has several series; None for all arms."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("CostGrows.direction", self.direction, get_args(Direction))
        require_within("CostGrows.factor", self.factor, 1)

    @property
    def series_names(self) -> tuple[str, ...]:
        return () if self.series is None else (self.series,)


Claim = Better | Equivalent | Monotone | GapShrinks | Crosses | GainsMore | CostGrows

"""Findings as data: what each type of claim means. `analysis.shipped_claims` judges the shipped types.

Every claim is judged on the confirm runs, by an interval, never by a point estimate. Its type, a class, says what is
judged; its kind says whose finding it is, and so what the verdict is called (`harness.spec.verdicts`). A study file may
have a type of its own, a subclass of `Claim`.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from harness.spec.checks import AboveZero, Checked, Positive, Within, check_types, later, nearest
from harness.spec.errors import InvalidInput, require, require_choice
from harness.spec.model import ViTSpec
from harness.spec.run import to_plain
from harness.spec.verdicts import Kind, Verdict

if TYPE_CHECKING:
    from harness.spec.study import ResolvedStudy

Direction = Literal["up", "down"]

METRICS: dict[str, Direction] = {
    "test_accuracy": "up",
    "test_loss": "down",
    "validation_accuracy": "up",
    "train_images_per_second": "up",
    "eval_images_per_second": "up",
    "shifted_accuracy": "up",
    "shift_agreement": "up",
    "few_shot_accuracy": "up",
    "balanced_accuracy": "up",
    "top5_accuracy": "up",
    "macs_per_image": "down",
    "attention_macs_per_image": "down",
    "train_seconds": "down",
    "peak_memory_bytes": "down",
    "params": "down",
}
"""Columns of the frame of runs that a claim may be about, with the direction that is better."""

EXACT = ("params", "macs_per_image", "attention_macs_per_image")
"""Metrics that the model alone decides: claims about them are arithmetic."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, signed so that positive speaks for the claim."""

    value: float
    ci_low: float = math.nan
    ci_high: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict with its reason, a sentence, and the numbers that it rests on (NaN where there are none)."""

    verdict: Verdict
    reason: str
    estimate: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    p_value: float = math.nan  # two-sided, of the test that the verdict follows from; NaN where there is none
    lost_runs: int = 0  # planned runs without a result that leave it inconclusive


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding that a study puts to the test. A study file's own type is a subclass with a `judge`.

    Fields of a subclass are texts, numbers, None, and tuples or mappings of these. `metric`, one of METRICS, gives the
    estimate's unit, and `margin` the bound that an interval is held against (0 without one).
    """

    _arms: ClassVar[tuple[str, ...]] = ()  # names of the fields that name arms, those that are compared in pairs

    statement: str
    source: str
    conditions: str = ""
    """The finding in one sentence; its paper, figure or table; the conditions there (data, budget, model size)."""
    kind: Kind = later("paper")
    """Whose finding it is: a publication's, or a hypothesis of the study's own. Those about EXACT are arithmetic."""
    type: str = ""  # what the claim is called in tables: the name of the class, for one that a study file defines

    def __post_init__(self) -> None:
        check_types(self)
        name = type(self).__name__
        require(bool(self.statement.strip()), f"{name}.statement is empty; say what should hold.")
        require(bool(self.source.strip()), f"{name}.source is empty; name the paper, figure or table.")
        require_choice(f"{name}.metric", getattr(self, "metric", None), (*METRICS, None))
        if getattr(self, "metric", None) in EXACT:
            object.__setattr__(self, "kind", "arithmetic")
        elif type(self) in SHIPPED and self.kind == "arithmetic":
            told = f"is for exact costs ({', '.join(EXACT)}); give 'paper' or 'hypothesis'."
            raise InvalidInput(f"{name}.kind is 'arithmetic', which {told}")
        if not isinstance(self, KeptClaim) and type(self) not in SHIPPED:
            object.__setattr__(self, "type", name)

    def judge(self, tables: Any, rng: Any) -> Estimate | Judgement:
        """The verdict, or the estimate whose interval decides: reproduced above `margin`, contradicted below it.

        Of a hypothesis these are called supported and not supported, whichever of the words is given.

        `tables`: `harness.analysis.Evidence`, with the frames `runs`, `trials`, `curves`, `shifts` and `comparisons`
        and with `difference`, the paired difference of two arms. `rng`: a NumPy Generator of this claim's own.
        """
        raise NotImplementedError(f"{type(self).__name__} has no judge(self, tables, rng).")

    def check(self, study: "ResolvedStudy") -> None:
        """Refuse a study that this claim cannot be about."""
        for name in self.arm_names:
            study.arm(name)
        for name in self.series_names:
            if name not in study.series:
                raise InvalidInput(f"No arm is in the series {name!r}. {nearest(name, study.series)}")

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arms that this claim names."""
        return tuple(name for name in (getattr(self, field) for field in self._arms) if name is not None)

    @property
    def series_names(self) -> tuple[str, ...]:
        """The series that this claim names."""
        return ()


@dataclass(frozen=True, kw_only=True)
class KeptClaim(Claim):
    """A claim of a study file's own type, as study.json has it: only that file can judge it."""

    fields: Mapping[str, Any]  # what the class of the study file adds, by name

    @property
    def metric(self) -> str | None:
        return self.fields.get("metric")

    def kept_as(self) -> dict[str, Any]:
        names = ("statement", "source", "conditions", *(("kind",) if self.kind != "paper" else ()), "type")
        return {name: getattr(self, name) for name in names} | dict(self.fields)


def as_kept_now(content: Mapping[str, Any]) -> dict[str, Any]:
    """A claim as study.json has it now: version 0.1 had the name of its type as `kind`, and hypotheses by source."""
    kept = dict(content) if "type" in content else {("type" if k == "kind" else k): v for k, v in content.items()}
    if "our own hypothesis" in str(kept.get("source")):
        kept.setdefault("kind", "hypothesis")
    return kept


def is_own(claim: Claim) -> bool:
    """Whether a claim is of a type that a study file defines."""
    return type(claim) not in SHIPPED


def check_own(claim: Claim) -> None:
    """Refuse a claim of a study file's own type that cannot be kept or judged."""
    name = type(claim).__name__
    if type(claim) in (*SHIPPED, KeptClaim):
        return
    require(type(claim).judge is not Claim.judge, f"{name} has no judge(self, tables, rng); a claim's class needs one.")
    try:
        json.dumps(to_plain(claim), allow_nan=False)
    except (TypeError, ValueError) as error:
        told = "its fields may be texts, numbers, None, and tuples or mappings of these."
        raise InvalidInput(f"{name} cannot be kept in study.json ({error}); {told}") from error


@dataclass(frozen=True, kw_only=True)
class _Comparison(Claim):
    """Names what it compares in pairs."""

    metric: str = "test_accuracy"
    train_size: int | Literal["smallest", "largest"] | None = None
    """Which training size of a two-factor study; None where the study has one size."""

    def check(self, study: "ResolvedStudy") -> None:
        super().check(study)
        compared = self.arm_names + self.series_names
        for one, other in zip(compared[::2], compared[1::2], strict=True):
            require(one != other, f"{type(self).__name__} compares {one!r} with itself; name two different ones.")


@dataclass(frozen=True, kw_only=True)
class _Contrast(_Comparison):
    """A difference between arms, or between two such."""

    patch_size: Positive | None = later(None)
    """Of `test_accuracy`: with patches of this side, pixels, at which models for several sizes are tested, too."""

    def check(self, study: "ResolvedStudy") -> None:
        super().check(study)
        if self.patch_size is None:
            return
        name = f"{type(self).__name__}.patch_size is {self.patch_size}"
        require(self.metric == "test_accuracy", f"{name}; the metric must be 'test_accuracy', not {self.metric!r}.")
        for arm in self.arm_names:
            model = study.arm(arm).model
            sizes = (model.flexible_patches or (model.patch_size,)) if isinstance(model, ViTSpec) else ()
            require(self.patch_size in sizes, f"{name}; arm {arm!r} is tested with patches of {sizes or 'no'} px.")


@dataclass(frozen=True, kw_only=True)
class Better(_Contrast):
    """`arm` has a better `metric` than `than` (in the metric's own direction), by more than `margin` (in its unit)."""

    _arms = ("arm", "than")
    type: Literal["better"] = "better"
    arm: str
    than: str
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Equivalent(_Contrast):
    """The difference of `metric` between `arm` and `to` lies within ±`within`."""

    _arms = ("arm", "to")
    type: Literal["equivalent"] = "equivalent"
    arm: str
    to: str
    within: AboveZero  # Half-width of the region of practical equivalence, in the metric's unit


@dataclass(frozen=True, kw_only=True)
class GainsMore(_Contrast):
    """The step from `start` to `arm` gains more `metric` than the one from `other_start` to `other`, by `margin`."""

    _arms = ("arm", "start", "other", "other_start")
    type: Literal["gains_more"] = "gains_more"
    arm: str
    start: str
    other: str
    other_start: str
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Gap(_Comparison):
    """About the lead of `leader` over `follower`: two arms along `train_size`, two series along the study's factor."""

    leader: str
    follower: str
    along: str = "train_size"

    def check(self, study: "ResolvedStudy") -> None:
        super().check(study)
        name = type(self).__name__
        require_choice(f"{name}.along", self.along, (study.factor, "train_size"))
        levels = [{arm.level for arm in study.series[series]} for series in self.series_names]
        if levels and len(set.intersection(*levels)) < 2:
            raise InvalidInput(f"The series {self.leader!r} and {self.follower!r} must share at least two levels.")

    @property
    def arm_names(self) -> tuple[str, ...]:
        return (self.leader, self.follower) if self.along == "train_size" else ()

    @property
    def series_names(self) -> tuple[str, ...]:
        return () if self.along == "train_size" else (self.leader, self.follower)


@dataclass(frozen=True, kw_only=True)
class GapShrinks(_Gap):
    """The lead falls along the axis: with the logarithm of the training size, or with the factor's level."""

    type: Literal["gap_shrinks"] = "gap_shrinks"


@dataclass(frozen=True, kw_only=True)
class Crosses(_Gap):
    """`follower` overtakes `leader` somewhere on the axis, within the measured range."""

    type: Literal["crosses"] = "crosses"
    seen_at: tuple[float, float] | None = later(None)
    """Between which training images, or levels, the source saw it; None where that is not known.

    Beyond what was measured, a crossing there is not contradicted by a leader that leads at every measured point."""

    def __post_init__(self) -> None:
        if isinstance(self.seen_at, tuple) and all(type(end) is int for end in self.seen_at):
            object.__setattr__(self, "seen_at", tuple(map(float, self.seen_at)))
        super().__post_init__()
        if self.seen_at is not None and not (len(self.seen_at) == 2 and self.seen_at[0] <= self.seen_at[1]):
            raise InvalidInput(f"Crosses.seen_at is {self.seen_at}; it must be two numbers, the smaller one first.")


@dataclass(frozen=True, kw_only=True)
class _Ordered(Claim):
    """About every step of arms in order of increasing level: whether the metric grows (`up`) or falls (`down`)."""

    along: str  # the study's factor, or `train_size`
    direction: Direction
    series: str | None = None  # the arms followed along the factor; None for all arms

    def check(self, study: "ResolvedStudy") -> None:
        super().check(study)
        name = type(self).__name__
        require_choice(f"{name}.along", self.along, (study.factor, *(["train_size"] if study.train_sizes else [])))
        levels = [arm.level for arm in study.arms]
        ordered = sorted({level for level in levels if isinstance(level, float)})
        if self.along != "train_size" and self.series is None and levels not in (ordered, ordered[::-1]):
            told = f"needs arms with numeric levels in order; the levels are {levels}."
            raise InvalidInput(f"{name} along {self.along!r} {told}")

    @property
    def series_names(self) -> tuple[str, ...]:
        return () if self.series is None else (self.series,)


@dataclass(frozen=True, kw_only=True)
class Monotone(_Ordered):
    """Over the arms in order of increasing level, `metric` goes `direction` at every step."""

    _arms = ("arm",)
    type: Literal["monotone"] = "monotone"
    metric: str
    arm: str | None = None  # along `train_size`, the one that is followed; None for all arms
    slack: float = 0.0
    """A step against the direction by at most this much (metric's unit) does not count against the claim."""


@dataclass(frozen=True, kw_only=True)
class CostGrows(_Ordered):
    """Over the arms in order of increasing level, a cost goes `direction` by at least `factor` per step."""

    type: Literal["cost_grows"] = "cost_grows"
    metric: str = "macs_per_image"
    factor: Annotated[float, Within(1)] = 1.0  # smallest ratio of a step that counts as growth


ShippedClaim = Better | Equivalent | Monotone | GapShrinks | Crosses | GainsMore | CostGrows

SHIPPED: tuple[type[Claim], ...] = get_args(ShippedClaim)  # the types of claim that the analysis judges itself


_PARTS = ("more", "larger", "cost")  # what stands in braces in an answer


@dataclass(frozen=True, kw_only=True)
class Answer(Checked):
    """A sentence that answers a study's question: the verdict on a claim, or on the difference between two arms.

    In `says`, the finding in the question's words, `{more}` stands for the estimate (`1.2 points more [0.4, 2.0]`, or
    `less`; `0.4 points less to 2.0 more` where the interval holds zero; of `Crosses`, what the follower has more at the
    axis' last point), `{larger}` for the same with `larger` and `smaller`, and `{cost}` for the compute of the first
    arm over the other's (`13 times`).
    """

    says: str
    claim: str = ""  # its statement; or the two arms whose test accuracy is compared, at the largest training size:
    arm: str = ""
    than: str = ""  # by default the one that `arm` is compared with
    holds: str = ""
    """What stands first where the claim holds, in place of `Yes`; `{at}` is the point of a crossing."""
    fails: str = ""  # and where its opposite does, in place of `No`

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.says.strip()), "Answer.says is empty; say the finding in the words of the question.")
        for part in re.findall(r"{(.*?)}", self.says):
            require_choice("Answer.says: what stands in braces", part, _PARTS)
        told = f"Answer.claim is {self.claim!r}, Answer.arm {self.arm!r}; give one: a claim's statement, or an arm."
        require(bool(self.claim) != bool(self.arm), told)

    def claim_of(self, study: "ResolvedStudy") -> Claim:
        """The claim that is judged: the study's, or that `arm` is better; `InvalidInput` where the study lacks it."""
        if self.claim:
            claims = {claim.statement: claim for claim in study.claims}
            if self.claim not in claims:
                raise InvalidInput(f"Answer.claim: no claim states {self.claim!r}. {nearest(self.claim, claims)}")
            return claims[self.claim]
        arm = study.arm(self.arm)
        size: Literal["largest"] | None = "largest" if study.train_sizes else None
        than = self.than or study.against(arm).name
        claim = Better(statement=self.says, source="-", arm=self.arm, than=than, train_size=size)
        claim.check(study)
        return claim

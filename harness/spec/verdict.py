"""What judging a claim gives: an estimate with its interval, or a verdict."""

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["reproduced", "contradicted", "inconclusive"]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, signed so that positive speaks for the claim."""

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

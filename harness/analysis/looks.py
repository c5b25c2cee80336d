"""The confidence level of the intervals of a study that is looked at more than once.

Each look at the same question is one more chance of a false decision. The error of all looks together is held at 5 %
by spending it (Lan and DeMets, Biometrika 70, 1983, p. 659): after look k, .05 (1 - .2^k) is spent, .04 by the first,
.048 by the second. What a look may spend becomes its local level by the joint normal distribution of the estimates at
all looks (Armitage, McPherson and Rowe, J. R. Stat. Soc. A 132, 1969, p. 235), two-sided, as a chain of looks each of
which depends on the one before: exact where each look pools the runs of all before, conservative where it does not.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from itertools import pairwise

import numpy as np
from scipy import optimize, special

from harness.analysis.estimate import FEWEST_SEEDS, LEVEL, Floats
from harness.analysis.wording import listed
from harness.records.looks import Look, announced, changes, digest_of
from harness.records.run_table import StudyRecords, runs_of
from harness.spec.formats import words

KEPT = 0.2  # share of the error that is left that a look leaves to all later ones

EXTENSIONS = ("seeds", "search.repeats")  # fields by which a study is extended, which its level allows for

_POINTS = 200  # nodes of the Gauss-Legendre rule over a look's interval
_CLOSEST = 0.995  # correlation from which two looks count as no closer: the rule is exact up to there
_STUDENT = 1.5
"""Taken off the seeds of each look. Student's statistics of few seeds are less correlated than the means that they are
of: with this the error of two to four looks at 3 to 40 seeds is .046 to .050 (simulated), without it up to .053."""


def level_of(seeds: Sequence[int]) -> float:
    """The confidence level of the last of several looks with so many seeds, each with those of the look before."""
    shared = [(before, now, min(before, now)) for before, now in pairwise(seeds)]
    return _level(tuple(_correlation(*each) for each in shared))


def level_for(records: StudyRecords) -> float:
    """The confidence level of the intervals of a report on these records; LEVEL where no ledger was kept."""
    look = current(records)
    return LEVEL if look is None else look.level


def current(records: StudyRecords) -> Look | None:
    """The look that a report on these records is: the one that was kept, else a new one, without its time.

    None for results without a ledger, which are of before one was kept.
    """
    if not records.looks:
        return None
    new = _look(records)
    known = [look for look in records.looks.looks if (look.digest, look.runs_of) == (new.digest, new.runs_of)]
    return known[-1] if known else new


def earlier_look(records: StudyRecords) -> Look:
    """The look that was taken at results of before a ledger was kept, for the first line of a new one."""
    return replace(_look(records), time=str(records.provenance.get("created", "")), level=LEVEL)


def untold(records: StudyRecords) -> Iterator[str]:
    """A sentence per look after which settings or claims were changed that `changes_after_first_look` does not name."""
    told, now = " ".join(records.study.changes_after_first_look).lower(), announced(records.study)
    own, seen = current(records), set[str]()
    for look in records.looks.looks:
        if look != own:
            fields = changes(replace(records.looks, looks=(look,)), now)["changed_since_look"]
            new = [name for name in fields if name not in (*EXTENSIONS, *seen) and not _is_told(name, told)]
            seen |= set(fields)
            if new:
                verb = "was" if len(new) == 1 and not new[0].endswith("s") else "were"
                yield f"After the look of {look.time[:10]} {listed(new)} {verb} changed, which the study does not tell."


def _is_told(name: str, told: str) -> bool:
    """Whether a text, in small letters, names a field: a part of its dotted name after the first, or its only one."""
    parts = name.lower().split(".")
    return any(re.search(rf"\b{re.escape(words(part).rstrip('s'))}s?\b", told) for part in parts[1:] or parts)


def _look(records: StudyRecords) -> Look:
    study, runs = announced(records.study), dict[str, list[str]]()
    completed = records.runs[records.runs["status"] == "completed"]
    for arm, size, digest in zip(completed["arm"], completed["train_size"], completed["digest"], strict=True):
        runs.setdefault(f"{arm}, {size}", []).append(str(digest))
    is_shown = any(len(of_cell) >= FEWEST_SEEDS for of_cell in runs.values())
    look = Look(
        time="",
        digest=digest_of(study),
        runs_of=runs_of(records),
        seeds=records.study.seeds,
        runs={cell: tuple(sorted(runs[cell])) for cell in sorted(runs)},
        level=LEVEL,
        spends=is_shown and records.study.scale != "smoke",
        study=study,
        **changes(records.looks, study),
    )
    chain = [*(look for look in records.looks.looks if look.spends), look]
    return replace(look, level=_level(tuple(_between(*each) for each in pairwise(chain))))


def _between(before: Look, now: Look) -> float:
    """The least correlation of what two looks estimate, over the arms and sizes that both have intervals for."""
    cells = [cell for cell, runs in before.runs.items() if len(runs) >= FEWEST_SEEDS and cell in now.runs]
    shared = [(set(before.runs[cell]), set(now.runs[cell])) for cell in cells]
    return min((_correlation(len(one), len(other), len(one & other)) for one, other in shared), default=0.0)


def _correlation(before: int, now: int, shared: int) -> float:
    """Correlation of the statistics of two looks by their numbers of seeds, from 0 to _CLOSEST."""
    one, other, both = (number - _STUDENT for number in (before, now, shared))
    return min(max(both, 0.0) / math.sqrt(one * other), _CLOSEST) if min(one, other) > 0 else 0.0


@cache
def _level(correlations: tuple[float, ...]) -> float:
    """The level of the last look, by the correlation of each look after the first with the one before.

    With four digits of its error, rounded down, so that it is the same on every machine. It never falls from one look
    to the next.
    """
    error: float = reduce(_next, correlations, _first()).error
    digits = 3 - math.floor(math.log10(error))
    return round(1 - math.floor(error * 10.0**digits + 1e-6) / 10.0**digits, digits)


@dataclass(frozen=True)
class _Looks:
    """Some looks of which none has decided."""

    number: int
    error: float  # local, of the last one
    spent: float  # by all
    points: Floats  # (P,) values of the last one's statistic within its bound
    mass: Floats  # (P,) their probabilities

    @property
    def bound(self) -> float:
        return float(-special.ndtri(self.error / 2))


def _first() -> _Looks:
    error = (1 - LEVEL) * (1 - KEPT)
    points, weights = _rule(float(-special.ndtri(error / 2)))
    return _Looks(1, error, error, points, weights * _density(points))


def _next(looks: _Looks, correlation: float) -> _Looks:
    """One look more, whose statistic has this correlation with that of the look before."""
    number, scale = looks.number + 1, math.sqrt(1 - correlation**2)
    left = max((1 - LEVEL) * (1 - KEPT**number) - looks.spent, 1e-9)  # at some twelve looks the rest is rounding

    def outside(bound: float) -> float:
        centre = correlation * looks.points
        tails = special.ndtr((-bound - centre) / scale) + special.ndtr((centre - bound) / scale)
        return float(looks.mass @ tails)

    bound = max(looks.bound, float(optimize.brentq(lambda bound: outside(bound) - left, 0.0, 40.0)))
    points, weights = _rule(bound)
    steps = _density((points[:, None] - correlation * looks.points) / scale) / scale
    error, spent = 2 * float(special.ndtr(-bound)), looks.spent + outside(bound)
    return _Looks(number, error, spent, points, weights * (steps @ looks.mass))


def _rule(bound: float) -> tuple[Floats, Floats]:
    """Points and weights for integrals over [-bound, bound]."""
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    return bound * points, bound * weights


def _density(z: Floats) -> Floats:
    return np.asarray(np.exp(-z * z / 2) / math.sqrt(2 * math.pi))

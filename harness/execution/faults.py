"""What a verification says: faults, notes, counts."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

TOLERANCE = 1e-9
"""Largest relative difference between a number and itself once written with ten digits."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file that does not hold."""

    path: str
    """Relative to the study's results folder."""
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}; found {self.found}."


@dataclass(frozen=True, kw_only=True)
class Check:
    """One kind of check, and what it came to."""

    what: str
    checked: int
    """How many things were compared."""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be compared, and why."""

    @property
    def outcome(self) -> str:
        """In a word or two, for a table."""
        if self.faults:
            return f"{len(self.faults):,} do not hold"
        return "not compared" if not self.checked else "holds"


def same(kept: Any, expected: Any) -> bool:
    """Whether a table's cell holds a value, which it has with ten digits; nothing stands for None and NaN.

    A list or an object, which a damaged record may have in a value's place, is never the same.
    """
    if any(isinstance(value, list | dict | tuple) for value in (kept, expected)):
        return False
    if _is_missing(kept) or _is_missing(expected):
        return _is_missing(kept) and _is_missing(expected)
    if isinstance(expected, str | bool) or isinstance(kept, str):
        return str(kept) == str(expected)
    return math.isclose(float(kept), float(expected), rel_tol=TOLERANCE)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or bool(pd.isna(value))

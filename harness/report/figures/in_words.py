"""Pieces of the texts that say what a figure shows, for those who do not see it."""

from collections.abc import Callable, Sequence

from harness.report.frames import Row
from harness.spec.formats import number, percent_interval, points_interval
from harness.spec.plural import counted

_MOST = 8
"""More arms than this are summed up by the best and the worst."""


def several(texts: Sequence[str]) -> str:
    """The first eight of some texts, and how many there are more."""
    more = f"; and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return f"{'; '.join(texts[:_MOST])}{more}"


def accuracies(rows: list[Row]) -> str:
    """Mean accuracies with their intervals."""

    def text(row: Row) -> str:
        role = " (baseline)" if row["is_baseline"] else ""
        return f"{row['arm']}{role} {percent_interval(row['mean'], row['ci_low'], row['ci_high'])}"

    over = " (intervals over seeds alone)" if any(number(row["ci_low"]) is not None for row in rows) else ""
    return f"{_or_ends(rows, 'mean', text)}{over}."


def differences(rows: list[Row]) -> str:
    """Differences with their intervals, of the arms that the rows' `arm` names."""
    return f"{_or_ends(rows, 'difference', lambda row: ' '.join((row['arm'], difference(row))))}."


def difference(row: Row) -> str:
    """A difference with its interval."""
    return points_interval(row["difference"], row["ci_low"], row["ci_high"])


def ends(texts: Sequence[str]) -> str:
    """Up to eight texts of arms in ascending order, else the first and the last."""
    if len(texts) <= _MOST:
        return "; ".join(texts) or "No results"
    return f"{counted(len(texts), 'arm')}, from {texts[0]} (lowest) to {texts[-1]} (highest)"


def _or_ends(rows: list[Row], column: str, text: Callable[[Row], str]) -> str:
    ordered = rows if len(rows) <= _MOST else sorted(rows, key=lambda row: float(row[column]))
    return ends([text(row) for row in ordered])

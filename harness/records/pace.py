"""How fast this machine is next to the one that the studies' minutes were measured on, so that a list can say so.

Kept in the results folder's own `work/`, which is never shared: another machine has another pace.
"""

from pathlib import Path
from statistics import median

from harness.records.files import RecordsError, read_record, remove_unfinished, write_json
from harness.records.layout import shared_write_lock
from harness.records.write_lock import write_lock

LATEST = 20
"""Observations that count; older ones are forgotten."""


def remember_pace(results: Path, study: str, scale: str, *, stated: float | None, minutes: float) -> None:
    """Keep that a study, `stated` to take so many minutes, takes `minutes` here (forecast or measured)."""
    if not stated:
        return
    with write_lock(shared_write_lock(results)):
        remove_unfinished(_path(results).parent)
        known, own = _known(results), f"{study}/{scale}"
        known.pop(own, None)
        write_json(_path(results), dict([*known.items(), (own, minutes / stated)][-LATEST:]))


def pace(results: Path) -> float | None:
    """Minutes here per stated minute: the median of what was seen; None before anything was."""
    ratios = _known(results).values()
    return median(ratios) if ratios else None


def _path(results: Path) -> Path:
    return results / "work" / "pace.json"


def _known(results: Path) -> dict[str, float]:
    """What was seen so far; a file that is damaged or not there is nothing seen."""
    try:
        return {key: ratio for key, ratio in read_record(_path(results), dict[str, float]).items() if 0 < ratio < 1e9}
    except RecordsError:
        return {}

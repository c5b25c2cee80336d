"""The claims of all studies together: how many of each kind, and which verdicts stand among so many."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.discoveries import FALSE_DISCOVERIES, adjusted
from harness.report.table import Cell, Column, Table, make_table, number_column, text_column
from harness.spec.errors import require
from harness.spec.formats import counted, number, p_value, percent
from harness.spec.verdicts import DECIDED, SYMBOLS, Tally, tally_of

_COLUMNS = (
    text_column("Claim", "statement"),
    text_column("Study", "study"),
    text_column("Kind", "kind"),
    Column("Verdict", lambda row: Cell(f"{SYMBOLS[row['verdict']]} {row['verdict']}", verdict=row["verdict"])),
    number_column("p", "p_value", p_value),
    number_column("p (Benjamini-Yekutieli)", "adjusted", p_value),
    Column("Stands", lambda row: Cell("yes" if row["stands"] else "no")),
)
_NOTE = (
    "p: two-sided, of the test that a verdict follows from. Verdicts on exact costs have none, nor have those of "
    "reports that an earlier version made."
)


@dataclass(frozen=True)
class AllClaims:
    """What an index says of them."""

    tally: Tally
    text: str
    table: Table  # a row per decided verdict that has a p-value


def claims_in(content: dict[str, Any], study: str) -> list[dict[str, Any]]:
    """The claims of a report.json with the study's name; ValueError, LookupError or TypeError for what is none."""
    rows = []
    for row in content["claims"]:
        p = row.get("p_value")
        require(p is None or 0 <= p <= 1, f"p_value is {p!r}; it must lie in [0, 1].")
        told = {"study": study, "kind": row.get("kind", "paper"), "p_value": math.nan if p is None else float(p)}
        rows.append({**row, **told, "statement": str(row["statement"])})
    tally_of(rows)
    return rows


def all_claims(claims: Iterable[dict[str, Any]]) -> AllClaims:
    """Put the claims of all studies together; those without a p-value count in the tally only."""
    rows = list(claims)
    for row, p_adjusted in zip(rows, adjusted([row["p_value"] for row in rows]), strict=True):
        row |= {"adjusted": p_adjusted, "stands": p_adjusted <= FALSE_DISCOVERIES}
    decided = [row for row in rows if row["verdict"] in DECIDED and number(row["p_value"]) is not None]
    table = make_table(
        "claims-of-all", "Decided verdicts, and which stand among so many", _COLUMNS, decided, note=_NOTE
    )
    return AllClaims(tally_of(rows), _told(rows, decided), table)


def _told(rows: Sequence[dict[str, Any]], decided: Sequence[dict[str, Any]]) -> str:
    tested = sum(number(row["p_value"]) is not None for row in rows)
    if not tested:
        return f"Of {counted(len(rows), 'claim')} none has a p-value."
    stand = sum(row["stands"] for row in decided)
    have, are = "has" if tested == 1 else "have", "stands" if len(decided) == 1 else "stand"
    return (
        f"{tested} of {counted(len(rows), 'claim')} {have} a p-value. Adjusted together, by the procedure of Benjamini "
        f"and Yekutieli for any dependence between them, {stand} of {counted(len(decided), 'decided verdict')} {are} "
        f"at a false discovery rate of {percent(FALSE_DISCOVERIES, 0)}: of the verdicts that stand, at most this share "
        "is expected to be wrong."
    )

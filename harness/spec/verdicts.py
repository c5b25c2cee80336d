"""What is said of a claim: its verdict, called by the claim's kind, and how many claims of a kind have which."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from harness.spec.errors import require_choice

Kind = Literal["paper", "hypothesis", "arithmetic"]
KINDS: Mapping[str, str] = {"paper": "papers", "hypothesis": "own hypotheses", "arithmetic": "arithmetic"}
"""Each kind with what its claims are called together."""

Verdict = Literal[
    "reproduced", "contradicted", "supported", "not supported", "inconclusive", "outside the range measured"
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)  # in the order in which they are counted

SYMBOLS: Mapping[str, str] = dict(zip(VERDICTS, "✓✗✓✗?○", strict=True))
"""Stand before a verdict's word, so that it is told by more than its colour."""

DECIDED = VERDICTS[:4]

_OF_HYPOTHESES: Mapping[Verdict, Verdict] = {"reproduced": "supported", "contradicted": "not supported"}


def called(verdict: Verdict, kind: Kind) -> Verdict:
    """A verdict in the words for a kind: a hypothesis is supported or not; what was published is reproduced or not."""
    words = _OF_HYPOTHESES if kind == "hypothesis" else {word: other for other, word in _OF_HYPOTHESES.items()}
    return words.get(verdict, verdict)


@dataclass(frozen=True)
class Count:
    """How many claims of a kind have a verdict."""

    verdict: str
    number: int
    lost: int  # of these, those that are inconclusive because runs have no result

    @property
    def text(self) -> str:
        """`✓ 2 reproduced`."""
        return f"{self.sign} {self.verdict}"

    @property
    def sign(self) -> str:
        """`✓ 2`."""
        return f"{SYMBOLS[self.verdict]} {self.number}"

    @property
    def note(self) -> str:
        """` (1 for lost runs)`, or nothing."""
        return f" ({self.lost} for lost runs)" if self.lost else ""


@dataclass(frozen=True)
class OfKind:
    """The verdicts that occur among the claims of a kind, in the order of VERDICTS."""

    kind: str
    counts: tuple[Count, ...]

    @property
    def told(self) -> str:
        return KINDS[self.kind]


Tally = tuple[OfKind, ...]
"""Of each kind that occurs."""


def tally_of(claims: Iterable[Mapping[str, Any]]) -> Tally:
    """Count rows of claims.csv or of report.json (which had no `kind` and no `lost_runs` in version 0.1)."""
    found: dict[tuple[str, str], list[bool]] = {}
    for row in claims:
        kind, verdict = row.get("kind", "paper"), row["verdict"]
        require_choice("kind", kind, tuple(KINDS))
        require_choice("verdict", verdict, VERDICTS)
        found.setdefault((kind, verdict), []).append(bool(row.get("lost_runs")))
    counts = {
        kind: tuple(Count(name, len(lost), sum(lost)) for name in VERDICTS if (lost := found.get((kind, name))))
        for kind in KINDS
    }
    return tuple(OfKind(kind, of_kind) for kind, of_kind in counts.items() if of_kind)


def tally_text(tally: Tally) -> str:
    """`papers ✓ 2 reproduced, ? 1 inconclusive (1 for lost runs); own hypotheses ✓ 1 supported`."""
    return "; ".join(f"{of.told} {', '.join(count.text + count.note for count in of.counts)}" for of in tally)


def tally_signs(tally: Tally) -> str:
    """`papers ✓ 2 ? 1 (1 for lost runs); own hypotheses ✓ 1`: what `tally_text` says, once it has named the signs."""
    return "; ".join(f"{of.told} {' '.join(count.sign + count.note for count in of.counts)}" for of in tally)

"""What a report says on a console: every claim with its verdict, and how many of each kind have which."""

import io
import json
from pathlib import Path

from rich.console import Console

from harness.console import tell

CLAIMS = [
    {"kind": "paper", "verdict": "reproduced", "lost_runs": 0},
    {"kind": "paper", "verdict": "inconclusive", "lost_runs": 2},
    {"kind": "hypothesis", "verdict": "not supported", "lost_runs": 0},
]


def told(folder: Path, claims: list[dict[str, object]]) -> list[str]:
    rows = [{"statement": f"Claim {i}.", "reason": "So it is.", **claim} for i, claim in enumerate(claims)]
    summary = {"columns": ["arm", "p (Holm)"], "rows": [["ViT", "0.5"]], "varied": "searches, seeds and test images"}
    content = {"summary": summary, "claims": rows, "gaps": [], "warnings": [], "answer": "It does.", "level": 0.95}
    (folder / "report.json").write_text(json.dumps(content))
    out = io.StringIO()
    tell(Console(file=out, width=140), folder, as_json=False)
    return out.getvalue().splitlines()


def test_claims_are_told_and_counted_by_kind(tmp_path: Path) -> None:
    lines = told(tmp_path, CLAIMS)
    assert "not supported: Claim 2. So it is." in lines
    tally = "papers ✓ 1 reproduced, ? 1 inconclusive (1 for lost runs); own hypotheses ✗ 1 not supported"
    assert f"claims: {tally}" in lines
    assert "95% intervals, over searches, seeds and test images." in " ".join(" ".join(lines).split())


def test_without_claims_nothing_is_counted(tmp_path: Path) -> None:
    assert not [line for line in told(tmp_path, []) if line.startswith("claims:")]

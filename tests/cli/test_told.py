"""What a report says on a console: every claim with its verdict, and how many of each kind have which."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.console import findings_table, tell, wrapped

CLAIMS = [
    {"kind": "paper", "verdict": "reproduced", "lost_runs": 0},
    {"kind": "paper", "verdict": "inconclusive", "lost_runs": 2},
    {"kind": "hypothesis", "verdict": "not supported", "lost_runs": 0},
]


def told(folder: Path, claims: list[dict[str, object]], *, conclusive: bool = True, width: int = 140) -> list[str]:
    rows = [{"statement": f"Claim {i}.", "reason": "So it is.", **claim} for i, claim in enumerate(claims)]
    summary = {"columns": ["arm", "p (Holm)"], "rows": [["ViT", "0.5"]], "varied": "searches, seeds and test images"}
    content = {"summary": summary, "claims": rows, "gaps": [], "warnings": [], "answer": "It does.", "level": 0.95}
    content |= {"numbers": "n = 3 seeds.", "conclusive": conclusive}
    (folder / "report.json").write_text(json.dumps(content))
    out = io.StringIO()
    tell(Console(file=out, width=width), folder, as_json=False)
    return out.getvalue().splitlines()


def test_claims_are_told_and_counted_by_kind(tmp_path: Path) -> None:
    lines = told(tmp_path, CLAIMS)
    assert "not supported: Claim 2. So it is." in lines
    tally = "papers ✓ 1 reproduced, ? 1 inconclusive (1 for lost runs); own hypotheses ✗ 1 not supported"
    assert f"claims: {tally}" in lines
    assert "95% intervals, over searches, seeds and test images." in " ".join(" ".join(lines).split())


def test_without_claims_nothing_is_counted(tmp_path: Path) -> None:
    assert not [line for line in told(tmp_path, []) if line.startswith("claims:")]


def test_a_test_of_the_wiring_tells_its_banner_and_its_report_alone(tmp_path: Path, capsys) -> None:
    assert told(tmp_path, CLAIMS, conclusive=False) == []
    assert capsys.readouterr().out.splitlines() == ["It does.", f"Report: {tmp_path / 'report.html'}"]


@pytest.mark.parametrize("width", range(30, 60, 7))
def test_no_line_ends_within_an_interval(width: int) -> None:
    text = "Not shown: 4 px instead of 14 px gives 0.4 points more [−0.1, 0.9], for 13 times [12.0, 14.0] the compute."
    lines = wrapped(text, width).split("\n")
    assert " ".join(lines) == text
    assert all(line.count("[") == line.count("]") and len(line) <= width for line in lines)
    rows = [["ViT, moved in training", "5 of 5 seeds", "91.27% [90.81, 91.69]", "+1.23 [+0.40, +2.06] to ViT, AdamW"]]
    summary = {"columns": ["arm", "seeds", "test accuracy", "difference", "p (Holm)"], "varied": "seeds"}
    out = io.StringIO()
    Console(file=out, width=80).print(findings_table(summary | {"rows": [[*rows[0], "0.5"]]}, 80, 0.95))
    assert "[90.81, 91.69]" in out.getvalue()
    assert "[+0.40, +2.06]" in out.getvalue()

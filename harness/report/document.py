"""report.json: what a report says, for programs. The index of all results is made from it, too."""

from typing import Any

import pandas as pd

from harness.analysis.findings import Findings
from harness.records.data_facts import of_provenance
from harness.records.run_table import StudyRecords
from harness.report.content import cautions_of
from harness.report.frames import rows_of
from harness.report.result_tables import summary_table
from harness.spec import to_plain
from harness.spec.formats import number


def document(records: StudyRecords, findings: Findings, figures: tuple[str, ...]) -> dict[str, Any]:
    """Question, answer, claims, arms, comparisons, and the report's files relative to the study's folder.

    Accuracies and differences are fractions; a number that is not known is null. `figures`: names, the main one first.
    """
    study, facts = records.study, of_provenance(records.provenance)
    summary = summary_table(findings)
    verdicts = [str(verdict) for verdict in findings.claims["verdict"]]
    return {
        "study": study.name,
        "scale": study.scale,
        "question": study.question,
        "answer": findings.answer,
        "source": study.source,
        "verdicts": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        "claims": _rows(findings.claims),
        "comparisons": _rows(findings.comparisons),
        "arms": _rows(findings.arms),
        "summary": {
            "columns": [column.heading for column in summary.columns],
            "rows": [[cell.text for cell in row] for row in summary.rows],
        },
        **({"data": to_plain(facts)} if facts else {}),
        "gaps": list(findings.gaps),
        "warnings": list(cautions_of(records, findings)),
        "files": {
            "page": "report.html",
            "markdown": "REPORT.md",
            "runs": "runs.csv",
            "trials": "trials.csv",
            "comparisons": "comparisons.csv",
            "claims": "claims.csv",
            "figures": [f"figures/{name}.png" for name in figures],
        },
    }


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in rows_of(frame)]


def _plain(value: Any) -> str | bool | int | float | None:
    """A cell for JSON: whole numbers without a point, ten digits of the others, null for what is missing."""
    if isinstance(value, str):
        return value
    if type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    known = number(value)
    if known is None:
        return None
    return int(known) if known.is_integer() else float(f"{known:.10g}")

"""What a person reads in the end. Draws and sets what `harness.analysis` computed; computes nothing."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from harness.analysis.answer import effect_of
from harness.analysis.findings import Findings
from harness.analysis.looks import level_for
from harness.records import csv_text, files
from harness.records.data_facts import of_provenance
from harness.records.layout import REPORT_FILE, StudyFolder
from harness.records.run_table import StudyRecords
from harness.report.content import cautions_of, content_of
from harness.report.figures import is_of_reports
from harness.report.index import write_index
from harness.report.page import markdown, page
from harness.report.result_tables import summary_of
from harness.report.style import Drawn
from harness.report.table import json_rows
from harness.report.view import View, rows_of
from harness.spec import to_plain
from harness.spec.verdicts import tally_of

__all__ = ["document", "write_index", "write_report"]


def write_report(records: StudyRecords, findings: Findings, folder: Path) -> list[Path]:
    """Write figures and inside/*.png, report.html, REPORT.md, report.json and the tables of what was found.

    Returns their paths. Equal records and findings give equal bytes.
    Figures of an earlier report that no longer apply are removed; a user's own stay.
    """
    content, places = content_of(records, findings), StudyFolder(folder)
    said = document(records, findings, content.figures)
    outputs = {folder / figure.address: figure.png for figure in content.figures}
    for name, text in (
        ("report.html", page(content)),
        ("REPORT.md", markdown(content)),
        ("comparisons.csv", csv_text.from_frame(findings.comparisons)),
        ("claims.csv", csv_text.from_frame(findings.claims)),
        (REPORT_FILE, json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False) + "\n"),
    ):
        outputs[folder / name] = text.encode()
    for path, written in outputs.items():
        files.write_bytes(path, written)
    for place in (places.figures, places.inside):
        for path in place.glob("*.*"):
            if path not in outputs and is_of_reports(path.stem) and path.suffix in (".png", ".svg"):
                path.unlink()
    return list(outputs)


def _effect(findings: Findings) -> dict[str, float] | None:
    """The difference of accuracies that the finding tells, a fraction of ten digits as in the tables."""
    if findings.effect is None:
        return None
    ends = {"value": findings.effect.value, "ci_low": findings.effect.ci_low, "ci_high": findings.effect.ci_high}
    return {name: float(f"{end:.10g}") for name, end in ends.items()}


def document(records: StudyRecords, findings: Findings, figures: tuple[Drawn, ...]) -> dict[str, Any]:
    """report.json, for programs: question, answer, claims, arms, comparisons, and files relative to the study's folder.

    `numbers` is the line below the answer, `finding` its first sentence, `effect` the difference that this tells. Where
    not `conclusive`, the study is a test of the wiring, and its verdicts mean nothing. Accuracies and differences are
    fractions; a number that is not known is null. `figures`: the main one first.
    """
    study, facts = records.study, of_provenance(records.provenance)
    tally = tally_of(rows_of(findings.claims))

    files = {"page": "report.html", "markdown": "REPORT.md"}
    files |= {name: f"{name}.csv" for name in ("runs", "trials", "comparisons", "claims")}
    difference, unit = effect_of(study)
    return {
        "study": study.name,
        "scale": study.scale,
        "question": study.question,
        "answer": findings.answer,
        "numbers": findings.numbers,
        "finding": findings.finding,
        "effect": _effect(findings),
        "effect_of": {"difference": difference, "unit": unit},
        "conclusive": findings.conclusive,
        "level": level_for(records),
        "source": study.source,
        "verdicts": dict(sorted(Counter(map(str, findings.claims["verdict"])).items())),
        "verdicts_by_kind": {of.kind: {count.verdict: count.number for count in of.counts} for of in tally},
        "claims": json_rows(findings.claims),
        "comparisons": json_rows(findings.comparisons),
        "arms": json_rows(findings.arms),
        "summary": summary_of(View(records, findings)),
        **({"data": to_plain(facts)} if facts else {}),
        "inside": [figure.description for figure in figures if figure.section == "inside"],
        "gaps": list(findings.gaps),
        "warnings": list(cautions_of(records, findings)),
        "files": {**files, "figures": [figure.address for figure in figures]},
    }
